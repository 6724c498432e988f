//! The registry: things, their types, groups, certificates, policies, tags, settings, and the keys of the API's callers.
//!
//! What judging depends on (which things there are, and in which groups) is told to the partition of the thing by an
//! outbox row in the transaction that changes it.
//!
//! Lists are in the order of their key and go on after the last key seen, so a page is right whatever was inserted or
//! deleted since the page before.

mod ca_certificate;
mod certificate;
pub(crate) mod group;
mod key;
pub(crate) mod membership;
pub(crate) mod policy;
mod policy_version;
mod principal;
mod setting;
pub(crate) mod tag;
mod thing;
mod thing_type;

use std::collections::BTreeMap;

use picket_model::time::Timestamp;
use xxhash_rust::xxh3::xxh3_128;

use crate::StoreError;

pub use ca_certificate::{CaCertificate, CaCertificateUpdate, NewCaCertificate, RegistrationTemplate};
pub use certificate::{BadCertificateStatus, Certificate, CertificateMode, CertificateStatus, NewCertificate};
pub use group::{Group, GroupFilter, GroupUpdate, NewGroup};
pub use key::AccessKey;
pub use policy::{Policy, PolicyTarget};
pub use policy_version::PolicyVersion;
pub use principal::PrincipalKind;
pub use setting::{EventSetting, Setting};
pub use tag::{BadTags, Tagged, TaggedKind, Tags};
pub use thing::{AttributeFilter, Change, NewThing, Thing, ThingFilter, ThingUpdate};
pub use thing_type::{ThingType, ThingTypeProperties, ThingTypeUpdate};

/// Names with texts, as AWS attaches them to things and groups.
pub type Attributes = BTreeMap<String, String>;

/// An id in the form of a UUID, the same for the same kind, name and time: made without randomness, so that a replayed
/// transaction makes the same.
pub(crate) fn id_of(kind: &str, name: &str, at: Timestamp) -> String {
    let hash = xxh3_128(format!("{kind}\0{name}\0{}", at.millis()).as_bytes());
    // Version 8 (own making) and the variant of RFC 9562.
    let id = (hash & !(0xf << 76) & !(0b11 << 62)) | (8 << 76) | (0b10 << 62);
    let hex = format!("{id:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn attributes_to_json(attributes: &Attributes) -> Result<String, StoreError> {
    serde_json::to_string(attributes).map_err(|err| StoreError::corrupt("attributes", "a map of texts", err))
}

pub(crate) fn attributes_of_json(json: &str) -> Result<Attributes, StoreError> {
    serde_json::from_str(json).map_err(|err| StoreError::corrupt("attributes", json, err))
}

/// Refuses when the caller has seen another version.
fn expect_version(
    what: &'static str,
    name: impl ToString,
    found: i64,
    expected: Option<i64>,
) -> Result<(), StoreError> {
    match expected {
        Some(expected) if expected != found => Err(StoreError::Version {
            what,
            name: name.to_string(),
            found,
            expected,
        }),
        _ => Ok(()),
    }
}
