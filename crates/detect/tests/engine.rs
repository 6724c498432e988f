//! The engine's edges: bounds, counters, explanations, snapshots that are none.
#![expect(clippy::unwrap_used, reason = "a test harness")]

use std::sync::Arc;

use picket_detect::{BadSnapshot, Engine, Measured, State, WindowEntry, snapshot_revision};
use picket_model::name::CertificateId;
use picket_model::profile::JudgingConfig;
use picket_model::record::{Input, Member, Record, ReportRecord, Sender, Stamped};
use picket_model::report::Report;
use picket_model::time::Timestamp;
use picket_model::value::MetricValue;
use picket_model::violation::{ChangeKind, ViolationChange, ViolationId};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_millis(secs * 1000)
}

/// Normal is at most 1000 bytes out in five minutes, two breaches raise, two datapoints clear; and only port 22.
fn config(revision: u64) -> Arc<JudgingConfig> {
    let text = format!(
        r#"{{"revision": {revision}, "customMetrics": {{}}, "profiles": [{{"name": "Sensors", "targets": ["all/things"],
        "behaviors": [
            {{"name": "bytes", "metric": "aws:all-bytes-out", "criteria": {{"comparisonOperator": "less-than-equals",
              "value": {{"count": 1000}}, "durationSeconds": 300, "consecutiveDatapointsToAlarm": 2,
              "consecutiveDatapointsToClear": 2}}}},
            {{"name": "ports", "metric": "aws:listening-tcp-ports", "criteria": {{"comparisonOperator": "in-port-set",
              "value": {{"ports": [22]}}}}}}]}}]}}"#
    );
    Arc::new(JudgingConfig::decode(text.as_bytes()).unwrap())
}

fn configured(at: Timestamp, revision: u64, config: Option<Arc<JudgingConfig>>) -> Input {
    let record = Record::Config { revision };
    let stamped = Stamped { at, record };
    Input { stamped, config }
}

fn report(at: Timestamp, thing: &str, report_id: u64, bytes_out: u64, ports: &[u16]) -> Input {
    let ports: Vec<String> = ports.iter().map(|port| format!(r#"{{"port": {port}}}"#)).collect();
    let text = format!(
        r#"{{"header": {{"report_id": {report_id}, "version": "1.0"}}, "metrics": {{
            "network_stats": {{"bytes_out": {bytes_out}}}, "listening_tcp_ports": {{"ports": [{}]}}}}}}"#,
        ports.join(",")
    );
    let record = Record::Report(Box::new(ReportRecord {
        thing: thing.parse().unwrap(),
        payload_hash: u128::from(report_id).to_le_bytes(),
        sender: Sender {
            certificate: CertificateId::from_bytes([7; 32]),
            client_id: thing.parse().unwrap(),
            is_attached: true,
        },
        report: Report::from_json(text.as_bytes()).unwrap(),
    }));
    let stamped = Stamped { at, record };
    Input { stamped, config: None }
}

fn member(at: Timestamp, thing: &str, is_registered: bool) -> Input {
    let record = Record::Member(Member {
        thing: thing.parse().unwrap(),
        is_registered,
        groups: Vec::new(),
    });
    let stamped = Stamped { at, record };
    Input { stamped, config: None }
}

fn in_short(changes: &[ViolationChange]) -> Vec<String> {
    let word = |change: &ViolationChange| match change.kind {
        ChangeKind::Raised { .. } => "raised",
        ChangeKind::Continued { .. } => "continued",
        ChangeKind::Supported { .. } => "supported",
        ChangeKind::Cleared { .. } => "cleared",
        ChangeKind::Invalidated => "invalidated",
    };
    changes
        .iter()
        .map(|change| format!("{} {} {}", change.thing, change.behavior.name, word(change)))
        .collect()
}

