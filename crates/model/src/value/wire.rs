//! AWS's `MetricValue`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::MetricValue as Value;

/// A value as AWS writes it: exactly one member is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricValue {
    /// A whole number, 0 to 2^63-1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// Addresses or ranges of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidrs: Option<Vec<String>>,
    /// Ports, 0 to 65535.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<i64>>,
    /// A number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<f64>,
    /// Numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<Vec<f64>>,
    /// Texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strings: Option<Vec<String>>,
}

/// The one member that is set.
pub(crate) enum Member {
    Count(i64),
    Cidrs(Vec<String>),
    Ports(Vec<i64>),
    Number(f64),
    Numbers(Vec<f64>),
    Strings(Vec<String>),
}

/// Why members do not make a value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadMetricValue {
    /// None or several are set.
    #[error("value has {found} members, expected exactly one of count, cidrs, ports, number, numbers, strings")]
    Members {
        /// How many are set.
        found: usize,
    },
    /// Below 0.
    #[error("count {found} should be 0 or more")]
    Count {
        /// The count as found.
        found: i64,
    },
    /// Not a port.
    #[error("port {found} should be in range[0,65535]")]
    Port {
        /// The port as found.
        found: i64,
    },
    /// Neither an address nor a range of them.
    #[error("{found:?} is no address")]
    Address {
        /// The text as found, at most 80 characters of it.
        found: String,
    },
    /// Infinite or not a number.
    #[error("number {found} is not finite")]
    NotFinite {
        /// The number as found.
        found: f64,
    },
}

impl MetricValue {
    pub(crate) fn into_member(self) -> Result<Member, BadMetricValue> {
        let members = [
            self.count.map(Member::Count),
            self.cidrs.map(Member::Cidrs),
            self.ports.map(Member::Ports),
            self.number.map(Member::Number),
            self.numbers.map(Member::Numbers),
            self.strings.map(Member::Strings),
        ];
        let found = members.iter().flatten().count();
        let mut members = members.into_iter().flatten();
        match (members.next(), members.next()) {
            (Some(member), None) => Ok(member),
            _ => Err(BadMetricValue::Members { found }),
        }
    }
}

impl TryFrom<MetricValue> for Value {
    type Error = BadMetricValue;

    fn try_from(written: MetricValue) -> Result<Self, BadMetricValue> {
        Ok(match written.into_member()? {
            Member::Count(count) => Self::Count(count_of(count)?),
            Member::Cidrs(addresses) => Self::Addresses(
                addresses
                    .iter()
                    .map(|text| address_of(text))
                    .collect::<Result<_, _>>()?,
            ),
            Member::Ports(ports) => Self::Ports(ports.into_iter().map(port_of).collect::<Result<_, _>>()?),
            Member::Number(number) => Self::Number(finite(number)?),
            Member::Numbers(numbers) => Self::Numbers(numbers.into_iter().map(finite).collect::<Result<_, _>>()?),
            Member::Strings(strings) => Self::Strings(strings),
        })
    }
}

impl From<&Value> for MetricValue {
    fn from(value: &Value) -> Self {
        let none = Self::default();
        match value {
            Value::Count(count) => Self {
                count: Some(written_count(*count)),
                ..none
            },
            Value::Ports(ports) => Self {
                ports: Some(ports.iter().map(|port| i64::from(*port)).collect()),
                ..none
            },
            Value::Addresses(addresses) => Self {
                cidrs: Some(addresses.iter().map(ToString::to_string).collect()),
                ..none
            },
            Value::Number(number) => Self {
                number: Some(*number),
                ..none
            },
            Value::Numbers(numbers) => Self {
                numbers: Some(numbers.clone()),
                ..none
            },
            Value::Strings(strings) => Self {
                strings: Some(strings.clone()),
                ..none
            },
        }
    }
}

/// A count as AWS's `long`: held at 2^63-1.
pub(crate) fn written_count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) fn count_of(found: i64) -> Result<u64, BadMetricValue> {
    u64::try_from(found).map_err(|_| BadMetricValue::Count { found })
}

pub(crate) fn port_of(found: i64) -> Result<u16, BadMetricValue> {
    u16::try_from(found).map_err(|_| BadMetricValue::Port { found })
}

pub(crate) fn finite(found: f64) -> Result<f64, BadMetricValue> {
    found
        .is_finite()
        .then_some(found)
        .ok_or(BadMetricValue::NotFinite { found })
}

fn address_of(text: &str) -> Result<IpAddr, BadMetricValue> {
    let address: Result<IpAddr, _> = text.parse();
    address
        .map(|address| address.to_canonical())
        .map_err(|_| BadMetricValue::Address {
            found: text.chars().take(80).collect(),
        })
}
