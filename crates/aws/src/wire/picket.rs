//! What AWS lacks, under `/picket/v1/`: responses, decisions, explanations, access keys, the whole endpoint.

use picket_model::behavior::wire::Behavior;
use picket_model::name::{BehaviorName, DeviceName, ProfileName, ResponseName, ThingGroupName};
use picket_model::value::wire::MetricValue;
use picket_model::violation::ViolationId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::EpochSecs;
use super::constraint::{
    ANY, BEHAVIORS, BOOLEAN, DEVICE_NAME, NAME, PAGE_SIZE, TOKEN, VIOLATION_ID, description, text,
};
use crate::shape::{Pattern, Shape, operations, structures};

const NAMES: Shape = Shape::List {
    of: &NAME,
    len_min: 0,
    len_max: 100,
};
const URL: Shape = text(
    8,
    2048,
    &Pattern {
        expression: "https?://[!-~]+",
        fits: |text| {
            let address = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
            address.is_some_and(|address| !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_graphic()))
        },
    },
);
const ACCESS_KEY_ID: Shape = text(
    16,
    128,
    &Pattern {
        expression: "[\\w]+",
        fits: |text| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
    },
);

structures! {
    /// Cut the device off.
    QuarantineSettings, QUARANTINE {
        thing_group_name: ThingGroupName = "thingGroupName" NAME,
    }

    /// Post the alert.
    WebhookSettings, WEBHOOK {
        url: String = "url" URL,
    }
}

operations! {
    /// Says where devices connect to, and whom they trust.
    ShowEndpoint: "GET" "/picket/v1/endpoint" {}

    /// Lists all responses.
    ListResponses: "GET" "/picket/v1/responses" {}

    /// Says what is to be done when an alarm is raised. Empty lists mean all.
    CreateResponse: "POST" "/picket/v1/responses" {
        response_name: ResponseName = body "responseName" NAME,
        security_profile_names: Option<Vec<ProfileName>> = body "securityProfileNames" NAMES,
        behavior_names: Option<Vec<BehaviorName>> = body "behaviorNames" NAMES,
        quarantine: Option<QuarantineSettings> = body "quarantine" QUARANTINE,
        webhook: Option<WebhookSettings> = body "webhook" WEBHOOK,
        is_enabled: Option<bool> = body "isEnabled" BOOLEAN,
    }

    /// Shows a response.
    DescribeResponse: "GET" "/picket/v1/responses/{responseName}" {
        response_name: ResponseName = path "responseName" NAME,
    }

    /// Removes a response; what it has done stays.
    DeleteResponse: "DELETE" "/picket/v1/responses/{responseName}" {
        response_name: ResponseName = path "responseName" NAME,
    }

    /// Lists what was decided, newest first.
    ListDecisions: "GET" "/picket/v1/decisions" {
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
    }

    /// Ends one quarantine.
    UndoDecision: "POST" "/picket/v1/decisions/{decisionId}/undo" {
        decision_id: i64 = path "decisionId" Shape::Integer { min: 1, max: i64::MAX },
    }

    /// Cuts a device off.
    QuarantineThing: "POST" "/picket/v1/things/{thingName}/quarantine" {
        thing_name: DeviceName = path "thingName" DEVICE_NAME,
        thing_group_name: Option<ThingGroupName> = body "thingGroupName" NAME,
    }

    /// Ends every quarantine of a device.
    ReleaseThing: "POST" "/picket/v1/things/{thingName}/release" {
        thing_name: DeviceName = path "thingName" DEVICE_NAME,
    }

    /// Says in words why there is a violation, what would clear it, and what was done about it.
    ExplainViolation: "GET" "/picket/v1/violations/{violationId}/explain" {
        violation_id: ViolationId = path "violationId" VIOLATION_ID,
    }

    /// Lists all access keys, without their secrets.
    ListAccessKeys: "GET" "/picket/v1/keys" {}

    /// Makes an access key.
    CreateAccessKey: "POST" "/picket/v1/keys" {
        description: Option<String> = body "description" description(256),
    }

    /// Makes an access key useless.
    DisableAccessKey: "POST" "/picket/v1/keys/{accessKeyId}/disable" {
        access_key_id: String = path "accessKeyId" ACCESS_KEY_ID,
    }

    /// Says what may not be what was meant.
    LintBehaviors: "POST" "/picket/v1/security-profiles/lint" {
        behaviors: Vec<Behavior> = body "behaviors" BEHAVIORS,
        security_profile_description: Option<String> = body "securityProfileDescription" text(0, 1000, &ANY),
    }
}