#[test]
fn unregistered_devices_seen_least_recently_are_dropped() {
    let mut engine = Engine::bounded(2);
    engine.apply(configured(at(0), 1, Some(config(1))));
    engine.apply(member(at(0), "known", true));
    let mut told = Vec::new();
    for (secs, thing, port) in [
        (1, "known", 23),
        (2, "a", 23),
        (3, "b", 23),
        (4, "a", 22),
        (5, "a", 23),
        (6, "c", 22),
        (7, "b", 22), // had been dropped: begins anew, and a goes
    ] {
        let id = u64::try_from(secs).unwrap();
        told.extend(in_short(&engine.apply(report(at(secs), thing, id, 0, &[port])).changes));
    }
    let expected = [
        "known ports raised",
        "a ports raised",
        "b ports raised",
        "a ports cleared",
        "a ports raised",
        "b ports invalidated",
        "a ports invalidated",
    ];
    assert_eq!(told, expected);
    assert_eq!((engine.n_unregistered(), engine.n_devices()), (2, 3));
    assert_eq!(engine.counters().n_dropped, 2);
    // Registering makes room; a thing that never reported leaves nothing behind.
    engine.apply(member(at(8), "c", true));
    engine.apply(member(at(8), "silent", true));
    engine.apply(member(at(9), "silent", false));
    engine.apply(member(at(9), "never-heard-of", false));
    assert_eq!((engine.n_unregistered(), engine.n_devices()), (1, 3));
}

#[test]
fn a_revision_that_is_in_force_already_is_ignored() {
    let mut engine = Engine::new();
    assert_eq!(engine.revision(), 0);
    engine.apply(configured(at(0), 5, Some(config(5))));
    assert_eq!(engine.revision(), 5);
    engine.apply(report(at(1), "pump-7", 1, 0, &[23]));
    for (revision, given) in [
        (5, Some(config(5))),
        (4, Some(config(4))),
        (6, None),
        (6, Some(config(7))),
    ] {
        assert!(engine.apply(configured(at(2), revision, given)).changes.is_empty());
        assert_eq!(engine.revision(), 5);
    }
    assert_eq!(engine.counters().n_stale_configs, 4);
}

#[test]
fn reports_are_counted() {
    let mut engine = Engine::new();
    engine.apply(configured(at(0), 1, Some(config(1))));
    engine.apply(report(at(1), "pump-7", 1, 0, &[22]));
    engine.apply(report(at(2), "pump-7", 1, 0, &[22]));
    engine.apply(report(at(3), "pump-7", 2, 0, &[22]));
    let counters = engine.counters();
    assert_eq!(
        (counters.n_reports, counters.n_duplicates, counters.n_datapoints),
        (2, 1, 4)
    );
    assert_eq!(counters.n_unattached, 0);
}

#[test]
fn an_id_follows_from_the_raising_record() {
    let (thing, profile, behavior) = (
        "pump-7".parse().unwrap(),
        "Sensors".parse().unwrap(),
        "ports".parse().unwrap(),
    );
    let mut engine = Engine::new();
    engine.apply(configured(at(0), 1, Some(config(1))));
    let ids: Vec<ViolationId> = [(1, 23), (1, 22), (1, 23), (2, 22), (3, 23)]
        .into_iter()
        .zip(1..)
        .flat_map(|((secs, port), id)| engine.apply(report(at(secs), "pump-7", id, 0, &[port])).changes)
        .filter(|change| matches!(change.kind, ChangeKind::Raised { .. }))
        .map(|change| change.id)
        .collect();
    // The second one was raised within the same millisecond.
    let expected = [1_000, 1_001, 3_000]
        .map(|millis| ViolationId::derive(&thing, &profile, &behavior, Timestamp::from_millis(millis)));
    assert_eq!(ids, expected);

    // Nor may registering within the millisecond of an alarm lead to a second one of the same id.
    let id = |changes: Vec<ViolationChange>| changes[0].id;
    let first = id(engine.apply(report(at(9), "pump-8", 1, 0, &[23])).changes);
    engine.apply(member(at(9), "pump-8", true));
    assert_ne!(first, id(engine.apply(report(at(9), "pump-8", 2, 0, &[23])).changes));
}

