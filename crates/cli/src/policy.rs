//! `picket policy`.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use picket_aws::call::Call;
use picket_model::name::{CertificateId, PolicyName};
use serde_json::{Value, json};

use crate::arn;
use crate::client::Paging;
use crate::desk::{self, Desk};
use crate::failure::Failure;
use crate::field::text;
use crate::output::Column;

/// What to do with IoT policies.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Create a policy from a document
    Create {
        /// The policy's name
        policy: PolicyName,
        /// The document, JSON; `-` is stdin
        file: PathBuf,
    },
    /// Print a policy's document
    Show {
        /// The policy's name
        policy: PolicyName,
    },
    /// List all policies
    List,
    /// Remove a policy that is attached nowhere
    Delete {
        /// The policy's name
        policy: PolicyName,
    },
    /// Make a policy hold for a certificate, or for the things of a group
    Attach {
        /// The policy's name
        policy: PolicyName,
        /// A certificate's id, a group's name, or the ARN of either
        target: Target,
    },
    /// Undo an attach
    Detach {
        /// The policy's name
        policy: PolicyName,
        /// A certificate's id, a group's name, or the ARN of either
        target: Target,
    },
}

/// What a policy is attached to: 64 hex digits are a certificate's id, and all but an ARN is a group's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// As given.
    Arn(String),
    /// A certificate.
    Certificate(CertificateId),
    /// A thing group.
    Group(String),
}

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.parse() {
            _ if text.starts_with("arn:") => Self::Arn(text.to_owned()),
            Ok(id) => Self::Certificate(id),
            Err(_) => Self::Group(text.to_owned()),
        })
    }
}

const COLUMNS: [Column; 2] = [
    ("POLICY", |item| text(item, "policyName")),
    ("ARN", |item| text(item, "policyArn")),
];

impl Verb {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Create { policy, file } => {
                let call = Call::post(&["policies", policy.as_str()])
                    .json(&json!({ "policyDocument": desk::read_file(&file)? }));
                desk.act(call, &format!("created policy {policy}")).await
            }
            Self::Show { policy } => show(desk, &policy).await,
            Self::List => {
                desk.list(Call::get(&["policies"]), Paging::Marker, "policies", &COLUMNS)
                    .await
            }
            Self::Delete { policy } => {
                desk.act(
                    Call::delete(&["policies", policy.as_str()]),
                    &format!("deleted policy {policy}"),
                )
                .await
            }
            Self::Attach { policy, target } => {
                let target = arn_of(desk, &policy, target).await?;
                let call = Call::put(&["target-policies", policy.as_str()]).json(&json!({ "target": target }));
                desk.act(call, &format!("policy {policy} holds for {target}")).await
            }
            Self::Detach { policy, target } => {
                let target = arn_of(desk, &policy, target).await?;
                let call = Call::post(&["target-policies", policy.as_str()]).json(&json!({ "target": target }));
                desk.act(call, &format!("policy {policy} does not hold for {target}"))
                    .await
            }
        }
    }
}

/// The document is data that can be fed to `policy create` again.
async fn show(desk: &Desk, policy: &PolicyName) -> Result<(), Failure> {
    let answer = desk.client.call(&Call::get(&["policies", policy.as_str()])).await?;
    if desk.output.is_json() {
        return desk.output.json(&answer);
    }
    let document = text(&answer, "policyDocument");
    match serde_json::from_str::<Value>(&document) {
        Ok(document) => desk.output.json(&document),
        Err(_) => desk.output.text(&document),
    }
}

async fn arn_of(desk: &Desk, policy: &PolicyName, target: Target) -> Result<String, Failure> {
    let resource = match target {
        Target::Arn(arn) => return Ok(arn),
        Target::Certificate(id) => format!("cert/{id}"),
        Target::Group(group) => format!("thinggroup/{group}"),
    };
    let answer = desk.client.call(&Call::get(&["policies", policy.as_str()])).await?;
    let own = desk::required(&answer, "policyArn")?;
    arn::sibling(own, &resource).ok_or_else(|| Failure::Unexpected {
        what: "`policyArn` in the server's answer".to_owned(),
        found: own.to_owned(),
        expected: "an ARN",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_apart_by_their_form() {
        let id = "ab".repeat(32);
        for (text, expected) in [
            (
                "arn:aws:iot:r:1:cert/x",
                Target::Arn("arn:aws:iot:r:1:cert/x".to_owned()),
            ),
            (id.as_str(), Target::Certificate(id.parse().unwrap())),
            ("IsolatedDevices", Target::Group("IsolatedDevices".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(expected));
        }
    }
}
