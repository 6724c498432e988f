//! Laws that hold for all records.
#![expect(clippy::unwrap_used, reason = "a test harness")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use picket_detect::{Engine, snapshot_revision};
use picket_model::behavior::{Behavior, Criteria, Limit, NumericOperator, SetOperator, Test, WindowDuration};
use picket_model::metric::{CustomMetricType, DeviceMetric, Metric};
use picket_model::name::{CertificateId, DeviceName};
use picket_model::profile::{JudgedProfile, JudgingConfig, Target};
use picket_model::record::{Input, Member, Record, ReportRecord, Sender, Stamped};
use picket_model::report::{
    Connection, CustomValue, DeviceMetrics, EstablishedConnections, ListeningPort, ListeningPorts, NetworkStats, Report,
};
use picket_model::time::Timestamp;
use picket_model::violation::{ChangeKind, ViolationChange, ViolationId};
use proptest::prelude::*;

const N_THINGS: u8 = 3;
const N_CONFIGS: u8 = 6;

/// One record, with the time since the one before it.
#[derive(Clone, Debug)]
struct Step {
    gap_millis: i64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Report(Said),
    Config(u8),
    Member { thing: u8, is_registered: bool, groups: u8 },
    Tick,
    Clock { by_millis: i64 },
}

#[derive(Clone, Debug)]
struct Said {
    thing: u8,
    is_attached: bool,
    report_id: u64,
    bytes_out: Option<u64>,
    ports: Option<Vec<u16>>,
    remote: Option<u8>,
    temperature: Option<f64>,
}

/// What one engine did at each record.
type Story = Vec<Vec<ViolationChange>>;

fn gap() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 0i64..400_000,
        2 => Just(300_000i64),
        1 => Just(0i64),
        1 => prop::sample::select(vec![1i64, 284_999, 285_000, 285_001]),
    ]
}

fn long_gap() -> impl Strategy<Value = i64> {
    const DAY: i64 = 86_400_000;
    let edges = vec![DAY - 1, DAY, DAY + 1, 2 * DAY - 1, 2 * DAY, 2 * DAY + 1];
    prop_oneof![20 => gap(), 1 => 0i64..400_000_000, 1 => prop::sample::select(edges)]
}

fn said() -> impl Strategy<Value = Said> {
    let bytes_out = prop_oneof![4 => 0u64..400, 1 => Just(u64::MAX), 1 => (1u64 << 53)..];
    let ports = prop::collection::vec(prop::sample::select(vec![22u16, 443, 8888, 4444]), 0..3);
    let number = prop_oneof![-100.0f64..100.0, Just(-0.0), Just(f64::MAX)];
    (
        0..N_THINGS,
        prop::bool::weighted(0.7),
        prop_oneof![0u64..40, 0u64..4],
        prop::option::weighted(0.9, bytes_out),
        prop::option::of(ports),
        prop::option::of(any::<u8>()),
        prop::option::of(number),
    )
        .prop_map(
            |(thing, is_attached, report_id, bytes_out, ports, remote, temperature)| Said {
                thing,
                is_attached,
                report_id,
                bytes_out,
                ports,
                remote,
                temperature,
            },
        )
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        20 => said().prop_map(What::Report),
        2 => (0..N_CONFIGS).prop_map(What::Config),
        2 => (0..N_THINGS, any::<bool>(), 0u8..4)
            .prop_map(|(thing, is_registered, groups)| What::Member { thing, is_registered, groups }),
        1 => Just(What::Tick),
        1 => prop_oneof![-400_000i64..400_000, any::<i64>()].prop_map(|by_millis| What::Clock { by_millis }),
    ]
}

fn steps(gap: impl Strategy<Value = i64>) -> impl Strategy<Value = Vec<Step>> {
    let step = (gap, what()).prop_map(|(gap_millis, what)| Step { gap_millis, what });
    (0..N_CONFIGS, prop::collection::vec(step, 1..80)).prop_map(|(first, mut steps)| {
        let what = What::Config(first);
        steps.insert(0, Step { gap_millis: 0, what });
        steps
    })
}

fn behavior(name: &str, metric: Metric, test: Test, patience: (u8, u8)) -> Arc<Behavior> {
    let is_volume = metric == Metric::Device(DeviceMetric::AllBytesOut);
    Arc::new(Behavior {
        name: name.parse().unwrap(),
        metric: Some(metric),
        dimension: None,
        criteria: Some(Criteria {
            test,
            duration: is_volume.then_some(WindowDuration::Min5),
            to_alarm: Some(patience.0),
            to_clear: Some(patience.1),
        }),
        suppress_alerts: None,
        export_metric: None,
    })
}

