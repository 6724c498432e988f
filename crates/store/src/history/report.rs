//! Rows of files of reports: a whole report each.

use std::net::IpAddr;

use parquet::errors::{ParquetError, Result};
use picket_model::record::{ReportRecord, Sender};
use picket_model::report::{
    Connection, CustomValue, DeviceMetrics, EstablishedConnections, ListeningPort, ListeningPorts, NetworkStats,
    Report, Voided,
};
use picket_model::time::Timestamp;

use super::column::{Cell, Column, Cursor, Kind, Nesting, Packing, Spec, spec};
use super::row::{Key, Row};
use crate::log::Seq;

/// A report as history keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportRow {
    /// The server's stamp.
    pub at: Timestamp,
    /// Its place in its partition of the log.
    pub seq: Seq,
    /// Whether the same report stands before it in the same file: this one is not judged, and not listed.
    pub is_duplicate: bool,
    /// The report. Of the payload's hash the first [`ReportRow::HASH_BYTES`] bytes are kept, the others are zero.
    pub record: Box<ReportRecord>,
}

impl ReportRow {
    /// Bytes of the payload's hash that are kept: enough to tell a device's last reports apart, and the largest part of a
    /// row as it is.
    pub const HASH_BYTES: usize = 6;

    /// A report of the log.
    pub(crate) fn new(at: Timestamp, seq: Seq, mut record: Box<ReportRecord>) -> Self {
        record.payload_hash[Self::HASH_BYTES..].fill(0);
        Self {
            at,
            seq,
            is_duplicate: false,
            record,
        }
    }
}

// Blocks that a report has, although they may be empty.
const TCP_PORTS: i32 = 1;
const UDP_PORTS: i32 = 2;
const NETWORK_STATS: i32 = 4;
const CONNECTIONS: i32 = 8;

// The same rule as the engine's.
const DUPLICATE_AMONG: usize = 16;
const DUPLICATE_MILLIS_MAX: i64 = 24 * 3_600_000;

/// Places of the columns that metrics are read from.
pub(super) mod at {
    pub(in super::super) const SEQ: usize = 2;
    pub(in super::super) const IS_DUPLICATE: usize = 5;
    pub(in super::super) const BYTES_IN: usize = 10;
    pub(in super::super) const BYTES_OUT: usize = 11;
    pub(in super::super) const PACKETS_IN: usize = 12;
    pub(in super::super) const PACKETS_OUT: usize = 13;
    pub(in super::super) const NUM_TCP_PORTS: usize = 14;
    pub(in super::super) const NUM_UDP_PORTS: usize = 15;
    pub(in super::super) const NUM_CONNECTIONS: usize = 16;
    pub(in super::super) const TCP_PORTS: usize = 17;
    pub(in super::super) const UDP_PORTS: usize = 19;
    pub(in super::super) const REMOTE_ADDR: usize = 21;
    pub(in super::super) const CUSTOM_NAME: usize = 25;
    pub(in super::super) const CUSTOM_TYPE: usize = 26;
    pub(in super::super) const CUSTOM_NUMBER: usize = 27;
    pub(in super::super) const CUSTOM_TEXT: usize = 28;
}

impl Row for ReportRow {
    const SCHEMA: &'static str = "
        message report {
            required binary thing_name (STRING);
            required int64 time (TIMESTAMP(MILLIS,true));
            required int64 log_seq;
            required int64 report_id;
            required binary payload_hash;
            required boolean is_duplicate;
            required binary certificate_id (STRING);
            required binary client_id (STRING);
            required boolean is_attached;
            required int32 blocks;
            optional int64 bytes_in;
            optional int64 bytes_out;
            optional int64 packets_in;
            optional int64 packets_out;
            optional int64 num_listening_tcp_ports;
            optional int64 num_listening_udp_ports;
            optional int64 num_established_tcp_connections;
            optional group listening_tcp_ports (LIST) { repeated group list { required int32 element; } }
            optional group listening_tcp_interfaces (LIST) { repeated group list { optional binary element (STRING); } }
            optional group listening_udp_ports (LIST) { repeated group list { required int32 element; } }
            optional group listening_udp_interfaces (LIST) { repeated group list { optional binary element (STRING); } }
            optional group connections (LIST) { repeated group list { required group element {
                required binary remote_addr (STRING);
                optional int32 remote_port;
                optional int32 local_port;
                optional binary local_interface (STRING);
            } } }
            optional group custom_metrics (LIST) { repeated group list { required group element {
                required binary name (STRING);
                required binary type (STRING);
                optional double number;
                optional binary text (STRING);
            } } }
            optional group voided (LIST) { repeated group list { required group element {
                required binary path (STRING);
                required binary reason (STRING);
            } } }
        }";

