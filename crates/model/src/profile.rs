//! Security profiles, what they are attached to, and the whole of what judging depends on.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::behavior::Behavior;
use crate::metric::CustomMetricType;
use crate::name::{MetricName, ProfileName, ThingGroupName};

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
}

/// Everything that judging depends on besides the records of a partition: one revision of it, immutable.
///
/// Membership of things in groups is not here: it travels as `Member` records in the thing's own partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JudgingConfig {
    /// Grows by one with every change that judging depends on. 0 is the empty configuration.
    pub revision: u64,
    /// All profiles, sorted by name.
    pub profiles: Vec<JudgedProfile>,
    /// The custom metrics that exist, with their types.
    pub custom_metrics: BTreeMap<MetricName, CustomMetricType>,
}
