//! Rows of files of activity: what the broker measured of its clients, and their coming and going.

use std::collections::BTreeSet;
use std::net::IpAddr;

use parquet::errors::Result;
use picket_model::connection::DisconnectReason;
use picket_model::meter::{ClientMeter, Meter, Presence, Sizes, Tally};
use picket_model::name::{CertificateId, DeviceName, DimensionName};
use picket_model::time::Timestamp;

use super::column::{Cell, Column, Cursor, Kind, Nesting, Packing, Spec, spec};
use super::report::{address_of, named, odd, signed};
use super::row::{Key, Row};
use crate::log::Seq;

/// What clients did is summed over aligned buckets of this length, milliseconds: a day has a whole number of them.
pub(super) const BUCKET_MILLIS: i64 = 300_000;

/// A row of activity.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Activity {
    /// Of a meter the begin of its bucket, else the server's stamp.
    pub(super) at: Timestamp,
    pub(super) seq: Seq,
    /// The client id; empty where the server itself began anew.
    pub(super) client_id: Box<str>,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    Meter(Box<Measured>),
    Connected(Came),
    Disconnected(Came, String),
    SessionsEnded,
}

/// What a client did in a bucket: on all topics, or on those inside or outside a dimension.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) is_genuine: bool,
    pub(super) certificate: CertificateId,
    pub(super) topics: Topics,
    pub(super) n_refused_attempts: u64,
    pub(super) n_authorization_failures: u64,
    pub(super) sent: Option<SizesSum>,
    pub(super) n_received: u64,
    pub(super) n_refused: u64,
    pub(super) addresses: BTreeSet<IpAddr>,
}

/// Which topics a row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topics {
    All,
    Inside(DimensionName),
    Outside(DimensionName),
}

/// Sizes of the messages of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SizesSum {
    pub(super) n_messages: u64,
    pub(super) sum_bytes: u64,
    pub(super) min_bytes: u64,
    pub(super) max_bytes: u64,
}

/// A client that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Came {
    pub(super) is_genuine: bool,
    pub(super) certificate: CertificateId,
    pub(super) connection: u64,
    pub(super) address: IpAddr,
}

/// Addresses kept of a bucket; more from one client within five minutes tell nothing new.
const ADDRESSES_MAX: usize = 256;

impl Activity {
    /// The rows of a meter.
    pub(super) fn metered(at: Timestamp, seq: Seq, meter: &Meter) -> impl Iterator<Item = Self> {
        let bucket = Timestamp::from_millis(at.millis().div_euclid(BUCKET_MILLIS) * BUCKET_MILLIS);
        meter.clients.iter().flat_map(move |client| {
            measured(client).map(move |measured| Self {
                at: bucket,
                seq,
                client_id: client.client_id.as_str().into(),
                what: What::Meter(Box::new(measured)),
            })
        })
    }

    /// A client came.
    pub(super) fn connected(at: Timestamp, seq: Seq, presence: &Presence) -> Self {
        Self {
            at,
            seq,
            client_id: presence.client_id.as_str().into(),
            what: What::Connected(came(presence)),
        }
    }

    /// A client went.
    pub(super) fn disconnected(at: Timestamp, seq: Seq, presence: &Presence, reason: DisconnectReason) -> Self {
        Self {
            at,
            seq,
            client_id: presence.client_id.as_str().into(),
            what: What::Disconnected(came(presence), reason.to_string()),
        }
    }

    /// All connections of before are gone.
    pub(super) fn sessions_ended(at: Timestamp, seq: Seq) -> Self {
        Self {
            at,
            seq,
            client_id: "".into(),
            what: What::SessionsEnded,
        }
    }

    /// Whose activity it is.
    pub(super) fn is_of(&self, device: &DeviceName) -> bool {
        *self.client_id == *device.as_str()
    }
}

fn came(presence: &Presence) -> Came {
    Came {
        is_genuine: presence.is_genuine,
        certificate: presence.certificate,
        connection: presence.connection,
        address: presence.address,
    }
}