    const COLUMNS: &'static [Spec] = &[
        spec("thing_name", Kind::Bytes, Nesting::Required, Packing::Dictionary),
        spec("time", Kind::I64, Nesting::Required, Packing::Delta),
        spec("log_seq", Kind::I64, Nesting::Required, Packing::Delta),
        spec("report_id", Kind::I64, Nesting::Required, Packing::Delta),
        spec("payload_hash", Kind::Bytes, Nesting::Required, Packing::Random),
        spec("is_duplicate", Kind::Bool, Nesting::Required, Packing::Dictionary),
        spec("certificate_id", Kind::Bytes, Nesting::Required, Packing::Dictionary),
        spec("client_id", Kind::Bytes, Nesting::Required, Packing::Dictionary),
        spec("is_attached", Kind::Bool, Nesting::Required, Packing::Dictionary),
        spec("blocks", Kind::I32, Nesting::Required, Packing::Dictionary),
        spec("bytes_in", Kind::I64, Nesting::Optional, Packing::Delta),
        spec("bytes_out", Kind::I64, Nesting::Optional, Packing::Delta),
        spec("packets_in", Kind::I64, Nesting::Optional, Packing::Delta),
        spec("packets_out", Kind::I64, Nesting::Optional, Packing::Delta),
        spec(
            "num_listening_tcp_ports",
            Kind::I64,
            Nesting::Optional,
            Packing::Dictionary,
        ),
        spec(
            "num_listening_udp_ports",
            Kind::I64,
            Nesting::Optional,
            Packing::Dictionary,
        ),
        spec(
            "num_established_tcp_connections",
            Kind::I64,
            Nesting::Optional,
            Packing::Dictionary,
        ),
        spec(
            "listening_tcp_ports.list.element",
            Kind::I32,
            Nesting::Element,
            Packing::Dictionary,
        ),
        spec(
            "listening_tcp_interfaces.list.element",
            Kind::Bytes,
            Nesting::OptionalElement,
            Packing::Dictionary,
        ),
        spec(
            "listening_udp_ports.list.element",
            Kind::I32,
            Nesting::Element,
            Packing::Dictionary,
        ),
        spec(
            "listening_udp_interfaces.list.element",
            Kind::Bytes,
            Nesting::OptionalElement,
            Packing::Dictionary,
        ),
        spec(
            "connections.list.element.remote_addr",
            Kind::Bytes,
            Nesting::Element,
            Packing::Dictionary,
        ),
        spec(
            "connections.list.element.remote_port",
            Kind::I32,
            Nesting::OptionalElement,
            Packing::Dictionary,
        ),
        spec(
            "connections.list.element.local_port",
            Kind::I32,
            Nesting::OptionalElement,
            Packing::Dictionary,
        ),
        spec(
            "connections.list.element.local_interface",
            Kind::Bytes,
            Nesting::OptionalElement,
            Packing::Dictionary,
        ),
        spec(
            "custom_metrics.list.element.name",
            Kind::Bytes,
            Nesting::Element,
            Packing::Dictionary,
        ),
        spec(
            "custom_metrics.list.element.type",
            Kind::Bytes,
            Nesting::Element,
            Packing::Dictionary,
        ),
        spec(
            "custom_metrics.list.element.number",
            Kind::F64,
            Nesting::OptionalElement,
            Packing::Dictionary,
        ),
        spec(
            "custom_metrics.list.element.text",
            Kind::Bytes,
            Nesting::OptionalElement,
            Packing::Dictionary,
        ),
        spec(
            "voided.list.element.path",
            Kind::Bytes,
            Nesting::Element,
            Packing::Dictionary,
        ),
        spec(
            "voided.list.element.reason",
            Kind::Bytes,
            Nesting::Element,
            Packing::Dictionary,
        ),
    ];

    fn key(&self) -> Key<'_> {
        (self.record.thing.as_str(), self.at.millis(), self.seq.0)
    }

    fn size_bytes(&self) -> usize {
        let report = &self.record.report;
        let ports = |block: &Option<ListeningPorts>| {
            let ports = block.as_ref().and_then(|block| block.ports.as_ref());
            ports.map_or(0, Vec::len) * 48
        };
        let connections = report.metrics.established_connections.as_ref();
        let connections = connections.and_then(|block| block.connections.as_ref());
        let custom = report.custom_metrics.values().map(|value| match value {
            CustomValue::Number(_) => 100,
            CustomValue::NumberList(list) => 100 + list.len() * 8,
            CustomValue::StringList(list) => 100 + list.iter().map(|text| text.len() + 32).sum::<usize>(),
            CustomValue::IpList(list) => 100 + list.len() * 20,
        });
        480 + ports(&report.metrics.listening_tcp_ports)
            + ports(&report.metrics.listening_udp_ports)
            + connections.map_or(0, Vec::len) * 72
            + custom.sum::<usize>()
            + report.voided.len() * 100
    }

    fn shred(&self, columns: &mut [Column]) {
        let mut columns = Cursor::new(columns);
        let ReportRecord {
            thing,
            payload_hash,
            sender,
            report,
        } = &*self.record;
        columns.put(Cell::text(thing.as_str()));
        columns.put(Cell::I64(self.at.millis()));
        columns.put(Cell::I64(signed(self.seq.0)));
        columns.put(Cell::I64(signed(report.report_id)));
        columns.put(Cell::Bytes(payload_hash[..Self::HASH_BYTES].to_vec().into()));
        columns.put(Cell::Bool(self.is_duplicate));
        columns.put(Cell::text(&sender.certificate.to_string()));
        columns.put(Cell::text(sender.client_id.as_str()));
        columns.put(Cell::Bool(sender.is_attached));
        shred_metrics(&report.metrics, &mut columns);
        let elements = || report.custom_metrics.iter().flat_map(elements_of);
        columns.list(Some(elements().map(|element| Some(element.name))));
        columns.list(Some(elements().map(|element| Some(element.kind))));
        columns.list(Some(elements().map(|element| element.number)));
        columns.list(Some(elements().map(|element| element.text)));
        columns.list(Some(report.voided.iter().map(|voided| Some(Cell::text(&voided.path)))));
        columns.list(Some(
            report.voided.iter().map(|voided| Some(Cell::text(&voided.reason))),
        ));
    }

    fn assemble(columns: &mut [Column]) -> Result<Self> {
        let mut columns = Cursor::new(columns);
        let thing = named(columns.required()?.into_text()?)?;
        let at = Timestamp::from_millis(columns.required()?.into_i64()?);
        let seq = Seq(columns.required()?.into_i64()?.cast_unsigned());
        let report_id = columns.required()?.into_i64()?.cast_unsigned();
        let mut payload_hash = [0; 16];
        let hash = columns.required()?.into_bytes()?;
        let kept = payload_hash.get_mut(..hash.len()).ok_or_else(|| odd("payload_hash"))?;
        kept.copy_from_slice(hash.data());
        let is_duplicate = columns.required()?.into_bool()?;
        let sender = Sender {
            certificate: named(columns.required()?.into_text()?)?,
            client_id: named(columns.required()?.into_text()?)?,
            is_attached: columns.required()?.into_bool()?,
        };
        let metrics = assemble_metrics(&mut columns)?;
        let custom_metrics = assemble_custom(&mut columns)?;
        let paths = columns.texts()?;
        let voided = paths.into_iter().zip(columns.texts()?);
        let report = Report {
            report_id,
            metrics,
            custom_metrics,
            voided: voided.map(|(path, reason)| Voided { path, reason }).collect(),
        };
        Ok(Self {
            at,
            seq,
            is_duplicate,
            record: Box::new(ReportRecord {
                thing,
                payload_hash,
                sender,
                report,
            }),
        })
    }

    fn settle(rows: &mut Vec<Self>) {
        for at in 1..rows.len() {
            let (before, row) = rows.split_at_mut(at);
            let row = &mut row[0];
            row.is_duplicate = before.iter().rev().take(DUPLICATE_AMONG).any(|earlier| {
                earlier.record.report.report_id == row.record.report.report_id
                    && earlier.record.payload_hash == row.record.payload_hash
                    && row.at.millis().saturating_sub(earlier.at.millis()) <= DUPLICATE_MILLIS_MAX
            });
        }
    }
}

