//! The report's schema: what is needed, what is forgiven, what is left out.
//!
//! Real agents are sloppy in known ways, and all of them must be understood: long and short keys mixed at any level,
//! `null` for absent, whole numbers written as floats, counters that wrapped. What makes a report unusable refuses it;
//! what spoils one datum leaves out that datum and says so.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::at::{At, Name, leave_out, name};
use super::tree::{Document, Node, Tree, Unreadable};
use super::{
    Connection, CustomValue, DeviceMetrics, EstablishedConnections, ListeningPort, ListeningPorts, NetworkStats,
    Report, Voided,
};
use crate::name::{BadName, MetricName};

/// Items of a list for which room is made before they are seen: many may be of no use.
const ITEMS_RESERVED_MAX: usize = 64;

const HEADER: Name = name("header", "hed", "header");
const REPORT_ID: Name = name("report_id", "rid", "header.report_id");
const VERSION: Name = name("version", "v", "header.version");
const METRICS: Name = name("metrics", "met", "metrics");
const CUSTOM_METRICS: Name = name("custom_metrics", "cmet", "custom_metrics");
const TCP: Name = name("listening_tcp_ports", "tp", "listening_tcp_ports");
const UDP: Name = name("listening_udp_ports", "up", "listening_udp_ports");
const PORTS: Name = name("ports", "pts", "ports");
const PORT: Name = name("port", "pt", "ports[].port");
const INTERFACE: Name = name("interface", "if", "ports[].interface");
const TOTAL: Name = name("total", "t", "total");
const NETWORK_STATS: Name = name("network_stats", "ns", "network_stats");
const BYTES_IN: Name = name("bytes_in", "bi", "network_stats.bytes_in");
const BYTES_OUT: Name = name("bytes_out", "bo", "network_stats.bytes_out");
const PACKETS_IN: Name = name("packets_in", "pi", "network_stats.packets_in");
const PACKETS_OUT: Name = name("packets_out", "po", "network_stats.packets_out");
const TCP_CONNECTIONS: Name = name("tcp_connections", "tc", "tcp_connections");
const ESTABLISHED: Name = name("established_connections", "ec", "established_connections");
const CONNECTIONS: Name = name("connections", "cs", "connections");
const REMOTE_ADDR: Name = name("remote_addr", "rad", "connections[].remote_addr");
const LOCAL_PORT: Name = name("local_port", "lp", "connections[].local_port");
const LOCAL_INTERFACE: Name = name("local_interface", "li", "connections[].local_interface");

/// Why a report was refused. The text goes back to the device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// More bytes than a payload may have.
    #[error(
        "Malformed metrics report: {size_bytes} bytes, at most {} are read",
        Report::SIZE_BYTES_MAX
    )]
    TooLarge {
        /// Bytes found.
        size_bytes: usize,
    },
    /// Not JSON, or not CBOR, or nested too deeply.
    #[error("Malformed metrics report: {detail}")]
    Syntax {
        /// What the reader stumbled over.
        detail: String,
        /// The report's id, if the header came whole before that.
        report_id: Option<u64>,
    },
    /// A member is missing or of the wrong kind.
    #[error("Malformed metrics report: {path} is {found}, expected {expected}")]
    Shape {
        /// Where, with long names.
        path: String,
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
        /// The report's id, if it could be read.
        report_id: Option<u64>,
    },
}

impl ReportError {
    fn of(self, report_id: u64) -> Self {
        match self {
            Self::Shape {
                path, found, expected, ..
            } => Self::Shape {
                path,
                found,
                expected,
                report_id: Some(report_id),
            },
            other => other,
        }
    }

    /// The refused report's id, if it could be read.
    pub fn report_id(&self) -> Option<u64> {
        match self {
            Self::Shape { report_id, .. } | Self::Syntax { report_id, .. } => *report_id,
            Self::TooLarge { .. } => None,
        }
    }
}

impl Report {
    /// Reads a report in JSON.
    ///
    /// # Errors
    /// The payload is too large, not JSON, or not a report; the text says where and why.
    pub fn from_json(payload: &[u8]) -> Result<Self, ReportError> {
        bounded(payload)?;
        read(Document::from_json(payload))
    }

    /// Reads a report in CBOR.
    ///
    /// # Errors
    /// The payload is too large, not CBOR, or not a report; the text says where and why.
    pub fn from_cbor(payload: &[u8]) -> Result<Self, ReportError> {
        bounded(payload)?;
        read(Document::from_cbor(payload))
    }
}

fn bounded(payload: &[u8]) -> Result<(), ReportError> {
    if Report::SIZE_BYTES_MAX < payload.len() {
        return Err(ReportError::TooLarge {
            size_bytes: payload.len(),
        });
    }
    Ok(())
}

