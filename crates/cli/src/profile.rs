//! `picket profile`.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use picket_aws::call::Call;
use picket_model::behavior::{Behavior, wire};
use picket_model::name::ProfileName;
use serde_json::{Value, json};

use crate::arn;
use crate::client::Paging;
use crate::desk::{self, Desk};
use crate::failure::Failure;
use crate::field::{text, time};
use crate::lint::Lint;
use crate::output::{Column, Output, description, table};
use crate::starter::Starter;

/// What to do with security profiles.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Create a profile from a file
    Create {
        /// The profile's name
        profile: ProfileName,
        /// What AWS's CreateSecurityProfile takes, JSON; `-` is stdin
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Change a profile: the lists in the file replace the stored ones
    Update {
        /// The profile's name
        profile: ProfileName,
        /// What AWS's UpdateSecurityProfile takes, JSON; `-` is stdin
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Say in words what is normal for devices of a profile
    Show {
        /// The profile's name
        profile: ProfileName,
    },
    /// List all profiles
    List,
    /// Remove a profile
    Delete {
        /// The profile's name
        profile: ProfileName,
    },
    /// Judge devices by a profile
    Attach {
        /// The profile's name
        profile: ProfileName,
        /// `all/things`, `all/registered-things`, `all/unregistered-things`, a group's name, or an ARN
        target: Target,
    },
    /// Undo an attach
    Detach {
        /// The profile's name
        profile: ProfileName,
        /// As for attach
        target: Target,
    },
    /// Say what is doubtful about a profile: of a file without a server, or of one that is stored
    Lint(Lint),
    /// Print a profile to begin with, or create it
    Starter(Starter),
}

/// Whom a profile is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// As given.
    Arn(String),
    /// What follows the account in an ARN.
    Resource(String),
}

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text.starts_with("arn:") {
            Self::Arn(text.to_owned())
        } else if text.starts_with("all/") {
            Self::Resource(text.to_owned())
        } else {
            Self::Resource(format!("thinggroup/{text}"))
        })
    }
}

const COLUMNS: [Column; 2] = [
    ("PROFILE", |item| text(item, "name")),
    ("ARN", |item| text(item, "arn")),
];

const LINES: [Column; 6] = [
    ("profile", |answer| text(answer, "securityProfileName")),
    ("description", |answer| text(answer, "securityProfileDescription")),
    ("arn", |answer| text(answer, "securityProfileArn")),
    ("version", |answer| text(answer, "version")),
    ("created", |answer| time(answer, "creationDate")),
    ("changed", |answer| time(answer, "lastModifiedDate")),
];

const BEHAVIORS: [Column; 3] = [
    ("BEHAVIOR", |item| text(item, "name")),
    ("RULE", |item| text(item, "rule")),
    ("JUDGED", |item| text(item, "judged")),
];

impl Verb {
    /// Does what needs no server; `None` if it does.
    pub(crate) fn offline(&self, output: Output) -> Option<Result<(), Failure>> {
        match self {
            Self::Lint(lint) => lint.offline().map(|file| lint.look_at(file, output)),
            Self::Starter(starter) if !starter.apply => Some(Starter::print(output)),
            _ => None,
        }
    }

    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Create { profile, file } => {
                let call = Call::post(&["security-profiles", profile.as_str()]).json(&read(&file, &CREATE_MEMBERS)?);
                desk.act(call, &format!("created profile {profile}")).await
            }
            Self::Update { profile, file } => {
                let call = Call::patch(&["security-profiles", profile.as_str()]).json(&read(&file, &UPDATE_MEMBERS)?);
                desk.act(call, &format!("changed profile {profile}")).await
            }
            Self::Show { profile } => show(desk, &profile).await,
            Self::List => {
                desk.list(
                    Call::get(&["security-profiles"]),
                    Paging::Token,
                    "securityProfileIdentifiers",
                    &COLUMNS,
                )
                .await
            }
            Self::Delete { profile } => {
                let call = Call::delete(&["security-profiles", profile.as_str()]);
                desk.act(call, &format!("deleted profile {profile}")).await
            }
            Self::Attach { profile, target } => {
                let target = arn_of(desk, &profile, target).await?;
                let call = Call::put(&["security-profiles", profile.as_str(), "targets"])
                    .query("securityProfileTargetArn", &target);
                desk.act(call, &format!("profile {profile} is attached to {target}"))
                    .await
            }
            Self::Detach { profile, target } => {
                let target = arn_of(desk, &profile, target).await?;
                let call = Call::delete(&["security-profiles", profile.as_str(), "targets"])
                    .query("securityProfileTargetArn", &target);
                desk.act(call, &format!("profile {profile} is not attached to {target}"))
                    .await
            }
            Self::Lint(lint) => lint.run(desk).await,
            Self::Starter(starter) => starter.run(desk).await,
        }
    }
}

