//! A fleet as code: what a file says there should be, what the server says there is, and the steps from one to the other.

mod apply;
mod plan;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use picket_model::behavior::wire;
use picket_model::name::{DimensionName, MetricName, PolicyName, ProfileName, ThingGroupName};
use serde::Deserialize;
use serde_json::Value;

use crate::desk;
use crate::failure::Failure;
use crate::profile;

pub(crate) use apply::{Apply, Diff, perform};
pub(crate) use plan::{Change, Kind, Step, plan};
pub(crate) use read::{all, named};

/// What a fleet has besides its devices, by name. A section that is absent is nobody's business: nothing of that kind is
/// read, changed or removed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct Fleet {
    pub(crate) policies: Option<BTreeMap<String, Policy>>,
    pub(crate) groups: Option<BTreeMap<String, Group>>,
    pub(crate) custom_metrics: Option<BTreeMap<String, CustomMetric>>,
    pub(crate) dimensions: Option<BTreeMap<String, Dimension>>,
    pub(crate) mitigation_actions: Option<BTreeMap<String, MitigationAction>>,
    pub(crate) profiles: Option<BTreeMap<String, Profile>>,
}

/// An IoT policy.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    /// The document in force: an object, or JSON as a text.
    pub(crate) document: Value,
}

/// A thing group.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Group {
    /// The group above it; never changes.
    pub(crate) parent: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) attributes: BTreeMap<String, String>,
    /// The policies that are attached to it; `None` leaves them as they are.
    pub(crate) policies: Option<BTreeSet<String>>,
}

/// A custom metric.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct CustomMetric {
    /// Never changes.
    pub(crate) metric_type: String,
    #[serde(default)]
    pub(crate) display_name: Option<String>,
}

/// A dimension: a set of topic filters.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Dimension {
    pub(crate) string_values: Vec<String>,
}

/// A mitigation action.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct MitigationAction {
    pub(crate) role_arn: String,
    /// As in AWS's CreateMitigationAction.
    pub(crate) action_params: Value,
}

/// A security profile; its members are those of AWS's CreateSecurityProfile.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct Profile {
    pub(crate) description: Option<String>,
    pub(crate) behaviors: Vec<Value>,
    pub(crate) alert_targets: Option<Value>,
    #[serde(rename = "additionalMetricsToRetainV2")]
    pub(crate) additional_metrics_to_retain: Vec<Value>,
    pub(crate) metrics_export_config: Option<Value>,
    /// `all/things`, `all/registered-things`, `all/unregistered-things`, groups by name; `None` leaves them as they are.
    pub(crate) targets: Option<BTreeSet<String>>,
}

impl Fleet {
    /// The fleet that a file describes; `-` is stdin. The file is YAML, of which JSON is a part.
    ///
    /// # Errors
    /// It cannot be read, has an unknown member, or a name that can be none.
    pub(crate) fn of_file(path: &Path) -> Result<Self, Failure> {
        Self::of_text(&desk::read_file(path)?).map_err(|found| Failure::Fleet {
            path: path.to_owned(),
            found,
        })
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let read: Self = serde_saphyr::from_str(text).map_err(|err| err.to_string())?;
        read.checked()
    }

    /// The same in the form that comparing needs, or what is wrong with it.
    fn checked(mut self) -> Result<Self, String> {
        named_by::<PolicyName, _>("policies", self.policies.as_ref())?;
        named_by::<ThingGroupName, _>("groups", self.groups.as_ref())?;
        named_by::<MetricName, _>("customMetrics", self.custom_metrics.as_ref())?;
        named_by::<DimensionName, _>("dimensions", self.dimensions.as_ref())?;
        named_by::<ProfileName, _>("profiles", self.profiles.as_ref())?;
        for (name, policy) in self.policies.iter_mut().flatten() {
            policy.document = document(&policy.document).ok_or_else(|| {
                format!(
                    "policies.{name}.document is {}, expected a policy document",
                    policy.document
                )
            })?;
        }
        for (name, group) in self.groups.iter().flatten() {
            let policies = group.policies.iter().flatten();
            policies.chain(&None::<String>).try_for_each(|policy| {
                parsed::<PolicyName>(policy).map_err(|err| format!("groups.{name}.policies: {err}"))
            })?;
        }
        for (name, profile) in self.profiles.iter_mut().flatten() {
            profile.check().map_err(|found| format!("profiles.{name} is {found}"))?;
        }
        Ok(self)
    }
}

