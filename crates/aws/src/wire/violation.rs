//! Violations and their events.

use picket_model::behavior::wire::Behavior;
use picket_model::name::{DeviceName, ProfileName};
use picket_model::time::Timestamp;
use picket_model::value::wire::MetricValue;
use picket_model::violation::ViolationId;
use serde::{Deserialize, Serialize};

use super::EpochSecs;
use super::constraint::{
    BOOLEAN, CRITERIA_TYPE, DEVICE_NAME, NAME, NO_CONTROL, PAGE_SIZE, TIMESTAMP, TOKEN, VERIFICATION_STATE,
    VIOLATION_ID, text,
};
use crate::shape::operations;

operations! {
    /// Lists the violations that are in alarm now.
    ListActiveViolations: "GET" "/active-violations" {
        thing_name: Option<DeviceName> = query "thingName" DEVICE_NAME,
        security_profile_name: Option<ProfileName> = query "securityProfileName" NAME,
        behavior_criteria_type: Option<String> = query "behaviorCriteriaType" CRITERIA_TYPE,
        list_suppressed_alerts: Option<bool> = query "listSuppressedAlerts" BOOLEAN,
        verification_state: Option<String> = query "verificationState" VERIFICATION_STATE,
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
    }

    /// Lists what happened to violations from one time to another.
    ListViolationEvents: "GET" "/violation-events" {
        start_time: Timestamp = query "startTime" TIMESTAMP,
        end_time: Timestamp = query "endTime" TIMESTAMP,
        thing_name: Option<DeviceName> = query "thingName" DEVICE_NAME,
        security_profile_name: Option<ProfileName> = query "securityProfileName" NAME,
        behavior_criteria_type: Option<String> = query "behaviorCriteriaType" CRITERIA_TYPE,
        list_suppressed_alerts: Option<bool> = query "listSuppressedAlerts" BOOLEAN,
        verification_state: Option<String> = query "verificationState" VERIFICATION_STATE,
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
    }

    /// Says what people think of a violation.
    PutVerificationStateOnViolation: "POST" "/violations/verification-state/{violationId}" {
        violation_id: ViolationId = path "violationId" VIOLATION_ID,
        verification_state: String = body "verificationState" VERIFICATION_STATE,
        verification_state_description: Option<String> = body "verificationStateDescription" text(0, 1000, &NO_CONTROL),
    }
}

/// Answer of [`ListActiveViolations`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveViolations {
    /// One page.
    pub active_violations: Vec<ActiveViolation>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A violation that is in alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveViolation {
    /// 32 hex digits.
    pub violation_id: String,
    /// The device.
    pub thing_name: String,
    /// The profile.
    pub security_profile_name: String,
    /// The rule.
    pub behavior: Behavior,
    /// The newest breaching datapoint.
    pub last_violation_value: MetricValue,
    /// What people think of it.
    pub verification_state: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_state_description: Option<String>,
    /// When the newest breaching datapoint came.
    pub last_violation_time: EpochSecs,
    /// When the alarm was raised.
    pub violation_start_time: EpochSecs,
}

/// Answer of [`ListViolationEvents`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ViolationEvents {
    /// One page.
    pub violation_events: Vec<ViolationEvent>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// Something that happened to a violation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ViolationEvent {
    /// 32 hex digits.
    pub violation_id: String,
    /// The device.
    pub thing_name: String,
    /// The profile.
    pub security_profile_name: String,
    /// The rule, as it was then.
    pub behavior: Behavior,
    /// The datapoint behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_value: Option<MetricValue>,
    /// `in-alarm`, `alarm-cleared` or `alarm-invalidated`.
    pub violation_event_type: String,
    /// What people think of the violation now.
    pub verification_state: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_state_description: Option<String>,
    /// When.
    pub violation_event_time: EpochSecs,
    /// Not of AWS, and only there when true: the alarm was raised before the end of its window.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub picket_before_window_end: bool,
}