/// What a file may hold for [`Verb::Create`], as in AWS's CreateSecurityProfile.
pub(crate) const CREATE_MEMBERS: [&str; 7] = [
    "behaviors",
    "securityProfileDescription",
    "alertTargets",
    "additionalMetricsToRetain",
    "additionalMetricsToRetainV2",
    "metricsExportConfig",
    "tags",
];

/// What a file may hold for [`Verb::Update`], as in AWS's UpdateSecurityProfile.
const UPDATE_MEMBERS: [&str; 10] = [
    "behaviors",
    "securityProfileDescription",
    "alertTargets",
    "additionalMetricsToRetain",
    "additionalMetricsToRetainV2",
    "metricsExportConfig",
    "deleteBehaviors",
    "deleteAlertTargets",
    "deleteAdditionalMetricsToRetain",
    "deleteMetricsExportConfig",
];

/// What the server alone decides: left out, so that a file may be what `picket profile show --output json` printed.
const SERVER_MEMBERS: [&str; 6] = [
    "securityProfileName",
    "securityProfileArn",
    "version",
    "creationDate",
    "lastModifiedDate",
    "picketWarnings",
];

const BEHAVIOR_MEMBERS: [&str; 6] = [
    "name",
    "metric",
    "metricDimension",
    "criteria",
    "suppressAlerts",
    "exportMetric",
];

const CRITERIA_MEMBERS: [&str; 7] = [
    "comparisonOperator",
    "value",
    "durationSeconds",
    "consecutiveDatapointsToAlarm",
    "consecutiveDatapointsToClear",
    "statisticalThreshold",
    "mlDetectionConfig",
];

fn read(file: &Path, members: &[&str]) -> Result<Value, Failure> {
    profile_of(desk::read_json(file)?, members).map_err(|found| Failure::Unexpected {
        what: file.display().to_string(),
        found,
        expected: "a JSON object as in AWS's CreateSecurityProfile, with `behaviors`",
    })
}

/// The body to send, or what is wrong with it. The API ignores members that it does not know, as AWS does: a misspelled one
/// would silently make a profile that judges nothing.
pub(crate) fn profile_of(mut body: Value, known: &[&str]) -> Result<Value, String> {
    let members = body.as_object_mut().ok_or("not an object")?;
    for member in SERVER_MEMBERS {
        members.remove(member);
    }
    if let Some(name) = unknown(&body, known) {
        return Err(format!("an object with an unknown member `{name}`"));
    }
    for (at, behavior) in body["behaviors"].as_array().into_iter().flatten().enumerate() {
        check_behavior(at, behavior)?;
    }
    Ok(body)
}

/// Refuses a behavior, the `at`th from 0, with a member that there is none of.
pub(crate) fn check_behavior(at: usize, behavior: &Value) -> Result<(), String> {
    let found = unknown(behavior, &BEHAVIOR_MEMBERS).or_else(|| unknown(&behavior["criteria"], &CRITERIA_MEMBERS));
    match found {
        Some(name) => Err(format!(
            "an object whose behavior {} has an unknown member `{name}`",
            at + 1
        )),
        None => Ok(()),
    }
}

fn unknown(value: &Value, known: &[&str]) -> Option<String> {
    let mut names = value.as_object().into_iter().flatten().map(|(name, _)| name);
    names.find(|name| !known.contains(&name.as_str())).cloned()
}