fn threshold(operator: NumericOperator, limit: u64) -> Test {
    Test::Threshold {
        operator,
        limit: Limit::Count(limit),
    }
}

/// Six configurations that differ in limits, patience, behaviors, profiles, targets and custom metrics.
fn config(revision: u64, number: u8) -> JudgingConfig {
    use NumericOperator::{GreaterThan, LessThanEquals};
    let bytes = || Metric::Device(DeviceMetric::AllBytesOut);
    let ports = Test::Ports {
        operator: SetOperator::In,
        ports: vec![22, 8888],
    };
    let group = |name: &str| Target::Group(name.parse().unwrap());
    let limit = if number == 1 { 100 } else { 300 };
    let patience = if number == 2 { (1, 1) } else { (2, 2) };
    let mut volumes = vec![
        behavior("much", bytes(), threshold(LessThanEquals, limit), patience),
        behavior("little", bytes(), threshold(GreaterThan, 50), (1, 1)),
    ];
    if number == 3 {
        volumes.pop();
    }
    let listening = Metric::Device(DeviceMetric::ListeningTcpPorts);
    let mut snapshots = vec![
        behavior("ports", listening, ports, (1, 1)),
        behavior(
            "hot",
            Metric::Custom("temperature".parse().unwrap()),
            threshold(LessThanEquals, 30),
            (1, 3),
        ),
    ];
    let num_remotes = Metric::Device(DeviceMetric::NumEstablishedTcpConnections);
    snapshots.push(behavior("remotes", num_remotes, threshold(LessThanEquals, 0), (3, 1)));
    let profile = |name: &str, behaviors, targets| JudgedProfile {
        name: name.parse().unwrap(),
        behaviors,
        targets,
    };
    let targets = match number {
        4 => vec![Target::RegisteredThings, group("b")],
        5 => vec![],
        _ => vec![Target::AllThings],
    };
    let kind = if number == 2 {
        CustomMetricType::StringList
    } else {
        CustomMetricType::Number
    };
    JudgingConfig {
        revision,
        profiles: vec![
            profile("Snapshots", snapshots, vec![group("a"), Target::UnregisteredThings]),
            profile("Volumes", volumes, targets),
        ],
        custom_metrics: [("temperature".parse().unwrap(), kind)].into(),
    }
}

fn thing(number: u8) -> DeviceName {
    format!("thing-{number}").parse().unwrap()
}

fn report(said: &Said) -> Record {
    let item = |port: &u16| ListeningPort {
        port: *port,
        interface: None,
    };
    let connection = |last: u8| Connection {
        remote_addr: [192, 0, 2, last].into(),
        remote_port: None,
        local_port: None,
        local_interface: None,
    };
    let temperature = said
        .temperature
        .map(|number| ("temperature".parse().unwrap(), CustomValue::Number(number)));
    let report = Report {
        report_id: said.report_id,
        metrics: DeviceMetrics {
            listening_tcp_ports: said.ports.as_ref().map(|ports| ListeningPorts {
                ports: Some(ports.iter().map(item).collect()),
                total: None,
            }),
            listening_udp_ports: None,
            network_stats: Some(NetworkStats {
                bytes_out: said.bytes_out,
                ..NetworkStats::default()
            }),
            established_connections: Some(EstablishedConnections {
                connections: said.remote.map(|last| vec![connection(last)]),
                total: said.remote.map(|last| u64::from(last % 2)),
            }),
        },
        custom_metrics: temperature.into_iter().collect(),
        voided: Vec::new(),
    };
    Record::Report(Box::new(ReportRecord {
        thing: thing(said.thing),
        payload_hash: [u8::from(said.bytes_out.is_some_and(|bytes| bytes < 100)); 16],
        sender: Sender {
            certificate: CertificateId::from_bytes([1; 32]),
            client_id: thing(said.thing),
            is_attached: said.is_attached,
        },
        report,
    }))
}