fn measured(client: &ClientMeter) -> impl Iterator<Item = Measured> + '_ {
    let of = |topics, tally: &Tally| Measured {
        is_genuine: client.is_genuine,
        certificate: client.certificate,
        topics,
        n_refused_attempts: 0,
        n_authorization_failures: 0,
        sent: tally.sent.map(SizesSum::from),
        n_received: tally.n_received.into(),
        n_refused: tally.n_refused.into(),
        addresses: tally.addresses.clone(),
    };
    let total = Measured {
        n_refused_attempts: client.n_refused_attempts.into(),
        n_authorization_failures: client.n_authorization_failures.into(),
        ..of(Topics::All, &client.total)
    };
    let parts = client.dimensions.iter().flat_map(move |part| {
        let sides = [
            of(Topics::Inside(part.dimension.clone()), &part.inside),
            of(Topics::Outside(part.dimension.clone()), &part.outside),
        ];
        let tallies = [&part.inside, &part.outside];
        sides
            .into_iter()
            .zip(tallies)
            .filter(|(_, tally)| !tally.is_empty())
            .map(|(side, _)| side)
            .collect::<Vec<_>>()
    });
    std::iter::once(total).chain(parts)
}

impl From<Sizes> for SizesSum {
    fn from(sizes: Sizes) -> Self {
        Self {
            n_messages: sizes.n_messages.into(),
            sum_bytes: sizes.sum_bytes,
            min_bytes: sizes.min_bytes.into(),
            max_bytes: sizes.max_bytes.into(),
        }
    }
}

impl SizesSum {
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            n_messages: self.n_messages.saturating_add(other.n_messages),
            sum_bytes: self.sum_bytes.saturating_add(other.sum_bytes),
            min_bytes: self.min_bytes.min(other.min_bytes),
            max_bytes: self.max_bytes.max(other.max_bytes),
        }
    }
}

impl Measured {
    /// Whether both count the same things.
    fn is_like(&self, other: &Self) -> bool {
        self.is_genuine == other.is_genuine && self.certificate == other.certificate && self.topics == other.topics
    }

    pub(super) fn add(&mut self, other: Self) {
        self.n_refused_attempts = self.n_refused_attempts.saturating_add(other.n_refused_attempts);
        self.n_authorization_failures = self
            .n_authorization_failures
            .saturating_add(other.n_authorization_failures);
        self.sent = match (self.sent, other.sent) {
            (Some(own), Some(other)) => Some(own.and(other)),
            (own, other) => own.or(other),
        };
        self.n_received = self.n_received.saturating_add(other.n_received);
        self.n_refused = self.n_refused.saturating_add(other.n_refused);
        for address in other.addresses {
            if self.addresses.len() < ADDRESSES_MAX {
                self.addresses.insert(address);
            }
        }
    }
}

impl Row for Activity {
    const SCHEMA: &'static str = "
        message activity {
            required binary client_id (STRING);
            required int64 time (TIMESTAMP(MILLIS,true));
            required int64 log_seq;
            required binary kind (STRING);
            optional boolean is_genuine;
            optional binary certificate_id (STRING);
            optional int64 connection;
            optional binary disconnect_reason (STRING);
            optional binary dimension (STRING);
            optional boolean is_inside_dimension;
            optional int64 n_refused_attempts;
            optional int64 n_authorization_failures;
            optional int64 n_messages_sent;
            optional int64 message_bytes_sum;
            optional int64 message_bytes_min;
            optional int64 message_bytes_max;
            optional int64 n_messages_received;
            optional int64 n_refused_on_topics;
            optional group source_addresses (LIST) { repeated group list { required binary element (STRING); } }
        }";