fn read(document: Result<Document<'_>, Unreadable<'_>>) -> Result<Report, ReportError> {
    let document = document.map_err(|Unreadable { detail, before }| ReportError::Syntax {
        detail,
        report_id: id_in_whole_header(&before),
    })?;
    let root = At {
        tree: document.root(),
        path: "report",
    };
    let [header, metrics, custom] = root.members(&[HEADER, METRICS, CUSTOM_METRICS])?;
    let [report_id, version] = header.members(&[REPORT_ID, VERSION])?;
    let report_id = report_id.report_id()?;
    let rest = || {
        version.version()?;
        if metrics.tree.is_none() && custom.tree.is_none() {
            return Err(root.not("neither metrics nor custom_metrics", "at least one of the two"));
        }
        read_rest(report_id, metrics, custom)
    };
    rest().map_err(|error: ReportError| error.of(report_id))
}

/// The id of a report that ends too early, or goes on wrongly. A header that is not whole may hold half an id.
fn id_in_whole_header(before: &Document<'_>) -> Option<u64> {
    let root = At {
        tree: before.root(),
        path: "report",
    };
    let [header] = root.members(&[HEADER]).ok()?;
    let [report_id] = header.members(&[REPORT_ID]).ok()?;
    report_id
        .report_id()
        .ok()
        .filter(|_| header.tree.is_some_and(Tree::is_whole))
}

fn read_rest(report_id: u64, metrics: At<'_>, custom: At<'_>) -> Result<Report, ReportError> {
    let mut voided = Vec::new();
    let metrics = read_metrics(metrics, &mut voided)?;
    let custom_metrics = read_custom(custom, &mut voided)?;
    Ok(Report {
        report_id,
        metrics,
        custom_metrics,
        voided,
    })
}

fn read_metrics(metrics: At<'_>, voided: &mut Vec<Voided>) -> Result<DeviceMetrics, ReportError> {
    let [tcp, udp, stats, connections] = metrics.members(&[TCP, UDP, NETWORK_STATS, TCP_CONNECTIONS])?;
    let [established] = connections.members(&[ESTABLISHED])?;
    Ok(DeviceMetrics {
        listening_tcp_ports: read_ports(tcp, voided)?,
        listening_udp_ports: read_ports(udp, voided)?,
        network_stats: read_stats(stats, voided)?,
        established_connections: read_connections(established, voided)?,
    })
}

fn read_ports(block: At<'_>, voided: &mut Vec<Voided>) -> Result<Option<ListeningPorts>, ReportError> {
    if block.tree.is_none() {
        return Ok(None);
    }
    let [ports, total] = block.members(&[PORTS, TOTAL])?;
    let n_listed = ports.n_listed()?;
    let mut kept = Vec::with_capacity(n_listed.unwrap_or(0).min(ITEMS_RESERVED_MAX));
    for item in ports.items("ports[]") {
        let [port, interface] = item.members(&[PORT, INTERFACE])?;
        let interface = interface.text()?.map(str::to_owned);
        match port.port()? {
            Some(port) => kept.push(ListeningPort { port, interface }),
            // AWS does not demand the member.
            None => item.void("has no port", voided),
        }
    }
    kept.sort_unstable();
    kept.dedup();
    Ok(Some(ListeningPorts {
        total: total.total(n_listed, voided)?,
        ports: usable(n_listed, kept),
    }))
}

fn read_stats(block: At<'_>, voided: &mut Vec<Voided>) -> Result<Option<NetworkStats>, ReportError> {
    if block.tree.is_none() {
        return Ok(None);
    }
    let [bytes_in, bytes_out, packets_in, packets_out] =
        block.members(&[BYTES_IN, BYTES_OUT, PACKETS_IN, PACKETS_OUT])?;
    Ok(Some(NetworkStats {
        bytes_in: bytes_in.counter(voided)?,
        bytes_out: bytes_out.counter(voided)?,
        packets_in: packets_in.counter(voided)?,
        packets_out: packets_out.counter(voided)?,
    }))
}

fn read_connections(block: At<'_>, voided: &mut Vec<Voided>) -> Result<Option<EstablishedConnections>, ReportError> {
    if block.tree.is_none() {
        return Ok(None);
    }
    let [connections, total] = block.members(&[CONNECTIONS, TOTAL])?;
    let n_listed = connections.n_listed()?;
    let mut kept = Vec::with_capacity(n_listed.unwrap_or(0).min(ITEMS_RESERVED_MAX));
    for item in connections.items("connections[]") {
        let [remote, local_port, local_interface] = item.members(&[REMOTE_ADDR, LOCAL_PORT, LOCAL_INTERFACE])?;
        let text = remote.text()?.ok_or_else(|| remote.missing("a text ip:port"))?;
        let Some((remote_addr, remote_port)) = socket_address(text) else {
            remote.void(format_args!("{text:?} is no ip:port"), voided);
            continue;
        };
        kept.push(Connection {
            remote_addr,
            remote_port,
            local_port: local_port.port()?,
            local_interface: local_interface.text()?.map(str::to_owned),
        });
    }
    Ok(Some(EstablishedConnections {
        total: total.total(n_listed, voided)?,
        connections: usable(n_listed, kept),
    }))
}