fn shred_metrics(metrics: &DeviceMetrics, columns: &mut Cursor<'_>) {
    let DeviceMetrics {
        listening_tcp_ports: tcp,
        listening_udp_ports: udp,
        network_stats,
        established_connections: established,
    } = metrics;
    let bit = |is_there: bool, bit| if is_there { bit } else { 0 };
    columns.put(Cell::I32(
        bit(tcp.is_some(), TCP_PORTS)
            | bit(udp.is_some(), UDP_PORTS)
            | bit(network_stats.is_some(), NETWORK_STATS)
            | bit(established.is_some(), CONNECTIONS),
    ));
    let stats = network_stats.unwrap_or_default();
    for count in [stats.bytes_in, stats.bytes_out, stats.packets_in, stats.packets_out] {
        columns.count(count);
    }
    columns.count(tcp.as_ref().and_then(|block| block.total));
    columns.count(udp.as_ref().and_then(|block| block.total));
    columns.count(established.as_ref().and_then(|block| block.total));
    for block in [tcp, udp] {
        let ports = || block.as_ref()?.ports.as_ref();
        columns.list(ports().map(|ports| ports.iter().map(|port| Some(Cell::I32(port.port.into())))));
        columns.list(ports().map(|ports| ports.iter().map(|port| port.interface.as_deref().map(Cell::text))));
    }
    let connections = || Some(established.as_ref()?.connections.as_ref()?.iter());
    let port = |port: Option<u16>| port.map(|port| Cell::I32(port.into()));
    columns.list(connections().map(|all| all.map(|one| Some(Cell::text(&one.remote_addr.to_string())))));
    columns.list(connections().map(|all| all.map(|one| port(one.remote_port))));
    columns.list(connections().map(|all| all.map(|one| port(one.local_port))));
    columns.list(connections().map(|all| all.map(|one| one.local_interface.as_deref().map(Cell::text))));
}

