//! Places in lists whose keys have two parts.

use std::fmt;
use std::str::FromStr;

use picket_model::name::{BehaviorName, ProfileName};
use picket_model::profile::Target;

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