/// What could be used of a list. `None` also when it had items but none of use: an empty list is normal and clears
/// alarms, so a device could otherwise clear its own by sending nonsense.
fn usable<T>(n_listed: Option<usize>, kept: Vec<T>) -> Option<Vec<T>> {
    n_listed
        .filter(|&n_listed| n_listed == 0 || !kept.is_empty())
        .map(|_| kept)
}

/// Custom metrics: a wrong container is malformed, as on AWS; a wrong value is left out.
fn read_custom(block: At<'_>, voided: &mut Vec<Voided>) -> Result<BTreeMap<MetricName, CustomValue>, ReportError> {
    let mut values = BTreeMap::new();
    for (name, tree) in block.object()?.members() {
        if tree.is_null() {
            continue;
        }
        if !matches!(tree.node(), Node::List(_)) {
            return Err(block.not(tree.kind(), "for each metric a list of one object"));
        }
        let object = only(tree.items())
            .filter(|object| matches!(object.node(), Node::Map(_)))
            .ok_or_else(|| {
                block.not(
                    "a list that does not hold exactly one object",
                    "for each metric a list of one object",
                )
            })?;
        let value = match only(object.members()) {
            Some((kind, value)) => custom_value(kind, value),
            None => Err("the object does not have exactly one member".to_owned()),
        };
        match (metric_name(name), value) {
            (Ok(name), Ok(value)) => drop(values.insert(name, value)),
            (Err(reason), _) => block.void(reason, voided),
            (Ok(name), Err(reason)) => leave_out(voided, format_args!("custom_metrics.{name}"), reason),
        }
    }
    Ok(values)
}

/// What there is exactly one of.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    items.next().filter(|_| items.next().is_none())
}

fn metric_name(text: &str) -> Result<MetricName, String> {
    if text.starts_with("aws:") {
        return Err("metric name begins with aws:, which custom metrics do not".to_owned());
    }
    text.parse().map_err(|error: BadName| error.to_string())
}

fn custom_value(kind: &str, value: Tree<'_>) -> Result<CustomValue, String> {
    let wrong = || format!("{kind} is {}, which it cannot be", value.kind());
    let items = || match value.node() {
        Node::List(_) => Ok(value.items()),
        _ => Err(wrong()),
    };
    match kind {
        // Older agents wrote `count`.
        "number" | "count" => number(value).map(CustomValue::Number).ok_or_else(wrong),
        "number_list" => {
            let numbers: Option<_> = items()?.map(number).collect();
            numbers
                .map(CustomValue::NumberList)
                .ok_or_else(|| "number_list holds something that is no number".to_owned())
        }
        "string_list" => {
            let texts: Option<_> = items()?.map(custom_text).collect();
            texts.map(CustomValue::StringList).ok_or_else(|| {
                "string_list holds something other than texts of letters, digits and : _ - / .".to_owned()
            })
        }
        "ip_list" => {
            let addresses: Option<_> = items()?.map(address_of).collect();
            addresses
                .map(CustomValue::IpList)
                .ok_or_else(|| "ip_list holds something that is no address".to_owned())
        }
        other => {
            let other: String = other.chars().take(40).collect();
            Err(format!(
                "type is {other:?}, expected number, number_list, string_list or ip_list"
            ))
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers of custom metrics are doubles on the wire"
)]
fn number(tree: Tree<'_>) -> Option<f64> {
    match tree.node() {
        Node::Float(value) => value.is_finite().then_some(*value),
        _ => tree.whole().map(|value| value as f64),
    }
}

fn custom_text(tree: Tree<'_>) -> Option<String> {
    let Node::Text(text) = tree.node() else { return None };
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-' | '/' | '.');
    text.chars().all(is_allowed).then(|| text.to_string())
}

fn address_of(tree: Tree<'_>) -> Option<IpAddr> {
    let Node::Text(text) = tree.node() else { return None };
    address(text)
}

/// `ip:port`, split at the last colon: `[v6]:port`, `v6:port` without brackets, a zone, and a bare address are read too.
fn socket_address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Some((host, port)) = text.rsplit_once(':')
        // `u16::from_str` would take a sign.
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && let (Some(host), Ok(port)) = (address(host), port.parse())
    {
        return Some((host, Some(port)));
    }
    address(text).map(|host| (host, None))
}

fn address(text: &str) -> Option<IpAddr> {
    let text = text
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(text);
    let text = text.split_once('%').map_or(text, |(address, _zone)| address);
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}
