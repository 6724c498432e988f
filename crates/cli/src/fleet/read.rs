//! What the server says there is, section by section.

use std::collections::{BTreeMap, BTreeSet};

use picket_aws::call::Call;
use serde_json::Value;

use super::{CustomMetric, Dimension, Fleet, Group, MitigationAction, Policy, Profile, document, target_of};
use crate::client::{CallError, Client, Paging};
use crate::desk::required;
use crate::failure::Failure;

/// The sections that `wanted` has. What is not named there is found too, but of profiles, policies, ... no more than that
/// it exists: a plan needs no more.
///
/// # Errors
/// The server cannot be asked, or answers something else.
pub(crate) async fn named(client: &Client, wanted: &Fleet) -> Result<Fleet, Failure> {
    let mut found = Fleet::default();
    if let Some(wanted) = &wanted.policies {
        found.policies = Some(policies(client, |name| wanted.contains_key(name)).await?);
    }
    if wanted.groups.is_some() {
        // All of them: only their parents say in which order they can be removed.
        found.groups = Some(groups(client).await?);
    }
    if let Some(wanted) = &wanted.custom_metrics {
        found.custom_metrics = Some(metrics(client, |name| wanted.contains_key(name)).await?);
    }
    if let Some(wanted) = &wanted.dimensions {
        found.dimensions = Some(dimensions(client, |name| wanted.contains_key(name)).await?);
    }
    if let Some(wanted) = &wanted.mitigation_actions {
        found.mitigation_actions = Some(mitigations(client, |name| wanted.contains_key(name)).await?);
    }
    if let Some(wanted) = &wanted.profiles {
        found.profiles = Some(profiles(client, |name| wanted.contains_key(name)).await?);
    }
    Ok(found)
}

/// Everything.
///
/// # Errors
/// As [`named`].
pub(crate) async fn all(client: &Client) -> Result<Fleet, Failure> {
    Ok(Fleet {
        policies: Some(policies(client, |_| true).await?),
        groups: Some(groups(client).await?),
        custom_metrics: Some(metrics(client, |_| true).await?),
        dimensions: Some(dimensions(client, |_| true).await?),
        mitigation_actions: Some(mitigations(client, |_| true).await?),
        profiles: Some(profiles(client, |_| true).await?),
    })
}

