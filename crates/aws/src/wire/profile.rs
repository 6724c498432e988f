//! Security profiles and what they are attached to.

use picket_model::behavior::wire::Behavior;
use picket_model::name::{DimensionName, MetricName, ProfileName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::EpochSecs;
use super::constraint::{
    ANY, ARN, BEHAVIORS, BOOLEAN, METRIC_DIMENSION, NAME, PAGE_SIZE, ROLE_ARN, TAGS, TOKEN, VERSION, description, text,
};
use super::tag::Tag;
use crate::arn::Arn;
use crate::shape::{Shape, Typed, member, operations};

const ALERT_TARGETS: Shape = Shape::Map {
    key: &Shape::Choice(&["SNS"]),
    value: &Shape::Structure(&[
        member!(String, body "alertTargetArn", ARN),
        member!(String, body "roleArn", ROLE_ARN),
    ]),
};
const METRICS_TO_RETAIN: Shape = Shape::List {
    of: &text(0, 1024, &ANY),
    len_min: 0,
    len_max: 1000,
};
const METRICS_TO_RETAIN_V2: Shape = Shape::List {
    of: &Shape::Structure(&[
        member!(String, body "metric", text(0, 1024, &ANY)),
        member!(Option<String>, body "metricDimension", METRIC_DIMENSION),
        member!(Option<bool>, body "exportMetric", BOOLEAN),
    ]),
    len_min: 0,
    len_max: 1000,
};
const METRICS_EXPORT_CONFIG: Shape = Shape::Structure(&[
    member!(String, body "mqttTopic", text(1, 512, &ANY)),
    member!(String, body "roleArn", ROLE_ARN),
]);

impl Typed for Behavior {
    fn from_value(value: Value) -> Result<Self, String> {
        serde_json::from_value(value).map_err(|err| err.to_string())
    }
}

operations! {
    /// Creates a profile.
    CreateSecurityProfile: "POST" "/security-profiles/{securityProfileName}" {
        security_profile_name: ProfileName = path "securityProfileName" NAME,
        security_profile_description: Option<String> = body "securityProfileDescription" description(1000),
        behaviors: Option<Vec<Behavior>> = body "behaviors" BEHAVIORS,
        alert_targets: Option<Map<String, Value>> = body "alertTargets" ALERT_TARGETS,
        additional_metrics_to_retain: Option<Vec<String>> = body "additionalMetricsToRetain" METRICS_TO_RETAIN,
        additional_metrics_to_retain_v2: Option<Vec<Value>> = body "additionalMetricsToRetainV2" METRICS_TO_RETAIN_V2,
        tags: Option<Vec<Tag>> = body "tags" TAGS,
        metrics_export_config: Option<Map<String, Value>> = body "metricsExportConfig" METRICS_EXPORT_CONFIG,
    }

    /// Changes a profile: what is given replaces, what is not given stays.
    UpdateSecurityProfile: "PATCH" "/security-profiles/{securityProfileName}" {
        security_profile_name: ProfileName = path "securityProfileName" NAME,
        security_profile_description: Option<String> = body "securityProfileDescription" description(1000),
        behaviors: Option<Vec<Behavior>> = body "behaviors" BEHAVIORS,
        alert_targets: Option<Map<String, Value>> = body "alertTargets" ALERT_TARGETS,
        additional_metrics_to_retain: Option<Vec<String>> = body "additionalMetricsToRetain" METRICS_TO_RETAIN,
        additional_metrics_to_retain_v2: Option<Vec<Value>> = body "additionalMetricsToRetainV2" METRICS_TO_RETAIN_V2,
        delete_behaviors: Option<bool> = body "deleteBehaviors" BOOLEAN,
        delete_alert_targets: Option<bool> = body "deleteAlertTargets" BOOLEAN,
        delete_additional_metrics_to_retain: Option<bool> = body "deleteAdditionalMetricsToRetain" BOOLEAN,
        expected_version: Option<i64> = query "expectedVersion" VERSION,
        metrics_export_config: Option<Map<String, Value>> = body "metricsExportConfig" METRICS_EXPORT_CONFIG,
        delete_metrics_export_config: Option<bool> = body "deleteMetricsExportConfig" BOOLEAN,
    }

    /// Shows a profile.
    DescribeSecurityProfile: "GET" "/security-profiles/{securityProfileName}" {
        security_profile_name: ProfileName = path "securityProfileName" NAME,
    }

    /// Removes a profile; one that is not there is removed already.
    DeleteSecurityProfile: "DELETE" "/security-profiles/{securityProfileName}" {
        security_profile_name: ProfileName = path "securityProfileName" NAME,
        expected_version: Option<i64> = query "expectedVersion" VERSION,
    }

    /// Lists profiles.
    ListSecurityProfiles: "GET" "/security-profiles" {
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
        dimension_name: Option<DimensionName> = query "dimensionName" NAME,
        metric_name: Option<MetricName> = query "metricName" NAME,
    }

    /// Lists the profiles of a target.
    ListSecurityProfilesForTarget: "GET" "/security-profiles-for-target" {
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
        recursive: Option<bool> = query "recursive" BOOLEAN,
        security_profile_target_arn: Arn = query "securityProfileTargetArn" ARN,
    }

    /// Lists the targets of a profile.
    ListTargetsForSecurityProfile: "GET" "/security-profiles/{securityProfileName}/targets" {
        security_profile_name: ProfileName = path "securityProfileName" NAME,
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
    }

    /// Attaches a profile to a target.
    AttachSecurityProfile: "PUT" "/security-profiles/{securityProfileName}/targets" {
        security_profile_name: ProfileName = path "securityProfileName" NAME,
        security_profile_target_arn: Arn = query "securityProfileTargetArn" ARN,
    }

    /// Detaches a profile from a target.
    DetachSecurityProfile: "DELETE" "/security-profiles/{securityProfileName}/targets" {
        security_profile_name: ProfileName = path "securityProfileName" NAME,
        security_profile_target_arn: Arn = query "securityProfileTargetArn" ARN,
    }

    /// Says what is wrong with behaviors, without storing them.
    ValidateSecurityProfileBehaviors: "POST" "/security-profile-behaviors/validate" {
        behaviors: Vec<Behavior> = body "behaviors" BEHAVIORS,
    }
}

/// Answer of [`CreateSecurityProfile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedSecurityProfile {
    /// The name.
    pub security_profile_name: String,
    /// The ARN.
    pub security_profile_arn: String,
    /// What is accepted, and may still not be what was meant. AWS has no such member.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub picket_warnings: Vec<String>,
}

