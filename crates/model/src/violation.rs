//! Violations: a device is not behaving as one of its profiles says is normal.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::behavior::Behavior;
use crate::name::{DeviceName, ProfileName};
use crate::time::Timestamp;
use crate::value::MetricValue;

/// A violation's identity: the first 16 bytes of SHA-256 over thing, profile, behavior and the time in the raising
/// record. Never a clock read, a position or a report id, so a replay gives the same. Written as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViolationId(pub [u8; 16]);

/// Something that happened to a violation, as an engine decided it.
#[derive(Clone, Debug, PartialEq)]
pub struct ViolationChange {
    /// Which violation.
    pub id: ViolationId,
    /// The device it is about.
    pub thing: DeviceName,
    /// The profile.
    pub profile: ProfileName,
    /// The rule, as it was when the change happened.
    pub behavior: Arc<Behavior>,
    /// When, by the record that caused it.
    pub at: Timestamp,
    /// What.
    pub kind: ChangeKind,
}

/// What happened to a violation.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeKind {
    /// The alarm was raised: event `in-alarm`.
    Raised {
        /// The datapoint that raised it.
        value: MetricValue,
        /// Whether reports from a certificate attached to the thing support it by themselves: only then may a
        /// response quarantine the thing automatically.
        is_supported: bool,
    },
    /// Another breach while in alarm: only the last value and time move. No event, no alert.
    Continued {
        /// The newest breaching datapoint.
        value: MetricValue,
    },
    /// A violation that was raised on forged reports alone is now supported by genuine ones. No event, no alert, but a
    /// response may act.
    Supported {
        /// The datapoint that supports it.
        value: MetricValue,
    },
    /// The alarm was cleared: event `alarm-cleared`.
    Cleared {
        /// The datapoint that cleared it.
        value: MetricValue,
    },
    /// Nobody judges it any more: event `alarm-invalidated`.
    Invalidated,
}

/// The three events that clients see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// `in-alarm`
    InAlarm,
    /// `alarm-cleared`
    AlarmCleared,
    /// `alarm-invalidated`
    AlarmInvalidated,
}

/// What an operator thinks of a violation. It has no effect on judging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VerificationState {
    /// `FALSE_POSITIVE`
    FalsePositive,
    /// `BENIGN_POSITIVE`
    BenignPositive,
    /// `TRUE_POSITIVE`
    TruePositive,
    /// `UNKNOWN`
    #[default]
    Unknown,
}

impl ChangeKind {
    /// The event that clients see, if this is one.
    pub fn event_type(&self) -> Option<EventType> {
        match self {
            Self::Raised { .. } => Some(EventType::InAlarm),
            Self::Cleared { .. } => Some(EventType::AlarmCleared),
            Self::Invalidated => Some(EventType::AlarmInvalidated),
            Self::Continued { .. } | Self::Supported { .. } => None,
        }
    }
}

impl EventType {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InAlarm => "in-alarm",
            Self::AlarmCleared => "alarm-cleared",
            Self::AlarmInvalidated => "alarm-invalidated",
        }
    }
}

impl VerificationState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FalsePositive => "FALSE_POSITIVE",
            Self::BenignPositive => "BENIGN_POSITIVE",
            Self::TruePositive => "TRUE_POSITIVE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for ViolationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a text is no violation id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("violation id is {found:?}, expected 32 hex digits")]
pub struct BadViolationId {
    /// The text as found.
    pub found: String,
}

impl FromStr for ViolationId {
    type Err = BadViolationId;

    fn from_str(text: &str) -> Result<Self, BadViolationId> {
        let bad = || BadViolationId {
            found: text.chars().take(130).collect(),
        };
        if text.len() != 32 || !text.is_ascii() {
            return Err(bad());
        }
        u128::from_str_radix(text, 16)
            .map(|number| Self(number.to_be_bytes()))
            .map_err(|_| bad())
    }
}
