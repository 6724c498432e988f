//! Violations: a device is not behaving as one of its profiles says is normal.

pub mod wire;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::behavior::spelling::words;
use crate::behavior::{BadWord, Behavior};
use crate::name::{BehaviorName, DeviceName, ProfileName};
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
        /// Whether the alarm was raised before the end of its window, because no end could have been normal any more.
        is_eager: bool,
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

/// What is told of a violation: to the outbox, to responders and, as [`wire::Alert`], to people.
#[derive(Clone, Debug, PartialEq)]
pub struct ViolationNotice {
    /// Which violation.
    pub id: ViolationId,
    /// The device it is about.
    pub thing: DeviceName,
    /// The profile.
    pub profile: ProfileName,
    /// The rule, as it was when the event happened.
    pub behavior: Arc<Behavior>,
    /// What happened.
    pub event: EventType,
    /// The datapoint behind it. `None` when the violation was invalidated.
    pub value: Option<MetricValue>,
    /// When, by the record that caused it.
    pub at: Timestamp,
    /// What an operator thought of the violation when the notice was made.
    pub verification: VerificationState,
    /// Whether the evidence permits an automatic quarantine, see [`ChangeKind::Raised`].
    pub is_supported: bool,
    /// Whether the alarm was raised before the end of its window, see [`ChangeKind::Raised`].
    pub is_eager: bool,
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

impl ViolationId {
    /// The identity of the violation that is raised for this device by this rule at this time, which is the time in the
    /// raising record. No name holds a NUL, so no two quadruples run together.
    pub fn derive(thing: &DeviceName, profile: &ProfileName, behavior: &BehaviorName, at: Timestamp) -> Self {
        let mut hash = Sha256::new();
        for name in [thing.as_str(), profile.as_str(), behavior.as_str()] {
            hash.update(name.as_bytes());
            hash.update([0]);
        }
        hash.update(at.millis().to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }
}

impl ViolationNotice {
    /// The notice that a change gives rise to: of its event, or for [`ChangeKind::Supported`] of the alarm that the
    /// change lends its support to. `None` when nobody needs to hear of the change.
    pub fn of(change: &ViolationChange, verification: VerificationState) -> Option<Self> {
        let (event, value, is_supported) = match &change.kind {
            ChangeKind::Raised {
                value, is_supported, ..
            } => (EventType::InAlarm, Some(value), *is_supported),
            ChangeKind::Supported { value } => (EventType::InAlarm, Some(value), true),
            ChangeKind::Cleared { value } => (EventType::AlarmCleared, Some(value), false),
            ChangeKind::Invalidated => (EventType::AlarmInvalidated, None, false),
            ChangeKind::Continued { .. } => return None,
        };
        Some(Self {
            id: change.id,
            thing: change.thing.clone(),
            profile: change.profile.clone(),
            behavior: Arc::clone(&change.behavior),
            event,
            value: value.cloned(),
            at: change.at,
            verification,
            is_supported,
            is_eager: matches!(change.kind, ChangeKind::Raised { is_eager: true, .. }),
        })
    }
}

impl ViolationNotice {
    /// The notice as JSON, as the outbox holds it. What is encoded is what is decoded.
    pub fn encode(&self) -> Vec<u8> {
        // Texts and finite numbers always have a JSON form; what had none would be empty, which decodes to an error.
        serde_json::to_vec(&wire::Notice::from(self)).unwrap_or_default()
    }

    /// The notice that was encoded.
    ///
    /// # Errors
    /// The bytes are not what [`ViolationNotice::encode`] makes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadNotice> {
        serde_json::from_slice::<wire::Notice>(bytes)
            .map_err(BadNotice::Json)?
            .try_into()
    }
}

/// Why bytes are no notice.
#[derive(Debug, thiserror::Error)]
pub enum BadNotice {
    /// Not JSON of the shape.
    #[error("notice of a violation is not JSON of its shape")]
    Json(#[source] serde_json::Error),
    /// A name, a word or a value in it is none.
    #[error("notice of a violation holds what it cannot hold")]
    Content(#[source] Box<dyn std::error::Error + Send + Sync>),
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

words! {
    EventType, "violationEventType", [
        InAlarm = "in-alarm",
        AlarmCleared = "alarm-cleared",
        AlarmInvalidated = "alarm-invalidated",
    ];
    VerificationState, "verificationState", [
        FalsePositive = "FALSE_POSITIVE",
        BenignPositive = "BENIGN_POSITIVE",
        TruePositive = "TRUE_POSITIVE",
        Unknown = "UNKNOWN",
    ];
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
        if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(bad());
        }
        u128::from_str_radix(text, 16)
            .map(|number| Self(number.to_be_bytes()))
            .map_err(|_| bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(thing: &str, profile: &str, behavior: &str, at_ms: i64) -> String {
        let at = Timestamp::from_millis(at_ms);
        ViolationId::derive(
            &thing.parse().unwrap(),
            &profile.parse().unwrap(),
            &behavior.parse().unwrap(),
            at,
        )
        .to_string()
    }

    #[test]
    fn an_identity_follows_from_what_happened_and_reads_back() {
        let id = id_of("pump-7", "quiet", "bytes-out", 1_542_682_416_515);
        assert_eq!(id, "e2d29d9487eb389d85bfa66c71c16380");
        assert_eq!(id.parse::<ViolationId>().unwrap().to_string(), id);
        for other in [
            id_of("pump-8", "quiet", "bytes-out", 1_542_682_416_515),
            id_of("pump-7", "quietb", "ytes-out", 1_542_682_416_515),
            id_of("pump-7", "quiet", "bytes-out", 1_542_682_416_516),
        ] {
            assert_ne!(other, id);
        }
        for text in [
            "",
            "76ef8d1dc35ed4eb802ff44568f9109",
            "+6ef8d1dc35ed4eb802ff44568f91097",
        ] {
            assert!(text.parse::<ViolationId>().is_err(), "{text:?}");
        }
    }
}
