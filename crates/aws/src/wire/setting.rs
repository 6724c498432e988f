//! Settings of the account: which changes are announced, and what is logged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::EpochSecs;
use super::constraint::{ANY, BOOLEAN, TEXT, list, text};
use crate::shape::{Pattern, Shape, member, operations, structures};

/// What can be announced.
pub const EVENT_TYPES: &[&str] = &[
    "THING",
    "THING_GROUP",
    "THING_TYPE",
    "THING_GROUP_MEMBERSHIP",
    "THING_GROUP_HIERARCHY",
    "THING_TYPE_ASSOCIATION",
    "JOB",
    "JOB_EXECUTION",
    "POLICY",
    "CERTIFICATE",
    "CA_CERTIFICATE",
];

const EVENT_CONFIGURATIONS: Shape = Shape::Map {
    key: &Shape::Choice(EVENT_TYPES),
    value: &EVENT_CONFIGURATION,
};
structures! {
    /// Whether something is announced.
    EventConfiguration, EVENT_CONFIGURATION {
        is_enabled: Option<bool> = "Enabled" BOOLEAN,
    }
}

const LOG_LEVEL: Shape = Shape::Choice(&["DEBUG", "INFO", "ERROR", "WARN", "DISABLED"]);
const LOG_EVENT_CONFIGURATION: Shape = Shape::Structure(&[
    member!(String, body "eventType", text(1, 512, &ANY)),
    member!(Option<String>, body "logLevel", LOG_LEVEL),
    member!(Option<String>, body "logDestination", text(1, 512, &LOG_DESTINATION)),
]);
const LOG_DESTINATION: Pattern = Pattern {
    expression: "^[.\\-_/#A-Za-z0-9]+$",
    fits: |text| text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_/#".contains(c)),
};

operations! {
    /// Shows which changes are announced.
    DescribeEventConfigurations: "GET" "/event-configurations" {}

    /// Says which changes are announced; what is not named stays.
    UpdateEventConfigurations: "PATCH" "/event-configurations" {
        event_configurations: Option<Map<String, Value>> = body "eventConfigurations" EVENT_CONFIGURATIONS,
    }

    /// Says what is logged; what is not named stays.
    SetV2LoggingOptions: "POST" "/v2LoggingOptions" {
        role_arn: Option<String> = body "roleArn" TEXT,
        default_log_level: Option<String> = body "defaultLogLevel" LOG_LEVEL,
        disable_all_logs: Option<bool> = body "disableAllLogs" BOOLEAN,
        event_configurations: Option<Vec<Value>> = body "eventConfigurations" list(&LOG_EVENT_CONFIGURATION),
    }

    /// Shows what is logged.
    GetV2LoggingOptions: "GET" "/v2LoggingOptions" {
        verbose: Option<bool> = query "verbose" BOOLEAN,
    }

    /// Says what is logged, in the first version of it. The body is the model's `loggingOptionsPayload` itself.
    SetLoggingOptions: "POST" "/loggingOptions" {
        role_arn: String = body "roleArn" TEXT,
        log_level: Option<String> = body "logLevel" LOG_LEVEL,
    }

    /// Shows what is logged, in the first version of it.
    GetLoggingOptions: "GET" "/loggingOptions" {}
}

/// Answer of [`DescribeEventConfigurations`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventConfigurations {
    /// By what is announced, all of [`EVENT_TYPES`].
    pub event_configurations: BTreeMap<String, DescribedEventConfiguration>,
    /// When anything was said first; absent when never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_date: Option<EpochSecs>,
    /// When anything was said last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified_date: Option<EpochSecs>,
}

/// Whether something is announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribedEventConfiguration {
    /// Whether it is.
    #[serde(rename = "Enabled")]
    pub is_enabled: bool,
}

/// Answer of [`GetV2LoggingOptions`], and what is stored of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct V2LoggingOptions {
    /// The role that AWS would write logs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// What is logged where nothing more special is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_log_level: Option<String>,
    /// Whether nothing is logged.
    pub disable_all_logs: bool,
    /// What is logged of which events; only told to who asks for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_configurations: Option<Vec<Value>>,
}

/// Answer of [`GetLoggingOptions`], and what is stored of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggingOptions {
    /// The role that AWS would write logs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// What is logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
}
