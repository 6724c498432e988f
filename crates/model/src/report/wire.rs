//! A report as a record of the log holds it: positional CBOR, absent values as null, so small and quick to read.
//!
//! The layout belongs to version 1 of the records; a change of it is a new version there.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;

use minicbor::decode::{Decoder, Error as BadItem};
use minicbor::encode::{Encoder, Error as Unwritten};

use super::{
    Connection, CustomValue, DeviceMetrics, EstablishedConnections, ListeningPort, ListeningPorts, NetworkStats,
    Report, Voided,
};

type Written = Result<(), Unwritten<Infallible>>;
type Pen = Encoder<Vec<u8>>;

/// Writes the report as one item: `[id, tcp, udp, network, connections, custom, voided]`.
pub(crate) fn write(report: &Report, pen: &mut Pen) -> Written {
    let Report {
        report_id,
        metrics,
        custom_metrics,
        voided,
    } = report;
    pen.array(7)?.u64(*report_id)?;
    write_option(pen, metrics.listening_tcp_ports.as_ref(), write_ports)?;
    write_option(pen, metrics.listening_udp_ports.as_ref(), write_ports)?;
    write_option(pen, metrics.network_stats.as_ref(), write_stats)?;
    write_option(pen, metrics.established_connections.as_ref(), write_connections)?;
    pen.map(count(custom_metrics.len()))?;
    for (name, value) in custom_metrics {
        pen.str(name.as_str())?;
        write_custom(pen, value)?;
    }
    write_list(pen, voided, |pen, Voided { path, reason }| {
        pen.array(2)?.str(path)?.str(reason)?;
        Ok(())
    })
}

/// Reads what [`write()`] wrote.
pub(crate) fn read(items: &mut Decoder<'_>) -> Result<Report, BadItem> {
    open(items, 7)?;
    let report_id = items.u64()?;
    let metrics = DeviceMetrics {
        listening_tcp_ports: read_option(items, read_ports)?,
        listening_udp_ports: read_option(items, read_ports)?,
        network_stats: read_option(items, read_stats)?,
        established_connections: read_option(items, read_connections)?,
    };
    let mut custom_metrics = BTreeMap::new();
    for _ in 0..definite(items, Decoder::map)? {
        let name = read_name(items)?;
        custom_metrics.insert(name, read_custom(items)?);
    }
    let voided = read_list(items, |items| {
        open(items, 2)?;
        let (path, reason) = (items.str()?.to_owned(), items.str()?.to_owned());
        Ok(Voided { path, reason })
    })?;
    Ok(Report {
        report_id,
        metrics,
        custom_metrics,
        voided,
    })
}

fn write_ports(pen: &mut Pen, block: &ListeningPorts) -> Written {
    pen.array(2)?;
    write_option(pen, block.ports.as_ref(), |pen, ports| {
        write_list(pen, ports, |pen, ListeningPort { port, interface }| {
            pen.array(2)?.u16(*port)?.encode(interface.as_deref())?;
            Ok(())
        })
    })?;
    pen.encode(block.total)?;
    Ok(())
}

fn read_ports(items: &mut Decoder<'_>) -> Result<ListeningPorts, BadItem> {
    open(items, 2)?;
    let ports = read_option(items, |items| {
        read_list(items, |items| {
            open(items, 2)?;
            Ok(ListeningPort {
                port: items.u16()?,
                interface: items.decode()?,
            })
        })
    })?;
    let total = items.decode()?;
    Ok(ListeningPorts { ports, total })
}

fn write_stats(pen: &mut Pen, stats: &NetworkStats) -> Written {
    pen.array(4)?.encode(stats.bytes_in)?.encode(stats.bytes_out)?;
    pen.encode(stats.packets_in)?.encode(stats.packets_out)?;
    Ok(())
}

fn read_stats(items: &mut Decoder<'_>) -> Result<NetworkStats, BadItem> {
    open(items, 4)?;
    Ok(NetworkStats {
        bytes_in: items.decode()?,
        bytes_out: items.decode()?,
        packets_in: items.decode()?,
        packets_out: items.decode()?,
    })
}

fn write_connections(pen: &mut Pen, block: &EstablishedConnections) -> Written {
    pen.array(2)?;
    write_option(pen, block.connections.as_ref(), |pen, connections| {
        write_list(pen, connections, |pen, connection| {
            pen.array(4)?;
            write_address(pen, connection.remote_addr)?;
            pen.encode(connection.remote_port)?.encode(connection.local_port)?;
            pen.encode(connection.local_interface.as_deref())?;
            Ok(())
        })
    })?;
    pen.encode(block.total)?;
    Ok(())
}

