//! A behavior made ready to be judged.

use std::sync::Arc;
use std::time::Duration;

use picket_model::behavior::{Behavior, Criteria};
use picket_model::metric::{CustomMetricType, DeviceMetric, Metric, ValueShape};
use picket_model::name::{MetricName, ProfileName};
use picket_model::profile::JudgingConfig;
use picket_model::report::{CustomValue, Report};

use crate::alarm::Patience;
use crate::breach::{Check, Reading};

/// One behavior of one profile, made ready.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// The profile that it belongs to.
    pub(crate) profile: ProfileName,
    /// The behavior as configured.
    pub(crate) behavior: Arc<Behavior>,
    /// What is normal.
    pub(crate) check: Check,
    /// How many datapoints in a row change the alarm.
    pub(crate) patience: Patience,
    /// For volumes: over which time reports are summed.
    pub(crate) window: Option<Duration>,
    /// Where in a report the value stands.
    probe: Probe,
}

/// Where in a report a value stands.
#[derive(Clone, Debug, PartialEq)]
enum Probe {
    Device(DeviceMetric),
    Custom(MetricName, CustomMetricType),
}

impl Rule {
    /// Makes a behavior ready; `None` if it is not judged: without metric or criteria, about what only the broker
    /// sees, by percentile or learned, or of a custom metric that does not exist with a type that fits.
    pub(crate) fn of(profile: &ProfileName, behavior: &Arc<Behavior>, config: &JudgingConfig) -> Option<Self> {
        let criteria = behavior.criteria.as_ref()?;
        let probe = match behavior.metric.as_ref()? {
            Metric::Device(metric) => Probe::Device(*metric),
            Metric::Custom(name) => Probe::Custom(name.clone(), *config.custom_metrics.get(name)?),
            Metric::Broker(_) | Metric::Reporting(_) => return None,
        };
        let check = Check::of(&criteria.test)?;
        let is_volume = matches!(probe, Probe::Device(metric) if metric.is_volume());
        let window = is_volume.then_some(criteria.duration);
        let window = match window {
            // The API refuses a volume without a duration: there is no window to sum.
            Some(None) => return None,
            Some(Some(duration)) => Some(duration.duration()),
            None => None,
        };
        fits(&check, probe.shape()).then(|| Self {
            profile: profile.clone(),
            behavior: Arc::clone(behavior),
            check,
            patience: patience(criteria),
            window,
            probe,
        })
    }

    /// What the report says of the metric. `None` gives no datapoint: the block is absent, or a custom value is of
    /// another type than the metric was created with.
    pub(crate) fn read<'r>(&self, report: &'r Report) -> Option<Reading<'r>> {
        match &self.probe {
            Probe::Device(metric) => read_device(*metric, report),
            Probe::Custom(name, kind) => read_custom(report.custom_metrics.get(name)?, *kind),
        }
    }

    /// Whether the other rule is about the same metric, so that an alarm of the one may go on as one of the other.
    pub(crate) fn is_about_the_same(&self, other: &Self) -> bool {
        self.probe == other.probe
    }

    /// Whether the other rule judges the same values alike; names, alerting and export may differ.
    pub(crate) fn judges_like(&self, other: &Self) -> bool {
        self.probe == other.probe
            && self.check == other.check
            && self.patience == other.patience
            && self.window == other.window
    }
}

impl Probe {
    fn shape(&self) -> ValueShape {
        match self {
            Self::Device(metric) => metric.shape(),
            Self::Custom(_, kind) => kind.shape(),
        }
    }
}

fn fits(check: &Check, shape: ValueShape) -> bool {
    matches!(
        (check, shape),
        (Check::Threshold(..), ValueShape::Count | ValueShape::Number)
            | (Check::Ports(..), ValueShape::Ports)
            | (Check::Addresses(..), ValueShape::Addresses)
            | (Check::Numbers(..), ValueShape::Numbers)
            | (Check::Strings(..), ValueShape::Strings)
    )
}

fn patience(criteria: &Criteria) -> Patience {
    Patience {
        to_raise: criteria.n_to_alarm(),
        to_clear: criteria.n_to_clear(),
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
