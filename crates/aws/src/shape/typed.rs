//! Values that passed their table, as types.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use picket_model::time::Timestamp;
use serde_json::{Map, Value};

use super::{BadInput, bad, parse_timestamp, timestamp_of_secs};

/// The members of a request, right by their shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Members(Map<String, Value>);

impl Members {
    /// Takes the member of that name out, as its type.
    ///
    /// # Errors
    /// When the value is none of that type.
    pub fn take<F: Field>(&mut self, name: &'static str) -> Result<F, BadInput> {
        F::from_member(name, self.0.remove(name))
    }
}

impl From<Map<String, Value>> for Members {
    fn from(members: Map<String, Value>) -> Self {
        Self(members)
    }
}

/// The type of a member: of one that must be there, or an `Option` of one that need not.
pub trait Field: Sized {
    /// Whether the member must be there.
    const IS_REQUIRED: bool;

    /// The member's value, if it is there.
    ///
    /// # Errors
    /// When the value is none of this type.
    fn from_member(name: &str, value: Option<Value>) -> Result<Self, BadInput>;
}

/// What a value is read as.
pub trait Typed: Sized {
    /// The value as this type.
    ///
    /// # Errors
    /// Why it is none, in words.
    fn from_value(value: Value) -> Result<Self, String>;
}

impl<T: Typed> Field for T {
    const IS_REQUIRED: bool = true;

    fn from_member(name: &str, value: Option<Value>) -> Result<Self, BadInput> {
        let Some(value) = value else {
            return Err(bad(name, "null", "Member must not be null"));
        };
        T::from_value(value.clone()).map_err(|rule| bad(name, text_of(&value), rule))
    }
}

impl<T: Typed> Field for Option<T> {
    const IS_REQUIRED: bool = false;

    fn from_member(name: &str, value: Option<Value>) -> Result<Self, BadInput> {
        value.map(|value| T::from_member(name, Some(value))).transpose()
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

macro_rules! typed_by_parsing {
    ($($type:ty),* $(,)?) => {$(
        impl Typed for $type {
            fn from_value(value: Value) -> Result<Self, String> {
                text_of(&value).parse().map_err(|err: <$type as std::str::FromStr>::Err| err.to_string())
            }
        }
    )*};
}
typed_by_parsing!(
    picket_model::name::BehaviorName,
    picket_model::name::CertificateId,
    picket_model::name::DeviceName,
    picket_model::name::DimensionName,
    picket_model::name::MetricName,
    picket_model::name::MitigationActionName,
    picket_model::name::PolicyName,
    picket_model::name::ProfileName,
    picket_model::name::ResponseName,
    picket_model::name::TaskId,
    picket_model::name::ThingGroupName,
    picket_model::name::ThingName,
    picket_model::name::ThingTypeName,
    picket_model::name::TopicName,
    picket_model::sns::SubscriptionArn,
    picket_model::sns::SubscriptionProtocol,
    picket_model::sns::TopicArn,
    picket_model::violation::ViolationId,
    crate::arn::Arn,
);

macro_rules! typed_by_serde {
    ($($type:ty),* $(,)?) => {$(
        impl Typed for $type {
            fn from_value(value: Value) -> Result<Self, String> {
                serde_json::from_value(value).map_err(|err| err.to_string())
            }
        }
    )*};
}
typed_by_serde!(bool, i64, u32, String, Value, Map<String, Value>, std::collections::BTreeMap<String, String>);

/// Bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl Typed for Blob {
    fn from_value(value: Value) -> Result<Self, String> {
        let decoded = value.as_str().and_then(|text| STANDARD.decode(text).ok());
        decoded.map(Self).ok_or_else(|| "Member must be base64".to_owned())
    }
}

impl<T: Typed> Typed for Vec<T> {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Array(values) => values.into_iter().map(T::from_value).collect(),
            _ => Err("Member must be a list".to_owned()),
        }
    }
}

impl Typed for Timestamp {
    fn from_value(value: Value) -> Result<Self, String> {
        match &value {
            Value::Number(secs) => timestamp_of_secs(secs),
            value => value.as_str().and_then(parse_timestamp),
        }
        .ok_or_else(|| "Member must be a time".to_owned())
    }
}
