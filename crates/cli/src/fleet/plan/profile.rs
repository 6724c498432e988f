//! What creates a profile, and what changes one into another.

use serde_json::{Map, Value, json};

use super::put;
use crate::fleet::Profile;

/// What AWS's CreateSecurityProfile takes.
pub(super) fn creation(wanted: &Profile) -> Value {
    let mut body = json!({ "behaviors": wanted.behaviors });
    put(&mut body, "securityProfileDescription", wanted.description.as_deref());
    put(&mut body, "alertTargets", wanted.alert_targets.clone());
    put(&mut body, "metricsExportConfig", wanted.metrics_export_config.clone());
    if !wanted.additional_metrics_to_retain.is_empty() {
        put(
            &mut body,
            "additionalMetricsToRetainV2",
            Some(wanted.additional_metrics_to_retain.clone()),
        );
    }
    body
}

/// The members that differ, and what AWS's UpdateSecurityProfile takes to change them: a value, or that it goes.
pub(super) fn update(wanted: &Profile, found: &Profile) -> (Vec<&'static str>, Value) {
    let mut body = Map::new();
    let mut differing = Vec::new();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    if text(&wanted.description) != text(&found.description) {
        differing.push("description");
        body.insert(
            "securityProfileDescription".to_owned(),
            text(&wanted.description).into(),
        );
    }
    let list = |list: &[Value]| (!list.is_empty()).then(|| Value::from(list.to_vec()));
    let (has, wants) = (found.canonical_behaviors(), wanted.canonical_behaviors());
    let members = [
        (
            "behaviors",
            "deleteBehaviors",
            list(&has) != list(&wants),
            list(&wanted.behaviors),
        ),
        (
            "alertTargets",
            "deleteAlertTargets",
            found.alert_targets != wanted.alert_targets,
            wanted.alert_targets.clone(),
        ),
        (
            "additionalMetricsToRetainV2",
            "deleteAdditionalMetricsToRetain",
            found.additional_metrics_to_retain != wanted.additional_metrics_to_retain,
            list(&wanted.additional_metrics_to_retain),
        ),
        (
            "metricsExportConfig",
            "deleteMetricsExportConfig",
            found.metrics_export_config != wanted.metrics_export_config,
            wanted.metrics_export_config.clone(),
        ),
    ];
    for (member, gone, is_differing, value) in members {
        if is_differing {
            differing.push(member);
            match value {
                Some(value) => body.insert(member.to_owned(), value),
                None => body.insert(gone.to_owned(), true.into()),
            };
        }
    }
    (differing, Value::Object(body))
}
