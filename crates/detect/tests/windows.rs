//! Aligned windows against the rules written down a second time: every message of a client is kept, and each window is
//! counted from all of them. Clock steps, also of ten years, leave windows that are not whole.
#![expect(clippy::unwrap_used, reason = "a test harness")]

use std::sync::Arc;

use picket_detect::Engine;
use picket_model::connection::DisconnectReason;
use picket_model::meter::{ClientMeter, Meter, Presence, Sizes, Tally};
use picket_model::name::CertificateId;
use picket_model::profile::JudgingConfig;
use picket_model::record::{Input, Record, Stamped};
use picket_model::time::Timestamp;
use picket_model::violation::{ChangeKind, ViolationChange};
use proptest::prelude::*;

const WINDOW: i64 = 300_000;

/// Normal is fewer than three messages and at least one; alarms wait for two breaches of the first.
const CONFIG: &str = r#"{"revision": 1, "customMetrics": {}, "profiles": [{"name": "Door", "targets": ["all/things"], "behaviors": [
{"name": "many", "metric": "aws:num-messages-sent", "criteria": {"comparisonOperator": "less-than", "value": {"count": 3}, "durationSeconds": 300, "consecutiveDatapointsToAlarm": 2, "consecutiveDatapointsToClear": 2}},
{"name": "none", "metric": "aws:num-messages-sent", "criteria": {"comparisonOperator": "greater-than", "value": {"count": 0}, "durationSeconds": 300}}]}]}"#;

#[derive(Clone, Copy, Debug)]
enum What {
    Sent(u32),
    Connected,
    Disconnected,
    Clock { by_millis: i64 },
}

/// The rules as they are, of one client.
#[derive(Default)]
struct Plain {
    /// When, and how many messages.
    signs: Vec<(i64, u64)>,
    /// What came before the clock was set is of another time.
    n_before_clock: usize,
    clock_set_at: i64,
    is_connected: bool,
    /// The end of the window that was in breach before its end.
    told: Option<i64>,
    many: (bool, u8),
    is_none_raised: bool,
}

impl Plain {
    fn sum(&self, end: i64) -> Option<u64> {
        let signs = self.signs[self.n_before_clock..].iter();
        let amounts = signs
            .filter(|(at, _)| end - WINDOW <= *at && *at < end)
            .map(|(_, amount)| *amount);
        amounts.reduce(|sum, amount| sum + amount)
    }

    fn judge_many(&mut self, sum: u64, told: &mut Vec<String>) {
        let (is_raised, n_in_a_row) = &mut self.many;
        let is_breach = 3 <= sum;
        *n_in_a_row = if is_breach == *is_raised { 0 } else { *n_in_a_row + 1 };
        let word = match (*is_raised, is_breach) {
            (true, true) => "continued",
            (false, true) if *n_in_a_row == 2 => "raised",
            (true, false) if *n_in_a_row == 2 => "cleared",
            _ => return,
        };
        if word != "continued" {
            self.many = (is_breach, 0);
        }
        told.push(format!("many {word}"));
    }

    fn end(&mut self, end: i64) -> Vec<String> {
        let mut told = Vec::new();
        let sum = self.sum(end).or(self.is_connected.then_some(0));
        let (Some(sum), true) = (sum, self.clock_set_at <= end - WINDOW) else {
            return told;
        };
        if self.told != Some(end) {
            self.judge_many(sum, &mut told);
        }
        match (self.is_none_raised, sum == 0) {
            (false, true) => told.push("none raised".to_owned()),
            (true, true) => told.push("none continued".to_owned()),
            (true, false) => told.push("none cleared".to_owned()),
            (false, false) => {}
        }
        self.is_none_raised = sum == 0;
        told
    }

