//! Security profiles, what they are attached to, and the whole of what judging depends on.

mod behaviors;
pub mod lint;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::behavior::{Behavior, MetricDimension};
use crate::metric::{CustomMetricType, Metric};
use crate::name::{BadName, DimensionName, MetricName, ProfileName, ThingGroupName};

pub use behaviors::{BadBehaviors, Behaviors};

/// What a profile is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// `all/things`
    AllThings,
    /// `all/registered-things`
    RegisteredThings,
    /// `all/unregistered-things`
    UnregisteredThings,
    /// A group with its descendants.
    Group(ThingGroupName),
}

/// A profile as judging sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedProfile {
    /// The profile's name.
    pub name: ProfileName,
    /// Its rules, in the order written.
    pub behaviors: Vec<Arc<Behavior>>,
    /// What it is attached to; empty when detached.
    pub targets: Vec<Target>,
    /// Metrics that are collected without being judged.
    pub retained: Vec<RetainedMetric>,
    /// The topic that values of metrics go out on, where they do: 1 to 512 bytes.
    pub export_topic: Option<String>,
}

/// A metric that a profile collects without judging it: AWS's `MetricToRetain`.
#[derive(Clone, Debug, PartialEq)]
pub struct RetainedMetric {
    /// Which metric.
    pub metric: Metric,
    /// Narrows a broker-side metric to topics.
    pub dimension: Option<MetricDimension>,
    /// Whether its values go out over MQTT.
    pub is_exported: bool,
}

/// Everything that judging depends on besides the records of a partition: one revision of it, immutable.
///
/// Membership of things in groups is not here: it travels as `Member` records in the thing's own partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JudgingConfig {
    /// Grows by one with every change that judging depends on. 0 is the empty configuration.
    pub revision: u64,
    /// All profiles, sorted by name. Those that did not change are shared with other revisions.
    pub profiles: Vec<Arc<JudgedProfile>>,
    /// The custom metrics that exist, with their types.
    pub custom_metrics: BTreeMap<MetricName, CustomMetricType>,
    /// The dimensions that exist, with their topic filters as written.
    pub dimensions: BTreeMap<DimensionName, Vec<String>>,
    /// Whether alarms wait for the end of a window, as AWS's do, even when it is certain before how the window ends.
    pub strict_aws_timing: bool,
}

impl JudgingConfig {
    /// Whether nothing but profiles is different there, and the revision.
    pub fn differs_in_profiles_only(&self, other: &Self) -> bool {
        let Self {
            revision: _,
            profiles: _,
            custom_metrics,
            dimensions,
            strict_aws_timing,
        } = self;
        (custom_metrics, dimensions, strict_aws_timing)
            == (&other.custom_metrics, &other.dimensions, &other.strict_aws_timing)
    }

    /// The configuration as JSON, as the database holds a revision. What is encoded is what is decoded, bit for bit.
    pub fn encode(&self) -> Vec<u8> {
        // Texts and finite numbers always have a JSON form; what had none would be empty, which decodes to an error.
        serde_json::to_vec(&wire::Config::from(self)).unwrap_or_default()
    }

    /// The configuration that was encoded.
    ///
    /// # Errors
    /// The bytes are not what [`JudgingConfig::encode`] makes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadJudgingConfig> {
        serde_json::from_slice::<wire::Config>(bytes)
            .map_err(BadJudgingConfig::Json)?
            .try_into()
    }
}

/// Why bytes are no judging configuration.
#[derive(Debug, thiserror::Error)]
pub enum BadJudgingConfig {
    /// Not JSON of the shape.
    #[error("judging configuration is not JSON of its shape")]
    Json(#[source] serde_json::Error),
    /// A name, a behavior or a target in it is none.
    #[error("judging configuration holds what it cannot hold")]
    Content(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// As in an ARN after the account: `all/things`, `thinggroup/pumps`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllThings => f.write_str("all/things"),
            Self::RegisteredThings => f.write_str("all/registered-things"),
            Self::UnregisteredThings => f.write_str("all/unregistered-things"),
            Self::Group(group) => write!(f, "thinggroup/{group}"),
        }
    }
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Neither of the three sets of things nor a group.
    #[error(
        "target is {found:?}, expected all/things, all/registered-things, all/unregistered-things or thinggroup/<name>"
    )]
    Kind {
        /// The text as found, at most 150 characters of it.
        found: String,
    },
    /// The group's name is none.
    #[error(transparent)]
    Group(#[from] BadName),
}

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        match (text, text.strip_prefix("thinggroup/")) {
            ("all/things", _) => Ok(Self::AllThings),
            ("all/registered-things", _) => Ok(Self::RegisteredThings),
            ("all/unregistered-things", _) => Ok(Self::UnregisteredThings),
            (_, Some(group)) => Ok(Self::Group(group.parse()?)),
            (found, None) => Err(BadTarget::Kind {
                found: found.chars().take(150).collect(),
            }),
        }
    }
}
