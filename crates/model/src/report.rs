//! A device's report: what it listens on, whom it talks to, how much it sends.
//!
//! Source of the shape: AWS IoT Device Defender's device-side metrics document, version 1.0.

#[cfg(test)]
pub(crate) mod arbitrary;
mod at;
mod decode;
mod encode;
mod pen;
pub mod reply;
mod tree;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

use crate::name::MetricName;

pub use decode::ReportError;
pub use encode::KeyStyle;

/// One report, decoded. Every absent block is `None`: it gives no datapoint. An empty list is a datapoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// `header.report_id`, 0 to 2^63-1. Unique per report by intention only: real agents restart at boot.
    pub report_id: u64,
    /// `metrics`, all `None` when the block is absent or empty.
    pub metrics: DeviceMetrics,
    /// `custom_metrics`, values already checked; those that broke a rule are in `voided`.
    pub custom_metrics: BTreeMap<MetricName, CustomValue>,
    /// Data that was left out although the report was accepted, with the reason.
    pub voided: Vec<Voided>,
}

/// The blocks of `metrics`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceMetrics {
    /// `listening_tcp_ports`
    pub listening_tcp_ports: Option<ListeningPorts>,
    /// `listening_udp_ports`
    pub listening_udp_ports: Option<ListeningPorts>,
    /// `network_stats`
    pub network_stats: Option<NetworkStats>,
    /// `tcp_connections.established_connections`
    pub established_connections: Option<EstablishedConnections>,
}

/// Ports that listen, of one protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListeningPorts {
    /// The listed ports, sorted by (port, interface). `None` when only a total was sent: no datapoint for the set.
    pub ports: Option<Vec<ListeningPort>>,
    /// `total`, or the number of items in the list when absent. May exceed the list: agents sample. `None` if neither.
    pub total: Option<u64>,
}

/// One listening port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListeningPort {
    /// 0 to 65535 (0 is accepted, agents send it).
    pub port: u16,
    /// The interface or address it is bound to, if told; at most 256 bytes are kept.
    pub interface: Option<String>,
}

/// Deltas since the previous report. A counter that was negative or above 2^53 is `None` and in [`Report::voided`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkStats {
    /// Bytes received.
    pub bytes_in: Option<u64>,
    /// Bytes sent.
    pub bytes_out: Option<u64>,
    /// Packets received.
    pub packets_in: Option<u64>,
    /// Packets sent.
    pub packets_out: Option<u64>,
}

/// Established TCP connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EstablishedConnections {
    /// The listed connections. `None` when only a total was sent.
    pub connections: Option<Vec<Connection>>,
    /// `total`, or the number of items in the list when absent.
    pub total: Option<u64>,
}

/// One established TCP connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    /// The remote address; an IPv4-mapped IPv6 address is kept as IPv4, a zone is dropped.
    pub remote_addr: IpAddr,
    /// The remote port, if told.
    pub remote_port: Option<u16>,
    /// The local port, if told.
    pub local_port: Option<u16>,
    /// The local interface, if told; at most 256 bytes are kept.
    pub local_interface: Option<String>,
}

/// The value of a custom metric, by its own type.
#[derive(Clone, Debug, PartialEq)]
pub enum CustomValue {
    /// `[{"number": 71.5}]`, finite.
    Number(f64),
    /// `[{"number_list": [1, 2, 3]}]`, finite.
    NumberList(Vec<f64>),
    /// `[{"string_list": ["v_1"]}]`
    StringList(Vec<String>),
    /// `[{"ip_list": ["172.0.0.10"]}]`
    IpList(Vec<IpAddr>),
}

/// A datum that was left out of an accepted report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voided {
    /// Where it stood, for example `network_stats.bytes_out`.
    pub path: String,
    /// Why it was left out, in words.
    pub reason: String,
}

impl Report {
    /// The most bytes a report may have: the broker's bound on payloads, 128 KiB.
    pub const SIZE_BYTES_MAX: usize = 128 * 1024;
}

/// What a payload is known by: the first 16 bytes of its SHA-256.
pub fn payload_hash(payload: &[u8]) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&Sha256::digest(payload)[..16]);
    hash
}