async fn show(desk: &Desk, profile: &ProfileName) -> Result<(), Failure> {
    let answer = desk
        .client
        .call(&Call::get(&["security-profiles", profile.as_str()]))
        .await?;
    if desk.output.is_json() {
        return desk.output.json(&answer);
    }
    desk.output.text(&description(&answer, &LINES))?;
    let behaviors: Vec<Value> = answer["behaviors"]
        .as_array()
        .into_iter()
        .flatten()
        .map(read_aloud)
        .collect();
    if behaviors.is_empty() {
        desk.output.talk("no behaviors: it judges nothing");
    } else {
        desk.output.text(&format!("\n{}", table(&behaviors, &BEHAVIORS)))?;
    }
    let call = Call::get(&["security-profiles", profile.as_str(), "targets"]);
    let targets = desk.client.list(&call, Paging::Token, "securityProfileTargets").await?;
    match targets["securityProfileTargets"].as_array().map(Vec::as_slice) {
        None | Some([]) => desk.output.talk("attached to nothing: it judges no device yet"),
        Some(targets) => desk.output.text(&format!(
            "\n{}",
            table(targets, &[("ATTACHED TO", |item| text(item, "arn"))])
        ))?,
    }
    Ok(())
}

/// A behavior as the server sent it, with what it means in words and whether the server judges it.
fn read_aloud(behavior: &Value) -> Value {
    let parsed = serde_json::from_value::<wire::Behavior>(behavior.clone()).ok();
    let parsed = parsed.and_then(|behavior| Behavior::try_from(behavior).ok());
    let not_judged = parsed.as_ref().and_then(Behavior::not_judged);
    json!({
        "name": behavior["name"],
        // A newer server may know behaviors that we do not.
        "rule": parsed.map_or_else(|| behavior.to_string(), |behavior| behavior.in_words()),
        "judged": not_judged.map_or_else(|| "yes".to_owned(), |reason| format!("no: {reason}")),
    })
}

async fn arn_of(desk: &Desk, profile: &ProfileName, target: Target) -> Result<String, Failure> {
    let resource = match target {
        Target::Arn(arn) => return Ok(arn),
        Target::Resource(resource) => resource,
    };
    let answer = desk
        .client
        .call(&Call::get(&["security-profiles", profile.as_str()]))
        .await?;
    let own = desk::required(&answer, "securityProfileArn")?;
    arn::sibling(own, &resource).ok_or_else(|| Failure::Unexpected {
        what: "`securityProfileArn` in the server's answer".to_owned(),
        found: own.to_owned(),
        expected: "an ARN",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sent_without_what_the_server_decides_and_refused_when_misspelled() {
        for (file, known, expected) in [
            (
                json!({ "behaviors": [] }),
                CREATE_MEMBERS.as_slice(),
                Ok(json!({ "behaviors": [] })),
            ),
            (
                json!({ "version": 3, "picketWarnings": ["x"], "behaviors": [{ "name": "a", "criteria": {} }] }),
                &UPDATE_MEMBERS,
                Ok(json!({ "behaviors": [{ "name": "a", "criteria": {} }] })),
            ),
            (
                json!({ "deleteBehaviors": true }),
                &UPDATE_MEMBERS,
                Ok(json!({ "deleteBehaviors": true })),
            ),
            (
                json!({ "deleteBehaviors": true }),
                &CREATE_MEMBERS,
                Err("`deleteBehaviors`"),
            ),
            (json!({ "behaviours": [] }), &CREATE_MEMBERS, Err("`behaviours`")),
            (json!([{ "name": "a" }]), &CREATE_MEMBERS, Err("not an object")),
            (
                json!({ "behaviors": [{ "name": "a", "critera": {} }] }),
                &CREATE_MEMBERS,
                Err("behavior 1 has an unknown member `critera`"),
            ),
            (
                json!({ "behaviors": [{ "name": "a" }, { "name": "b", "criteria": { "duration": 300 } }] }),
                &CREATE_MEMBERS,
                Err("behavior 2 has an unknown member `duration`"),
            ),
        ] {
            let found = profile_of(file.clone(), known);
            match expected {
                Ok(body) => assert_eq!(found, Ok(body), "{file}"),
                Err(part) => {
                    let refusal = found.unwrap_err();
                    assert!(refusal.contains(part), "{file}: {refusal}");
                }
            }
        }
    }
}