/// Answer of [`DescribeSecurityProfile`] and [`UpdateSecurityProfile`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityProfileDescription {
    /// The name.
    pub security_profile_name: String,
    /// The ARN.
    pub security_profile_arn: String,
    /// A description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_profile_description: Option<String>,
    /// The rules, in the order written.
    pub behaviors: Vec<Behavior>,
    /// Who is alerted, and the other members that judging does not read, as they were written.
    #[serde(flatten)]
    pub extras: Map<String, Value>,
    /// 1 at first.
    pub version: i64,
    /// When it was created.
    pub creation_date: EpochSecs,
    /// When it was changed last.
    pub last_modified_date: EpochSecs,
    /// What is accepted, and may still not be what was meant. AWS has no such member.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub picket_warnings: Vec<String>,
}

/// Answer of [`ListSecurityProfiles`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityProfiles {
    /// One page.
    pub security_profile_identifiers: Vec<SecurityProfileIdentifier>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A profile in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityProfileIdentifier {
    /// The name.
    pub name: String,
    /// The ARN.
    pub arn: String,
}

/// Answer of [`ListSecurityProfilesForTarget`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityProfileTargetMappings {
    /// One page.
    pub security_profile_target_mappings: Vec<SecurityProfileTargetMapping>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A profile with one of its targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityProfileTargetMapping {
    /// The profile.
    pub security_profile_identifier: SecurityProfileIdentifier,
    /// The target.
    pub target: SecurityProfileTarget,
}

/// A target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityProfileTarget {
    /// The ARN.
    pub arn: String,
}

/// Answer of [`ListTargetsForSecurityProfile`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityProfileTargets {
    /// One page.
    pub security_profile_targets: Vec<SecurityProfileTarget>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// Answer of [`ValidateSecurityProfileBehaviors`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    /// Whether nothing is wrong.
    pub valid: bool,
    /// What is wrong.
    pub validation_errors: Vec<ValidationError>,
    /// What is accepted, and may still not be what was meant. AWS has no such member.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub picket_warnings: Vec<String>,
}

/// One thing that is wrong with behaviors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidationError {
    /// In words.
    pub error_message: String,
}