    const COLUMNS: &'static [Spec] = &[
        spec("client_id", Kind::Bytes, Nesting::Required, Packing::Dictionary),
        spec("time", Kind::I64, Nesting::Required, Packing::Delta),
        spec("log_seq", Kind::I64, Nesting::Required, Packing::Delta),
        spec("kind", Kind::Bytes, Nesting::Required, Packing::Dictionary),
        spec("is_genuine", Kind::Bool, Nesting::Optional, Packing::Dictionary),
        spec("certificate_id", Kind::Bytes, Nesting::Optional, Packing::Dictionary),
        spec("connection", Kind::I64, Nesting::Optional, Packing::Delta),
        spec("disconnect_reason", Kind::Bytes, Nesting::Optional, Packing::Dictionary),
        spec("dimension", Kind::Bytes, Nesting::Optional, Packing::Dictionary),
        spec(
            "is_inside_dimension",
            Kind::Bool,
            Nesting::Optional,
            Packing::Dictionary,
        ),
        spec("n_refused_attempts", Kind::I64, Nesting::Optional, Packing::Dictionary),
        spec(
            "n_authorization_failures",
            Kind::I64,
            Nesting::Optional,
            Packing::Dictionary,
        ),
        spec("n_messages_sent", Kind::I64, Nesting::Optional, Packing::Dictionary),
        spec("message_bytes_sum", Kind::I64, Nesting::Optional, Packing::Delta),
        spec("message_bytes_min", Kind::I64, Nesting::Optional, Packing::Dictionary),
        spec("message_bytes_max", Kind::I64, Nesting::Optional, Packing::Dictionary),
        spec("n_messages_received", Kind::I64, Nesting::Optional, Packing::Dictionary),
        spec("n_refused_on_topics", Kind::I64, Nesting::Optional, Packing::Dictionary),
        spec(
            "source_addresses.list.element",
            Kind::Bytes,
            Nesting::Element,
            Packing::Dictionary,
        ),
    ];

    fn key(&self) -> Key<'_> {
        (&self.client_id, self.at.millis(), self.seq.0)
    }

    fn size_bytes(&self) -> usize {
        match &self.what {
            What::Meter(measured) => 300 + 40 * measured.addresses.len(),
            _ => 200,
        }
    }

    fn shred(&self, columns: &mut [Column]) {
        let mut columns = Cursor::new(columns);
        columns.put(Cell::text(&self.client_id));
        columns.put(Cell::I64(self.at.millis()));
        columns.put(Cell::I64(signed(self.seq.0)));
        columns.put(Cell::text(self.what.kind()));
        let (measured, came, reason) = match &self.what {
            What::Meter(measured) => (Some(&**measured), None, None),
            What::Connected(came) => (None, Some(came), None),
            What::Disconnected(came, reason) => (None, Some(came), Some(reason)),
            What::SessionsEnded => (None, None, None),
        };
        let certificate = measured.map(|one| one.certificate).or(came.map(|one| one.certificate));
        let is_genuine = measured.map(|one| one.is_genuine).or(came.map(|one| one.is_genuine));
        columns.option(is_genuine.map(Cell::Bool));
        columns.option(certificate.map(|id| Cell::text(&id.to_string())));
        columns.option(came.map(|one| Cell::I64(one.connection.cast_signed())));
        columns.option(reason.map(|reason| Cell::text(reason)));
        let dimension = measured.and_then(|one| one.topics.dimension());
        columns.option(dimension.map(|(name, _)| Cell::text(name.as_str())));
        columns.option(dimension.map(|(_, is_inside)| Cell::Bool(is_inside)));
        let sent = measured.and_then(|one| one.sent);
        columns.count(measured.map(|one| one.n_refused_attempts));
        columns.count(measured.map(|one| one.n_authorization_failures));
        columns.count(measured.map(|_| sent.map_or(0, |sent| sent.n_messages)));
        columns.count(sent.map(|sent| sent.sum_bytes));
        columns.count(sent.map(|sent| sent.min_bytes));
        columns.count(sent.map(|sent| sent.max_bytes));
        columns.count(measured.map(|one| one.n_received));
        columns.count(measured.map(|one| one.n_refused));
        let addresses: Option<Vec<IpAddr>> = match (measured, came) {
            (Some(measured), _) => Some(measured.addresses.iter().copied().collect()),
            (_, Some(came)) => Some(vec![came.address]),
            _ => None,
        };
        let text = |address: IpAddr| Some(Cell::text(&address.to_string()));
        columns.list(addresses.map(|all| all.into_iter().map(text)));
    }

    fn assemble(columns: &mut [Column]) -> Result<Self> {
        let mut columns = Cursor::new(columns);
        let client_id = columns.required()?.into_text()?.into_boxed_str();
        let at = Timestamp::from_millis(columns.required()?.into_i64()?);
        let seq = Seq(columns.required()?.into_i64()?.cast_unsigned());
        let kind = columns.required()?.into_text()?;
        let is_genuine = columns.taken_option(Cell::into_bool)?.unwrap_or_default();
        let certificate = columns.taken_option(|cell| named(cell.into_text()?))?;
        let connection = columns.taken_option(Cell::into_i64)?.unwrap_or_default();
        let reason = columns.taken_option(Cell::into_text)?;
        let dimension: Option<DimensionName> = columns.taken_option(|cell| named(cell.into_text()?))?;
        let is_inside = columns.taken_option(Cell::into_bool)?;
        let mut count = || -> Result<u64> { Ok(columns.taken_count()?.unwrap_or_default()) };
        let (n_refused_attempts, n_authorization_failures, n_messages) = (count()?, count()?, count()?);
        let (sum_bytes, min_bytes, max_bytes) = (count()?, count()?, count()?);
        let (n_received, n_refused) = (count()?, count()?);
        let addresses = columns
            .taken(|cell| address_of(&cell.into_text()?))?
            .unwrap_or_default();
        let addresses: BTreeSet<IpAddr> = addresses.into_iter().flatten().collect();
        let certificate_of = || certificate.ok_or_else(|| odd("certificate_id"));
        let came = || -> Result<Came> {
            Ok(Came {
                is_genuine,
                certificate: certificate_of()?,
                connection: connection.cast_unsigned(),
                address: *addresses.first().ok_or_else(|| odd("source_addresses"))?,
            })
        };
        let what = match (kind.as_str(), reason) {
            (METER, _) => What::Meter(Box::new(Measured {
                is_genuine,
                certificate: certificate_of()?,
                topics: match (dimension, is_inside) {
                    (Some(name), Some(true)) => Topics::Inside(name),
                    (Some(name), _) => Topics::Outside(name),
                    (None, _) => Topics::All,
                },
                n_refused_attempts,
                n_authorization_failures,
                sent: (n_messages != 0).then_some(SizesSum {
                    n_messages,
                    sum_bytes,
                    min_bytes,
                    max_bytes,
                }),
                n_received,
                n_refused,
                addresses,
            })),
            (CONNECTED, _) => What::Connected(came()?),
            (DISCONNECTED, Some(reason)) => What::Disconnected(came()?, reason),
            (SESSIONS_ENDED, _) => What::SessionsEnded,
            _ => return Err(odd("kind")),
        };
        Ok(Self {
            at,
            seq,
            client_id,
            what,
        })
    }

    /// Sums up what was measured in the same bucket.
    fn settle(rows: &mut Vec<Self>) {
        let mut settled: Vec<Self> = Vec::with_capacity(rows.len());
        for row in rows.drain(..) {
            let bucket = row.at;
            let same = settled.iter_mut().rev().take_while(|earlier| earlier.at == bucket);
            let like = same
                .into_iter()
                .find_map(|earlier| match (&mut earlier.what, &row.what) {
                    (What::Meter(own), What::Meter(other)) if own.is_like(other) => Some(own),
                    _ => None,
                });
            match (like, row.what) {
                (Some(own), What::Meter(other)) => own.add(*other),
                (_, what) => settled.push(Self { what, ..row }),
            }
        }
        *rows = settled;
    }
}

const METER: &str = "meter";
const CONNECTED: &str = "connected";
const DISCONNECTED: &str = "disconnected";
const SESSIONS_ENDED: &str = "sessions-ended";

impl What {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Meter(_) => METER,
            Self::Connected(_) => CONNECTED,
            Self::Disconnected(..) => DISCONNECTED,
            Self::SessionsEnded => SESSIONS_ENDED,
        }
    }
}

impl Topics {
    pub(super) fn dimension(&self) -> Option<(&DimensionName, bool)> {
        match self {
            Self::All => None,
            Self::Inside(name) => Some((name, true)),
            Self::Outside(name) => Some((name, false)),
        }
    }
}
