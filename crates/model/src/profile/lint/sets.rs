//! What the set of one behavior holds.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::IpAddr;

use crate::behavior::{Cidr, SetOperator};
use crate::metric::{DeviceMetric, Metric};

/// Ports that are there twice, or are none.
pub(super) fn ports(operator: SetOperator, ports: &[u16]) -> Vec<String> {
    let mut findings: Vec<String> = repeated(ports).into_iter().collect();
    if ports == [0] {
        findings.push(match operator {
            SetOperator::In => "nothing listens on port 0, so any port at all alarms".to_owned(),
            SetOperator::NotIn => "nothing listens on port 0, so the behavior never alarms".to_owned(),
        });
    }
    findings
}

/// Ranges that hold everything, that are within others, and that are not written as what they are.
pub(super) fn cidrs(operator: SetOperator, cidrs: &[Cidr]) -> Vec<String> {
    let mut findings: Vec<String> = cidrs.iter().filter_map(|cidr| whole_range(operator, cidr)).collect();
    findings.extend(cidrs.iter().filter_map(host_bits));
    for (at, cidr) in cidrs.iter().enumerate() {
        // Of two that are the same, the second is too many.
        let outer = cidrs.iter().enumerate().find(|(other_at, other)| {
            let is_same = other.network == cidr.network && other.prefix_bits == cidr.prefix_bits;
            *other_at != at && 0 < other.prefix_bits && within(cidr, other) && (!is_same || *other_at < at)
        });
        findings.extend(outer.map(|(_, outer)| format!("{cidr} is within {outer} already")));
    }
    findings
}

/// A set of destinations by which no device may reach this server.
pub(super) fn server_address(
    metric: &Metric,
    operator: SetOperator,
    cidrs: &[Cidr],
    server: &[IpAddr],
) -> Option<String> {
    if *metric != Metric::Device(DeviceMetric::DestinationIpAddresses) || server.is_empty() {
        return None;
    }
    let is_held = |address: &IpAddr| cidrs.iter().any(|cidr| cidr.contains(address));
    let shown = server.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match operator {
        // A device comes by one of the addresses.
        SetOperator::In if !server.iter().any(is_held) => Some(format!(
            "the set holds no address of this server ({shown}), so it alarms for every device that reports here"
        )),
        SetOperator::NotIn if server.iter().all(is_held) => Some(format!(
            "the set holds the addresses of this server ({shown}), so it alarms for every device that reports here"
        )),
        SetOperator::In | SetOperator::NotIn => None,
    }
}

/// An element that is there twice.
pub(super) fn repeated<T: PartialEq + Display>(items: &[T]) -> Option<String> {
    let found = items.iter().enumerate().find(|(at, item)| items[..*at].contains(item));
    found.map(|(_, item)| format!("{item} is in the set twice"))
}

/// A text that is there twice.
pub(super) fn repeated_texts(texts: &[String]) -> Option<String> {
    let mut seen = BTreeSet::new();
    let found = texts.iter().find(|text| !seen.insert(text.as_str()));
    found.map(|text| format!("{text:?} is in the set twice"))
}

/// Whether all addresses of a range are in another.
pub(super) fn within(inner: &Cidr, outer: &Cidr) -> bool {
    outer.prefix_bits <= inner.prefix_bits && outer.contains(&inner.network)
}

fn whole_range(operator: SetOperator, cidr: &Cidr) -> Option<String> {
    let version = if cidr.network.is_ipv4() { "IPv4" } else { "IPv6" };
    let consequence = match operator {
        SetOperator::In => "never alarms for them",
        SetOperator::NotIn => "alarms for any of them",
    };
    (cidr.prefix_bits == 0).then(|| format!("{cidr} holds every {version} address, so the behavior {consequence}"))
}

fn host_bits(cidr: &Cidr) -> Option<String> {
    let (address, _) = cidr.text.split_once('/')?;
    let network = cidr.network;
    let is_network = address
        .parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.to_canonical() == network.to_canonical());
    (!is_network).then(|| {
        format!(
            "{cidr} counts as {network}/{}: bits beyond the prefix are not looked at",
            cidr.prefix_bits
        )
    })
}
