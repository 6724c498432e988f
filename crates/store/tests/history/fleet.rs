//! Logs to keep a history of, and a reader of them as the server has one.

use std::time::Duration;

use picket_model::connection::DisconnectReason;
use picket_model::meter::{ClientMeter, Meter, Presence, Tally};
use picket_model::name::{CertificateId, DeviceName};
use picket_model::record::{Record, ReportRecord, Sender, Stamped};
use picket_model::report::{
    Connection, CustomValue, DeviceMetrics, EstablishedConnections, ListeningPort, ListeningPorts, NetworkStats, Report,
};
use picket_model::time::Timestamp;
use picket_store::history::{History, HistoryError, HistoryLimits};
use picket_store::log::{PartitionId, Seq};

pub(crate) const HOUR: i64 = 3_600_000;
pub(crate) const DAY: i64 = 24 * HOUR;
/// 2026-11-25T00:00:00Z.
pub(crate) const BEGIN: i64 = 20_782 * DAY;

pub(crate) const P: PartitionId = PartitionId(0);

pub(crate) const LIMITS: HistoryLimits = HistoryLimits {
    age_max: Duration::from_secs(14 * 86_400),
    wait_max: Duration::from_secs(3600),
    buffer_bytes_max: 64 << 20,
};

pub(crate) type Log = Vec<Stamped>;

pub(crate) fn name(text: &str) -> DeviceName {
    text.parse().unwrap()
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A report of a pump, with a bit of everything in it.
pub(crate) fn report(thing: &str, id: u64) -> ReportRecord {
    let ports = |ports: &[u16]| ListeningPorts {
        ports: Some(
            ports
                .iter()
                .map(|&port| ListeningPort {
                    port,
                    interface: (port != 22).then(|| "eth0".to_owned()),
                })
                .collect(),
        ),
        total: Some(9),
    };
    let connection = Connection {
        remote_addr: [192, 0, 2, (id % 250) as u8].into(),
        remote_port: Some(443),
        local_port: None,
        local_interface: None,
    };
    let custom = [
        ("batt".parse().unwrap(), CustomValue::Number(id as f64 / 2.0)),
        ("list".parse().unwrap(), CustomValue::NumberList(vec![1.0, 2.5])),
        ("none".parse().unwrap(), CustomValue::StringList(vec![])),
        (
            "peers".parse().unwrap(),
            CustomValue::IpList(vec![[10, 0, 0, 7].into()]),
        ),
        (
            "words".parse().unwrap(),
            CustomValue::StringList(vec!["b".to_owned(), "a".to_owned()]),
        ),
    ];
    let mut payload_hash = [0; 16];
    payload_hash[..6].copy_from_slice(&id.to_le_bytes()[..6]);
    ReportRecord {
        thing: name(thing),
        payload_hash,
        sender: Sender {
            certificate: CertificateId::from_bytes([7; 32]),
            client_id: name(thing),
            is_attached: true,
        },
        report: Report {
            report_id: id,
            metrics: DeviceMetrics {
                listening_tcp_ports: Some(ports(&[22, 443])),
                listening_udp_ports: Some(ListeningPorts::default()),
                network_stats: Some(NetworkStats {
                    bytes_in: Some(id * 10),
                    bytes_out: Some(id * 20),
                    packets_in: None,
                    packets_out: Some(id),
                }),
                established_connections: Some(EstablishedConnections {
                    connections: Some(vec![connection.clone(), connection]),
                    total: Some(2),
                }),
            },
            custom_metrics: custom.into(),
            voided: Vec::new(),
        },
    }
}

pub(crate) fn reported(millis: i64, thing: &str, id: u64) -> Stamped {
    Stamped {
        at: at(millis),
        record: Record::Report(Box::new(report(thing, id))),
    }
}

/// One message of so many bytes, and a refused request.
pub(crate) fn metered(millis: i64, client: &str, size_bytes: usize) -> Stamped {
    let mut total = Tally::default();
    total.note_sent(size_bytes, [192, 0, 2, 9].into());
    total.n_received = 2;
    let meter = ClientMeter {
        client_id: name(client),
        is_genuine: true,
        certificate: CertificateId::from_bytes([7; 32]),
        n_refused_attempts: 1,
        n_authorization_failures: 1,
        total,
        dimensions: Vec::new(),
    };
    Stamped {
        at: at(millis),
        record: Record::Meter(Meter { clients: vec![meter] }),
    }
}

pub(crate) fn came(millis: i64, client: &str, connection: u64) -> Stamped {
    Stamped {
        at: at(millis),
        record: Record::Connected(presence(client, connection)),
    }
}

pub(crate) fn went(millis: i64, client: &str, connection: u64) -> Stamped {
    Stamped {
        at: at(millis),
        record: Record::Disconnected(presence(client, connection), DisconnectReason::ClientInitiated),
    }
}

fn presence(client: &str, connection: u64) -> Presence {
    Presence {
        client_id: name(client),
        is_genuine: true,
        connection,
        certificate: CertificateId::from_bytes([7; 32]),
        address: [192, 0, 2, 1].into(),
    }
}

/// Carries the log into history from where it is; what the server does.
pub(crate) async fn feed(history: &History, log: &Log) -> Result<(), HistoryError> {
    loop {
        let next = history.next(P);
        let Some(stamped) = usize::try_from(next.0 - 1).ok().and_then(|at| log.get(at)) else {
            return Ok(());
        };
        if history.is_full(P, stamped) {
            history.flush(P).await?;
        }
        history.take(P, next, stamped.clone());
        assert!(history.mark(P) <= next);
    }
}

/// Feeds, writes all of it, merges all that can be merged by then.
pub(crate) async fn keep(history: &History, log: &Log, now: i64) -> Result<(), HistoryError> {
    feed(history, log).await?;
    if history.is_due(P, at(now)) {
        history.flush(P).await?;
    }
    while history.merge(at(now)).await? {}
    Ok(())
}

/// Whether the history has the reports of the log, each once and as it was.
pub(crate) async fn assert_whole(history: &History, log: &Log, context: &str) {
    let mut things: Vec<&DeviceName> = log.iter().filter_map(thing_of).collect();
    things.sort();
    things.dedup();
    for thing in things {
        let found = history.reports(thing, at(0), at(i64::MAX)).await.unwrap();
        let mut expected: Vec<(Timestamp, Seq, &ReportRecord)> = Vec::new();
        for (seq, stamped) in (1..).map(Seq).zip(log) {
            if let Record::Report(record) = &stamped.record
                && record.thing == *thing
            {
                expected.push((stamped.at, seq, record));
            }
        }
        expected.sort_by_key(|(at, seq, _)| (*at, *seq));
        let found: Vec<_> = found.iter().map(|row| (row.at, row.seq, &*row.record)).collect();
        assert_eq!(found.len(), expected.len(), "{thing}: {context}");
        assert_eq!(found, expected, "{thing}: {context}");
    }
}

fn thing_of(stamped: &Stamped) -> Option<&DeviceName> {
    match &stamped.record {
        Record::Report(record) => Some(&record.thing),
        _ => None,
    }
}
