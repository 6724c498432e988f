//! The catalogue of metrics: what a behavior may judge.
//!
//! Source: AWS IoT Device Defender's device-side and cloud-side metrics, and custom metrics.

use std::fmt;
use std::str::FromStr;

use crate::name::{BadName, MetricName};

/// A metric that a behavior judges.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// Reported by the device.
    Device(DeviceMetric),
    /// Seen by the broker; belongs to the MQTT client id.
    Broker(BrokerMetric),
    /// Noticed by the server about how the device reports. Picket's own: AWS has none of these.
    Reporting(ReportingMetric),
    /// Of the user's own making; must have been created with a type.
    Custom(MetricName),
}

/// The ten metrics of a device report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeviceMetric {
    /// Bytes out in the window, summed over reports.
    AllBytesOut,
    /// Bytes in in the window, summed over reports.
    AllBytesIn,
    /// Packets out in the window, summed over reports.
    AllPacketsOut,
    /// Packets in in the window, summed over reports.
    AllPacketsIn,
    /// How many TCP ports listen.
    NumListeningTcpPorts,
    /// How many UDP ports listen.
    NumListeningUdpPorts,
    /// How many TCP connections are established.
    NumEstablishedTcpConnections,
    /// The addresses of the remote ends of established connections.
    DestinationIpAddresses,
    /// Which TCP ports listen.
    ListeningTcpPorts,
    /// Which UDP ports listen.
    ListeningUdpPorts,
}

/// The metrics that the broker itself measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BrokerMetric {
    /// Payload bytes of messages that the device sent.
    MessageByteSize,
    /// Messages that the device sent.
    NumMessagesSent,
    /// Messages that the device was sent.
    NumMessagesReceived,
    /// Requests that policy refused.
    NumAuthorizationFailures,
    /// Addresses that the device connected from.
    SourceIpAddress,
    /// Attempts to connect, successful or not.
    NumConnectionAttempts,
    /// Ends of connections.
    NumDisconnects,
    /// Seconds since the last disconnect, 0 while connected.
    DisconnectDuration,
}

/// What the server notices of how a device reports. They are ordinary metrics to a behavior, so that a profile says
/// itself from when on silence or a forged report is an alarm; without such a behavior nothing is judged, as on AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReportingMetric {
    /// Seconds since the device's last report; 0 at a report. Nothing before the first one.
    SilenceDuration,
    /// How often the device's agent began again: its report ids began anew, or its own word of when it started
    /// changed.
    AgentRestarts,
    /// Reports whose id is below the one before, without having begun anew.
    ReportIdRegressions,
    /// Reports for the device over a certificate that is not attached to it.
    UnattachedReports,
}

/// The four types of a custom metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CustomMetricType {
    /// `number`
    Number,
    /// `number-list`
    NumberList,
    /// `string-list`
    StringList,
    /// `ip-address-list`
    IpAddressList,
}

/// What kind of value a metric has, and so which operators and value members fit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueShape {
    /// A whole number, `value.count`.
    Count,
    /// A set of addresses, `value.cidrs`.
    Addresses,
    /// A set of ports, `value.ports`.
    Ports,
    /// A number, `value.number`.
    Number,
    /// A set of numbers, `value.numbers`.
    Numbers,
    /// A set of texts, `value.strings`.
    Strings,
}

impl DeviceMetric {
    /// All ten, in the catalogue's order.
    pub const ALL: [Self; 10] = [
        Self::AllBytesOut,
        Self::AllBytesIn,
        Self::AllPacketsOut,
        Self::AllPacketsIn,
        Self::NumListeningTcpPorts,
        Self::NumListeningUdpPorts,
        Self::NumEstablishedTcpConnections,
        Self::DestinationIpAddresses,
        Self::ListeningTcpPorts,
        Self::ListeningUdpPorts,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AllBytesOut => "aws:all-bytes-out",
            Self::AllBytesIn => "aws:all-bytes-in",
            Self::AllPacketsOut => "aws:all-packets-out",
            Self::AllPacketsIn => "aws:all-packets-in",
            Self::NumListeningTcpPorts => "aws:num-listening-tcp-ports",
            Self::NumListeningUdpPorts => "aws:num-listening-udp-ports",
            Self::NumEstablishedTcpConnections => "aws:num-established-tcp-connections",
            Self::DestinationIpAddresses => "aws:destination-ip-addresses",
            Self::ListeningTcpPorts => "aws:listening-tcp-ports",
            Self::ListeningUdpPorts => "aws:listening-udp-ports",
        }
    }

    /// Whether the metric is a volume: a delta that is summed over a window, which a static criterion must name.
    pub const fn is_volume(self) -> bool {
        matches!(
            self,
            Self::AllBytesOut | Self::AllBytesIn | Self::AllPacketsOut | Self::AllPacketsIn
        )
    }

    /// What kind of value the metric has.
    pub const fn shape(self) -> ValueShape {
        match self {
            Self::DestinationIpAddresses => ValueShape::Addresses,
            Self::ListeningTcpPorts | Self::ListeningUdpPorts => ValueShape::Ports,
            _ => ValueShape::Count,
        }
    }
}

