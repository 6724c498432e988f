//! How fields of the model's types stand in a snapshot.

macro_rules! field {
    ($(#[$doc:meta])* $name:ident, $type:ty, $wire:ty, $to:expr, $from:expr) => {
        $(#[$doc])*
        pub(crate) mod $name {
            #[allow(unused_imports, reason = "each use of the macro needs others of them")]
            use super::*;

            pub(crate) fn encode<C, W: minicbor::encode::Write>(
                value: &$type,
                encoder: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                let to: fn(&$type) -> $wire = $to;
                encoder.encode(to(value)).map(|_| ())
            }

            pub(crate) fn decode<C>(
                decoder: &mut minicbor::Decoder<'_>,
                _: &mut C,
            ) -> Result<$type, minicbor::decode::Error> {
                let from: fn($wire) -> $type = $from;
                decoder.decode().map(from)
            }
        }
    };
}

use std::net::IpAddr;

use minicbor::bytes::ByteArray;
use picket_model::fleet::Quantity;
use picket_model::name::CertificateId;
use picket_model::time::Timestamp;
use picket_model::value::MetricValue;
use picket_model::violation::ViolationId;

use crate::explain::Measured;
use crate::moment::Moment;

field!(
    /// Milliseconds of engine time.
    moment, Moment, i64, |moment| moment.millis(), Moment::from_millis
);
field!(
    /// The same, or null.
    optional_moment, Option<Moment>, Option<i64>, |moment| moment.map(Moment::millis),
    |millis| millis.map(Moment::from_millis)
);
field!(
    /// Milliseconds since the epoch.
    timestamp, Timestamp, i64, |at| at.millis(), Timestamp::from_millis
);
field!(
    /// The same, or null.
    optional_timestamp, Option<Timestamp>, Option<i64>, |at| at.map(Timestamp::millis),
    |millis| millis.map(Timestamp::from_millis)
);
field!(
    /// Sixteen bytes.
    violation_id, ViolationId, ByteArray<16>, |id| ByteArray::from(id.0), |bytes| ViolationId(bytes.into())
);
field!(
    /// Time and value, or null.
    optional_datapoint, Option<(Timestamp, Measured)>, Option<(i64, Measured)>,
    |datapoint| datapoint.map(|(at, value)| (at.millis(), value)),
    |datapoint| datapoint.map(|(millis, value)| (Timestamp::from_millis(millis), value))
);
field!(
    /// Elements of a list, or null; a number is never one.
    optional_elements, Option<MetricValue>, Option<Elements>,
    |value| value.as_ref().and_then(Elements::of), |elements| elements.map(Elements::into_value)
);

field!(
    /// A number, or null.
    optional_quantity, Option<Quantity>, Option<Measured>,
    |value| value.map(|value| match value {
        Quantity::Count(count) => Measured::Count(count),
        Quantity::Number(number) => Measured::Number(number),
    }),
    |measured| measured.and_then(|measured| match measured {
        Measured::Count(count) => Some(Quantity::Count(count)),
        Measured::Number(number) => Some(Quantity::Number(number)),
        Measured::Elements(_) => None,
    })
);
field!(
    /// Thirty-two bytes, or null.
    optional_certificate, Option<CertificateId>, Option<ByteArray<32>>,
    |id| id.map(|id| ByteArray::from(*id.as_bytes())), |bytes| bytes.map(|bytes| CertificateId::from_bytes(bytes.into()))
);

field!(
    /// The same, boxed.
    boxed_certificate, Option<Box<CertificateId>>, Option<ByteArray<32>>,
    |id| id.as_ref().map(|id| ByteArray::from(*id.as_bytes())),
    |bytes| bytes.map(|bytes| Box::new(CertificateId::from_bytes(bytes.into())))
);

/// Elements of a list.
#[derive(minicbor::Encode, minicbor::Decode)]
pub(crate) enum Elements {
    #[n(0)]
    Ports(#[n(0)] Vec<u16>),
    #[n(1)]
    Addresses(#[n(0)] Vec<IpAddr>),
    #[n(2)]
    Numbers(#[n(0)] Vec<f64>),
    #[n(3)]
    Strings(#[n(0)] Vec<String>),
}

impl Elements {
    fn of(value: &MetricValue) -> Option<Self> {
        Some(match value {
            MetricValue::Ports(ports) => Self::Ports(ports.iter().copied().collect()),
            MetricValue::Addresses(addresses) => Self::Addresses(addresses.iter().copied().collect()),
            MetricValue::Numbers(numbers) => Self::Numbers(numbers.clone()),
            MetricValue::Strings(strings) => Self::Strings(strings.clone()),
            MetricValue::Count(_) | MetricValue::Number(_) => return None,
        })
    }

    fn into_value(self) -> MetricValue {
        match self {
            Self::Ports(ports) => MetricValue::Ports(ports.into_iter().collect()),
            Self::Addresses(addresses) => MetricValue::Addresses(addresses.into_iter().collect()),
            Self::Numbers(numbers) => MetricValue::Numbers(numbers),
            Self::Strings(strings) => MetricValue::Strings(strings),
        }
    }
}
