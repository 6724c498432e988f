//! Behaviors that are valid and probably not meant.

use crate::behavior::{Behavior, Cidr, Limit, NumericOperator, SetOperator, Statistic, Test};
use crate::metric::{BrokerMetric, Metric, ValueShape};

/// What looks wrong about a behavior, in sentences. It is accepted all the same: AWS accepts it too.
///
/// Most of them come from reading a criterion as the alarm; it says what is normal.
pub fn lint(behavior: &Behavior) -> Vec<String> {
    let (Some(metric), Some(criteria)) = (&behavior.metric, &behavior.criteria) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    match &criteria.test {
        Test::Threshold { operator, limit } => {
            findings.extend(constant_threshold(*operator, *limit).map(str::to_owned));
            if findings.is_empty() {
                let limit = match limit {
                    Limit::Count(count) => count.to_string(),
                    Limit::Number(number) => number.to_string(),
                };
                findings.extend(inverted(metric, *operator, &limit));
            }
        }
        Test::Percentile { operator, statistic } => {
            findings.extend(constant_percentile(*operator, *statistic).map(str::to_owned));
            if findings.is_empty() {
                findings.extend(inverted(metric, *operator, statistic.as_str()));
            }
        }
        Test::Cidrs { operator, cidrs } => {
            findings.extend(cidrs.iter().filter_map(|cidr| whole_range(*operator, cidr)));
            findings.extend(cidrs.iter().filter_map(host_bits));
        }
        Test::Ports { .. } | Test::Numbers { .. } | Test::Strings { .. } | Test::Learned { .. } => {}
    }
    findings
}

/// A lower bound on something that a quiet device has little of.
fn inverted(metric: &Metric, operator: NumericOperator, limit: &str) -> Option<String> {
    let likely = match operator {
        NumericOperator::GreaterThan => NumericOperator::LessThanEquals,
        NumericOperator::GreaterThanEquals => NumericOperator::LessThan,
        NumericOperator::LessThan | NumericOperator::LessThanEquals => return None,
    };
    let is_volume = match metric {
        Metric::Device(metric) => metric.shape() == ValueShape::Count,
        Metric::Broker(BrokerMetric::DisconnectDuration) | Metric::Reporting(_) | Metric::Custom(_) => false,
        Metric::Broker(metric) => metric.shape() == ValueShape::Count,
    };
    is_volume.then(|| {
        format!(
            "{} {limit} on {metric} says that more is normal, so it alarms on quiet devices: did you mean {} {limit}?",
            operator.as_str(),
            likely.as_str()
        )
    })
}

/// Limits on counts, which are never below 0, that hold always or never.
fn constant_threshold(operator: NumericOperator, limit: Limit) -> Option<&'static str> {
    match (operator, limit) {
        (NumericOperator::LessThan, Limit::Count(0)) => {
            Some("no count is below 0, so less-than 0 alarms at every datapoint")
        }
        (NumericOperator::GreaterThanEquals, Limit::Count(0)) => {
            Some("every count is 0 or more, so greater-than-equals 0 never alarms")
        }
        _ => None,
    }
}

/// Percentiles at the ends, where the device's own value is part of the fleet's.
fn constant_percentile(operator: NumericOperator, statistic: Statistic) -> Option<&'static str> {
    match (operator, statistic) {
        (NumericOperator::LessThanEquals, Statistic::P100) => {
            Some("no device is above the fleet's maximum, so less-than-equals p100 never alarms")
        }
        (NumericOperator::GreaterThanEquals, Statistic::P0) => {
            Some("no device is below the fleet's minimum, so greater-than-equals p0 never alarms")
        }
        (NumericOperator::LessThan, Statistic::P100) => {
            Some("less-than p100 alarms for the device with the most in every window; did you mean less-than-equals?")
        }
        (NumericOperator::GreaterThan, Statistic::P0) => Some(
            "greater-than p0 alarms for the device with the least in every window; did you mean greater-than-equals?",
        ),
        (NumericOperator::LessThan, Statistic::P0) => {
            Some("no device is below the fleet's minimum, so less-than p0 alarms for every device in every window")
        }
        (NumericOperator::GreaterThan, Statistic::P100) => {
            Some("no device is above the fleet's maximum, so greater-than p100 alarms for every device in every window")
        }
        _ => None,
    }
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
