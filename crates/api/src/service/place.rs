//! Places in lists whose keys have two parts.

use std::fmt;
use std::str::FromStr;

use picket_model::name::{BehaviorName, CertificateId, ProfileName};
use picket_model::profile::Target;
use picket_model::time::Timestamp;
use picket_store::registry::PolicyTarget;

/// A profile with one of its targets.
pub(super) struct ProfilePlace(pub(super) (ProfileName, Target));

impl fmt::Display for ProfilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (profile, target) = &self.0;
        write!(f, "{profile} {target}")
    }
}

impl FromStr for ProfilePlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (profile, target) = text.split_once(' ').ok_or(())?;
        Ok(Self((
            profile.parse().map_err(|_| ())?,
            target.parse().map_err(|_| ())?,
        )))
    }
}

/// A behavior of a profile.
pub(super) struct BehaviorPlace(pub(super) (ProfileName, BehaviorName));

impl fmt::Display for BehaviorPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (profile, behavior) = &self.0;
        write!(f, "{profile} {behavior}")
    }
}

impl FromStr for BehaviorPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (profile, behavior) = text.split_once(' ').ok_or(())?;
        Ok(Self((
            profile.parse().map_err(|_| ())?,
            behavior.parse().map_err(|_| ())?,
        )))
    }
}

/// What a policy is attached to.
pub(super) struct TargetPlace(pub(super) PolicyTarget);

impl fmt::Display for TargetPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            PolicyTarget::Certificate(id) => write!(f, "certificate {id}"),
            PolicyTarget::Group(name) => write!(f, "group {name}"),
        }
    }
}

impl FromStr for TargetPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let target = match text.split_once(' ').ok_or(())? {
            ("certificate", id) => PolicyTarget::Certificate(id.parse().map_err(|_| ())?),
            ("group", name) => PolicyTarget::Group(name.parse().map_err(|_| ())?),
            _ => return Err(()),
        };
        Ok(Self(target))
    }
}

/// A certificate in a list by age.
pub(super) struct Age {
    created_at: Timestamp,
    id: CertificateId,
}

impl Age {
    pub(super) fn of(created_at: Timestamp, id: CertificateId) -> Self {
        Self { created_at, id }
    }

    pub(super) fn place(&self) -> (Timestamp, CertificateId) {
        (self.created_at, self.id)
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.created_at.millis(), self.id)
    }
}

impl FromStr for Age {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (created_at, id) = text.split_once(' ').ok_or(())?;
        Ok(Self {
            created_at: Timestamp::from_millis(created_at.parse().map_err(|_| ())?),
            id: id.parse().map_err(|_| ())?,
        })
    }
}