/// The records of these steps, from a clock that starts at `start_millis`.
fn inputs(start_millis: i64, steps: &[Step]) -> Vec<Input> {
    let mut now = start_millis;
    let mut revision = 0;
    let input = |step: &Step| {
        now = now.saturating_add(step.gap_millis);
        let mut made = None;
        let record = match &step.what {
            What::Report(said) => report(said),
            What::Config(number) => {
                revision += 1;
                made = Some(Arc::new(config(revision, *number)));
                Record::Config { revision }
            }
            What::Member {
                thing,
                is_registered,
                groups,
            } => Record::Member(Member {
                thing: format!("thing-{thing}").parse().unwrap(),
                is_registered: *is_registered,
                groups: [(1, "a"), (2, "b")]
                    .into_iter()
                    .filter(|(bit, _)| *is_registered && groups & bit != 0)
                    .map(|(_, name)| name.parse().unwrap())
                    .collect(),
            }),
            What::Tick => Record::Tick,
            What::Clock { by_millis } => {
                let old = Timestamp::from_millis(now);
                now = now.saturating_add(*by_millis);
                let new = Timestamp::from_millis(now);
                Record::Clock { old, new }
            }
        };
        let at = Timestamp::from_millis(now);
        Input {
            stamped: Stamped { at, record },
            config: made,
        }
    };
    steps.iter().map(input).collect()
}

fn told(engine: &mut Engine, inputs: &[Input]) -> Story {
    inputs.iter().map(|input| engine.apply(input.clone())).collect()
}

