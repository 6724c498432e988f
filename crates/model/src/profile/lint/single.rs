//! Bounds, percentiles and times of one behavior.

use std::time::Duration;

use crate::behavior::{Criteria, Limit, NumericOperator, Statistic, Test};
use crate::fleet::Threshold;
use crate::metric::{BrokerMetric, Metric, ReportingMetric, ValueShape};

/// The most bytes that a message may have: none of more is ever measured.
const MESSAGE_BYTES_MAX: u64 = 128 << 10;

/// A limit that is never or always broken, or a bound that is one on the wrong side.
pub(super) fn threshold(metric: &Metric, operator: NumericOperator, limit: Limit) -> Option<String> {
    let shown = match limit {
        Limit::Count(count) => count.to_string(),
        Limit::Number(number) => number.to_string(),
    };
    let constant = match limit {
        Limit::Count(count) => constant_count(metric, operator, count),
        Limit::Number(_) => None,
    };
    constant.or_else(|| inverted(metric, operator, &shown))
}

/// Limits on counts, which are never below 0 and not above what there can be, that hold always or never.
fn constant_count(metric: &Metric, operator: NumericOperator, limit: u64) -> Option<String> {
    use NumericOperator::{GreaterThan, GreaterThanEquals, LessThan, LessThanEquals};

    let most = matches!(metric, Metric::Broker(BrokerMetric::MessageByteSize)).then_some(MESSAGE_BYTES_MAX);
    match (operator, limit, most) {
        (LessThan, 0, _) => Some("no count is below 0, so less-than 0 alarms at every datapoint".to_owned()),
        (GreaterThanEquals, 0, _) => Some("every count is 0 or more, so greater-than-equals 0 never alarms".to_owned()),
        (LessThan, limit, Some(most)) if most < limit => Some(never_above(metric, most, operator, limit)),
        (LessThanEquals, limit, Some(most)) if most <= limit => Some(never_above(metric, most, operator, limit)),
        (GreaterThan, limit, Some(most)) if most <= limit => Some(always_below(metric, most, operator, limit)),
        (GreaterThanEquals, limit, Some(most)) if most < limit => Some(always_below(metric, most, operator, limit)),
        _ => None,
    }
}

fn never_above(metric: &Metric, most: u64, operator: NumericOperator, limit: u64) -> String {
    format!(
        "{metric} is never above {most}, so {} {limit} never alarms",
        operator.as_str()
    )
}

fn always_below(metric: &Metric, most: u64, operator: NumericOperator, limit: u64) -> String {
    format!(
        "{metric} is never above {most}, so {} {limit} alarms at every datapoint",
        operator.as_str()
    )
}

/// A lower bound on something that a quiet device has little of.
fn inverted(metric: &Metric, operator: NumericOperator, limit: &str) -> Option<String> {
    let likely = match operator {
        NumericOperator::GreaterThan => NumericOperator::LessThanEquals,
        NumericOperator::GreaterThanEquals => NumericOperator::LessThan,
        NumericOperator::LessThan | NumericOperator::LessThanEquals => return None,
    };
    let victims = match metric {
        Metric::Device(metric) if metric.shape() == ValueShape::Count => "quiet devices",
        Metric::Broker(metric) if metric.shape() == ValueShape::Count => "quiet devices",
        Metric::Reporting(_) => "devices that report as they should",
        Metric::Device(_) | Metric::Broker(_) | Metric::Custom(_) => return None,
    };
    Some(format!(
        "{} {limit} on {metric} says that more is normal, so it alarms on {victims}: did you mean {} {limit}?",
        operator.as_str(),
        likely.as_str()
    ))
}

/// A percentile at an end of the fleet, or one on the wrong side.
pub(super) fn percentile(metric: &Metric, operator: NumericOperator, statistic: Statistic) -> Option<String> {
    let constant = constant_percentile(operator, statistic).map(str::to_owned);
    constant.or_else(|| inverted(metric, operator, statistic.as_str()))
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

/// What a percentile is among few devices.
pub(super) fn tiny_fleet(operator: NumericOperator, statistic: Statistic, n_devices: u64) -> Option<String> {
    let n = usize::try_from(n_devices).ok()?;
    if super::Surroundings::N_DEVICES_FEW <= n_devices {
        return None;
    }
    if n < Threshold::N_DEVICES_MIN {
        return Some(format!(
            "the profile's targets hold {n} registered {}: there is no percentile of fewer than {}, so nothing is judged",
            if n == 1 { "thing" } else { "things" },
            Threshold::N_DEVICES_MIN
        ));
    }
    let rank = statistic.nearest_rank(n);
    let n_outside = match operator {
        NumericOperator::LessThanEquals => n - rank,
        NumericOperator::LessThan => n - rank + 1,
        NumericOperator::GreaterThanEquals => rank - 1,
        NumericOperator::GreaterThan => rank,
    };
    let consequence = match n_outside {
        0 => "never alarms".to_owned(),
        1 => "alarms for one device in every window in which no two measure the same".to_owned(),
        n_outside => format!("alarms for {n_outside} devices in every window in which no two measure the same"),
    };
    let place = match rank {
        1 => "the smallest".to_owned(),
        rank if rank == n => "the largest".to_owned(),
        rank => format!("number {rank} from below"),
    };
    Some(format!(
        "the profile's targets hold {n} registered things: {} of {n} values is {place}, so {} {} {consequence}",
        statistic.as_str(),
        operator.as_str(),
        statistic.as_str()
    ))
}

/// A window of what devices report that ends before the next report comes.
pub(super) fn short_window(metric: &Metric, criteria: &Criteria, interval: Duration) -> Option<String> {
    let is_reported = matches!(metric, Metric::Device(_) | Metric::Custom(_));
    let window = criteria.duration?.duration();
    let is_lower_bound = matches!(
        &criteria.test,
        Test::Threshold {
            operator: NumericOperator::GreaterThan | NumericOperator::GreaterThanEquals,
            ..
        }
    );
    (is_reported && window < interval).then(|| {
        let consequence = if is_lower_bound {
            "most windows have nothing to judge"
        } else {
            "a window holds one report at most, and some hold none"
        };
        format!(
            "the window of {} s is shorter than the {} s between reports: {consequence}",
            window.as_secs(),
            interval.as_secs()
        )
    })
}

/// A silence that is broken by one report that is late.
pub(super) fn short_silence(metric: &Metric, limit: Limit, interval: Duration) -> Option<String> {
    let (Metric::Reporting(ReportingMetric::SilenceDuration), Limit::Count(secs)) = (metric, limit) else {
        return None;
    };
    let interval_secs = interval.as_secs();
    (secs < 2 * interval_secs).then(|| {
        format!(
            "{secs} s is less than two times the {interval_secs} s between reports, so a single report that is late or lost \
             alarms: three times ({} s) is usual",
            3 * interval_secs
        )
    })
}
