//! The engine against the rules written down a second time, as plainly as possible: every report is kept, and everything
//! is computed from all of them.
#![expect(clippy::unwrap_used, reason = "a test harness")]

use std::collections::BTreeMap;
use std::sync::Arc;

use picket_detect::Engine;
use picket_model::name::CertificateId;
use picket_model::profile::JudgingConfig;
use picket_model::record::{Input, Record, ReportRecord, Sender, Stamped};
use picket_model::report::Report;
use picket_model::time::Timestamp;
use picket_model::value::MetricValue;
use picket_model::violation::{ChangeKind, ViolationChange, ViolationId};
use proptest::prelude::*;
use proptest::sample::select;

const SECOND: i64 = 1_000;
const DAY: i64 = 24 * 3600 * SECOND;
/// Of five minutes all but a twentieth.
const REACH: i64 = 285 * SECOND;

/// One record, with the time since the one before it.
type Step = (i64, What);

#[derive(Clone, Copy, Debug)]
enum What {
    Report { id: u64, bytes_out: u64 },
    Config(&'static [Rule]),
    Tick,
    Clock { by_millis: i64 },
}

/// A behavior on bytes out in five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    name: &'static str,
    /// Whether normal is at most the limit, or else more than it.
    is_at_most: bool,
    limit: u64,
    to_alarm: u8,
    to_clear: u8,
}

const fn rule(name: &'static str, is_at_most: bool, limit: u64, to_alarm: u8, to_clear: u8) -> Rule {
    Rule {
        name,
        is_at_most,
        limit,
        to_alarm,
        to_clear,
    }
}

const CONFIGS: [&[Rule]; 6] = [
    &[rule("little", false, 50, 1, 1), rule("much", true, 300, 2, 2)],
    &[rule("little", false, 50, 1, 1), rule("much", true, 100, 2, 2)],
    &[rule("little", false, 50, 3, 1), rule("much", true, 100, 1, 3)],
    &[rule("much", true, 300, 2, 2)],
    &[rule("little", true, 200, 1, 1), rule("much", false, 30, 1, 2)],
    &[],
];

/// The rules as they are, of one device.
#[derive(Default)]
struct Plain {
    clock_offset: i64,
    now: i64,
    last_seen: Option<i64>,
    /// Reports that were no duplicates: when, which, how much.
    reports: Vec<(i64, u64, u64)>,
    slots: BTreeMap<&'static str, Slot>,
}

struct Slot {
    rule: Rule,
    /// How many reports there were when the criteria began to hold: the others do not count.
    n_before: usize,
    /// From when on every report counts.
    since: Option<i64>,
    is_raised: bool,
    n_in_a_row: u8,
}

impl Plain {
    fn take(&mut self, at: i64, what: What) -> Vec<String> {
        if let What::Clock { by_millis } = what {
            self.clock_offset += by_millis;
            return Vec::new();
        }
        self.now = self.now.max(at - self.clock_offset);
        let mut told = Vec::new();
        if self.last_seen.is_some_and(|last_seen| 2 * DAY < self.now - last_seen) {
            for (name, slot) in self.slots.iter_mut().filter(|(_, slot)| slot.is_raised) {
                told.push(format!("{name} invalidated"));
                (slot.is_raised, slot.n_in_a_row) = (false, 0);
            }
        }
        match what {
            What::Report { id, bytes_out } => told.extend(self.report(id, bytes_out)),
            What::Config(rules) => told.extend(self.configure(rules)),
            What::Tick | What::Clock { .. } => {}
        }
        told
    }

    fn configure(&mut self, rules: &[Rule]) -> Vec<String> {
        let mut old = std::mem::take(&mut self.slots);
        for rule in rules {
            let slot = match old.remove(rule.name) {
                Some(slot) if slot.rule == *rule => slot,
                before => Slot {
                    rule: *rule,
                    n_before: self.reports.len(),
                    since: self.last_seen.map(|_| self.now),
                    is_raised: before.is_some_and(|slot| slot.is_raised),
                    n_in_a_row: 0,
                },
            };
            self.slots.insert(rule.name, slot);
        }
        let gone = old.into_iter().filter(|(_, slot)| slot.is_raised);
        gone.map(|(name, _)| format!("{name} invalidated")).collect()
    }

