//! `picket response`.

use picket_aws::call::Call;
use picket_model::name::{BehaviorName, DeviceName, ProfileName, ResponseName, ThingGroupName};
use serde_json::{Value, json};

use crate::client::Paging;
use crate::desk::Desk;
use crate::failure::Failure;
use crate::field::{flag, text, time};
use crate::output::Column;
use crate::thing;

const GROUP_DEFAULT: &str = "IsolatedDevices";

/// What to do with responses.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Say what is to be done when an alarm is raised
    #[command(group = clap::ArgGroup::new("deed").args(["quarantine", "webhook"]).multiple(true).required(true))]
    Create {
        /// The response's name
        response: ResponseName,
        /// Only for alarms of this profile; may be given several times, all profiles when absent
        #[arg(long = "profile", value_name = "PROFILE")]
        profiles: Vec<ProfileName>,
        /// Only for alarms of this behavior; may be given several times, all behaviors when absent
        #[arg(long = "behavior", value_name = "BEHAVIOR")]
        behaviors: Vec<BehaviorName>,
        /// Cut the device off; the group, a root of its own, shows who is
        #[arg(long, value_name = "GROUP", num_args = 0..=1, default_missing_value = GROUP_DEFAULT)]
        quarantine: Option<ThingGroupName>,
        /// Post the alert, as JSON, to this address
        #[arg(long, value_name = "URL")]
        webhook: Option<String>,
    },
    /// List all responses
    List,
    /// Say what a response does
    Show {
        /// The response's name
        response: ResponseName,
    },
    /// Remove a response; what it has done stays
    Delete {
        /// The response's name
        response: ResponseName,
    },
    /// List what was decided: which devices were cut off, why, and who released them
    #[command(visible_alias = "runs")]
    Decisions,
    /// Let a device work again that was cut off
    #[command(group = clap::ArgGroup::new("which").args(["decision", "thing"]).required(true))]
    Undo {
        /// The decision's id
        decision: Option<String>,
        /// All decisions about this device
        #[arg(long, value_name = "THING")]
        thing: Option<DeviceName>,
    },
}

const COLUMNS: [Column; 6] = [
    ("RESPONSE", |item| text(item, "responseName")),
    ("PROFILES", |item| all_or(item, "securityProfileNames")),
    ("BEHAVIORS", |item| all_or(item, "behaviorNames")),
    ("QUARANTINE", |item| text(&item["quarantine"], "thingGroupName")),
    ("WEBHOOK", |item| text(&item["webhook"], "url")),
    ("ENABLED", |item| flag(item, "isEnabled")),
];

const DECISION_COLUMNS: [Column; 7] = [
    ("DECISION", |item| text(item, "decisionId")),
    ("THING", |item| text(item, "thingName")),
    ("DECIDED", |item| time(item, "decidedAt")),
    ("VIOLATION", |item| text(item, "violationId")),
    ("RESPONSE", |item| text(item, "responseName")),
    ("RELEASED", |item| time(item, "releasedAt")),
    ("BY", |item| text(item, "releasedBy")),
];

impl Verb {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let responses = ["picket", "v1", "responses"];
        let one = |name: &ResponseName| {
            [
                "picket".to_owned(),
                "v1".to_owned(),
                "responses".to_owned(),
                name.to_string(),
            ]
        };
        match self {
            Self::Create {
                response,
                profiles,
                behaviors,
                quarantine,
                webhook,
            } => {
                let body = body(
                    &response,
                    &profiles,
                    &behaviors,
                    quarantine.as_ref(),
                    webhook.as_deref(),
                );
                desk.act(
                    Call::post(&responses).json(&body),
                    &format!("created response {response}"),
                )
                .await
            }
            Self::List => {
                desk.list(Call::get(&responses), Paging::Whole, "responses", &COLUMNS)
                    .await
            }
            Self::Show { response } => {
                let segments = one(&response);
                desk.show(Call::get(&segments.each_ref().map(String::as_str)), &COLUMNS)
                    .await
            }
            Self::Delete { response } => {
                let segments = one(&response);
                let call = Call::delete(&segments.each_ref().map(String::as_str));
                desk.act(call, &format!("deleted response {response}")).await
            }
            Self::Decisions => {
                let call = Call::get(&["picket", "v1", "decisions"]);
                desk.list(call, Paging::Token, "decisions", &DECISION_COLUMNS).await
            }
            Self::Undo { thing: Some(thing), .. } => thing::release(desk, &thing).await,
            Self::Undo { decision, thing: None } => {
                let decision = decision.unwrap_or_default();
                let call = Call::post(&["picket", "v1", "decisions", &decision, "undo"]);
                let nothing = format!("decision {decision} is not in force any more: nothing to undo");
                thing::undo(desk, call, &format!("undid decision {decision}"), &nothing).await
            }
        }
    }
}

fn body(
    response: &ResponseName,
    profiles: &[ProfileName],
    behaviors: &[BehaviorName],
    quarantine: Option<&ThingGroupName>,
    webhook: Option<&str>,
) -> Value {
    let profiles: Vec<&str> = profiles.iter().map(ProfileName::as_str).collect();
    let behaviors: Vec<&str> = behaviors.iter().map(BehaviorName::as_str).collect();
    let mut body = json!({
        "responseName": response.as_str(),
        "securityProfileNames": profiles,
        "behaviorNames": behaviors,
    });
    if let Some(group) = quarantine {
        body["quarantine"] = json!({ "thingGroupName": group.as_str() });
    }
    if let Some(url) = webhook {
        body["webhook"] = json!({ "url": url });
    }
    body
}

/// An empty list of a response means that it does not narrow.
fn all_or(item: &Value, member: &str) -> String {
    let names = text(item, member);
    if names.is_empty() { "all".to_owned() } else { names }
}
