//! `picket group`.

use picket_aws::call::Call;
use picket_model::name::{ThingGroupName, ThingName};
use serde_json::json;

use crate::client::Paging;
use crate::desk::Desk;
use crate::failure::Failure;
use crate::field::{text, time};
use crate::output::Column;

/// What to do with thing groups.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Create a group
    Create {
        /// The group's name
        group: ThingGroupName,
        /// The group that it is in; a root of its own when absent
        #[arg(long, value_name = "GROUP")]
        parent: Option<ThingGroupName>,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// List all groups
    List,
    /// Say what is known of a group
    Describe {
        /// The group's name
        group: ThingGroupName,
    },
    /// Remove a group; the things in it stay
    Delete {
        /// The group's name
        group: ThingGroupName,
    },
    /// Put a thing into a group
    Add {
        /// The group's name
        group: ThingGroupName,
        /// The thing's name
        thing: ThingName,
    },
    /// Take a thing out of a group
    Remove {
        /// The group's name
        group: ThingGroupName,
        /// The thing's name
        thing: ThingName,
    },
    /// List the things in a group
    Members {
        /// The group's name
        group: ThingGroupName,
        /// Include those in the groups below it
        #[arg(long)]
        recursive: bool,
    },
}

const COLUMNS: [Column; 2] = [
    ("GROUP", |item| text(item, "groupName")),
    ("ARN", |item| text(item, "groupArn")),
];

const MEMBER_COLUMNS: [Column; 1] = [("THING", |item| item.as_str().unwrap_or_default().to_owned())];

const LINES: [Column; 6] = [
    ("group", |answer| text(answer, "thingGroupName")),
    ("arn", |answer| text(answer, "thingGroupArn")),
    ("description", |answer| {
        text(&answer["thingGroupProperties"], "thingGroupDescription")
    }),
    ("parent", |answer| {
        text(&answer["thingGroupMetadata"], "parentGroupName")
    }),
    ("created", |answer| time(&answer["thingGroupMetadata"], "creationDate")),
    ("version", |answer| text(answer, "version")),
];

impl Verb {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Create {
                group,
                parent,
                description,
            } => {
                let mut body = json!({});
                if let Some(parent) = parent {
                    body["parentGroupName"] = parent.as_str().into();
                }
                if let Some(description) = description {
                    body["thingGroupProperties"] = json!({ "thingGroupDescription": description });
                }
                let call = Call::post(&["thing-groups", group.as_str()]).json(&body);
                desk.act(call, &format!("created group {group}")).await
            }
            Self::List => {
                desk.list(Call::get(&["thing-groups"]), Paging::Token, "thingGroups", &COLUMNS)
                    .await
            }
            Self::Describe { group } => desk.show(Call::get(&["thing-groups", group.as_str()]), &LINES).await,
            Self::Delete { group } => {
                desk.act(
                    Call::delete(&["thing-groups", group.as_str()]),
                    &format!("deleted group {group}"),
                )
                .await
            }
            Self::Add { group, thing } => {
                let call = membership("addThingToThingGroup", &group, &thing);
                desk.act(call, &format!("{thing} is in {group}")).await
            }
            Self::Remove { group, thing } => {
                let call = membership("removeThingFromThingGroup", &group, &thing);
                desk.act(call, &format!("{thing} is not in {group}")).await
            }
            Self::Members { group, recursive } => {
                let call = Call::get(&["thing-groups", group.as_str(), "things"])
                    .query_if("recursive", recursive.then_some("true"));
                desk.list(call, Paging::Token, "things", &MEMBER_COLUMNS).await
            }
        }
    }
}

fn membership(operation: &str, group: &ThingGroupName, thing: &ThingName) -> Call {
    Call::put(&["thing-groups", operation])
        .json(&json!({ "thingGroupName": group.as_str(), "thingName": thing.as_str() }))
}