async fn policies(client: &Client, is_read: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Policy>, Failure> {
    let mut policies = BTreeMap::new();
    for name in names(client, &["policies"], Paging::Marker, "policies", "policyName").await? {
        let mut policy = Policy { document: Value::Null };
        if is_read(&name) {
            let Some(answer) = existing(client, Call::get(&["policies", &name])).await? else {
                continue;
            };
            // Whatever it is that no document is: it differs from every one.
            policy.document = document(&answer["policyDocument"]).unwrap_or_default();
        }
        policies.insert(name, policy);
    }
    Ok(policies)
}

async fn groups(client: &Client) -> Result<BTreeMap<String, Group>, Failure> {
    let mut groups = BTreeMap::new();
    for name in names(client, &["thing-groups"], Paging::Token, "thingGroups", "groupName").await? {
        let Some(answer) = existing(client, Call::get(&["thing-groups", &name])).await? else {
            continue;
        };
        // A dynamic group has a query in place of members: it is not to be made or changed as the others are.
        if answer["queryString"].is_string() {
            continue;
        }
        let arn = required(&answer, "thingGroupArn")?;
        let attached = client
            .list(&Call::post(&["attached-policies", arn]), Paging::Marker, "policies")
            .await?;
        let properties = &answer["thingGroupProperties"];
        let group = Group {
            parent: text(&answer["thingGroupMetadata"]["parentGroupName"]),
            description: text(&properties["thingGroupDescription"]),
            attributes: texts_of(&properties["attributePayload"]["attributes"]),
            policies: Some(members(&attached, "policies", |item| text(&item["policyName"]))),
        };
        groups.insert(name, group);
    }
    Ok(groups)
}

async fn metrics(client: &Client, is_read: impl Fn(&str) -> bool) -> Result<BTreeMap<String, CustomMetric>, Failure> {
    let mut metrics = BTreeMap::new();
    for name in names(client, &["custom-metrics"], Paging::Token, "metricNames", "").await? {
        let mut metric = CustomMetric {
            metric_type: String::new(),
            display_name: None,
        };
        if is_read(&name) {
            let Some(answer) = existing(client, Call::get(&["custom-metric", &name])).await? else {
                continue;
            };
            required(&answer, "metricType")?.clone_into(&mut metric.metric_type);
            metric.display_name = text(&answer["displayName"]);
        }
        metrics.insert(name, metric);
    }
    Ok(metrics)
}

async fn dimensions(client: &Client, is_read: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Dimension>, Failure> {
    let mut dimensions = BTreeMap::new();
    for name in names(client, &["dimensions"], Paging::Token, "dimensionNames", "").await? {
        let mut dimension = Dimension {
            string_values: Vec::new(),
        };
        if is_read(&name) {
            let Some(answer) = existing(client, Call::get(&["dimensions", &name])).await? else {
                continue;
            };
            let values = answer["stringValues"].as_array().into_iter().flatten();
            dimension.string_values = values.filter_map(text).collect();
        }
        dimensions.insert(name, dimension);
    }
    Ok(dimensions)
}

async fn mitigations(
    client: &Client,
    is_read: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, MitigationAction>, Failure> {
    let path = ["mitigationactions", "actions"];
    let mut actions = BTreeMap::new();
    for name in names(client, &path, Paging::Token, "actionIdentifiers", "actionName").await? {
        let mut action = MitigationAction {
            role_arn: String::new(),
            action_params: Value::Null,
        };
        if is_read(&name) {
            let Some(mut answer) = existing(client, Call::get(&["mitigationactions", "actions", &name])).await? else {
                continue;
            };
            required(&answer, "roleArn")?.clone_into(&mut action.role_arn);
            action.action_params = answer["actionParams"].take();
        }
        actions.insert(name, action);
    }
    Ok(actions)
}

async fn profiles(client: &Client, is_read: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Profile>, Failure> {
    let (path, list) = (["security-profiles"], "securityProfileIdentifiers");
    let mut profiles = BTreeMap::new();
    for name in names(client, &path, Paging::Token, list, "name").await? {
        if !is_read(&name) {
            profiles.insert(name, Profile::default());
            continue;
        }
        let Some(mut answer) = existing(client, Call::get(&["security-profiles", &name])).await? else {
            continue;
        };
        let call = Call::get(&["security-profiles", &name, "targets"]);
        let targets = client.list(&call, Paging::Token, "securityProfileTargets").await?;
        let mut list = |member: &str| match answer[member].take() {
            Value::Array(values) => values,
            _ => Vec::new(),
        };
        let (behaviors, retained) = (list("behaviors"), list("additionalMetricsToRetainV2"));
        let mut object = |member: &str| {
            Some(answer[member].take()).filter(|value| value.as_object().is_some_and(|object| !object.is_empty()))
        };
        let profile = Profile {
            behaviors,
            additional_metrics_to_retain: retained,
            alert_targets: object("alertTargets"),
            metrics_export_config: object("metricsExportConfig"),
            description: text(&answer["securityProfileDescription"]),
            targets: Some(members(&targets, "securityProfileTargets", |item| {
                item["arn"].as_str().map(target_of)
            })),
        };
        profiles.insert(name, profile);
    }
    Ok(profiles)
}

/// The names in a list: each element's `member`, or the element itself when that is empty.
async fn names(
    client: &Client,
    path: &[&str],
    paging: Paging,
    list: &'static str,
    member: &str,
) -> Result<BTreeSet<String>, Failure> {
    let answer = client.list(&Call::get(path), paging, list).await?;
    if answer.get(paging.token()).is_some() {
        return Err(Failure::Unexpected {
            what: format!("`{list}`"),
            found: "longer than is read".to_owned(),
            expected: "50,000 elements at most",
        });
    }
    Ok(members(&answer, list, |item| {
        text(if member.is_empty() { item } else { &item[member] })
    }))
}

fn members(answer: &Value, list: &str, name: impl Fn(&Value) -> Option<String>) -> BTreeSet<String> {
    answer[list].as_array().into_iter().flatten().filter_map(name).collect()
}

/// The answer; `None` when what is asked for was removed in the meantime.
async fn existing(client: &Client, call: Call) -> Result<Option<Value>, Failure> {
    match client.call(&call).await {
        Ok(answer) => Ok(Some(answer)),
        Err(CallError::Refused { code, .. }) if code == "ResourceNotFoundException" => Ok(None),
        Err(err) => Err(err.into()),
    }
}

/// A text; an empty one is as good as none.
fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn texts_of(value: &Value) -> BTreeMap<String, String> {
    let members = value.as_object().into_iter().flatten();
    members
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}
