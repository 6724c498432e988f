//! What a device may throw at the engine without taking more than its share of memory, and percentiles that come when they
//! please.
#![expect(clippy::unwrap_used, reason = "a test harness")]

use std::sync::Arc;

use picket_detect::{Engine, Outcome};
use picket_model::fleet::{Quantity, Threshold};
use picket_model::meter::{ClientMeter, Meter, Tally};
use picket_model::name::CertificateId;
use picket_model::profile::JudgingConfig;
use picket_model::record::{Input, Record, ReportRecord, Sender, Stamped};
use picket_model::report::{Connection, ListeningPort, Report};
use picket_model::time::Timestamp;

const CONFIG: &str = r#"{"revision": 1, "customMetrics": {}, "profiles": [{"name": "Door", "targets": ["all/things"], "behaviors": [
{"name": "from", "metric": "aws:source-ip-address", "criteria": {"comparisonOperator": "in-cidr-set", "value": {"cidrs": ["192.0.2.0/24"]}}},
{"name": "ports", "metric": "aws:listening-tcp-ports", "criteria": {"comparisonOperator": "in-port-set", "value": {"ports": [22]}}},
{"name": "remotes", "metric": "aws:destination-ip-addresses", "criteria": {"comparisonOperator": "in-cidr-set", "value": {"cidrs": ["192.0.2.0/24"]}}},
{"name": "size", "metric": "aws:message-byte-size", "criteria": {"comparisonOperator": "less-than-equals", "durationSeconds": 300, "statisticalThreshold": {"statistic": "p50"}}}]}]}"#;

fn engine(n_unregistered_max: usize) -> Engine {
    let mut engine = Engine::bounded(n_unregistered_max);
    let config = Arc::new(JudgingConfig::decode(CONFIG.as_bytes()).unwrap());
    engine.apply(Input {
        stamped: stamped(0, Record::Config { revision: 1 }),
        config: Some(config),
    });
    engine
}

fn stamped(secs: i64, record: Record) -> Stamped {
    let at = Timestamp::from_millis(secs * 1000);
    Stamped { at, record }
}

fn told(engine: &mut Engine, secs: i64, record: Record) -> Outcome {
    let stamped = stamped(secs, record);
    engine.apply(Input { stamped, config: None })
}

fn meter(client_id: &str, address: [u8; 4], size_bytes: usize) -> Record {
    let mut total = Tally::default();
    total.note_sent(size_bytes, address.into());
    Record::Meter(Meter {
        clients: vec![ClientMeter {
            client_id: client_id.parse().unwrap(),
            is_genuine: true,
            certificate: CertificateId::from_bytes([7; 32]),
            n_refused_attempts: 0,
            n_authorization_failures: 0,
            total,
            dimensions: Vec::new(),
        }],
    })
}

#[test]
fn a_flood_of_client_ids_drops_those_seen_least_recently() {
    let mut engine = engine(100);
    for nth in 0..20_000 {
        told(
            &mut engine,
            nth / 100,
            meter(&format!("client-{nth}"), [192, 0, 2, 1], 10),
        );
    }
    assert_eq!((engine.n_devices(), engine.n_unregistered()), (100, 100));
    assert_eq!(engine.counters().n_dropped, 19_900);
    assert!(engine.snapshot().len() < 100 * 1_000);
}

#[test]
fn a_million_ports_and_remotes_and_many_addresses_leave_little_behind() {
    let mut engine = engine(100);
    let connection = |nth: u32| Connection {
        remote_addr: std::net::Ipv4Addr::from_bits(nth).into(),
        remote_port: None,
        local_port: None,
        local_interface: None,
    };
    let port = |nth: u32| ListeningPort {
        port: u16::try_from(nth % 65_536).unwrap(),
        interface: None,
    };
    let text = r#"{"header": {"report_id": 1, "version": "1.0"}, "metrics": {"listening_tcp_ports": {"ports": []},
        "tcp_connections": {"established_connections": {"connections": []}}}}"#;
    let mut report = Report::from_json(text.as_bytes()).unwrap();
    let metrics = &mut report.metrics;
    metrics.listening_tcp_ports.as_mut().unwrap().ports = Some((0..1_000_000).map(port).collect());
    metrics.established_connections.as_mut().unwrap().connections = Some((0..1_000_000).map(connection).collect());
    let record = Record::Report(Box::new(ReportRecord {
        thing: "pump-7".parse().unwrap(),
        payload_hash: [1; 16],
        sender: Sender {
            certificate: CertificateId::from_bytes([7; 32]),
            client_id: "pump-7".parse().unwrap(),
            is_attached: true,
        },
        report,
    }));
    assert_eq!(told(&mut engine, 1, record).changes.len(), 2);
    for nth in 0..50_000u32 {
        let [_, _, high, low] = nth.to_be_bytes();
        told(&mut engine, 2, meter("pump-7", [198, 51, high, low], 10));
    }
    assert!(engine.snapshot().len() < 5_000, "{} bytes", engine.snapshot().len());
}

/// At most four windows wait. What comes too late, again, or for other criteria is left out.
#[test]
fn percentiles_may_come_late_or_again_or_never() {
    let mut engine = engine(100);
    let mut windows = Vec::new();
    for nth in 1..=6 {
        for (client_id, size_bytes) in [("small", 10), ("large", 1_000)] {
            told(
                &mut engine,
                nth * 300 - 10,
                meter(client_id, [192, 0, 2, 1], size_bytes),
            );
        }
        let mut samples = told(&mut engine, nth * 300, Record::Tick).samples;
        let sample = samples.pop().unwrap();
        assert_eq!(sample.values, [Quantity::Count(10), Quantity::Count(1_000)]);
        windows.push(sample);
    }
    let threshold = |nth: usize| {
        let sample = windows[nth].clone();
        Threshold::of(sample.window, sample.statistic, sample.values)
    };
    let mut n_changes = |threshold| told(&mut engine, 1_900, Record::Threshold(threshold)).changes.len();
    assert_eq!(n_changes(threshold(0)), 0, "six have closed since: forgotten");
    let mut other = threshold(3);
    other.window.fingerprint ^= 1;
    assert_eq!(n_changes(other), 0, "of other criteria");
    assert_eq!(
        n_changes(threshold(3)),
        1,
        "late, but in time: the larger one is in alarm"
    );
    assert_eq!(n_changes(threshold(3)), 0, "again");
    assert_eq!(n_changes(threshold(2)), 0, "before one that was judged");
    assert_eq!(n_changes(threshold(5)), 1, "one in between never came: still in alarm");
    assert_eq!(n_changes(threshold(4)), 0);
}
