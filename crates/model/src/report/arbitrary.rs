//! Any report, for laws that hold for all of them.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::{
    Connection, CustomValue, DeviceMetrics, EstablishedConnections, ListeningPort, ListeningPorts, NetworkStats,
    Report, Voided,
};

/// Any report in which a list comes with a total, as decoded ones do.
pub(crate) fn report() -> impl Strategy<Value = Report> {
    let custom_metrics = btree_map(
        "[a-z_-][a-zA-Z0-9_-]{0,20}".prop_map(|name| name.parse().unwrap()),
        custom_value(),
        0..4,
    );
    (0..=i64::MAX.unsigned_abs(), device_metrics(), custom_metrics).prop_map(|(report_id, metrics, custom_metrics)| {
        Report {
            report_id,
            metrics,
            custom_metrics,
            voided: Vec::new(),
        }
    })
}

/// Any data that were left out.
pub(crate) fn voided() -> impl Strategy<Value = Vec<Voided>> {
    vec((".{0,20}", ".{0,20}"), 0..3).prop_map(|voided| {
        voided
            .into_iter()
            .map(|(path, reason)| Voided { path, reason })
            .collect()
    })
}

fn device_metrics() -> impl Strategy<Value = DeviceMetrics> {
    (
        option::of(listening_ports()),
        option::of(listening_ports()),
        option::of(network_stats()),
        option::of(established_connections()),
    )
        .prop_map(|(tcp, udp, network_stats, established_connections)| DeviceMetrics {
            listening_tcp_ports: tcp,
            listening_udp_ports: udp,
            network_stats,
            established_connections,
        })
}

fn listening_ports() -> impl Strategy<Value = ListeningPorts> {
    let port = (any::<u16>(), option::of(interface()));
    // No port repeats exactly: a reader may keep such a repetition or drop it.
    let ports = proptest::collection::btree_set(port, 0..5);
    (option::of(ports), counter()).prop_map(|(ports, total)| {
        let ports: Option<Vec<_>> = ports.map(|ports| {
            ports
                .into_iter()
                .map(|(port, interface)| ListeningPort { port, interface })
                .collect()
        });
        let total = ports.is_some().then_some(total);
        ListeningPorts { ports, total }
    })
}

fn established_connections() -> impl Strategy<Value = EstablishedConnections> {
    let connection = (
        any::<std::net::IpAddr>(),
        any::<Option<u16>>(),
        any::<Option<u16>>(),
        option::of(interface()),
    );
    (option::of(vec(connection, 0..5)), option::of(counter())).prop_map(|(connections, total)| {
        let connections: Option<Vec<_>> = connections.map(|connections| {
            connections
                .into_iter()
                .map(|(remote_addr, remote_port, local_port, local_interface)| Connection {
                    remote_addr: remote_addr.to_canonical(),
                    remote_port,
                    local_port,
                    local_interface,
                })
                .collect()
        });
        let total = total.or(connections.is_some().then_some(7));
        EstablishedConnections { connections, total }
    })
}

fn network_stats() -> impl Strategy<Value = NetworkStats> {
    let counter = || option::of(counter());
    (counter(), counter(), counter(), counter()).prop_map(|(bytes_in, bytes_out, packets_in, packets_out)| {
        NetworkStats {
            bytes_in,
            bytes_out,
            packets_in,
            packets_out,
        }
    })
}

fn custom_value() -> impl Strategy<Value = CustomValue> {
    // Numbers of at most 15 digits, which AWS promises to keep: a JSON reader may round others in the last place.
    let number =
        || (-100_000_000_000_000..=100_000_000_000_000_i64).prop_map(|thousandths| thousandths as f64 / 1000.0);
    let address = any::<std::net::IpAddr>().prop_map(|address| address.to_canonical());
    prop_oneof![
        number().prop_map(CustomValue::Number),
        vec(number(), 0..4).prop_map(CustomValue::NumberList),
        vec("[a-zA-Z0-9:_/.-]{0,8}", 0..4).prop_map(CustomValue::StringList),
        vec(address, 0..4).prop_map(CustomValue::IpList),
    ]
}

fn counter() -> impl Strategy<Value = u64> {
    prop_oneof![0..100_u64, 0..=1_u64 << 53]
}

fn interface() -> impl Strategy<Value = String> {
    "[a-z]{3}[0-9]|\\PC{0,8}"
}
