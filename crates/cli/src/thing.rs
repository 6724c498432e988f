//! `picket thing`.

use std::str::FromStr;

use picket_aws::call::Call;
use picket_model::name::{DeviceName, ThingName};
use serde_json::{Map, Value, json};

use crate::client::Paging;
use crate::desk::Desk;
use crate::failure::Failure;
use crate::field::text;
use crate::output::Column;

/// What to do with things.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Register a thing
    Create {
        /// The thing's name
        thing: ThingName,
        /// An attribute to search by; may be given several times
        #[arg(long = "attribute", value_name = "NAME=VALUE")]
        attributes: Vec<Attribute>,
    },
    /// List all things
    List,
    /// Say what is known of a thing
    Describe {
        /// The thing's name
        thing: ThingName,
    },
    /// Remove a thing; its certificates must have been detached
    Delete {
        /// The thing's name
        thing: ThingName,
    },
    /// Cut a device off: its session ends, and it may do nothing until it is released
    Quarantine {
        /// The thing's name, or the client id of a device that is not registered
        thing: DeviceName,
    },
    /// Let a quarantined device work again, also while its violation is still open
    Release {
        /// The thing's name, or the client id of a device that is not registered
        thing: DeviceName,
    },
}

/// An attribute of a thing, as in `site=north`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Before the first `=`.
    pub name: String,
    /// Behind it.
    pub value: String,
}

impl FromStr for Attribute {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self {
                name: name.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err("expected NAME=VALUE".to_owned()),
        }
    }
}

const COLUMNS: [Column; 2] = [
    ("THING", |item| text(item, "thingName")),
    ("ATTRIBUTES", |item| text(item, "attributes")),
];

const LINES: [Column; 5] = [
    ("thing", |answer| text(answer, "thingName")),
    ("arn", |answer| text(answer, "thingArn")),
    ("id", |answer| text(answer, "thingId")),
    ("attributes", |answer| text(answer, "attributes")),
    ("version", |answer| text(answer, "version")),
];

impl Verb {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Create { thing, attributes } => {
                let call = Call::post(&["things", thing.as_str()]);
                let call = if attributes.is_empty() {
                    call
                } else {
                    call.json(&attribute_payload(attributes))
                };
                desk.act(call, &format!("created thing {thing}")).await
            }
            Self::List => {
                desk.list(Call::get(&["things"]), Paging::Token, "things", &COLUMNS)
                    .await
            }
            Self::Describe { thing } => desk.show(Call::get(&["things", thing.as_str()]), &LINES).await,
            Self::Delete { thing } => {
                desk.act(
                    Call::delete(&["things", thing.as_str()]),
                    &format!("deleted thing {thing}"),
                )
                .await
            }
            Self::Quarantine { thing } => {
                let call = Call::post(&["picket", "v1", "things", thing.as_str(), "quarantine"]);
                desk.act(call, &format!("quarantined {thing}")).await
            }
            Self::Release { thing } => release(desk, &thing).await,
        }
    }
}

/// Ends every quarantine of a device.
pub(crate) async fn release(desk: &Desk, thing: &DeviceName) -> Result<(), Failure> {
    let call = Call::post(&["picket", "v1", "things", thing.as_str(), "release"]);
    let nothing = format!("{thing} is not quarantined by any decision: nothing to release");
    undo(desk, call, &format!("released {thing}"), &nothing).await
}

/// Calls what ends quarantines, and says whether it ended any.
pub(crate) async fn undo(desk: &Desk, call: Call, done: &str, nothing: &str) -> Result<(), Failure> {
    let answer = desk.client.call(&call).await?;
    let has_ended_none = answer["nReleased"].as_u64() == Some(0);
    desk.output.done(&answer, if has_ended_none { nothing } else { done })
}

fn attribute_payload(attributes: Vec<Attribute>) -> Value {
    let attributes: Map<String, Value> = attributes
        .into_iter()
        .map(|attribute| (attribute.name, Value::String(attribute.value)))
        .collect();
    json!({ "attributePayload": { "attributes": attributes } })
}
