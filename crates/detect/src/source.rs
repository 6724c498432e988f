//! Where a rule's values come from.

use std::collections::BTreeSet;
use std::net::IpAddr;

use picket_model::behavior::{Behavior, DimensionOperator, MetricDimension};
use picket_model::fleet::Quantity;
use picket_model::meter::{ClientMeter, Sizes, Tally};
use picket_model::metric::{BrokerMetric, CustomMetricType, DeviceMetric, Metric, ReportingMetric, ValueShape};
use picket_model::name::{DimensionName, MetricName};
use picket_model::profile::JudgingConfig;
use picket_model::report::{CustomValue, Report};

use crate::breach::Reading;

/// Where a rule's values come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// A device's own word, one of AWS's metrics.
    Device(DeviceMetric),
    /// A device's own word, a custom metric.
    Custom(MetricName, CustomMetricType),
    /// The broker's measurement of a client.
    Broker(BrokerMetric, Option<Topics>),
    /// What is noticed of a device's reports.
    Reporting(ReportingMetric),
}

/// The topics that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topics {
    dimension: DimensionName,
    is_outside: bool,
    /// As they are now: with others the values are others.
    filters: Vec<String>,
}

/// What one record adds to a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Amount<'r> {
    /// So many more.
    Count(u64),
    /// Messages of such sizes.
    Sizes(Sizes),
    /// Active from these addresses.
    Addresses(&'r BTreeSet<IpAddr>),
    /// Active from this address.
    Address(IpAddr),
    /// Now this, whatever it was before.
    Last(Quantity),
}

impl Source {
    /// Of a behavior; `None` if it names no metric, or a custom metric or dimension that does not exist.
    pub(crate) fn of(behavior: &Behavior, config: &JudgingConfig) -> Option<Self> {
        Self::of_metric(behavior.metric.as_ref()?, behavior.dimension.as_ref(), config)
    }

    pub(crate) fn of_metric(
        metric: &Metric,
        dimension: Option<&MetricDimension>,
        config: &JudgingConfig,
    ) -> Option<Self> {
        Some(match (metric, dimension) {
            (Metric::Device(metric), None) => Self::Device(*metric),
            (Metric::Custom(name), None) => Self::Custom(name.clone(), *config.custom_metrics.get(name)?),
            (Metric::Reporting(metric), None) => Self::Reporting(*metric),
            (Metric::Broker(metric), None) => Self::Broker(*metric, None),
            (Metric::Broker(metric), Some(dimension)) => {
                let topics = Topics {
                    dimension: dimension.name.clone(),
                    is_outside: dimension.operator == Some(DimensionOperator::NotIn),
                    filters: config.dimensions.get(&dimension.name)?.clone(),
                };
                Self::Broker(*metric, Some(topics))
            }
            (Metric::Device(_) | Metric::Custom(_) | Metric::Reporting(_), Some(_)) => return None,
        })
    }

    pub(crate) fn shape(&self) -> ValueShape {
        match self {
            Self::Device(metric) => metric.shape(),
            Self::Custom(_, kind) => kind.shape(),
            Self::Broker(metric, _) => metric.shape(),
            Self::Reporting(_) => ValueShape::Count,
        }
    }

    /// Whether it is a volume of a report: a delta that adds up.
    pub(crate) fn is_volume(&self) -> bool {
        matches!(self, Self::Device(metric) if metric.is_volume())
    }

    /// Whether it is the age of something: it grows by itself.
    pub(crate) fn is_age(&self) -> bool {
        matches!(
            self,
            Self::Broker(BrokerMetric::DisconnectDuration, _) | Self::Reporting(ReportingMetric::SilenceDuration)
        )
    }

