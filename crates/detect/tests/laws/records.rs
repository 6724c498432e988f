//! Steps that an engine may live through, and the records that they make.

use std::sync::Arc;

use picket_model::connection::DisconnectReason;
use picket_model::meter::{ClientMeter, DimensionMeter, Meter, Presence, Sizes, Tally};
use picket_model::name::{CertificateId, DeviceName};
use picket_model::profile::JudgingConfig;
use picket_model::record::{Input, Member, Record, ReportRecord, Sender, Stamped};
use picket_model::report::{
    Connection, CustomValue, DeviceMetrics, EstablishedConnections, ListeningPort, ListeningPorts, NetworkStats, Report,
};
use picket_model::time::Timestamp;
use proptest::prelude::*;

use crate::config::{N_CONFIGS, config};

pub(crate) const N_THINGS: u8 = 3;

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
    Member {
        thing: u8,
        is_registered: bool,
        groups: u8,
    },
    Tick,
    Clock {
        by_millis: i64,
    },
    Meter(Seen),
    /// By its parity the connection is genuine or not.
    Connected {
        thing: u8,
        connection: u8,
    },
    Disconnected {
        thing: u8,
        connection: u8,
    },
    SessionsEnded,
    /// One of the fleet's percentiles so far: it may be late, or come again.
    Threshold(prop::sample::Index),
}

impl What {
    /// Whether it is one that a device with a loose policy could send in another's name.
    pub(crate) fn is_forged(&self) -> bool {
        match self {
            Self::Report(said) => !said.is_attached,
            Self::Meter(seen) => !seen.is_genuine,
            Self::Connected { connection, .. } | Self::Disconnected { connection, .. } => !is_genuine(*connection),
            _ => false,
        }
    }

    /// The thing that it is about, if it is about one.
    pub(crate) fn thing(&self) -> Option<u8> {
        match self {
            Self::Report(said) => Some(said.thing),
            Self::Meter(seen) => Some(seen.thing),
            Self::Member { thing, .. } | Self::Connected { thing, .. } | Self::Disconnected { thing, .. } => {
                Some(*thing)
            }
            Self::Config(_) | Self::Tick | Self::Clock { .. } | Self::SessionsEnded | Self::Threshold(_) => None,
        }
    }
}

pub(crate) const TICK: Step = Step {
    gap_millis: 0,
    what: What::Tick,
};

/// What the broker saw of a client in a second.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) thing: u8,
    pub(crate) is_genuine: bool,
    pub(crate) sizes_bytes: Vec<u32>,
    pub(crate) n_received: u32,
    pub(crate) n_refused: u32,
    pub(crate) n_refused_attempts: u32,
    pub(crate) address: u8,
    /// Whether all of it was on the dimension's topics.
    pub(crate) is_inside: bool,
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
    prop_oneof![200 => gap(), 1 => 0i64..400_000_000, 1 => prop::sample::select(edges)]
}

/// A correction or a downtime, of up to ten years.
pub(crate) fn clock_step() -> impl Strategy<Value = i64> {
    const DAY: i64 = 86_400_000;
    prop_oneof![
        -400_000i64..400_000,
        -3650 * DAY..3650 * DAY,
        prop::sample::select(vec![
            1_000,
            -1_000,
            300_000,
            3_600_000,
            3 * DAY,
            -3 * DAY,
            3650 * DAY,
            -3650 * DAY
        ]),
    ]
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

pub(crate) fn seen() -> impl Strategy<Value = Seen> {
    let sizes = prop::collection::vec(prop_oneof![0u32..300, Just(u32::MAX)], 0..4);
    let small = || prop_oneof![4 => 0u32..3, 1 => Just(u32::MAX)];
    (
        (0..N_THINGS, prop::bool::weighted(0.7), any::<bool>()),
        (sizes, small(), small(), small(), 0u8..4),
    )
        .prop_map(|((thing, is_genuine, is_inside), counts)| {
            let (sizes_bytes, n_received, n_refused, n_refused_attempts, address) = counts;
            Seen {
                thing,
                is_genuine,
                sizes_bytes,
                n_received,
                n_refused,
                n_refused_attempts,
                address,
                is_inside,
            }
        })
}

pub(crate) fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        14 => said().prop_map(What::Report),
        8 => seen().prop_map(What::Meter),
        3 => (0..N_THINGS, 0u8..4).prop_map(|(thing, connection)| What::Connected { thing, connection }),
        3 => (0..N_THINGS, 0u8..4).prop_map(|(thing, connection)| What::Disconnected { thing, connection }),
        1 => Just(What::SessionsEnded),
        1 => any::<prop::sample::Index>().prop_map(What::Threshold),
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

/// Whether the certificate of the connection of this number is attached to the thing.
fn is_genuine(connection: u8) -> bool {
    connection.is_multiple_of(2)
}

fn presence(number: u8, connection: u8) -> Presence {
    Presence {
        client_id: thing(number),
        is_genuine: is_genuine(connection),
        connection: connection.into(),
        certificate: CertificateId::from_bytes([connection; 32]),
        address: [192, 0, 2, connection].into(),
    }
}

fn meter(seen: &Seen) -> Record {
    let sizes = seen
        .sizes_bytes
        .iter()
        .map(|size_bytes| Sizes::of(usize::try_from(*size_bytes).unwrap()));
    let tally = Tally {
        sent: sizes.reduce(Sizes::and),
        n_received: seen.n_received,
        n_refused: seen.n_refused,
        addresses: [[192, 0, 2, seen.address].into()].into(),
    };
    let (inside, outside) = if seen.is_inside {
        (tally.clone(), Tally::default())
    } else {
        (Tally::default(), tally.clone())
    };
    let dimension = "alarms".parse().unwrap();
    Record::Meter(Meter {
        clients: vec![ClientMeter {
            client_id: thing(seen.thing),
            is_genuine: seen.is_genuine,
            certificate: CertificateId::from_bytes([2; 32]),
            n_refused_attempts: seen.n_refused_attempts,
            n_authorization_failures: seen.n_refused,
            total: tally,
            dimensions: vec![DimensionMeter {
                dimension,
                inside,
                outside,
            }],
        }],
    })
}

/// The records of these steps, from a clock that starts at `start_millis`.
/// `adapt` leaves of each configuration what the law is about. A percentile is a tick here: which one it is shows only as
/// the engine goes on.
pub(crate) fn inputs(start_millis: i64, steps: &[Step], adapt: fn(&mut JudgingConfig)) -> Vec<Input> {
    let mut now = start_millis;
    let mut revision = 0;
    let input = |step: &Step| {
        now = now.saturating_add(step.gap_millis);
        let mut made = None;
        let record = match &step.what {
            What::Report(said) => report(said),
            What::Config(number) => {
                revision += 1;
                made = Some(Arc::new(config(revision, *number, adapt)));
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
            What::Tick | What::Threshold(_) => Record::Tick,
            What::Meter(seen) => meter(seen),
            What::Connected { thing, connection } => Record::Connected(presence(*thing, *connection)),
            What::Disconnected { thing, connection } => {
                Record::Disconnected(presence(*thing, *connection), DisconnectReason::ClientInitiated)
            }
            What::SessionsEnded => Record::SessionsEnded,
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
