//! What each operation does. Who calls is known, the input is right by its shape; HTTP is not known here.
//!
//! A change is told to live sessions after its transaction and before the answer.

pub mod audit;
pub mod authorization;
pub mod ca_certificate;
pub mod certificate;
pub mod connectivity;
pub mod data;
pub mod dimension;
pub mod endpoint;
pub mod group;
pub mod key;
pub mod metric;
pub mod mitigation;
mod place;
pub mod policy;
pub mod policy_version;
pub mod principal;
pub mod profile;
pub mod response;
mod rules;
pub mod setting;
pub mod subscription;
pub mod tags;
pub mod task;
pub mod thing;
pub mod thing_type;
pub mod topic;
pub mod violation;
