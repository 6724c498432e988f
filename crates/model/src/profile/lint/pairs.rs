//! Behaviors of a profile beside each other: those that no device can satisfy both, and those that are the same.

use crate::behavior::{
    Behavior, Cidr, Criteria, DimensionOperator, Limit, NumericOperator, SetOperator, Statistic, Test,
};

use super::sets;

/// What looks wrong about two behaviors of a profile, in sentences that name both.
pub(super) fn pairs(behaviors: &[Behavior]) -> Vec<String> {
    let mut findings = Vec::new();
    for (at, one) in behaviors.iter().enumerate() {
        for other in &behaviors[at + 1..] {
            findings.extend(pair(one, other));
        }
    }
    findings
}

fn pair(one: &Behavior, other: &Behavior) -> Option<String> {
    if one.metric.is_none() || one.metric != other.metric || topics(one) != topics(other) {
        return None;
    }
    let (own, its) = (one.criteria.as_ref(), other.criteria.as_ref());
    if own == its {
        return Some(format!(
            "Behaviors {} and {} are the same but for their names",
            one.name, other.name
        ));
    }
    let (own, its) = (own?, its?);
    if own.duration != its.duration {
        return None;
    }
    let reason = contradiction(own, its)?;
    Some(format!(
        "Behaviors {} and {} contradict each other: {reason}",
        one.name, other.name
    ))
}

/// Which topics count; `None` for all.
fn topics(behavior: &Behavior) -> Option<(&str, bool)> {
    let dimension = behavior.dimension.as_ref()?;
    Some((
        dimension.name.as_str(),
        dimension.operator == Some(DimensionOperator::NotIn),
    ))
}

/// Why nothing, or next to nothing, is normal to both.
fn contradiction(one: &Criteria, other: &Criteria) -> Option<String> {
    let nothing = match (&one.test, &other.test) {
        (Test::Threshold { operator: a, limit: x }, Test::Threshold { operator: b, limit: y }) => {
            return bounds((*a, *x), (*b, *y)).then(|| NO_VALUE.to_owned());
        }
        (
            Test::Percentile {
                operator: a,
                statistic: x,
            },
            Test::Percentile {
                operator: b,
                statistic: y,
            },
        ) => {
            return percentiles((*a, *x), (*b, *y)).map(str::to_owned);
        }
        (Test::Ports { operator: a, ports: x }, Test::Ports { operator: b, ports: y }) => {
            only_nothing((*a, x), (*b, y), |x, y| x == y, |x, y| x == y).then_some("a device without any port")
        }
        (Test::Cidrs { operator: a, cidrs: x }, Test::Cidrs { operator: b, cidrs: y }) => {
            let meets = |x: &Cidr, y: &Cidr| sets::within(x, y) || sets::within(y, x);
            only_nothing((*a, x), (*b, y), sets::within, meets).then_some("a device without any address")
        }
        (
            Test::Numbers {
                operator: a,
                numbers: x,
            },
            Test::Numbers {
                operator: b,
                numbers: y,
            },
        ) => only_nothing((*a, x), (*b, y), |x, y| x == y, |x, y| x == y).then_some("a device without any number"),
        (
            Test::Strings {
                operator: a,
                strings: x,
            },
            Test::Strings {
                operator: b,
                strings: y,
            },
        ) => only_nothing((*a, x), (*b, y), |x, y| x == y, |x, y| x == y).then_some("a device without any text"),
        _ => None,
    };
    nothing.map(|who| format!("only {who} is normal to both"))
}

const NO_VALUE: &str = "no value is normal to both, so one of them is in alarm at every datapoint";

/// Whether two bounds leave no value: no whole number, where whole numbers are counted.
fn bounds(one: (NumericOperator, Limit), other: (NumericOperator, Limit)) -> bool {
    match (one.1, other.1) {
        (Limit::Count(own), Limit::Count(its)) => match (counts(one.0, own), counts(other.0, its)) {
            (Some((own_least, own_most)), Some((its_least, its_most))) => {
                own_most.min(its_most) < own_least.max(its_least)
            }
            // A behavior that nothing satisfies is pointed at by itself.
            _ => false,
        },
        (Limit::Number(own), Limit::Number(its)) => {
            let ((own_least, own_most), (its_least, its_most)) = (numbers(one.0, own), numbers(other.0, its));
            own_most.min(its_most) < own_least.max(its_least)
        }
        _ => false,
    }
}

/// The least and the most that is normal; `None` if nothing is.
fn counts(operator: NumericOperator, limit: u64) -> Option<(u64, u64)> {
    match operator {
        NumericOperator::LessThan => limit.checked_sub(1).map(|most| (0, most)),
        NumericOperator::LessThanEquals => Some((0, limit)),
        NumericOperator::GreaterThan => limit.checked_add(1).map(|least| (least, u64::MAX)),
        NumericOperator::GreaterThanEquals => Some((limit, u64::MAX)),
    }
}

/// The least and the most that is normal.
fn numbers(operator: NumericOperator, limit: f64) -> (f64, f64) {
    match operator {
        NumericOperator::LessThan => (f64::NEG_INFINITY, limit.next_down()),
        NumericOperator::LessThanEquals => (f64::NEG_INFINITY, limit),
        NumericOperator::GreaterThan => (limit.next_up(), f64::INFINITY),
        NumericOperator::GreaterThanEquals => (limit, f64::INFINITY),
    }
}

/// Percentiles are in their order whatever the fleet does.
fn percentiles(one: (NumericOperator, Statistic), other: (NumericOperator, Statistic)) -> Option<&'static str> {
    /// Enough that every percentile has a place of its own.
    const N_PLACES: usize = 10_000;
    let is_upper = |operator| matches!(operator, NumericOperator::LessThan | NumericOperator::LessThanEquals);
    let (upper, lower) = match (is_upper(one.0), is_upper(other.0)) {
        (true, false) => (one, other),
        (false, true) => (other, one),
        _ => return None,
    };
    let (most, least) = (upper.1.nearest_rank(N_PLACES), lower.1.nearest_rank(N_PLACES));
    let is_open = upper.0 == NumericOperator::LessThan || lower.0 == NumericOperator::GreaterThan;
    if most <= least && is_open {
        Some(NO_VALUE)
    } else if most < least {
        Some("both are normal only in a fleet that measures the same all over")
    } else {
        None
    }
}

/// Whether only the empty set is normal to both: `is_within` says that a range is all in another, `meets` that they have
/// something in common.
fn only_nothing<T>(
    one: (SetOperator, &[T]),
    other: (SetOperator, &[T]),
    is_within: impl Fn(&T, &T) -> bool,
    meets: impl Fn(&T, &T) -> bool,
) -> bool {
    match (one.0, other.0) {
        (SetOperator::In, SetOperator::In) => !one.1.iter().any(|item| other.1.iter().any(|its| meets(item, its))),
        (SetOperator::In, SetOperator::NotIn) => {
            one.1.iter().all(|item| other.1.iter().any(|its| is_within(item, its)))
        }
        (SetOperator::NotIn, SetOperator::In) => {
            other.1.iter().all(|item| one.1.iter().any(|its| is_within(item, its)))
        }
        (SetOperator::NotIn, SetOperator::NotIn) => false,
    }
}