    fn report(&mut self, id: u64, bytes_out: u64) -> Vec<String> {
        self.last_seen = Some(self.now);
        let is_same = |&(then, one, _): &(i64, u64, u64)| one == id && self.now - then <= DAY;
        if self.reports.iter().rev().take(16).any(is_same) {
            return Vec::new();
        }
        self.reports.push((self.now, id, bytes_out));
        let mut told = Vec::new();
        for (name, slot) in &mut self.slots {
            let since = *slot.since.get_or_insert(self.now);
            let counts = |(then, _, _): &&(i64, u64, u64)| self.now - REACH < *then;
            let sum: u64 = self.reports[slot.n_before..]
                .iter()
                .filter(counts)
                .map(|(.., bytes)| bytes)
                .sum();
            let rule = slot.rule;
            if !rule.is_at_most && self.now - since < REACH {
                continue;
            }
            let is_breach = rule.is_at_most != (sum <= rule.limit);
            slot.n_in_a_row = if is_breach == slot.is_raised {
                0
            } else {
                slot.n_in_a_row + 1
            };
            let word = match (slot.is_raised, is_breach) {
                (false, true) if slot.n_in_a_row == rule.to_alarm => "raised",
                (true, false) if slot.n_in_a_row == rule.to_clear => "cleared",
                (true, true) => "continued",
                _ => continue,
            };
            if word != "continued" {
                (slot.is_raised, slot.n_in_a_row) = (word == "raised", 0);
            }
            told.push(format!("{name} {word} {sum}"));
        }
        told
    }
}

fn config(revision: u64, rules: &[Rule]) -> Arc<JudgingConfig> {
    let behavior = |rule: &Rule| {
        let operator = if rule.is_at_most {
            "less-than-equals"
        } else {
            "greater-than"
        };
        serde_json::json!({"name": rule.name, "metric": "aws:all-bytes-out", "criteria": {
            "comparisonOperator": operator, "value": {"count": rule.limit}, "durationSeconds": 300,
            "consecutiveDatapointsToAlarm": rule.to_alarm, "consecutiveDatapointsToClear": rule.to_clear}})
    };
    let behaviors: Vec<_> = rules.iter().map(behavior).collect();
    let profile = serde_json::json!({"name": "Volumes", "targets": ["all/things"], "behaviors": behaviors});
    let config = serde_json::json!({"revision": revision, "customMetrics": {}, "profiles": [profile]});
    Arc::new(JudgingConfig::decode(config.to_string().as_bytes()).unwrap())
}

fn report(id: u64, bytes_out: u64) -> Record {
    let text = format!(
        r#"{{"header": {{"report_id": {id}, "version": "1.0"}}, "metrics": {{"network_stats": {{"bytes_out": {bytes_out}}}}}}}"#
    );
    Record::Report(Box::new(ReportRecord {
        thing: "pump-7".parse().unwrap(),
        payload_hash: [3; 16],
        sender: Sender {
            certificate: CertificateId::from_bytes([7; 32]),
            client_id: "pump-7".parse().unwrap(),
            is_attached: true,
        },
        report: Report::from_json(text.as_bytes()).unwrap(),
    }))
}

fn in_short(change: &ViolationChange) -> String {
    let (word, value) = match &change.kind {
        ChangeKind::Raised { value, .. } => ("raised", value),
        ChangeKind::Continued { value } => ("continued", value),
        ChangeKind::Supported { value } => ("supported", value),
        ChangeKind::Cleared { value } => ("cleared", value),
        ChangeKind::Invalidated => return format!("{} invalidated", change.behavior.name),
    };
    match value {
        MetricValue::Count(count) => format!("{} {word} {count}", change.behavior.name),
        other => format!("{} {word} {other:?}", change.behavior.name),
    }
}