    fn take(&mut self, at: i64, what: What) -> Vec<String> {
        let mut told = Vec::new();
        let amount = match what {
            What::Clock { .. } => {
                (self.n_before_clock, self.clock_set_at, self.told) = (self.signs.len(), at, None);
                return told;
            }
            What::Sent(n) => n.into(),
            What::Connected | What::Disconnected => 0,
        };
        match what {
            What::Connected => self.is_connected = true,
            What::Disconnected => self.is_connected = false,
            _ => {}
        }
        self.signs.push((at, amount));
        let end = (at.div_euclid(WINDOW) + 1) * WINDOW;
        let sum = self.sum(end).unwrap_or(0);
        if 3 <= sum && self.told != Some(end) {
            self.told = Some(end);
            self.judge_many(sum, &mut told);
        }
        told
    }
}

fn record(what: What, old: i64, new: i64) -> Record {
    let presence = Presence {
        client_id: "pump-7".parse().unwrap(),
        is_genuine: true,
        connection: 1,
        certificate: CertificateId::from_bytes([7; 32]),
        address: [192, 0, 2, 1].into(),
    };
    match what {
        What::Connected => Record::Connected(presence),
        What::Disconnected => Record::Disconnected(presence, DisconnectReason::ClientInitiated),
        What::Clock { .. } => Record::Clock {
            old: Timestamp::from_millis(old),
            new: Timestamp::from_millis(new),
        },
        What::Sent(n) => Record::Meter(Meter {
            clients: vec![ClientMeter {
                client_id: presence.client_id,
                is_genuine: true,
                certificate: presence.certificate,
                n_refused_attempts: 0,
                n_authorization_failures: 0,
                total: Tally {
                    sent: (0..n).map(|_| Sizes::of(9)).reduce(Sizes::and),
                    ..Tally::default()
                },
                dimensions: Vec::new(),
            }],
        }),
    }
}

fn in_short(change: &ViolationChange) -> String {
    let word = match change.kind {
        ChangeKind::Raised { .. } => "raised",
        ChangeKind::Continued { .. } => "continued",
        ChangeKind::Cleared { .. } => "cleared",
        ChangeKind::Supported { .. } | ChangeKind::Invalidated => "other",
    };
    format!("{} {word}", change.behavior.name)
}

fn told(engine: &mut Engine, at: i64, record: Record, config: Option<Arc<JudgingConfig>>) -> Vec<String> {
    let at = Timestamp::from_millis(at);
    let stamped = Stamped { at, record };
    let changes = engine.apply(Input { stamped, config }).changes;
    changes.iter().map(in_short).collect()
}

fn what() -> impl Strategy<Value = What> {
    const YEARS_10: i64 = 3650 * 86_400_000;
    let clock_step = prop_oneof![-900_000i64..900_000, -YEARS_10..YEARS_10, Just(WINDOW), Just(-WINDOW)];
    prop_oneof![
        6 => (0u32..4).prop_map(What::Sent),
        2 => Just(What::Connected),
        2 => Just(What::Disconnected),
        1 => clock_step.prop_map(|by_millis| What::Clock { by_millis }),
    ]
}

fn gap() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0i64..400_000, 2 => 0i64..60_000, 1 => Just(WINDOW), 1 => Just(WINDOW - 1)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_of_windows_agree_with_a_plain_recomputation(
        start in 1_600_000_000_000i64..1_600_001_000_000,
        steps in prop::collection::vec((gap(), what()), 1..60),
    ) {
        let config = Arc::new(JudgingConfig::decode(CONFIG.as_bytes()).unwrap());
        let (mut engine, mut plain) = (Engine::new(), Plain { clock_set_at: start, ..Plain::default() });
        told(&mut engine, start, Record::Config { revision: 1 }, Some(config));
        let mut at = start;
        for (nth, (gap, what)) in steps.into_iter().enumerate() {
            let until = at + gap;
            let mut end = (at.div_euclid(WINDOW) + 1) * WINDOW;
            while end <= until {
                let found = told(&mut engine, end, Record::Tick, None);
                prop_assert_eq!(found, plain.end(end), "the window before step {}", nth);
                end += WINDOW;
            }
            at = until;
            if let What::Clock { by_millis } = what {
                at += by_millis;
            }
            let found = told(&mut engine, at, record(what, until, at), None);
            prop_assert_eq!(found, plain.take(at, what), "step {}: {:?}", nth, what);
        }
    }
}