fn read_connections(items: &mut Decoder<'_>) -> Result<EstablishedConnections, BadItem> {
    open(items, 2)?;
    let connections = read_option(items, |items| {
        read_list(items, |items| {
            open(items, 4)?;
            Ok(Connection {
                remote_addr: read_address(items)?,
                remote_port: items.decode()?,
                local_port: items.decode()?,
                local_interface: items.decode()?,
            })
        })
    })?;
    let total = items.decode()?;
    Ok(EstablishedConnections { connections, total })
}

fn write_custom(pen: &mut Pen, value: &CustomValue) -> Written {
    pen.array(2)?;
    match value {
        CustomValue::Number(number) => {
            pen.u8(0)?.f64(*number)?;
            Ok(())
        }
        CustomValue::NumberList(numbers) => write_list(pen.u8(1)?, numbers, |pen, number| {
            pen.f64(*number)?;
            Ok(())
        }),
        CustomValue::StringList(texts) => write_list(pen.u8(2)?, texts, |pen, text| {
            pen.str(text)?;
            Ok(())
        }),
        CustomValue::IpList(addresses) => {
            write_list(pen.u8(3)?, addresses, |pen, &address| write_address(pen, address))
        }
    }
}

fn read_custom(items: &mut Decoder<'_>) -> Result<CustomValue, BadItem> {
    open(items, 2)?;
    let at = items.position();
    match items.u8()? {
        0 => Ok(CustomValue::Number(items.f64()?)),
        1 => read_list(items, |items| items.f64()).map(CustomValue::NumberList),
        2 => read_list(items, |items| items.str().map(str::to_owned)).map(CustomValue::StringList),
        3 => read_list(items, read_address).map(CustomValue::IpList),
        found => Err(BadItem::message(format!("custom value is of kind {found}, expected 0 to 3")).at(at)),
    }
}

/// Writes an address: four or sixteen bytes.
pub(crate) fn write_address(pen: &mut Pen, address: IpAddr) -> Written {
    match address {
        IpAddr::V4(address) => pen.bytes(&address.octets())?,
        IpAddr::V6(address) => pen.bytes(&address.octets())?,
    };
    Ok(())
}

/// Reads an address.
pub(crate) fn read_address(items: &mut Decoder<'_>) -> Result<IpAddr, BadItem> {
    let at = items.position();
    let bytes = items.bytes()?;
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(v6)
        .ok_or_else(|| BadItem::message(format!("address has {} bytes, expected 4 or 16", bytes.len())).at(at))
}

/// Writes what `write` writes, or null.
pub(crate) fn write_option<T>(pen: &mut Pen, value: Option<T>, write: impl FnOnce(&mut Pen, T) -> Written) -> Written {
    match value {
        Some(value) => write(pen, value),
        None => pen.null().map(drop),
    }
}

/// Reads what `read` reads, or null.
pub(crate) fn read_option<'b, T>(
    items: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, BadItem>,
) -> Result<Option<T>, BadItem> {
    if items.datatype()? == minicbor::data::Type::Null {
        return items.null().map(|()| None);
    }
    read(items).map(Some)
}

/// Writes a list of items that `write` writes one of.
pub(crate) fn write_list<T>(pen: &mut Pen, list: &[T], write: impl Fn(&mut Pen, &T) -> Written) -> Written {
    pen.array(count(list.len()))?;
    list.iter().try_for_each(|item| write(pen, item))
}

/// Reads a list of items that `read` reads one of. Memory grows with what is there, not with what was promised.
pub(crate) fn read_list<'b, T>(
    items: &mut Decoder<'b>,
    read: impl Fn(&mut Decoder<'b>) -> Result<T, BadItem>,
) -> Result<Vec<T>, BadItem> {
    let n_items = definite(items, Decoder::array)?;
    let mut list = Vec::new();
    for _ in 0..n_items {
        list.push(read(items)?);
    }
    Ok(list)
}

/// Steps into an array, which must have just so many items.
pub(crate) fn open(items: &mut Decoder<'_>, n_items: u64) -> Result<(), BadItem> {
    let at = items.position();
    match definite(items, Decoder::array)? {
        found if found == n_items => Ok(()),
        found => Err(BadItem::message(format!("array has {found} items, expected {n_items}")).at(at)),
    }
}

/// Reads a text that is a name.
pub(crate) fn read_name<T>(items: &mut Decoder<'_>) -> Result<T, BadItem>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let at = items.position();
    items.str()?.parse().map_err(|error| BadItem::custom(error).at(at))
}

fn definite<'b>(
    items: &mut Decoder<'b>,
    length: impl FnOnce(&mut Decoder<'b>) -> Result<Option<u64>, BadItem>,
) -> Result<u64, BadItem> {
    let at = items.position();
    length(items)?.ok_or_else(|| BadItem::message("indefinite length, expected a definite one").at(at))
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
