//! Whether a value breaches what a behavior says is normal: pure tests of one value.

use std::collections::BTreeSet;
use std::net::IpAddr;

use picket_model::behavior::{Limit, NumericOperator, SetOperator, Test};
use picket_model::fleet::Quantity;
use picket_model::report::{Connection, ListeningPort};
use picket_model::value::MetricValue;

use crate::addresses::Addresses;

/// What one report says of one metric, borrowed from it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reading<'r> {
    /// A whole number: a total, or the sum of a window.
    Count(u64),
    /// The value of a custom number.
    Number(f64),
    /// Listening ports.
    Ports(&'r [ListeningPort]),
    /// Established connections, of which the remote addresses count.
    Connections(&'r [Connection]),
    /// Addresses of a custom metric.
    Addresses(&'r [IpAddr]),
    /// Numbers of a custom metric.
    Numbers(&'r [f64]),
    /// Texts of a custom metric.
    Strings(&'r [String]),
}

/// A [`Test`] made ready to be put to many values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Check {
    /// Compares a number with a limit.
    Threshold(NumericOperator, Limit),
    /// Looks ports up; sorted.
    Ports(SetOperator, Vec<u16>),
    /// Looks addresses up.
    Addresses(SetOperator, Addresses),
    /// Looks numbers up; sorted, without negative zero.
    Numbers(SetOperator, Vec<f64>),
    /// Looks texts up; sorted.
    Strings(SetOperator, Vec<String>),
}

impl Check {
    /// The test made ready; `None` if it has no limit of its own (percentiles, learned).
    pub(crate) fn of(test: &Test) -> Option<Self> {
        Some(match test {
            Test::Threshold { operator, limit } => Self::Threshold(*operator, *limit),
            Test::Ports { operator, ports } => Self::Ports(*operator, sorted(ports, Ord::cmp)),
            Test::Cidrs { operator, cidrs } => Self::Addresses(*operator, Addresses::of(cidrs)),
            Test::Numbers { operator, numbers } => {
                let numbers: Vec<f64> = numbers.iter().copied().map(positive_zero).collect();
                Self::Numbers(*operator, sorted(&numbers, f64::total_cmp))
            }
            Test::Strings { operator, strings } => Self::Strings(*operator, sorted(strings, Ord::cmp)),
            Test::Percentile { .. } | Test::Learned { .. } => return None,
        })
    }

    /// Whether the value is *not* normal. An empty list is always normal; a value of a kind that the check is not
    /// for never breaches (a rule pairs only kinds that fit).
    pub(crate) fn is_breach(&self, reading: Reading<'_>) -> bool {
        match (self, reading) {
            (Self::Threshold(operator, Limit::Count(limit)), Reading::Count(count)) => {
                !compares(*operator, count, *limit)
            }
            (Self::Threshold(operator, limit), Reading::Count(count)) => {
                !compares(*operator, whole(count), limit_number(*limit))
            }
            (Self::Threshold(operator, limit), Reading::Number(number)) => {
                !compares(*operator, number, limit_number(*limit))
            }
            (Self::Ports(operator, set), Reading::Ports(ports)) => ports
                .iter()
                .any(|item| is_offending(*operator, holds_port(set, item.port))),
            (Self::Addresses(operator, set), Reading::Connections(connections)) => connections
                .iter()
                .any(|item| is_offending(*operator, set.holds(item.remote_addr))),
            (Self::Addresses(operator, set), Reading::Addresses(addresses)) => addresses
                .iter()
                .any(|address| is_offending(*operator, set.holds(*address))),
            (Self::Numbers(operator, set), Reading::Numbers(numbers)) => numbers
                .iter()
                .any(|number| is_offending(*operator, holds_number(set, *number))),
            (Self::Strings(operator, set), Reading::Strings(strings)) => strings
                .iter()
                .any(|string| is_offending(*operator, holds_string(set, string))),
            _ => false,
        }
    }

    /// Whether a breach is a value that is too small, so that a window must have been watched long enough first.
    pub(crate) fn is_lower_bound(&self) -> bool {
        matches!(
            self,
            Self::Threshold(NumericOperator::GreaterThan | NumericOperator::GreaterThanEquals, _)
        )
    }

    /// Of an upper bound on a count: the smallest count that is a breach.
    pub(crate) fn first_breach(&self) -> Option<u64> {
        match self {
            Self::Threshold(NumericOperator::LessThan, Limit::Count(limit)) => Some(*limit),
            Self::Threshold(NumericOperator::LessThanEquals, Limit::Count(limit)) => limit.checked_add(1),
            _ => None,
        }
    }

    /// The elements of a list that breach, the first `n_max` of them in order; `None` for numbers.
    pub(crate) fn offending(&self, reading: Reading<'_>, n_max: usize) -> Option<MetricValue> {
        Some(match (self, reading) {
            (Self::Ports(operator, set), Reading::Ports(ports)) => {
                let ports: BTreeSet<u16> = ports.iter().map(|item| item.port).collect();
                let offends = |port: &u16| is_offending(*operator, holds_port(set, *port));
                MetricValue::Ports(ports.into_iter().filter(offends).take(n_max).collect())
            }
            (Self::Addresses(operator, set), Reading::Connections(_) | Reading::Addresses(_)) => {
                let MetricValue::Addresses(addresses) = reading.to_value() else {
                    return None;
                };
                let offends = |address: &IpAddr| is_offending(*operator, set.holds(*address));
                MetricValue::Addresses(addresses.into_iter().filter(offends).take(n_max).collect())
            }
            (Self::Numbers(operator, set), Reading::Numbers(numbers)) => {
                let offends = |number: &f64| is_offending(*operator, holds_number(set, *number));
                MetricValue::Numbers(numbers.iter().copied().filter(offends).take(n_max).collect())
            }
            (Self::Strings(operator, set), Reading::Strings(strings)) => {
                let offends = |string: &&String| is_offending(*operator, holds_string(set, string));
                MetricValue::Strings(strings.iter().filter(offends).take(n_max).cloned().collect())
            }
            _ => return None,
        })
    }
}

impl Reading<'_> {
    /// A number.
    pub(crate) fn of(value: Quantity) -> Self {
        match value {
            Quantity::Count(count) => Self::Count(count),
            Quantity::Number(number) => Self::Number(number),
        }
    }

    /// The number, if it is one.
    pub(crate) fn quantity(self) -> Option<Quantity> {
        match self {
            Self::Count(count) => Some(Quantity::Count(count)),
            Self::Number(number) => Some(Quantity::Number(number)),
            _ => None,
        }
    }

    /// The value as a violation shows it: lists in full.
    pub(crate) fn to_value(self) -> MetricValue {
        match self {
            Self::Count(count) => MetricValue::Count(count),
            Self::Number(number) => MetricValue::Number(number),
            Self::Ports(ports) => MetricValue::Ports(ports.iter().map(|item| item.port).collect()),
            Self::Connections(connections) => {
                MetricValue::Addresses(connections.iter().map(|item| item.remote_addr.to_canonical()).collect())
            }
            Self::Addresses(addresses) => MetricValue::Addresses(addresses.iter().map(IpAddr::to_canonical).collect()),
            Self::Numbers(numbers) => MetricValue::Numbers(numbers.to_vec()),
            Self::Strings(strings) => MetricValue::Strings(strings.to_vec()),
        }
    }

    /// How many elements a list has; `None` for numbers.
    pub(crate) fn n_elements(self) -> Option<usize> {
        match self {
            Self::Count(_) | Self::Number(_) => None,
            Self::Ports(ports) => Some(ports.len()),
            Self::Connections(connections) => Some(connections.len()),
            Self::Addresses(addresses) => Some(addresses.len()),
            Self::Numbers(numbers) => Some(numbers.len()),
            Self::Strings(strings) => Some(strings.len()),
        }
    }
}

/// Whether a device's value is *not* normal beside the fleet's percentile.
pub(crate) fn breaches_percentile(operator: NumericOperator, value: Quantity, percentile: Quantity) -> bool {
    match (value, percentile) {
        (Quantity::Count(value), Quantity::Count(percentile)) => !compares(operator, value, percentile),
        (Quantity::Number(value), Quantity::Number(percentile)) => !compares(operator, value, percentile),
        // All values of a window are of one kind.
        (Quantity::Count(_), Quantity::Number(_)) | (Quantity::Number(_), Quantity::Count(_)) => false,
    }
}

fn compares<T: PartialOrd>(operator: NumericOperator, value: T, limit: T) -> bool {
    match operator {
        NumericOperator::LessThan => value < limit,
        NumericOperator::LessThanEquals => value <= limit,
        NumericOperator::GreaterThan => limit < value,
        NumericOperator::GreaterThanEquals => limit <= value,
    }
}

fn is_offending(operator: SetOperator, is_in_set: bool) -> bool {
    match operator {
        SetOperator::In => !is_in_set,
        SetOperator::NotIn => is_in_set,
    }
}

fn holds_port(set: &[u16], port: u16) -> bool {
    set.binary_search(&port).is_ok()
}

fn holds_number(set: &[f64], number: f64) -> bool {
    let number = positive_zero(number);
    set.binary_search_by(|element| element.total_cmp(&number)).is_ok()
}

fn holds_string(set: &[String], string: &str) -> bool {
    set.binary_search_by(|element| element.as_str().cmp(string)).is_ok()
}

fn sorted<T: Clone>(items: &[T], order: impl Fn(&T, &T) -> std::cmp::Ordering) -> Vec<T> {
    let mut items = items.to_vec();
    items.sort_by(order);
    items
}

/// Zero and negative zero are the same number, but not the same to a total order.
fn positive_zero(number: f64) -> f64 {
    number + 0.0
}

fn limit_number(limit: Limit) -> f64 {
    match limit {
        Limit::Count(count) => whole(count),
        Limit::Number(number) => number,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a custom number is compared as the double that it is"
)]
fn whole(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use NumericOperator::{GreaterThan, GreaterThanEquals, LessThan, LessThanEquals};
    use SetOperator::{In, NotIn};

    #[test]
    fn a_number_breaches_when_the_criterion_is_not_met() {
        for (operator, limit, value, is_breach) in [
            (GreaterThan, 200, 26, true), // recorded from AWS: in alarm
            (GreaterThan, 10, 0, true),   // recorded from AWS: in alarm
            (GreaterThan, 200, 200, true),
            (GreaterThan, 200, 201, false),
            (LessThan, 100, 29, false), // recorded from AWS: cleared
            (LessThan, 100, 100, true),
            (LessThanEquals, 100, 100, false),
            (LessThanEquals, 100, 101, true),
            (GreaterThanEquals, 100, 100, false),
            (GreaterThanEquals, 100, 99, true),
            (LessThan, u64::MAX, u64::MAX, true),
            (LessThanEquals, u64::MAX, u64::MAX, false),
        ] {
            let check = Check::Threshold(operator, Limit::Count(limit));
            let found = check.is_breach(Reading::Count(value));
            assert_eq!(found, is_breach, "{value} {operator:?} {limit}");
        }
        let warm = Check::Threshold(LessThan, Limit::Number(71.5));
        assert!(!warm.is_breach(Reading::Number(71.4)));
        assert!(warm.is_breach(Reading::Number(71.5)));
        let counted = Check::Threshold(LessThan, Limit::Count(71));
        assert!(counted.is_breach(Reading::Number(71.0)));
    }

    #[test]
    fn a_list_breaches_by_one_element_and_never_when_empty() {
        let item = |port| ListeningPort { port, interface: None };
        for (operator, set, reported, is_breach) in [
            (In, &[8888][..], &[443][..], true),
            (In, &[8888], &[8888], false),
            (In, &[8888, 22], &[22, 22, 8888], false),
            (In, &[22], &[22, 4444], true),
            (In, &[22], &[], false),
            (NotIn, &[22], &[], false),
            (NotIn, &[22], &[23, 80], false),
            (NotIn, &[22], &[22, 80], true),
        ] {
            let ports: Vec<ListeningPort> = reported.iter().copied().map(item).collect();
            let test = Test::Ports {
                operator,
                ports: set.to_vec(),
            };
            let found = Check::of(&test).unwrap().is_breach(Reading::Ports(&ports));
            assert_eq!(found, is_breach, "{operator:?} {set:?} {reported:?}");
        }
        let texts = |items: &[&str]| -> Vec<String> { items.iter().map(|&item| item.to_owned()).collect() };
        let known = Check::of(&Test::Strings {
            operator: In,
            strings: texts(&["v_2", "v_1"]),
        })
        .unwrap();
        assert!(!known.is_breach(Reading::Strings(&texts(&["v_1", "v_2"]))));
        assert!(known.is_breach(Reading::Strings(&texts(&["v_1", "v_3"]))));
        let numbers = Check::of(&Test::Numbers {
            operator: In,
            numbers: vec![3.0, -0.0, 1.5],
        })
        .unwrap();
        assert!(!numbers.is_breach(Reading::Numbers(&[0.0, -0.0, 1.5])));
        assert!(numbers.is_breach(Reading::Numbers(&[1.25])));
        assert!(numbers.is_breach(Reading::Numbers(&[f64::NAN])));
    }

    #[test]
    fn offending_elements_are_named_up_to_a_number() {
        let ports: Vec<ListeningPort> = (1..=20).map(|port| ListeningPort { port, interface: None }).collect();
        let check = Check::Ports(In, vec![1, 2]);
        assert_eq!(
            check.offending(Reading::Ports(&ports), 3),
            Some(MetricValue::Ports([3, 4, 5].into()))
        );
        let count = Check::Threshold(LessThan, Limit::Count(1));
        assert_eq!(count.offending(Reading::Count(7), 3), None);
    }
}