#[test]
fn an_explanation_shows_what_led_here_and_what_would_clear_it() {
    let (thing, profile) = ("pump-7".parse().unwrap(), "Sensors".parse().unwrap());
    let bytes = "bytes".parse().unwrap();
    let mut engine = Engine::new();
    engine.apply(configured(at(0), 1, Some(config(1))));
    assert_eq!(engine.explain(&thing, &profile, &bytes), None, "not heard of yet");

    engine.apply(report(at(10), "pump-7", 1, 900, &[]));
    engine.apply(report(at(20), "pump-7", 2, 300, &[]));
    let running = engine.explain(&thing, &profile, &bytes).unwrap();
    assert_eq!(
        running.state,
        State::Quiet {
            n_breaches: 1,
            n_to_alarm: 2
        }
    );
    assert_eq!((running.breaches.len(), running.clearing), (1, None));

    let raised = engine.apply(report(at(30), "pump-7", 3, 50, &[])).changes;
    let found = engine.explain(&thing, &profile, &bytes).unwrap();
    let violation = raised[0].id;
    let raised_at = at(30);
    assert_eq!(
        found.state,
        State::InAlarm {
            violation,
            raised_at,
            is_supported: true,
            is_eager: false,
        }
    );
    assert_eq!((found.is_registered, found.last_seen), (false, Some(at(30))));
    let breaches: Vec<_> = found.breaches.iter().map(|breach| (breach.at, breach.value)).collect();
    assert_eq!(
        breaches,
        [(at(20), Measured::Count(1200)), (at(30), Measured::Count(1250))]
    );
    let window = found.window.unwrap();
    assert_eq!((window.since, window.sum), (Some(at(10)), 1250));
    let entry = |secs, amount| WindowEntry {
        from: at(secs),
        to: at(secs),
        amount,
    };
    assert_eq!(window.entries, [entry(10, 900), entry(20, 300), entry(30, 50)]);
    let clearing = found.clearing.unwrap();
    assert_eq!((clearing.n_normal, clearing.is_by_genuine_only), (2, true));
    // Without the 900 the rest is normal: 285 s after it came.
    assert_eq!(clearing.window_empties_at, Some(at(295)));

    assert_eq!(
        in_short(&engine.apply(report(at(294), "pump-7", 4, 0, &[])).changes),
        ["pump-7 bytes continued"]
    );
    assert!(engine.apply(report(at(295), "pump-7", 5, 0, &[])).changes.is_empty());
    let halfway = engine.explain(&thing, &profile, &bytes).unwrap().clearing.unwrap();
    assert_eq!((halfway.n_normal, halfway.window_empties_at), (1, None));
    assert_eq!(
        in_short(&engine.apply(report(at(296), "pump-7", 6, 0, &[])).changes),
        ["pump-7 bytes cleared"]
    );
}

#[test]
fn an_explanation_of_a_list_names_the_offending_elements_within_bounds() {
    let mut engine = Engine::new();
    engine.apply(configured(at(0), 1, Some(config(1))));
    let ports: Vec<u16> = (20..120).collect();
    engine.apply(report(at(1), "pump-7", 1, 0, &ports));
    let found = engine
        .explain(
            &"pump-7".parse().unwrap(),
            &"Sensors".parse().unwrap(),
            &"ports".parse().unwrap(),
        )
        .unwrap();
    assert_eq!(found.latest.unwrap().value, Measured::Elements(100));
    assert_eq!(
        found.breaches[0].offending,
        Some(MetricValue::Ports([20, 21, 23, 24, 25, 26, 27, 28].into()))
    );
    assert_eq!(found.clearing.unwrap().window_empties_at, None);
}

#[test]
fn what_is_no_snapshot_is_refused_with_the_reason() {
    let mut engine = Engine::bounded(7);
    engine.apply(configured(at(0), 3, Some(config(3))));
    engine.apply(report(at(1), "pump-7", 1, 2000, &[23]));
    let bytes = engine.snapshot();
    assert_eq!(snapshot_revision(&bytes).unwrap(), 3);
    let refused = |bytes: &[u8], config| Engine::restore(bytes, config).unwrap_err();
    assert!(matches!(
        refused(&bytes, config(4)),
        BadSnapshot::Revision { found: 3, given: 4 }
    ));
    assert!(matches!(
        refused(&[], config(3)),
        BadSnapshot::TooShort { size_bytes: 0 }
    ));
    assert!(matches!(
        refused(&bytes[..8], config(3)),
        BadSnapshot::TooShort { size_bytes: 8 }
    ));
    for n_bytes in 9..bytes.len() {
        assert!(
            matches!(refused(&bytes[..n_bytes], config(3)), BadSnapshot::Malformed(_)),
            "{n_bytes} bytes"
        );
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(refused(&longer, config(3)), BadSnapshot::Malformed(_)));
    let mut other = bytes;
    other[0] = 9;
    assert_eq!(
        refused(&other, config(3)).to_string(),
        "snapshot has layout 9, expected 3"
    );
}