fn assemble_metrics(columns: &mut Cursor<'_>) -> Result<DeviceMetrics> {
    let blocks = columns.required()?.into_i32()?;
    let has = |block| blocks & block != 0;
    let stats = NetworkStats {
        bytes_in: columns.taken_count()?,
        bytes_out: columns.taken_count()?,
        packets_in: columns.taken_count()?,
        packets_out: columns.taken_count()?,
    };
    let totals = (columns.taken_count()?, columns.taken_count()?, columns.taken_count()?);
    let mut ports = |total| -> Result<ListeningPorts> {
        let ports = columns.taken(port_of)?;
        let interfaces = columns.taken(Cell::into_text)?.unwrap_or_default();
        let ports = ports.map(|ports| {
            let ports = ports.into_iter().flatten().zip(interfaces);
            ports
                .map(|(port, interface)| ListeningPort { port, interface })
                .collect()
        });
        Ok(ListeningPorts { ports, total })
    };
    let (tcp, udp) = (ports(totals.0)?, ports(totals.1)?);
    let remote = columns.taken(|cell| address_of(&cell.into_text()?))?;
    let remote_ports = columns.taken(port_of)?.unwrap_or_default();
    let local_ports = columns.taken(port_of)?.unwrap_or_default();
    let interfaces = columns.taken(Cell::into_text)?.unwrap_or_default();
    let connections = remote.map(|remote| {
        let all = remote.into_iter().flatten().zip(remote_ports).zip(local_ports);
        all.zip(interfaces)
            .map(
                |(((remote_addr, remote_port), local_port), local_interface)| Connection {
                    remote_addr,
                    remote_port,
                    local_port,
                    local_interface,
                },
            )
            .collect()
    });
    let established = EstablishedConnections {
        connections,
        total: totals.2,
    };
    Ok(DeviceMetrics {
        listening_tcp_ports: has(TCP_PORTS).then_some(tcp),
        listening_udp_ports: has(UDP_PORTS).then_some(udp),
        network_stats: has(NETWORK_STATS).then_some(stats),
        established_connections: has(CONNECTIONS).then_some(established),
    })
}

