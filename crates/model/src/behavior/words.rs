//! Behaviors in words: when they alarm, and why they do not.

use std::fmt::Display;

use super::{Behavior, Criteria, DimensionOperator, Limit, NumericOperator, SetOperator, Test, WindowDuration};
use crate::metric::{BrokerMetric, DeviceMetric, Metric, ReportingMetric};

/// The most elements of a set that are spelled out.
const N_SPELLED_MAX: usize = 10;

impl Behavior {
    /// When the behavior alarms, in words: `alarm when bytes out in 5 min is above 200`. A criterion says what is normal,
    /// so this is its negation.
    pub fn in_words(&self) -> String {
        match (&self.metric, &self.criteria) {
            (None, _) => "judges nothing".to_owned(),
            (Some(metric), None) => format!("collects {}, never alarms", subject(metric)),
            (Some(metric), Some(criteria)) => {
                let breach = breach_in_words(metric, criteria);
                let topics = self
                    .dimension
                    .as_ref()
                    .map_or(String::new(), |dimension| match dimension.operator {
                        None | Some(DimensionOperator::In) => format!(", on topics in dimension {}", dimension.name),
                        Some(DimensionOperator::NotIn) => format!(", on topics outside dimension {}", dimension.name),
                    });
                let run = match criteria.n_to_alarm() {
                    1 => String::new(),
                    n => format!(", {n} times in a row"),
                };
                format!("alarm when {breach}{topics}{run}")
            }
        }
    }

    /// Why the behavior is stored but not judged yet, in words. `None` if it is judged, or has nothing to judge.
    pub fn not_judged(&self) -> Option<String> {
        match self.criteria.as_ref()?.test {
            Test::Learned { .. } => Some("learned baselines (mlDetectionConfig) are not judged yet".to_owned()),
            _ => None,
        }
    }
}

fn breach_in_words(metric: &Metric, criteria: &Criteria) -> String {
    let subject = subject(metric);
    let window = criteria
        .duration
        .map_or(String::new(), |window| format!(" in {}", minutes(window)));
    match &criteria.test {
        Test::Threshold { operator, limit } => {
            let limit = match limit {
                Limit::Count(count) => count.to_string(),
                Limit::Number(number) => number.to_string(),
            };
            format!("{subject}{window} is {}", outside(*operator, &limit))
        }
        Test::Percentile { operator, statistic } => {
            let limit = format!("the fleet's {}", statistic.as_str());
            format!("{subject}{window} is {}", outside(*operator, &limit))
        }
        Test::Learned { confidence } => {
            format!(
                "{subject} is unlike what was learned, at confidence {}",
                confidence.as_str()
            )
        }
        Test::Ports { operator, ports } => format!("{subject} {} {}", membership(*operator), spelled(ports)),
        Test::Cidrs { operator, cidrs } => format!("{subject} {} {}", membership(*operator), spelled(cidrs)),
        Test::Numbers { operator, numbers } => {
            format!("one of {subject} {} {}", membership(*operator), spelled(numbers))
        }
        Test::Strings { operator, strings } => {
            let quoted: Vec<String> = strings
                .iter()
                .take(N_SPELLED_MAX + 1)
                .map(|text| format!("{text:?}"))
                .collect();
            format!(
                "one of {subject} {} {}",
                membership(*operator),
                spelled_of(&quoted, strings.len())
            )
        }
    }
}

/// The metric as the subject of "... is above 200" or of "... is not among 22, 80".
fn subject(metric: &Metric) -> String {
    match metric {
        Metric::Device(metric) => match metric {
            DeviceMetric::AllBytesOut => "bytes out",
            DeviceMetric::AllBytesIn => "bytes in",
            DeviceMetric::AllPacketsOut => "packets out",
            DeviceMetric::AllPacketsIn => "packets in",
            DeviceMetric::NumListeningTcpPorts => "number of listening TCP ports",
            DeviceMetric::NumListeningUdpPorts => "number of listening UDP ports",
            DeviceMetric::NumEstablishedTcpConnections => "number of established TCP connections",
            DeviceMetric::DestinationIpAddresses => "a destination address",
            DeviceMetric::ListeningTcpPorts => "a listening TCP port",
            DeviceMetric::ListeningUdpPorts => "a listening UDP port",
        }
        .to_owned(),
        Metric::Broker(metric) => match metric {
            BrokerMetric::MessageByteSize => "message size in bytes",
            BrokerMetric::NumMessagesSent => "number of messages sent",
            BrokerMetric::NumMessagesReceived => "number of messages received",
            BrokerMetric::NumAuthorizationFailures => "number of authorization failures",
            BrokerMetric::SourceIpAddress => "a source address",
            BrokerMetric::NumConnectionAttempts => "number of connection attempts",
            BrokerMetric::NumDisconnects => "number of disconnects",
            BrokerMetric::DisconnectDuration => "time since the disconnect in seconds",
        }
        .to_owned(),
        Metric::Reporting(metric) => match metric {
            ReportingMetric::SilenceDuration => "time since the last report in seconds",
            ReportingMetric::AgentRestarts => "number of restarts of the agent",
            ReportingMetric::ReportIdRegressions => "number of reports whose id went back",
            ReportingMetric::UnattachedReports => "number of reports over a certificate that is not the device's",
        }
        .to_owned(),
        Metric::Custom(name) => name.to_string(),
    }
}

/// What is not normal when `operator limit` is.
fn outside(operator: NumericOperator, limit: &str) -> String {
    match operator {
        NumericOperator::LessThan => format!("{limit} or above"),
        NumericOperator::LessThanEquals => format!("above {limit}"),
        NumericOperator::GreaterThan => format!("{limit} or below"),
        NumericOperator::GreaterThanEquals => format!("below {limit}"),
    }
}

fn membership(operator: SetOperator) -> &'static str {
    match operator {
        SetOperator::In => "is not in",
        SetOperator::NotIn => "is in",
    }
}

fn minutes(window: WindowDuration) -> String {
    format!("{} min", window.secs() / 60)
}

fn spelled<T: Display>(items: &[T]) -> String {
    let texts: Vec<String> = items.iter().take(N_SPELLED_MAX + 1).map(ToString::to_string).collect();
    spelled_of(&texts, items.len())
}

/// The first of `n_items` texts in braces, and how many more there are.
fn spelled_of(texts: &[String], n_items: usize) -> String {
    let shown = texts[..texts.len().min(N_SPELLED_MAX)].join(", ");
    match n_items.saturating_sub(N_SPELLED_MAX) {
        0 => format!("{{{shown}}}"),
        n_more => format!("{{{shown} and {n_more} more}}"),
    }
}
