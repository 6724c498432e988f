//! The bytes of the records about clients and the fleet, as [`super::wire`] writes them.

use std::convert::Infallible;

use minicbor::decode::{Decoder, Error as BadItem};
use minicbor::encode::{Encoder, Error as Unwritten};

use super::wire::{read_bytes, read_time};
use crate::connection::DisconnectReason;
use crate::fleet::{Quantity, Threshold, WindowKey};
use crate::meter::{ClientMeter, DimensionMeter, Meter, Presence, Sizes, Tally};
use crate::name::CertificateId;
use crate::report::wire::{
    open, read_address, read_list, read_name, read_option, write_address, write_list, write_option,
};

type Written = Result<(), Unwritten<Infallible>>;
type Pen = Encoder<Vec<u8>>;

/// The numbers of the reasons: places in this list, which only grows at its end.
const REASONS: [DisconnectReason; 11] = [
    DisconnectReason::ClientInitiated,
    DisconnectReason::ConnectionLost,
    DisconnectReason::KeepAliveTimeout,
    DisconnectReason::DuplicateClientId,
    DisconnectReason::AuthError,
    DisconnectReason::ForbiddenAccess,
    DisconnectReason::ClientError,
    DisconnectReason::Throttled,
    DisconnectReason::ServerInitiated,
    DisconnectReason::ServerError,
    DisconnectReason::ApiInitiated,
];

/// A list of clients, each `[client id, is genuine, certificate, refused attempts, failures, total, dimensions]`.
pub(super) fn write_meter(pen: &mut Pen, meter: &Meter) -> Written {
    write_list(pen, &meter.clients, |pen, client| {
        pen.array(7)?.str(client.client_id.as_str())?.bool(client.is_genuine)?;
        pen.bytes(client.certificate.as_bytes())?;
        pen.u32(client.n_refused_attempts)?
            .u32(client.n_authorization_failures)?;
        write_tally(pen, &client.total)?;
        write_list(pen, &client.dimensions, |pen, one| {
            pen.array(3)?.str(one.dimension.as_str())?;
            write_tally(pen, &one.inside)?;
            write_tally(pen, &one.outside)
        })
    })
}

pub(super) fn read_meter(items: &mut Decoder<'_>) -> Result<Meter, BadItem> {
    let clients = read_list(items, |items| {
        open(items, 7)?;
        Ok(ClientMeter {
            client_id: read_name(items)?,
            is_genuine: items.bool()?,
            certificate: CertificateId::from_bytes(read_bytes(items)?),
            n_refused_attempts: items.u32()?,
            n_authorization_failures: items.u32()?,
            total: read_tally(items)?,
            dimensions: read_list(items, |items| {
                open(items, 3)?;
                Ok(DimensionMeter {
                    dimension: read_name(items)?,
                    inside: read_tally(items)?,
                    outside: read_tally(items)?,
                })
            })?,
        })
    })?;
    Ok(Meter { clients })
}

/// Null if it is empty, else `[sent, received, refused, addresses]`.
fn write_tally(pen: &mut Pen, tally: &Tally) -> Written {
    let tally = Some(tally).filter(|tally| !tally.is_empty());
    write_option(pen, tally, |pen, tally| {
        pen.array(4)?;
        write_option(pen, tally.sent, |pen, sizes| {
            pen.array(4)?.u32(sizes.n_messages)?.u64(sizes.sum_bytes)?;
            pen.u32(sizes.min_bytes)?.u32(sizes.max_bytes)?;
            Ok(())
        })?;
        pen.u32(tally.n_received)?.u32(tally.n_refused)?;
        let addresses: Vec<_> = tally.addresses.iter().copied().collect();
        write_list(pen, &addresses, |pen, &address| write_address(pen, address))
    })
}

fn read_tally(items: &mut Decoder<'_>) -> Result<Tally, BadItem> {
    let tally = read_option(items, |items| {
        open(items, 4)?;
        Ok(Tally {
            sent: read_option(items, |items| {
                open(items, 4)?;
                Ok(Sizes {
                    n_messages: items.u32()?,
                    sum_bytes: items.u64()?,
                    min_bytes: items.u32()?,
                    max_bytes: items.u32()?,
                })
            })?,
            n_received: items.u32()?,
            n_refused: items.u32()?,
            addresses: read_list(items, read_address)?.into_iter().collect(),
        })
    })?;
    Ok(tally.unwrap_or_default())
}

/// `[client id, is genuine, connection, certificate, address]`
pub(super) fn write_presence(pen: &mut Pen, presence: &Presence) -> Written {
    let Presence {
        client_id,
        is_genuine,
        connection,
        certificate,
        address,
    } = presence;
    pen.array(5)?.str(client_id.as_str())?.bool(*is_genuine)?;
    pen.u64(*connection)?.bytes(certificate.as_bytes())?;
    write_address(pen, *address)
}

pub(super) fn read_presence(items: &mut Decoder<'_>) -> Result<Presence, BadItem> {
    open(items, 5)?;
    Ok(Presence {
        client_id: read_name(items)?,
        is_genuine: items.bool()?,
        connection: items.u64()?,
        certificate: CertificateId::from_bytes(read_bytes(items)?),
        address: read_address(items)?,
    })
}

/// `[presence, reason]`
pub(super) fn write_departure(pen: &mut Pen, presence: &Presence, reason: DisconnectReason) -> Written {
    write_presence(pen.array(2)?, presence)?;
    let number = (0..).zip(REASONS).find(|&(_, one)| one == reason);
    pen.u8(number.map_or(0, |(number, _)| number)).map(drop)
}

pub(super) fn read_departure(items: &mut Decoder<'_>) -> Result<(Presence, DisconnectReason), BadItem> {
    open(items, 2)?;
    let presence = read_presence(items)?;
    let at = items.position();
    let number = items.u8()?;
    let reason = REASONS.get(usize::from(number)).copied();
    let unknown = || {
        BadItem::message(format!(
            "disconnect reason is {number}, expected below {}",
            REASONS.len()
        ))
        .at(at)
    };
    Ok((presence, reason.ok_or_else(unknown)?))
}

/// `[profile, behavior, fingerprint, end, value, devices]`; a whole number and another are told apart by their type.
pub(super) fn write_threshold(pen: &mut Pen, threshold: &Threshold) -> Written {
    let Threshold {
        window,
        value,
        n_devices,
    } = threshold;
    pen.array(6)?
        .str(window.profile.as_str())?
        .str(window.behavior.as_str())?;
    pen.u64(window.fingerprint)?.i64(window.end.millis())?;
    write_option(pen, *value, |pen, value| {
        match value {
            Quantity::Count(count) => pen.u64(count)?,
            Quantity::Number(number) => pen.f64(number)?,
        };
        Ok(())
    })?;
    pen.u64(*n_devices).map(drop)
}

pub(super) fn read_threshold(items: &mut Decoder<'_>) -> Result<Threshold, BadItem> {
    open(items, 6)?;
    Ok(Threshold {
        window: WindowKey {
            profile: read_name(items)?,
            behavior: read_name(items)?,
            fingerprint: items.u64()?,
            end: read_time(items)?,
        },
        value: read_option(items, |items| match items.datatype()? {
            minicbor::data::Type::F64 => items.f64().map(Quantity::Number),
            _ => items.u64().map(Quantity::Count),
        })?,
        n_devices: items.u64()?,
    })
}