/// Answer of [`ShowEndpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointDescription {
    /// The name that devices use.
    pub endpoint_address: String,
    /// Its MQTT port.
    pub mqtt_port: u16,
    /// The port for AWS's agents, which ask for MQTT by ALPN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt_alpn_port: Option<u16>,
    /// The certificate that devices trust, PEM.
    pub ca_certificate_pem: String,
    /// 12 digits.
    pub account_id: String,
    /// The region that ARNs carry unless the caller's credential names another.
    pub region: String,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseDescription {
    /// The name.
    pub response_name: String,
    /// Only for these profiles; empty means all.
    pub security_profile_names: Vec<String>,
    /// Only for these behaviors; empty means all.
    pub behavior_names: Vec<String>,
    /// Cuts the device off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<QuarantineDescription>,
    /// Posts the alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookDescription>,
    /// Whether it does anything.
    pub is_enabled: bool,
    /// What was accepted, and may still not be what was meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub picket_warnings: Vec<String>,
}

/// How a device is cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuarantineDescription {
    /// The group that shows who is.
    pub thing_group_name: String,
}

/// Where alerts are posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookDescription {
    /// The address.
    pub url: String,
}

/// Answer of [`ListResponses`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Responses {
    /// All of them.
    pub responses: Vec<ResponseDescription>,
}

/// A quarantine, in force or past. Answer of [`QuarantineThing`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionDescription {
    /// Its number.
    pub decision_id: String,
    /// The device.
    pub thing_name: String,
    /// The violation behind it; an operator decided when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub violation_id: Option<String>,
    /// The response that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_name: Option<String>,
    /// The group that mirrors it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thing_group_name: Option<String>,
    /// Why the thing is not in that group although it is to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror_failure: Option<String>,
    /// Since when.
    pub decided_at: EpochSecs,
    /// Who decided, in words.
    pub decided_by: String,
    /// Until when; in force when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released_at: Option<EpochSecs>,
    /// Who ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released_by: Option<String>,
}

/// Answer of [`ListDecisions`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decisions {
    /// One page.
    pub decisions: Vec<DecisionDescription>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// Answer of [`ReleaseThing`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Released {
    /// How many quarantines ended.
    pub n_released: usize,
}

/// Answer of [`ExplainViolation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ViolationExplanation {
    /// 32 hex digits.
    pub violation_id: String,
    /// The device.
    pub thing_name: String,
    /// The profile.
    pub security_profile_name: String,
    /// The rule.
    pub behavior: Behavior,
    /// When the rule alarms, in words.
    pub in_words: String,
    /// The newest breaching datapoint.
    pub last_violation_value: MetricValue,
    /// When the alarm was raised.
    pub violation_start_time: EpochSecs,
    /// When the newest breaching datapoint came.
    pub last_violation_time: EpochSecs,
    /// When it ended; in alarm when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub violation_end_time: Option<EpochSecs>,
    /// What ends it, in words.
    pub what_clears_it: String,
    /// Whether reports over a certificate attached to the thing support it.
    pub is_supported: bool,
    /// Whether the alarm was raised before the end of its window, because no end could have been normal any more.
    pub is_before_window_end: bool,
    /// How many other devices are in alarm by the same behavior now.
    pub others_in_alarm: u64,
    /// What was decided because of it.
    pub decisions: Vec<DecisionDescription>,
    /// Why the device is not quarantined, in words; absent when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not_quarantined: Option<String>,
    /// What the engine holds of it now, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<Map<String, Value>>,
}

/// Answer of [`ListAccessKeys`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AccessKeys {
    /// All of them.
    pub keys: Vec<AccessKeyDescription>,
}

/// An access key, without its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessKeyDescription {
    /// Its id.
    pub access_key_id: String,
    /// What it is for.
    pub description: String,
    /// Whether it opens anything.
    pub is_enabled: bool,
    /// When it was made.
    pub creation_date: EpochSecs,
}

/// Answer of [`CreateAccessKey`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedAccessKey {
    /// Its id.
    pub access_key_id: String,
    /// Its secret: said only here.
    pub secret_access_key: String,
}

/// Answer of [`LintBehaviors`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lint {
    /// In words.
    pub warnings: Vec<String>,
}
