//! Whole reports read back as they were.

use std::net::IpAddr;
use std::sync::Arc;

use object_store::memory::InMemory;
use picket_model::record::{Record, ReportRecord, Sender, Stamped};
use picket_model::report::{
    Connection, CustomValue, DeviceMetrics, EstablishedConnections, ListeningPort, ListeningPorts, NetworkStats,
    Report, Voided,
};
use picket_store::history::History;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::fleet::{BEGIN, DAY, HOUR, LIMITS, Log, assert_whole, at, feed, keep, name, report};

fn ports() -> impl Strategy<Value = ListeningPorts> {
    let port = (any::<u16>(), option::of("\\PC{0,8}")).prop_map(|(port, interface)| ListeningPort { port, interface });
    (option::of(vec(port, 0..5)), option::of(0..=1_u64 << 53))
        .prop_map(|(ports, total)| ListeningPorts { ports, total })
}

fn connections() -> impl Strategy<Value = EstablishedConnections> {
    let connection = (
        any::<IpAddr>(),
        any::<Option<u16>>(),
        any::<Option<u16>>(),
        option::of("\\PC{0,8}"),
    );
    let connection = connection.prop_map(|(remote_addr, remote_port, local_port, local_interface)| Connection {
        remote_addr,
        remote_port,
        local_port,
        local_interface,
    });
    (option::of(vec(connection, 0..5)), any::<Option<u16>>()).prop_map(|(connections, total)| EstablishedConnections {
        connections,
        total: total.map(u64::from),
    })
}

fn custom() -> impl Strategy<Value = CustomValue> {
    let number = || any::<f64>().prop_filter("finite", |number| number.is_finite());
    prop_oneof![
        number().prop_map(CustomValue::Number),
        vec(number(), 0..4).prop_map(CustomValue::NumberList),
        vec("\\PC{0,8}", 0..4).prop_map(CustomValue::StringList),
        vec(any::<IpAddr>(), 0..4).prop_map(CustomValue::IpList),
    ]
}

fn any_report() -> impl Strategy<Value = ReportRecord> {
    let count = || option::of(0..=1_u64 << 53);
    let stats =
        (count(), count(), count(), count()).prop_map(|(bytes_in, bytes_out, packets_in, packets_out)| NetworkStats {
            bytes_in,
            bytes_out,
            packets_in,
            packets_out,
        });
    let metrics = (
        option::of(ports()),
        option::of(ports()),
        option::of(stats),
        option::of(connections()),
    );
    let metrics = metrics.prop_map(|(tcp, udp, network_stats, established_connections)| DeviceMetrics {
        listening_tcp_ports: tcp,
        listening_udp_ports: udp,
        network_stats,
        established_connections,
    });
    let custom = btree_map("[a-z]{1,4}".prop_map(|name| name.parse().unwrap()), custom(), 0..4);
    let voided = vec(("\\PC{0,8}", "\\PC{0,8}"), 0..3);
    (
        "[a-c]",
        0..=i64::MAX.unsigned_abs(),
        metrics,
        custom,
        voided,
        any::<bool>(),
    )
        .prop_map(|(thing, report_id, metrics, custom_metrics, voided, is_attached)| {
            let from = report(&thing, 1);
            ReportRecord {
                sender: Sender {
                    is_attached,
                    ..from.sender.clone()
                },
                report: Report {
                    report_id,
                    metrics,
                    custom_metrics,
                    voided: voided
                        .into_iter()
                        .map(|(path, reason)| Voided { path, reason })
                        .collect(),
                },
                ..from
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_reports_at_any_times_read_back(
        reports in vec((any_report(), -30 * HOUR..30 * HOUR), 1..40),
        buffer_bytes_max in 500_usize..100_000,
    ) {
        let log: Log = reports
            .into_iter()
            .map(|(record, millis)| Stamped { at: at(BEGIN + millis), record: Record::Report(Box::new(record)) })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let limits = picket_store::history::HistoryLimits { buffer_bytes_max, ..LIMITS };
            let history = History::over(Arc::new(InMemory::new()), 1, limits).await.unwrap();
            feed(&history, &log).await.unwrap();
            assert_whole(&history, &log, "fed").await;
            keep(&history, &log, BEGIN + 9 * DAY).await.unwrap();
            assert_whole(&history, &log, "merged").await;
        });
    }
}

/// Larger than any payload that is accepted can make it.
#[tokio::test]
async fn a_million_ports_are_one_row() {
    let mut record = report("pump-7", 1);
    let ports = (0..1_000_000_u32).map(|n| ListeningPort {
        port: u16::try_from(n % 65_536).unwrap(),
        interface: None,
    });
    let metrics = &mut record.report.metrics;
    metrics.listening_tcp_ports = Some(ListeningPorts {
        ports: Some(ports.collect()),
        total: Some(1_000_000),
    });
    let remotes = (0..100_000_u32).map(|n| Connection {
        remote_addr: std::net::Ipv4Addr::from(n).into(),
        remote_port: None,
        local_port: None,
        local_interface: None,
    });
    metrics.established_connections = Some(EstablishedConnections {
        connections: Some(remotes.collect()),
        total: Some(100_000),
    });
    let log: Log = vec![
        Stamped {
            at: at(BEGIN),
            record: Record::Report(Box::new(record)),
        },
        super::fleet::reported(BEGIN + 1, "pump-7", 2),
    ];
    let history = History::over(Arc::new(InMemory::new()), 1, LIMITS).await.unwrap();
    feed(&history, &log).await.unwrap();
    history.flush(super::fleet::P).await.unwrap();
    assert_whole(&history, &log, "large").await;
    assert!(
        history
            .reports(&name("pump"), at(0), at(i64::MAX))
            .await
            .unwrap()
            .is_empty()
    );
}
