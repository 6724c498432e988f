//! Notices as they are stored, and alerts as people's tools read them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{BadNotice, EventType, ViolationNotice};
use crate::behavior::{Test, wire::Behavior};
use crate::time::Timestamp;
use crate::value::wire::MetricValue;

/// The message of an alert, member for member what AWS IoT Device Defender sends: consumers read `thingName`,
/// `securityProfileName`, `behavior.name`, `violationEventType` and `verificationState`. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Milliseconds since the epoch.
    pub violation_event_time: i64,
    /// The device.
    pub thing_name: String,
    /// The rule as it was.
    pub behavior: Behavior,
    /// `in-alarm`, `alarm-cleared` or `alarm-invalidated`.
    pub violation_event_type: String,
    /// The datapoint; absent when invalidated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_value: Option<MetricValue>,
    /// 32 hex digits.
    pub violation_id: String,
    /// The profile.
    pub security_profile_name: String,
    /// Always there, `UNKNOWN` until an operator says otherwise.
    pub verification_state: String,
    /// Only for learned criteria.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub violation_event_additional_info: Option<AdditionalInfo>,
    /// Not of AWS, and only there when true: the alarm was raised before the end of its window.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub picket_before_window_end: bool,
}

/// AWS's `ViolationEventAdditionalInfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalInfo {
    /// `LOW`, `MEDIUM` or `HIGH`.
    pub confidence_level: String,
}

impl AdditionalInfo {
    /// What is added to the events of a behavior: the confidence, if it is a learned one.
    pub fn of(behavior: &crate::behavior::Behavior) -> Option<Self> {
        match behavior.criteria.as_ref()?.test {
            Test::Learned { confidence } => Some(Self {
                confidence_level: confidence.as_str().to_owned(),
            }),
            _ => None,
        }
    }
}

impl From<&ViolationNotice> for Alert {
    fn from(notice: &ViolationNotice) -> Self {
        let is_invalidated = notice.event == EventType::AlarmInvalidated;
        Self {
            violation_event_time: notice.at.millis(),
            thing_name: notice.thing.to_string(),
            behavior: (&*notice.behavior).into(),
            violation_event_type: notice.event.as_str().to_owned(),
            metric_value: notice.value.as_ref().filter(|_| !is_invalidated).map(MetricValue::from),
            violation_id: notice.id.to_string(),
            security_profile_name: notice.profile.to_string(),
            verification_state: notice.verification.as_str().to_owned(),
            violation_event_additional_info: AdditionalInfo::of(&notice.behavior).filter(|_| !is_invalidated),
            picket_before_window_end: notice.is_eager,
        }
    }
}

/// A notice as the outbox holds it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Notice {
    id: String,
    thing: String,
    profile: String,
    behavior: Behavior,
    event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<MetricValue>,
    at: i64,
    verification: String,
    is_supported: bool,
    // Absent where it was written before alarms could be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_eager: bool,
}

impl From<&ViolationNotice> for Notice {
    fn from(notice: &ViolationNotice) -> Self {
        Self {
            id: notice.id.to_string(),
            thing: notice.thing.to_string(),
            profile: notice.profile.to_string(),
            behavior: (&*notice.behavior).into(),
            event: notice.event.as_str().to_owned(),
            value: notice.value.as_ref().map(MetricValue::from),
            at: notice.at.millis(),
            verification: notice.verification.as_str().to_owned(),
            is_supported: notice.is_supported,
            is_eager: notice.is_eager,
        }
    }
}

impl TryFrom<Notice> for ViolationNotice {
    type Error = BadNotice;

    fn try_from(written: Notice) -> Result<Self, BadNotice> {
        Ok(Self {
            id: written.id.parse().map_err(bad)?,
            thing: written.thing.parse().map_err(bad)?,
            profile: written.profile.parse().map_err(bad)?,
            behavior: Arc::new(written.behavior.try_into().map_err(bad)?),
            event: written.event.parse().map_err(bad)?,
            value: written.value.map(TryFrom::try_from).transpose().map_err(bad)?,
            at: Timestamp::from_millis(written.at),
            verification: written.verification.parse().map_err(bad)?,
            is_supported: written.is_supported,
            is_eager: written.is_eager,
        })
    }
}

fn bad(error: impl std::error::Error + Send + Sync + 'static) -> BadNotice {
    BadNotice::Content(Box::new(error))
}
