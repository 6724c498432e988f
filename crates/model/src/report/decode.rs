//! The report's schema: what is needed, what is forgiven, what is left out.
//!
//! Real agents are sloppy in known ways, and all of them must be understood: long and short keys mixed at any level,
//! `null` for absent, whole numbers written as floats, counters that wrapped. What makes a report unusable refuses it;
//! what spoils one datum leaves out that datum and says so.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::tree::Tree;
use super::{
    Connection, CustomValue, DeviceMetrics, EstablishedConnections, ListeningPort, ListeningPorts, NetworkStats,
    Report, Voided,
};
use crate::name::{BadName, MetricName};

/// The largest whole number that every agent's doubles carry exactly: 2^53. Larger counters have wrapped.
const COUNTER_MAX: i128 = 1 << 53;

/// Bytes kept of an interface's name.
const INTERFACE_BYTES_MAX: usize = 256;

/// Left-out data that are listed; more are dropped silently, so that a report cannot make its own record grow.
const VOIDED_MAX: usize = 32;

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
    /// The refused report's id, if it could be read.
    pub fn report_id(&self) -> Option<u64> {
        match self {
            Self::Shape { report_id, .. } => *report_id,
            Self::TooLarge { .. } | Self::Syntax { .. } => None,
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
        read(&Tree::from_json(payload).map_err(|detail| ReportError::Syntax { detail })?)
    }

    /// Reads a report in CBOR.
    ///
    /// # Errors
    /// The payload is too large, not CBOR, or not a report; the text says where and why.
    pub fn from_cbor(payload: &[u8]) -> Result<Self, ReportError> {
        bounded(payload)?;
        read(&Tree::from_cbor(payload).map_err(|detail| ReportError::Syntax { detail })?)
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

/// A value with the place where it stands. Absent and `null` are the same.
#[derive(Clone, Copy)]
struct At<'t> {
    tree: Option<&'t Tree<'t>>,
    path: &'static str,
}

fn read(tree: &Tree<'_>) -> Result<Report, ReportError> {
    let root = At {
        tree: Some(tree),
        path: "report",
    };
    let header = root.member("header", "hed", "header")?;
    let report_id = header.member("report_id", "rid", "header.report_id")?.report_id()?;
    read_rest(root, header, report_id).map_err(|error| match error {
        ReportError::Shape {
            path, found, expected, ..
        } => ReportError::Shape {
            path,
            found,
            expected,
            report_id: Some(report_id),
        },
        other => other,
    })
}

fn read_rest(root: At<'_>, header: At<'_>, report_id: u64) -> Result<Report, ReportError> {
    header.member("version", "v", "header.version")?.version()?;
    let metrics = root.member("metrics", "met", "metrics")?;
    let custom = root.member("custom_metrics", "cmet", "custom_metrics")?;
    if metrics.tree.is_none() && custom.tree.is_none() {
        return Err(root.not("neither metrics nor custom_metrics", "at least one of the two"));
    }
    let mut voided = Vec::new();
    let metrics = read_metrics(metrics, &mut voided)?;
    let custom_metrics = read_custom(custom, &mut voided)?;
    voided.truncate(VOIDED_MAX);
    Ok(Report {
        report_id,
        metrics,
        custom_metrics,
        voided,
    })
}

fn read_metrics(metrics: At<'_>, voided: &mut Vec<Voided>) -> Result<DeviceMetrics, ReportError> {
    let connections = metrics.member("tcp_connections", "tc", "tcp_connections")?.member(
        "established_connections",
        "ec",
        "established_connections",
    )?;
    Ok(DeviceMetrics {
        listening_tcp_ports: read_ports(
            metrics.member("listening_tcp_ports", "tp", "listening_tcp_ports")?,
            voided,
        )?,
        listening_udp_ports: read_ports(
            metrics.member("listening_udp_ports", "up", "listening_udp_ports")?,
            voided,
        )?,
        network_stats: read_stats(metrics.member("network_stats", "ns", "network_stats")?, voided)?,
        established_connections: read_connections(connections, voided)?,
    })
}

fn read_ports(block: At<'_>, voided: &mut Vec<Voided>) -> Result<Option<ListeningPorts>, ReportError> {
    if block.tree.is_none() {
        return Ok(None);
    }
    let listed = block.member("ports", "pts", "ports")?.list()?;
    let mut ports = Vec::new();
    for item in listed.iter().flatten().copied() {
        let item = At {
            tree: Some(item),
            path: "ports[]",
        };
        let interface = item.member("interface", "if", "ports[].interface")?.text()?;
        match item.member("port", "pt", "ports[].port")?.port()? {
            Some(port) => ports.push(ListeningPort { port, interface }),
            // AWS does not demand the member.
            None => item.void("has no port", voided),
        }
    }
    ports.sort_unstable();
    ports.dedup();
    let total = block.total(listed.as_deref(), voided)?;
    let ports = usable(listed.as_deref(), ports);
    Ok(Some(ListeningPorts { ports, total }))
}

fn read_stats(block: At<'_>, voided: &mut Vec<Voided>) -> Result<Option<NetworkStats>, ReportError> {
    if block.tree.is_none() {
        return Ok(None);
    }
    let mut counter = |long, short, path| block.member(long, short, path)?.counter(voided);
    Ok(Some(NetworkStats {
        bytes_in: counter("bytes_in", "bi", "network_stats.bytes_in")?,
        bytes_out: counter("bytes_out", "bo", "network_stats.bytes_out")?,
        packets_in: counter("packets_in", "pi", "network_stats.packets_in")?,
        packets_out: counter("packets_out", "po", "network_stats.packets_out")?,
    }))
}

fn read_connections(block: At<'_>, voided: &mut Vec<Voided>) -> Result<Option<EstablishedConnections>, ReportError> {
    if block.tree.is_none() {
        return Ok(None);
    }
    let listed = block.member("connections", "cs", "connections")?.list()?;
    let mut connections = Vec::new();
    for item in listed.iter().flatten().copied() {
        let item = At {
            tree: Some(item),
            path: "connections[]",
        };
        let remote = item.member("remote_addr", "rad", "connections[].remote_addr")?;
        let text = remote.text()?.ok_or_else(|| remote.missing("a text ip:port"))?;
        let Some((remote_addr, remote_port)) = socket_address(&text) else {
            remote.void(format_args!("{text:?} is no ip:port"), voided);
            continue;
        };
        connections.push(Connection {
            remote_addr,
            remote_port,
            local_port: item.member("local_port", "lp", "connections[].local_port")?.port()?,
            local_interface: item
                .member("local_interface", "li", "connections[].local_interface")?
                .text()?,
        });
    }
    let total = block.total(listed.as_deref(), voided)?;
    let connections = usable(listed.as_deref(), connections);
    Ok(Some(EstablishedConnections { connections, total }))
}

/// What could be used of a list. `None` also when it had items but none of use: an empty list is normal and clears
/// alarms, so a device could otherwise clear its own by sending nonsense.
fn usable<T>(listed: Option<&[&Tree<'_>]>, kept: Vec<T>) -> Option<Vec<T>> {
    listed
        .filter(|listed| listed.is_empty() || !kept.is_empty())
        .map(|_| kept)
}

/// Custom metrics: a wrong container is malformed, as on AWS; a wrong value is left out.
fn read_custom(block: At<'_>, voided: &mut Vec<Voided>) -> Result<BTreeMap<MetricName, CustomValue>, ReportError> {
    let mut values = BTreeMap::new();
    for (name, tree) in block.members()? {
        if *tree == Tree::Null {
            continue;
        }
        let Tree::List(items) = tree else {
            return Err(block.not(tree.kind(), "for each metric a list of one object"));
        };
        let [Tree::Map(members)] = items.as_slice() else {
            return Err(block.not(
                "a list that does not hold exactly one object",
                "for each metric a list of one object",
            ));
        };
        let value = match members.as_slice() {
            [(kind, value)] => custom_value(kind, value),
            _ => Err("the object does not have exactly one member".to_owned()),
        };
        match (metric_name(name), value) {
            (Ok(name), Ok(value)) => drop(values.insert(name, value)),
            (Err(reason), _) => block.void(reason, voided),
            (Ok(name), Err(reason)) => voided.push(Voided {
                path: format!("custom_metrics.{name}"),
                reason,
            }),
        }
    }
    Ok(values)
}

fn metric_name(text: &str) -> Result<MetricName, String> {
    if text.starts_with("aws:") {
        return Err("metric name begins with aws:, which custom metrics do not".to_owned());
    }
    text.parse().map_err(|error: BadName| error.to_string())
}

fn custom_value(kind: &str, value: &Tree<'_>) -> Result<CustomValue, String> {
    let wrong = || format!("{kind} is {}, which it cannot be", value.kind());
    let items = || match value {
        Tree::List(items) => Ok(items),
        _ => Err(wrong()),
    };
    match kind {
        // Older agents wrote `count`.
        "number" | "count" => number(value).map(CustomValue::Number).ok_or_else(wrong),
        "number_list" => {
            let numbers: Option<_> = items()?.iter().map(number).collect();
            numbers
                .map(CustomValue::NumberList)
                .ok_or_else(|| "number_list holds something that is no number".to_owned())
        }
        "string_list" => {
            let texts: Option<_> = items()?.iter().map(custom_text).collect();
            texts.map(CustomValue::StringList).ok_or_else(|| {
                "string_list holds something other than texts of letters, digits and : _ - / .".to_owned()
            })
        }
        "ip_list" => {
            let addresses: Option<_> = items()?.iter().map(address_of).collect();
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
fn number(tree: &Tree<'_>) -> Option<f64> {
    match tree {
        Tree::Whole(value) => Some(*value as f64),
        Tree::Float(value) => value.is_finite().then_some(*value),
        _ => None,
    }
}

fn custom_text(tree: &Tree<'_>) -> Option<String> {
    let Tree::Text(text) = tree else { return None };
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-' | '/' | '.');
    text.chars().all(is_allowed).then(|| text.to_string())
}

fn address_of(tree: &Tree<'_>) -> Option<IpAddr> {
    let Tree::Text(text) = tree else { return None };
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

impl<'t> At<'t> {
    /// The member under its long key, else under its short one.
    fn member(self, long: &str, short: &str, path: &'static str) -> Result<At<'t>, ReportError> {
        let members = self.members()?;
        let find = |key: &str| {
            members
                .iter()
                .rev()
                .find(|(name, value)| name == key && *value != Tree::Null)
        };
        Ok(At {
            tree: find(long).or_else(|| find(short)).map(|(_, value)| value),
            path,
        })
    }

    fn members(self) -> Result<&'t [(std::borrow::Cow<'t, str>, Tree<'t>)], ReportError> {
        match self.tree {
            None => Ok(&[]),
            Some(Tree::Map(members)) => Ok(members),
            Some(other) => Err(self.not(other.kind(), "an object")),
        }
    }

    /// The items of a list; `null` ones are absent.
    fn list(self) -> Result<Option<Vec<&'t Tree<'t>>>, ReportError> {
        match self.tree {
            None => Ok(None),
            Some(Tree::List(items)) => Ok(Some(items.iter().filter(|item| **item != Tree::Null).collect())),
            Some(other) => Err(self.not(other.kind(), "a list")),
        }
    }

    fn text(self) -> Result<Option<String>, ReportError> {
        match self.tree {
            None => Ok(None),
            Some(Tree::Text(text)) if text.len() <= INTERFACE_BYTES_MAX => Ok(Some(text.to_string())),
            Some(Tree::Text(text)) => Ok(Some(text.chars().take(INTERFACE_BYTES_MAX / 4).collect())),
            Some(other) => Err(self.not(other.kind(), "a text")),
        }
    }

    /// A whole number, also when written as a float.
    #[expect(clippy::cast_possible_truncation, reason = "the float is whole and within 2^63")]
    fn number(self) -> Result<Option<i128>, ReportError> {
        match self.tree {
            None => Ok(None),
            Some(Tree::Whole(value)) => Ok(Some(*value)),
            Some(Tree::Float(value)) if value.fract() == 0.0 && value.abs() < 1e20 => Ok(Some(*value as i128)),
            Some(Tree::Float(value)) => Err(self.not(&value.to_string(), "a whole number")),
            Some(other) => Err(self.not(other.kind(), "a number")),
        }
    }

    /// The total of a block: as sent, else as counted. One that was left out is not counted anew: lists are samples.
    fn total(self, listed: Option<&[&Tree<'_>]>, voided: &mut Vec<Voided>) -> Result<Option<u64>, ReportError> {
        let total = self.member("total", "t", "total")?;
        if total.tree.is_none() {
            return Ok(listed.map(|items| u64::try_from(items.len()).unwrap_or(u64::MAX)));
        }
        total.counter(voided)
    }

    fn port(self) -> Result<Option<u16>, ReportError> {
        let Some(value) = self.number()? else { return Ok(None) };
        u16::try_from(value)
            .map(Some)
            .map_err(|_| self.not(&value.to_string(), "a port, 0 to 65535"))
    }

    fn report_id(self) -> Result<u64, ReportError> {
        let value = self.number()?.ok_or_else(|| self.missing("a number"))?;
        let id = i64::try_from(value).ok().and_then(|value| u64::try_from(value).ok());
        id.ok_or_else(|| self.not(&value.to_string(), "a number of at least 0 and below 2^63"))
    }

    /// All agents send "1.0"; a later minor version only adds members.
    fn version(self) -> Result<(), ReportError> {
        let text = self.text()?.ok_or_else(|| self.missing("a text like \"1.0\""))?;
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        match text.split_once('.') {
            Some(("1", minor)) if is_number(minor) => Ok(()),
            _ => Err(self.not(&format!("{text:?}"), "version \"1.x\"")),
        }
    }

    /// A count; a number that counts nothing is left out, and the report counts all the same.
    fn counter(self, voided: &mut Vec<Voided>) -> Result<Option<u64>, ReportError> {
        let (counter, found) = match self.tree {
            // Not whole, not finite, or far beyond what fits.
            Some(Tree::Float(value)) if value.fract() != 0.0 || 1e20 <= value.abs() => (None, format!("{value:e}")),
            _ => match self.number()? {
                None => return Ok(None),
                Some(value) => {
                    let counter = u64::try_from(value).ok().filter(|_| value <= COUNTER_MAX);
                    (counter, value.to_string())
                }
            },
        };
        if counter.is_none() {
            let reason =
                format_args!("{found} is no count, expected a whole number from 0 to 2^53: a counter that wrapped?");
            self.void(reason, voided);
        }
        Ok(counter)
    }

    /// Notes that the datum here is left out.
    fn void(self, reason: impl fmt::Display, voided: &mut Vec<Voided>) {
        voided.push(Voided {
            path: self.path.to_owned(),
            reason: reason.to_string(),
        });
    }

    fn missing(self, expected: &'static str) -> ReportError {
        self.not("missing", expected)
    }

    fn not(self, found: &str, expected: &'static str) -> ReportError {
        let found = found.chars().take(80).collect();
        ReportError::Shape {
            path: self.path.to_owned(),
            found,
            expected,
            report_id: None,
        }
    }
}