    /// Whether the other is about the same metric, so that an alarm of the one may go on as one of the other.
    pub(crate) fn is_same_metric(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Broker(own, topics), Self::Broker(other, others)) => {
                let name = |topics: &Option<Topics>| {
                    let topics = topics.as_ref()?;
                    Some((topics.dimension.clone(), topics.is_outside))
                };
                own == other && name(topics) == name(others)
            }
            _ => self == other,
        }
    }

    /// What the report says of the metric. `None` gives no datapoint: the block is absent, or a custom value is of
    /// another type than the metric was created with.
    pub(crate) fn read<'r>(&self, report: &'r Report) -> Option<Reading<'r>> {
        match self {
            Self::Device(metric) => read_device(*metric, report),
            Self::Custom(name, kind) => read_custom(report.custom_metrics.get(name)?, *kind),
            Self::Broker(..) | Self::Reporting(_) => None,
        }
    }

    /// What a report adds to an aligned window of the metric.
    pub(crate) fn amount(&self, report: &Report) -> Option<Amount<'static>> {
        match self.read(report)? {
            Reading::Count(count) if self.is_volume() => Some(Amount::Count(count)),
            Reading::Count(count) => Some(Amount::Last(Quantity::Count(count))),
            Reading::Number(number) => Some(Amount::Last(Quantity::Number(number))),
            _ => None,
        }
    }

    /// What a meter adds to a window of the metric.
    pub(crate) fn metered<'r>(&self, client: &'r ClientMeter) -> Option<Amount<'r>> {
        let Self::Broker(metric, topics) = self else {
            return None;
        };
        let tally = match topics {
            None => &client.total,
            Some(topics) => topics.tally(client)?,
        };
        match metric {
            BrokerMetric::MessageByteSize => tally.sent.map(Amount::Sizes),
            BrokerMetric::NumMessagesSent => {
                let n_messages = tally.sent.map_or(0, |sizes| sizes.n_messages);
                Some(Amount::Count(n_messages.into()))
            }
            BrokerMetric::NumMessagesReceived => Some(Amount::Count(tally.n_received.into())),
            BrokerMetric::NumAuthorizationFailures => {
                let n_refused = if topics.is_some() {
                    tally.n_refused
                } else {
                    client.n_authorization_failures
                };
                Some(Amount::Count(n_refused.into()))
            }
            BrokerMetric::SourceIpAddress => {
                Some(Amount::Addresses(&tally.addresses)).filter(|_| !tally.addresses.is_empty())
            }
            BrokerMetric::NumConnectionAttempts => Some(Amount::Count(client.n_refused_attempts.into())),
            BrokerMetric::NumDisconnects => Some(Amount::Count(0)),
            BrokerMetric::DisconnectDuration => None,
        }
    }

    /// What coming or going from this address adds to a window of the metric.
    pub(crate) fn moved(&self, is_arrival: bool, address: IpAddr) -> Option<Amount<'static>> {
        let Self::Broker(metric, topics) = self else {
            return None;
        };
        match metric {
            BrokerMetric::MessageByteSize | BrokerMetric::DisconnectDuration => None,
            // A connection has no topic.
            BrokerMetric::SourceIpAddress => Some(Amount::Address(address)).filter(|_| is_arrival && topics.is_none()),
            BrokerMetric::NumConnectionAttempts => Some(Amount::Count(is_arrival.into())),
            BrokerMetric::NumDisconnects => Some(Amount::Count((!is_arrival).into())),
            _ => Some(Amount::Count(0)),
        }
    }

    /// What a window of a client holds in which it did nothing but stay connected from this address.
    pub(crate) fn idle(&self, address: IpAddr) -> Option<Amount<'static>> {
        self.moved(true, address).map(|amount| match amount {
            Amount::Count(_) => Amount::Count(0),
            other => other,
        })
    }
}

impl Topics {
    fn tally<'r>(&self, client: &'r ClientMeter) -> Option<&'r Tally> {
        let place = client
            .dimensions
            .binary_search_by(|one| one.dimension.cmp(&self.dimension));
        let one = client.dimensions.get(place.ok()?)?;
        Some(if self.is_outside { &one.outside } else { &one.inside })
    }
}

fn read_device(metric: DeviceMetric, report: &Report) -> Option<Reading<'_>> {
    let metrics = &report.metrics;
    let volume = metrics.network_stats.as_ref();
    let tcp = metrics.listening_tcp_ports.as_ref();
    let udp = metrics.listening_udp_ports.as_ref();
    let established = metrics.established_connections.as_ref();
    match metric {
        DeviceMetric::AllBytesOut => volume?.bytes_out.map(Reading::Count),
        DeviceMetric::AllBytesIn => volume?.bytes_in.map(Reading::Count),
        DeviceMetric::AllPacketsOut => volume?.packets_out.map(Reading::Count),
        DeviceMetric::AllPacketsIn => volume?.packets_in.map(Reading::Count),
        DeviceMetric::NumListeningTcpPorts => tcp?.total.map(Reading::Count),
        DeviceMetric::NumListeningUdpPorts => udp?.total.map(Reading::Count),
        DeviceMetric::NumEstablishedTcpConnections => established?.total.map(Reading::Count),
        DeviceMetric::DestinationIpAddresses => established?.connections.as_deref().map(Reading::Connections),
        DeviceMetric::ListeningTcpPorts => tcp?.ports.as_deref().map(Reading::Ports),
        DeviceMetric::ListeningUdpPorts => udp?.ports.as_deref().map(Reading::Ports),
    }
}

fn read_custom(value: &CustomValue, kind: CustomMetricType) -> Option<Reading<'_>> {
    match (value, kind) {
        (CustomValue::Number(number), CustomMetricType::Number) => Some(Reading::Number(*number)),
        (CustomValue::NumberList(numbers), CustomMetricType::NumberList) => Some(Reading::Numbers(numbers)),
        (CustomValue::StringList(strings), CustomMetricType::StringList) => Some(Reading::Strings(strings)),
        (CustomValue::IpList(addresses), CustomMetricType::IpAddressList) => Some(Reading::Addresses(addresses)),
        _ => None,
    }
}