/// Plays the steps to both; says where they part.
fn play(steps: &[Step]) -> Result<(), TestCaseError> {
    let (mut engine, mut plain) = (Engine::new(), Plain::default());
    let mut open: BTreeMap<String, ViolationId> = BTreeMap::new();
    let (mut at, mut revision) = (0, 0);
    for (nth, (gap, what)) in steps.iter().enumerate() {
        at += gap;
        let mut made = None;
        let old = Timestamp::from_millis(at);
        let record = match *what {
            What::Report { id, bytes_out } => report(id, bytes_out),
            What::Config(rules) => {
                revision += 1;
                made = Some(config(revision, rules));
                Record::Config { revision }
            }
            What::Tick => Record::Tick,
            What::Clock { by_millis } => {
                at += by_millis;
                let new = Timestamp::from_millis(at);
                Record::Clock { old, new }
            }
        };
        let due = engine.next_deadline();
        let stamp = Timestamp::from_millis(at);
        let stamped = Stamped { at: stamp, record };
        let changes = engine.apply(Input { stamped, config: made }).changes;
        let mut found: Vec<String> = changes.iter().map(in_short).collect();
        let mut expected = plain.take(at, *what);
        if matches!(what, What::Tick) && !expected.is_empty() {
            prop_assert!(
                due.is_some_and(|due| due <= stamp),
                "step {}: not woken, due {:?} at {}",
                nth,
                due,
                stamp
            );
        }
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected, "step {} at {} ms", nth, at);
        for change in changes {
            let name = change.behavior.name.to_string();
            match change.kind {
                ChangeKind::Raised { .. } => prop_assert_eq!(open.insert(name, change.id), None),
                ChangeKind::Cleared { .. } | ChangeKind::Invalidated => {
                    prop_assert_eq!(open.remove(&name), Some(change.id));
                }
                _ => prop_assert_eq!(open.get(&name), Some(&change.id)),
            }
        }
    }
    Ok(())
}

fn gap() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => 0..400 * SECOND,
        4 => select(vec![0, 1, 100 * SECOND, REACH - 1, REACH, REACH + 1, 300 * SECOND]),
        1 => select(vec![DAY - 1, DAY, DAY + 1, 2 * DAY - 1, 2 * DAY, 2 * DAY + 1]),
    ]
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        20 => (0u64..30, 0u64..250).prop_map(|(id, bytes_out)| What::Report { id, bytes_out }),
        2 => select(CONFIGS.to_vec()).prop_map(What::Config),
        2 => Just(What::Tick),
        1 => (-3 * DAY..3 * DAY).prop_map(|by_millis| What::Clock { by_millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // At most 60 steps: a window of more than 64 reports merges some.
    #[test]
    fn one_device_is_judged_as_the_rules_say(mut steps in prop::collection::vec((gap(), what()), 1..60)) {
        steps.insert(0, (0, What::Config(CONFIGS[0])));
        play(&steps)?;
    }
}

#[test]
fn edges_of_windows_days_and_duplicates() {
    const fn sent(id: u64, bytes_out: u64) -> What {
        What::Report { id, bytes_out }
    }
    let first = (0, What::Config(CONFIGS[1]));
    let cases: [&[Step]; 6] = [
        // The first report is in the sum until exactly D - D/20 after it, and then the lower bound counts.
        &[
            first,
            (0, sent(1, 60)),
            (REACH - 1, sent(2, 60)),
            (1, sent(3, 60)),
            (1, sent(4, 0)),
        ],
        // A duplicate is one for a day, and keeps the device from being silent.
        &[
            first,
            (0, sent(1, 200)),
            (1, sent(2, 200)),
            (DAY, sent(2, 200)),
            (2 * DAY, sent(2, 200)),
            (0, sent(2, 0)),
        ],
        &[
            first,
            (0, sent(1, 200)),
            (1, sent(2, 200)),
            (2 * DAY, What::Tick),
            (1, What::Tick),
        ],
        // Downtime is no silence.
        &[
            first,
            (0, sent(1, 200)),
            (1, sent(2, 200)),
            (0, What::Clock { by_millis: 9 * DAY }),
            (2 * DAY, What::Tick),
            (1, What::Tick),
        ],
        // A clock that is set back neither.
        &[
            first,
            (DAY, sent(1, 200)),
            (1, sent(2, 200)),
            (0, What::Clock { by_millis: -DAY }),
            (2 * DAY + 1, What::Tick),
        ],
        // Edited while in alarm: still open, counted anew, over a window that begins anew.
        &[
            first,
            (0, sent(1, 200)),
            (1, sent(2, 200)),
            (1, sent(3, 0)),
            (1, What::Config(CONFIGS[2])),
            (1, sent(4, 10)),
            (1, sent(5, 10)),
            (1, sent(6, 10)),
            (1, What::Config(CONFIGS[5])),
        ],
    ];
    for steps in cases {
        let played = play(steps);
        assert!(played.is_ok(), "{played:?} of {steps:?}");
    }
}
