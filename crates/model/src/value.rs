//! Values of metrics: what a datapoint holds and a violation shows.

pub mod wire;

use std::collections::BTreeSet;
use std::net::IpAddr;

/// The value of one datapoint, as an alert's `metricValue` shows it.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricValue {
    /// `{"count": 29}`
    Count(u64),
    /// `{"ports": [22, 4444]}`: the full reported set.
    Ports(BTreeSet<u16>),
    /// `{"cidrs": ["192.0.2.7"]}`: the full reported set of addresses, IPv4-mapped ones as IPv4.
    Addresses(BTreeSet<IpAddr>),
    /// `{"number": 71.5}`, always finite.
    Number(f64),
    /// `{"numbers": [1.0, 2.0]}`, always finite, in the order reported.
    Numbers(Vec<f64>),
    /// `{"strings": ["v_1"]}`, in the order reported.
    Strings(Vec<String>),
}