impl BrokerMetric {
    /// All eight, in the catalogue's order.
    pub const ALL: [Self; 8] = [
        Self::MessageByteSize,
        Self::NumMessagesSent,
        Self::NumMessagesReceived,
        Self::NumAuthorizationFailures,
        Self::SourceIpAddress,
        Self::NumConnectionAttempts,
        Self::NumDisconnects,
        Self::DisconnectDuration,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MessageByteSize => "aws:message-byte-size",
            Self::NumMessagesSent => "aws:num-messages-sent",
            Self::NumMessagesReceived => "aws:num-messages-received",
            Self::NumAuthorizationFailures => "aws:num-authorization-failures",
            Self::SourceIpAddress => "aws:source-ip-address",
            Self::NumConnectionAttempts => "aws:num-connection-attempts",
            Self::NumDisconnects => "aws:num-disconnects",
            Self::DisconnectDuration => "aws:disconnect-duration",
        }
    }

    /// Whether it is counted up over a window, so that a static criterion must name one.
    pub const fn is_counted(self) -> bool {
        matches!(
            self,
            Self::NumMessagesSent
                | Self::NumMessagesReceived
                | Self::NumAuthorizationFailures
                | Self::NumConnectionAttempts
                | Self::NumDisconnects
        )
    }

    /// What kind of value the metric has.
    pub const fn shape(self) -> ValueShape {
        match self {
            Self::SourceIpAddress => ValueShape::Addresses,
            _ => ValueShape::Count,
        }
    }

    /// Whether a topic-filter dimension may narrow the metric.
    pub const fn takes_dimension(self) -> bool {
        matches!(
            self,
            Self::MessageByteSize
                | Self::NumMessagesSent
                | Self::NumMessagesReceived
                | Self::NumAuthorizationFailures
                | Self::SourceIpAddress
        )
    }
}

impl ReportingMetric {
    /// All four, in the catalogue's order.
    pub const ALL: [Self; 4] = [
        Self::SilenceDuration,
        Self::AgentRestarts,
        Self::ReportIdRegressions,
        Self::UnattachedReports,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SilenceDuration => "picket:silence-duration",
            Self::AgentRestarts => "picket:agent-restarts",
            Self::ReportIdRegressions => "picket:report-id-regressions",
            Self::UnattachedReports => "picket:unattached-reports",
        }
    }
}

impl CustomMetricType {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::NumberList => "number-list",
            Self::StringList => "string-list",
            Self::IpAddressList => "ip-address-list",
        }
    }

    /// What kind of value metrics of this type have.
    pub const fn shape(self) -> ValueShape {
        match self {
            Self::Number => ValueShape::Number,
            Self::NumberList => ValueShape::Numbers,
            Self::StringList => ValueShape::Strings,
            Self::IpAddressList => ValueShape::Addresses,
        }
    }
}

/// Why a text names no metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMetric {
    /// Begins with `aws:` but is not in the catalogue.
    #[error("metric {found:?} begins with aws: but is none of AWS IoT Device Defender's metrics")]
    Unknown {
        /// The name as found.
        found: String,
    },
    /// Not a name at all.
    #[error(transparent)]
    Name(#[from] BadName),
}

impl FromStr for Metric {
    type Err = BadMetric;

    fn from_str(text: &str) -> Result<Self, BadMetric> {
        let device = DeviceMetric::ALL
            .into_iter()
            .find(|metric| metric.as_str() == text)
            .map(Self::Device);
        let broker = || {
            BrokerMetric::ALL
                .into_iter()
                .find(|metric| metric.as_str() == text)
                .map(Self::Broker)
        };
        let reporting = || {
            ReportingMetric::ALL
                .into_iter()
                .find(|metric| metric.as_str() == text)
                .map(Self::Reporting)
        };
        match device.or_else(broker).or_else(reporting) {
            Some(metric) => Ok(metric),
            None if text.starts_with("aws:") => Err(BadMetric::Unknown {
                found: text.chars().take(140).collect(),
            }),
            None => Ok(Self::Custom(text.parse()?)),
        }
    }
}

impl Metric {
    /// Whether it is the age of something, in seconds: it grows by itself, so only an upper bound makes sense.
    pub const fn is_age(&self) -> bool {
        matches!(
            self,
            Self::Broker(BrokerMetric::DisconnectDuration) | Self::Reporting(ReportingMetric::SilenceDuration)
        )
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(metric) => f.write_str(metric.as_str()),
            Self::Broker(metric) => f.write_str(metric.as_str()),
            Self::Reporting(metric) => f.write_str(metric.as_str()),
            Self::Custom(name) => f.write_str(name.as_str()),
        }
    }
}

/// Why a text is no type of a custom metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metric type is {found:?}, expected number, number-list, string-list or ip-address-list")]
pub struct BadCustomMetricType {
    /// The text as found.
    pub found: String,
}

impl FromStr for CustomMetricType {
    type Err = BadCustomMetricType;

    fn from_str(text: &str) -> Result<Self, BadCustomMetricType> {
        [Self::Number, Self::NumberList, Self::StringList, Self::IpAddressList]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| BadCustomMetricType {
                found: text.chars().take(80).collect(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for metric in DeviceMetric::ALL {
            assert_eq!(metric.as_str().parse(), Ok(Metric::Device(metric)));
        }
        for metric in BrokerMetric::ALL {
            assert_eq!(metric.as_str().parse(), Ok(Metric::Broker(metric)));
        }
        for metric in ReportingMetric::ALL {
            assert_eq!(metric.as_str().parse(), Ok(Metric::Reporting(metric)));
        }
        assert_eq!("batt".parse::<Metric>().unwrap().to_string(), "batt");
        assert!("aws:made-up".parse::<Metric>().is_err());
    }
}