/// The story without what depends on stamps.
fn timeless(story: &Story) -> Vec<Vec<(DeviceName, String, ChangeKind)>> {
    let change = |change: &ViolationChange| {
        let rule = format!("{}/{}", change.profile, change.behavior.name);
        (change.thing.clone(), rule, change.kind.clone())
    };
    story
        .iter()
        .map(|changes| changes.iter().map(change).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restored_engine_goes_on_as_the_first(
        steps in steps(long_gap()),
        start in prop_oneof![Just(1_600_000_000_000i64), any::<i64>()],
        restores in prop::collection::vec(any::<bool>(), 81),
        n_unregistered_max in 1usize..4,
    ) {
        let mut live = Engine::bounded(n_unregistered_max);
        let mut other = Engine::bounded(n_unregistered_max);
        let mut config = Arc::new(JudgingConfig::default());
        for (input, is_restored) in inputs(start, &steps).into_iter().zip(restores) {
            if let Some(newer) = &input.config {
                config = Arc::clone(newer);
            }
            prop_assert_eq!(live.apply(input.clone()), other.apply(input));
            prop_assert_eq!(live.next_deadline(), other.next_deadline());
            prop_assert!(live.n_unregistered() <= n_unregistered_max);
            let bytes = live.snapshot();
            prop_assert_eq!(&bytes, &other.snapshot());
            prop_assert_eq!(snapshot_revision(&bytes).unwrap(), live.revision());
            if is_restored {
                other = Engine::restore(&bytes, Arc::clone(&config)).unwrap();
                prop_assert_eq!(&bytes, &other.snapshot());
            }
            for number in 0..N_THINGS {
                for (profile, name) in [("Volumes", "much"), ("Snapshots", "ports")] {
                    let (profile, name) = (profile.parse().unwrap(), name.parse().unwrap());
                    let found = live.explain(&thing(number), &profile, &name);
                    prop_assert_eq!(&found, &other.explain(&thing(number), &profile, &name));
                    if let Some(found) = found {
                        prop_assert!(found.breaches.len() <= 10);
                    }
                }
            }
        }
    }

    #[test]
    fn a_violation_is_raised_once_and_ends_once(mut steps in steps(long_gap())) {
        // A slot that ends and begins again within a millisecond has forgotten its ids.
        for step in &mut steps {
            step.gap_millis += i64::from(matches!(step.what, What::Config(_) | What::Member { .. }));
        }
        stay_off_the_end_of_time(&mut steps);
        let mut open: BTreeMap<ViolationId, bool> = BTreeMap::new();
        let mut used: BTreeSet<ViolationId> = BTreeSet::new();
        for change in told(&mut Engine::new(), &inputs(1_600_000_000_000, &steps)).into_iter().flatten() {
            match change.kind {
                ChangeKind::Raised { is_supported, .. } => {
                    prop_assert!(used.insert(change.id), "an id was given twice");
                    open.insert(change.id, is_supported);
                }
                ChangeKind::Continued { .. } => prop_assert!(open.contains_key(&change.id)),
                ChangeKind::Supported { .. } => prop_assert_eq!(open.insert(change.id, true), Some(false)),
                ChangeKind::Cleared { .. } | ChangeKind::Invalidated => {
                    prop_assert!(open.remove(&change.id).is_some());
                }
            }
        }
    }

    #[test]
    fn downtime_and_clock_steps_change_nothing(
        steps in steps(long_gap()),
        sets in prop::collection::vec(prop::option::weighted(0.2, -1_000_000_000_000i64..1_000_000_000_000), 81),
    ) {
        let steady: Vec<Step> =
            steps.iter().filter(|step| !matches!(step.what, What::Clock { .. })).cloned().collect();
        let mut unsteady = Vec::new();
        for (step, set) in steady.iter().zip(&sets) {
            unsteady.push(step.clone());
            if let Some(by_millis) = *set {
                unsteady.push(Step { gap_millis: 0, what: What::Clock { by_millis } });
            }
        }
        let start = 1_600_000_000_000;
        let plain = timeless(&told(&mut Engine::new(), &inputs(start, &steady)));
        let shifted = timeless(&told(&mut Engine::new(), &inputs(start, &unsteady)));
        let shifted: Vec<_> = shifted
            .into_iter()
            .zip(&unsteady)
            .filter(|(_, step)| !matches!(step.what, What::Clock { .. }))
            .map(|(changes, _)| changes)
            .collect();
        prop_assert_eq!(plain, shifted);
    }

    #[test]
    fn forged_reports_neither_make_nor_take_away_support(mut steps in steps(gap())) {
        stay_off_the_end_of_time(&mut steps);
        forged_reports_hide_nothing(&steps)?;
    }

    #[test]
    fn support_needs_genuine_reports(mut steps in steps(gap())) {
        stay_off_the_end_of_time(&mut steps);
        let (mut mixed, mut pure) = (Engine::new(), Engine::new());
        let mut in_pure = Book::default();
        for (input, step) in inputs(0, &steps).into_iter().zip(&steps) {
            let changes = mixed.apply(input.clone());
            if !matches!(&step.what, What::Report(said) if !said.is_attached) {
                in_pure.follow(step, pure.apply(input));
            }
            for change in changes {
                let is_supported = matches!(
                    change.kind,
                    ChangeKind::Raised { is_supported: true, .. } | ChangeKind::Supported { .. }
                );
                if is_supported {
                    prop_assert!(in_pure.open.contains_key(&rule(&change)));
                }
            }
        }
    }

    #[test]
    fn damaged_snapshots_are_refused_or_read_but_never_panic(
        steps in steps(long_gap()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut engine = Engine::new();
        let inputs = inputs(0, &steps);
        told(&mut engine, &inputs);
        let config = inputs.iter().filter_map(|input| input.config.clone()).next_back().unwrap();
        let mut bytes = engine.snapshot();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(keep.index(bytes.len()) + 1);
        if let Ok(mut restored) = Engine::restore(&bytes, config) {
            told(&mut restored, &inputs);
        }
    }

    #[test]
    fn windows_and_runs_agree_with_a_plain_recomputation(
        reports in prop::collection::vec((5_000i64..400_000, 0u64..250), 1..120),
        number in 0u8..3,
    ) {
        let config = config(1, number);
        let mut engine = Engine::new();
        let mut at = 0;
        let stamped = |at, record| Stamped { at: Timestamp::from_millis(at), record };
        let record = Record::Config { revision: 1 };
        engine.apply(Input { stamped: stamped(at, record), config: Some(Arc::new(config.clone())) });
        let volumes = &config.profiles[1].behaviors;
        let mut plain = [(0u8, None::<()>), (0, None)];
        let mut history: Vec<(i64, u64)> = Vec::new();
        for (nth, (gap, amount)) in (0..).zip(reports) {
            at += gap;
            history.push((at, amount));
            let said = Said {
                thing: 0,
                is_attached: true,
                report_id: nth,
                bytes_out: Some(amount),
                ports: None,
                remote: None,
                temperature: None,
            };
            let changes = engine.apply(Input { stamped: stamped(at, report(&said)), config: None });
            let sum: u64 = history.iter().filter(|(then, _)| at - 285_000 < *then).map(|(_, amount)| amount).sum();
            let mut expected = Vec::new();
            for (behavior, (run, alarm)) in volumes.iter().zip(&mut plain) {
                let criteria = behavior.criteria.as_ref().unwrap();
                let is_breach = match &criteria.test {
                    Test::Threshold { operator: NumericOperator::LessThanEquals, limit: Limit::Count(limit) } => sum > *limit,
                    _ if at - history[0].0 < 285_000 => continue,
                    _ => sum <= 50,
                };
                *run = if is_breach == alarm.is_some() { 0 } else { *run + 1 };
                let name = behavior.name.to_string();
                let kind = match (&alarm, is_breach) {
                    (None, true) if *run == criteria.n_to_alarm() => "raised",
                    (Some(()), false) if *run == criteria.n_to_clear() => "cleared",
                    (Some(()), true) => "continued",
                    _ => continue,
                };
                match kind {
                    "raised" => (*alarm, *run) = (Some(()), 0),
                    "cleared" => (*alarm, *run) = (None, 0),
                    _ => {}
                }
                expected.push((name, kind));
            }
            let found: Vec<_> = changes
                .into_iter()
                .filter(|change| change.profile.as_str() == "Volumes")
                .map(|change| {
                    let kind = match change.kind {
                        ChangeKind::Raised { .. } => "raised",
                        ChangeKind::Cleared { .. } => "cleared",
                        ChangeKind::Continued { .. } => "continued",
                        _ => "other",
                    };
                    (change.behavior.name.to_string(), kind)
                })
                .collect();
            prop_assert_eq!(found, expected, "at {} ms", at);
        }
    }
}

/// What genuine reports alone raise is open and supported with forged ones between them too.
fn forged_reports_hide_nothing(steps: &[Step]) -> Result<(), TestCaseError> {
    let is_forged = |step: &Step| matches!(&step.what, What::Report(said) if !said.is_attached);
    let all = inputs(0, steps);
    let (mut mixed, mut pure) = (Engine::new(), Engine::new());
    let (mut in_mixed, mut in_pure) = (Book::default(), Book::default());
    for (input, step) in all.into_iter().zip(steps) {
        in_mixed.follow(step, mixed.apply(input.clone()));
        if !is_forged(step) {
            in_pure.follow(step, pure.apply(input));
        }
        for rule in in_pure.open.keys() {
            let found = in_mixed.open.get(rule).map(|(_, is_supported)| *is_supported);
            prop_assert_eq!(found, Some(true), "genuine reports alone alarm, but that is hidden");
        }
    }
    Ok(())
}

/// Once failed with clock steps of 10^18 ms: at the end of time the forged report held time up for the genuine ones. Up to
/// there a report that time passes with moves nothing.
#[test]
fn a_forged_report_before_a_clock_step_hides_nothing() {
    let said = |thing, is_attached, report_id, bytes_out| {
        What::Report(Said {
            thing,
            is_attached,
            report_id,
            bytes_out,
            ports: None,
            remote: None,
            temperature: None,
        })
    };
    for by_millis in [0, -1, -400_000, -7_469_621_654_904, 7_469_621_654_904] {
        let steps = [
            (0, What::Config(0)),
            (0, What::Clock { by_millis }),
            (0, said(2, true, 3, Some(301))),
            (285_000, said(0, false, 0, None)),
            (0, What::Clock { by_millis }),
            (0, said(2, true, 4, Some(0))),
            (0, said(2, true, 5, Some(0))),
        ];
        let steps = steps.map(|(gap_millis, what)| Step { gap_millis, what });
        let held = forged_reports_hide_nothing(&steps);
        assert!(held.is_ok(), "{by_millis}: {held:?}");
        let raised = told(&mut Engine::new(), &inputs(0, &steps)).concat();
        assert_eq!(raised.len(), 2, "quiet for a window, and still so: {raised:?}");
    }
}

/// Where stamps cannot go further, no time passes: there a record that is left out moves the others.
fn stay_off_the_end_of_time(steps: &mut [Step]) {
    for step in steps {
        if let What::Clock { by_millis } = &mut step.what {
            *by_millis %= 10_000_000;
        }
    }
}

/// The open violations, and whether they are supported.
#[derive(Default)]
struct Book {
    open: BTreeMap<(DeviceName, String, String), (ViolationId, bool)>,
    registered: BTreeSet<DeviceName>,
}

impl Book {
    fn follow(&mut self, step: &Step, changes: Vec<ViolationChange>) {
        if let What::Member {
            thing: number,
            is_registered,
            ..
        } = step.what
        {
            let name = thing(number);
            if is_registered != self.registered.contains(&name) {
                // From here on it counts as another device.
                self.open.retain(|(thing, ..), _| *thing != name);
            }
            if is_registered {
                self.registered.insert(name);
            } else {
                self.registered.remove(&name);
            }
        }
        for change in changes {
            let rule = rule(&change);
            let is_it = self.open.get(&rule).is_some_and(|(id, _)| *id == change.id);
            match change.kind {
                ChangeKind::Raised { is_supported, .. } => drop(self.open.insert(rule, (change.id, is_supported))),
                ChangeKind::Supported { .. } => drop(self.open.insert(rule, (change.id, true))),
                ChangeKind::Cleared { .. } | ChangeKind::Invalidated if is_it => drop(self.open.remove(&rule)),
                _ => {}
            }
        }
    }
}

fn rule(change: &ViolationChange) -> (DeviceName, String, String) {
    (
        change.thing.clone(),
        change.profile.to_string(),
        change.behavior.name.to_string(),
    )
}