impl Profile {
    /// Refuses misspelled members of behaviors, which the API would ignore, and brings targets into one form.
    fn check(&mut self) -> Result<(), String> {
        for (at, behavior) in self.behaviors.iter().enumerate() {
            profile::check_behavior(at, behavior)?;
        }
        if let Some(targets) = &mut self.targets {
            *targets = targets.iter().map(|target| target_of(target)).collect();
        }
        Ok(())
    }

    /// The behaviors, each in the form that it has once it was understood: what means the same compares equal.
    fn canonical_behaviors(&self) -> Vec<Value> {
        let canonical = |behavior: &Value| {
            serde_json::from_value::<wire::Behavior>(behavior.clone())
                .ok()
                .and_then(|behavior| serde_json::to_value(behavior).ok())
                .unwrap_or_else(|| behavior.clone())
        };
        self.behaviors.iter().map(canonical).collect()
    }
}

/// A target as files name it: what follows the account in an ARN, and of a group its name alone.
pub(crate) fn target_of(text: &str) -> String {
    let resource = match text.strip_prefix("arn:") {
        // arn:aws:iot:region:account:all/things
        Some(rest) => rest.splitn(5, ':').nth(4).unwrap_or(text),
        None => text,
    };
    resource.strip_prefix("thinggroup/").unwrap_or(resource).to_owned()
}

/// A policy document as JSON, whether it was written as an object or as a text.
pub(crate) fn document(value: &Value) -> Option<Value> {
    match value {
        Value::Object(_) => Some(value.clone()),
        Value::String(text) => serde_json::from_str(text).ok().filter(Value::is_object),
        _ => None,
    }
}

fn named_by<N: FromStr<Err: Display>, T>(section: &str, entries: Option<&BTreeMap<String, T>>) -> Result<(), String> {
    entries
        .into_iter()
        .flatten()
        .try_for_each(|(name, _)| parsed::<N>(name).map_err(|err| format!("{section}.{name}: {err}")))
}

fn parsed<N: FromStr<Err: Display>>(name: &str) -> Result<(), String> {
    name.parse::<N>().map(|_| ()).map_err(|err| err.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_read_or_refused_with_the_place() {
        let text = "
policies:
  DenyAll:
    document: {Version: '2012-10-17', Statement: {Effect: Deny, Action: 'iot:*', Resource: '*'}}
  AsText:
    document: '{\"Statement\": []}'
groups:
  IsolatedDevices: {policies: [DenyAll]}
  Below: {parent: IsolatedDevices, description: x, attributes: {site: north}}
profiles:
  Story:
    behaviors:
      - {name: Ports, metric: 'aws:listening-tcp-ports', criteria: {comparisonOperator: in-port-set, value: {ports: [22]}}}
    targets: [all/things, 'arn:aws:iot:us-east-1:123456789012:thinggroup/Below']
";
        let fleet = Fleet::of_text(text).unwrap();
        assert_eq!(
            fleet.policies.as_ref().unwrap()["AsText"].document,
            json!({ "Statement": [] })
        );
        assert_eq!(fleet.custom_metrics, None);
        let targets = fleet.profiles.unwrap()["Story"].targets.clone().unwrap();
        assert_eq!(targets.into_iter().collect::<Vec<_>>(), ["Below", "all/things"]);
        assert_eq!(
            Fleet::of_text("{\"groups\": {}}").unwrap().groups,
            Some(BTreeMap::new())
        );

        for (text, part) in [
            ("group: {}", "unknown field"),
            ("groups: {'a b': {}}", "groups.a b: thing group name has ' '"),
            (
                "groups: {a: {policies: ['x/y']}}",
                "groups.a.policies: policy name has '/'",
            ),
            ("policies: {a: {document: 7}}", "policies.a.document is 7"),
            ("policies: {a: {document: '['}}", "expected a policy document"),
            (
                "profiles: {a: {behaviors: [{name: b, critera: {}}]}}",
                "unknown member `critera`",
            ),
            ("groups: {a: {}}\ngroups: {b: {}}", "duplicate"),
            ("groups: [", "line"),
        ] {
            let found = Fleet::of_text(text).unwrap_err();
            assert!(found.contains(part), "{text}: {found}");
        }
    }
}
