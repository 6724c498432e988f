//! Behaviors: what is normal for a device.
//!
//! A criterion describes what is **normal**; a datapoint that does not meet it is a *breach*. `greater-than 200` alarms
//! at 200 or less. The shapes follow AWS's `Behavior` and `BehaviorCriteria`.

mod cidr;
mod parse;
pub(crate) mod spelling;
pub mod wire;
mod words;

use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::metric::Metric;
use crate::name::{BehaviorName, DimensionName};

pub use cidr::BadCidr;
pub use parse::{BadBehavior, Runs};
pub use spelling::BadWord;

/// One rule of a security profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Behavior {
    /// Unique in the profile.
    pub name: BehaviorName,
    /// What is judged. `None` is legal on the wire and judges nothing.
    pub metric: Option<Metric>,
    /// Narrows a broker-side metric to topics.
    pub dimension: Option<MetricDimension>,
    /// What is normal. `None` only collects the metric.
    pub criteria: Option<Criteria>,
    /// Evaluated and listed as usual, but nobody is alerted. `None` when the client did not say.
    pub suppress_alerts: Option<bool>,
    /// Whether values go out over MQTT. `None` when the client did not say.
    pub export_metric: Option<bool>,
}

/// A dimension by name, with its direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricDimension {
    /// The dimension's name.
    pub name: DimensionName,
    /// `None` means `IN`, and is kept so that what was written is what is read.
    pub operator: Option<DimensionOperator>,
}

/// Whether topics in the dimension count, or topics outside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DimensionOperator {
    /// `IN`
    In,
    /// `NOT_IN`
    NotIn,
}

/// What is normal, over which time, and how many datapoints in a row change the alarm.
#[derive(Clone, Debug, PartialEq)]
pub struct Criteria {
    /// What is normal.
    pub test: Test,
    /// The window: 300, 600, 900, 1800 or 3600 seconds.
    pub duration: Option<WindowDuration>,
    /// `consecutiveDatapointsToAlarm`, 1 to 10. `None` means 1.
    pub to_alarm: Option<u8>,
    /// `consecutiveDatapointsToClear`, 1 to 10. `None` means 1.
    pub to_clear: Option<u8>,
}

/// The test that a normal value passes.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// The number compares so with the limit.
    Threshold {
        /// How the value compares with the limit when it is normal.
        operator: NumericOperator,
        /// The limit.
        limit: Limit,
    },
    /// Every port is in the set, or none is.
    Ports {
        /// In or not in.
        operator: SetOperator,
        /// The set as written.
        ports: Vec<u16>,
    },
    /// Every address is in one of the ranges, or none is.
    Cidrs {
        /// In or not in.
        operator: SetOperator,
        /// The ranges as written.
        cidrs: Vec<Cidr>,
    },
    /// Every number is in the set, or none is.
    Numbers {
        /// In or not in.
        operator: SetOperator,
        /// The set as written, finite.
        numbers: Vec<f64>,
    },
    /// Every text is in the set, or none is.
    Strings {
        /// In or not in.
        operator: SetOperator,
        /// The set as written.
        strings: Vec<String>,
    },
    /// The number compares so with the fleet's percentile in the same window. Not judged yet.
    Percentile {
        /// How the value compares with the percentile when it is normal.
        operator: NumericOperator,
        /// Which percentile.
        statistic: Statistic,
    },
    /// The number fits what was learned from the past. Not judged yet.
    Learned {
        /// `HIGH` gives few alarms, `LOW` many.
        confidence: Confidence,
    },
}

/// `less-than` and its three siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumericOperator {
    /// `less-than`
    LessThan,
    /// `less-than-equals`
    LessThanEquals,
    /// `greater-than`
    GreaterThan,
    /// `greater-than-equals`
    GreaterThanEquals,
}

/// `in-...-set` and `not-in-...-set`; the middle word follows from the set's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOperator {
    /// Normal if every element is in the set; so an empty list is normal.
    In,
    /// Normal if no element is in the set.
    NotIn,
}

/// A number that a value is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// `value.count`, for AWS's metrics. 0 to 2^63-1.
    Count(u64),
    /// `value.number`, for custom metrics; finite.
    Number(f64),
}

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or a bare address, which stands for itself alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// As written, so that what was written is what is read.
    pub text: String,
    /// The network address with the host bits cleared; an IPv4-mapped one as IPv4.
    pub network: IpAddr,
    /// How many leading bits count: 0 to 32, or 0 to 128.
    pub prefix_bits: u8,
}

/// The five lengths of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WindowDuration {
    /// 300 s
    Min5,
    /// 600 s
    Min10,
    /// 900 s
    Min15,
    /// 1800 s
    Min30,
    /// 3600 s
    Min60,
}

/// The percentiles that AWS knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statistic {
    /// `p0`
    P0,
    /// `p0.1`
    P0_1,
    /// `p0.01`
    P0_01,
    /// `p1`
    P1,
    /// `p10`
    P10,
    /// `p50`
    P50,
    /// `p90`
    P90,
    /// `p99`
    P99,
    /// `p99.9`
    P99_9,
    /// `p99.99`
    P99_99,
    /// `p100`
    P100,
}

/// How sure a learned criterion must be before it alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// Many alarms.
    Low,
    /// In between.
    Medium,
    /// Few alarms.
    High,
}

impl WindowDuration {
    /// All five, shortest first.
    pub const ALL: [Self; 5] = [Self::Min5, Self::Min10, Self::Min15, Self::Min30, Self::Min60];

    /// The length in seconds.
    pub const fn secs(self) -> u16 {
        match self {
            Self::Min5 => 300,
            Self::Min10 => 600,
            Self::Min15 => 900,
            Self::Min30 => 1800,
            Self::Min60 => 3600,
        }
    }

    /// The length.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.secs() as u64)
    }
}

impl Behavior {
    /// Tells what is judged, and how, from all else: the same for the same metric, dimension, filters of the dimension
    /// and criteria, whatever the behavior is called. Partitions that go by the same fingerprint judge alike.
    pub fn fingerprint(&self, filters: Option<&[String]>) -> u64 {
        let mut written = wire::Behavior::from(self);
        written.name = String::new();
        written.suppress_alerts = None;
        written.export_metric = None;
        let mut hash = Sha256::new();
        // Texts and finite numbers always have a JSON form.
        hash.update(serde_json::to_vec(&written).unwrap_or_default());
        for filter in filters.into_iter().flatten() {
            // No filter holds a NUL.
            hash.update(filter.as_bytes());
            hash.update([0]);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl Criteria {
    /// The longest run of datapoints that may be asked for.
    pub const RUN_MAX: u8 = 10;

    /// How many breaches in a row raise the alarm: 1 to 10.
    pub fn n_to_alarm(&self) -> u8 {
        self.to_alarm.unwrap_or(1)
    }

    /// How many normal datapoints in a row clear it: 1 to 10.
    pub fn n_to_clear(&self) -> u8 {
        self.to_clear.unwrap_or(1)
    }
}
