//! Steps that an engine may live through, and the records that they make.

use std::sync::{Arc, Mutex};

use picket_model::behavior::{Behavior, Criteria, Limit, NumericOperator, SetOperator, Test, WindowDuration};
use picket_model::metric::{CustomMetricType, DeviceMetric, Metric};
use picket_model::name::{CertificateId, DeviceName};
use picket_model::profile::{JudgedProfile, JudgingConfig, Target};
use picket_model::record::{Input, Member, Record, ReportRecord, Sender, Stamped};
use picket_model::report::{
    Connection, CustomValue, DeviceMetrics, EstablishedConnections, ListeningPort, ListeningPorts, NetworkStats, Report,
};
use picket_model::time::Timestamp;
use picket_model::violation::ViolationChange;
use proptest::prelude::*;

pub(crate) const N_THINGS: u8 = 3;
pub(crate) const N_CONFIGS: u8 = 6;

/// One record, with the time since the one before it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) gap_millis: i64,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Report(Said),
    Config(u8),
    Member { thing: u8, is_registered: bool, groups: u8 },
    Tick,
    Clock { by_millis: i64 },
}

#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) thing: u8,
    pub(crate) is_attached: bool,
    pub(crate) report_id: u64,
    pub(crate) bytes_out: Option<u64>,
    pub(crate) ports: Option<Vec<u16>>,
    pub(crate) remote: Option<u8>,
    pub(crate) temperature: Option<f64>,
}

/// What one engine did at each record.
pub(crate) type Story = Vec<Vec<ViolationChange>>;

pub(crate) fn gap() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 0i64..400_000,
        2 => Just(300_000i64),
        1 => Just(0i64),
        1 => prop::sample::select(vec![1i64, 284_999, 285_000, 285_001]),
    ]
}

pub(crate) fn long_gap() -> impl Strategy<Value = i64> {
    const DAY: i64 = 86_400_000;
    let edges = vec![DAY - 1, DAY, DAY + 1, 2 * DAY - 1, 2 * DAY, 2 * DAY + 1];
    prop_oneof![20 => gap(), 1 => 0i64..400_000_000, 1 => prop::sample::select(edges)]
}

pub(crate) fn said() -> impl Strategy<Value = Said> {
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

pub(crate) fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        20 => said().prop_map(What::Report),
        2 => (0..N_CONFIGS).prop_map(What::Config),
        2 => (0..N_THINGS, any::<bool>(), 0u8..4)
            .prop_map(|(thing, is_registered, groups)| What::Member { thing, is_registered, groups }),
        1 => Just(What::Tick),
        1 => prop_oneof![-400_000i64..400_000, any::<i64>()].prop_map(|by_millis| What::Clock { by_millis }),
    ]
}

pub(crate) fn steps(gap: impl Strategy<Value = i64>) -> impl Strategy<Value = Vec<Step>> {
    let step = (gap, what()).prop_map(|(gap_millis, what)| Step { gap_millis, what });
    (0..N_CONFIGS, prop::collection::vec(step, 1..80)).prop_map(|(first, mut steps)| {
        let what = What::Config(first);
        steps.insert(0, Step { gap_millis: 0, what });
        steps
    })
}

pub(crate) fn behavior(name: &str, metric: Metric, test: Test, patience: (u8, u8)) -> Arc<Behavior> {
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

pub(crate) fn threshold(operator: NumericOperator, limit: u64) -> Test {
    Test::Threshold {
        operator,
        limit: Limit::Count(limit),
    }
}

/// Six configurations that differ in limits, patience, behaviors, profiles, targets and custom metrics.
pub(crate) fn config(revision: u64, number: u8) -> JudgingConfig {
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
    let profile = |name: &str, behaviors, targets| {
        shared(JudgedProfile {
            name: name.parse().unwrap(),
            behaviors,
            targets,
            retained: Vec::new(),
            export_topic: None,
        })
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
        dimensions: [].into(),
        strict_aws_timing: false,
    }
}

/// As the store gives revisions out: what is the same in them is there once.
fn shared(profile: JudgedProfile) -> Arc<JudgedProfile> {
    static MADE: Mutex<Vec<Arc<JudgedProfile>>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap();
    if let Some(same) = made.iter().find(|made| ***made == profile) {
        return Arc::clone(same);
    }
    made.push(Arc::new(profile));
    Arc::clone(&made[made.len() - 1])
}

pub(crate) fn thing(number: u8) -> DeviceName {
    format!("thing-{number}").parse().unwrap()
}

pub(crate) fn report(said: &Said) -> Record {
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
pub(crate) fn inputs(start_millis: i64, steps: &[Step]) -> Vec<Input> {
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