/// An element of a custom metric, as the file lists it: an empty list has one element without number and text.
pub(super) struct Element {
    name: Cell,
    kind: Cell,
    number: Option<Cell>,
    text: Option<Cell>,
}

const NUMBER: &str = "number";
const NUMBER_LIST: &str = "number-list";
const STRING_LIST: &str = "string-list";
const IP_LIST: &str = "ip-address-list";

fn elements_of((name, value): (&picket_model::name::MetricName, &CustomValue)) -> Vec<Element> {
    let (kind, mut values): (_, Vec<(Option<Cell>, Option<Cell>)>) = match value {
        CustomValue::Number(number) => (NUMBER, vec![(Some(Cell::F64(*number)), None)]),
        CustomValue::NumberList(list) => (
            NUMBER_LIST,
            list.iter().map(|number| (Some(Cell::F64(*number)), None)).collect(),
        ),
        CustomValue::StringList(list) => (
            STRING_LIST,
            list.iter().map(|text| (None, Some(Cell::text(text)))).collect(),
        ),
        CustomValue::IpList(list) => (
            IP_LIST,
            list.iter()
                .map(|address| (None, Some(Cell::text(&address.to_string()))))
                .collect(),
        ),
    };
    if values.is_empty() {
        values.push((None, None));
    }
    let (name, kind) = (Cell::text(name.as_str()), Cell::text(kind));
    let element = |(number, text)| Element {
        name: name.clone(),
        kind: kind.clone(),
        number,
        text,
    };
    values.into_iter().map(element).collect()
}

fn assemble_custom(
    columns: &mut Cursor<'_>,
) -> Result<std::collections::BTreeMap<picket_model::name::MetricName, CustomValue>> {
    let names = columns.texts()?;
    let kinds = columns.texts()?;
    let numbers = columns.taken(Cell::into_f64)?.unwrap_or_default();
    let texts = columns.taken(Cell::into_text)?.unwrap_or_default();
    let mut all = std::collections::BTreeMap::new();
    for (((name, kind), number), text) in names.into_iter().zip(kinds).zip(numbers).zip(texts) {
        add_element(all.entry(named(name)?), &kind, number, text)?;
    }
    Ok(all)
}

type Entry<'m> = std::collections::btree_map::Entry<'m, picket_model::name::MetricName, CustomValue>;

fn add_element(entry: Entry<'_>, kind: &str, number: Option<f64>, text: Option<String>) -> Result<()> {
    let empty = custom_of(kind, number)?;
    match (entry.or_insert(empty), number, text) {
        (CustomValue::Number(_), Some(_), _) | (_, None, None) => {}
        (CustomValue::NumberList(list), Some(number), _) => list.push(number),
        (CustomValue::StringList(list), _, Some(text)) => list.push(text),
        (CustomValue::IpList(list), _, Some(text)) => list.push(address_of(&text)?),
        _ => return Err(odd("custom_metrics")),
    }
    Ok(())
}

/// The value of a custom metric before any element of its list.
pub(super) fn custom_of(kind: &str, number: Option<f64>) -> Result<CustomValue> {
    Ok(match (kind, number) {
        (NUMBER, Some(number)) => CustomValue::Number(number),
        (NUMBER_LIST, _) => CustomValue::NumberList(Vec::new()),
        (STRING_LIST, _) => CustomValue::StringList(Vec::new()),
        (IP_LIST, _) => CustomValue::IpList(Vec::new()),
        _ => return Err(odd("custom_metrics")),
    })
}

pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn named<T: std::str::FromStr>(text: String) -> Result<T> {
    text.parse().map_err(|_| odd("a name"))
}

pub(super) fn address_of(text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| odd("an address"))
}

pub(super) fn port_of(cell: Cell) -> Result<u16> {
    u16::try_from(cell.into_i32()?).map_err(|_| odd("a port"))
}

pub(super) fn odd(what: &str) -> ParquetError {
    ParquetError::General(format!("{what} is not as this version writes it"))
}
