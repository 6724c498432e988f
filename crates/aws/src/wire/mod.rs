//! The operations: what each takes, with its constraints, and what it answers.
//!
//! Names, places and constraints are those of the AWS IoT service model (2015-05-28). Members that are not set are absent
//! from answers. What AWS lacks is in [`picket`], and another service of AWS's in [`sns`].

mod audit;
mod authorization;
mod ca_certificate;
mod certificate;
mod constraint;
pub mod data;
mod dimension;
mod group;
mod metric;
mod mitigation;
pub mod picket;
mod policy;
mod profile;
mod setting;
pub mod sns;
mod tag;
mod thing;
mod thing_type;
mod violation;

use picket_model::time::Timestamp;
use serde::{Deserialize, Serialize};

pub use audit::*;
pub use authorization::*;
pub use ca_certificate::*;
pub use certificate::*;
pub use dimension::*;
pub use group::*;
pub use metric::*;
pub use mitigation::*;
pub use policy::*;
pub use profile::*;
pub use setting::*;
pub use tag::*;
pub use thing::*;
pub use thing_type::*;
pub use violation::*;

/// A point in time as answers carry it: seconds since the epoch, with fraction.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EpochSecs(pub f64);

impl From<Timestamp> for EpochSecs {
    fn from(at: Timestamp) -> Self {
        Self(at.secs_f64())
    }
}

/// The answer of an operation that has nothing to say: `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}
