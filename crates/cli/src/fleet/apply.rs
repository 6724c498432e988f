//! `picket diff` and `picket apply`.

use std::path::PathBuf;
use std::process::ExitCode;

use picket_aws::call::Call;
use serde_json::{Value, json};

use super::plan::{Action, Change, Kind, Plan, Step};
use super::{Fleet, named, plan};
use crate::arn;
use crate::client::{CallError, Client, Paging};
use crate::desk::{Desk, required};
use crate::failure::Failure;

/// What `picket diff` takes.
#[derive(Debug, clap::Args)]
pub struct Diff {
    /// What there should be, YAML or JSON; `-` is stdin
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Count what is there but not in the file as a difference
    #[arg(long)]
    prune: bool,
    /// End with 3 when there is a difference
    #[arg(long)]
    exit_code: bool,
}

/// What `picket apply` takes.
#[derive(Debug, clap::Args)]
pub struct Apply {
    /// What there should be, YAML or JSON; `-` is stdin
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Remove what is there but not in the file, of the kinds that the file has a section for
    #[arg(long)]
    prune: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// The exit code of `picket diff --exit-code` when there is a difference.
const DIFFERENT: u8 = 3;

impl Diff {
    pub(crate) async fn run(self, desk: &Desk) -> Result<ExitCode, Failure> {
        let plan = plan_of(desk, &self.file, self.prune).await?;
        show(desk, &plan)?;
        let is_different = self.exit_code && !plan.steps.is_empty();
        Ok(if is_different {
            ExitCode::from(DIFFERENT)
        } else {
            ExitCode::SUCCESS
        })
    }
}

impl Apply {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let plan = plan_of(desk, &self.file, self.prune).await?;
        show(desk, &plan)?;
        if self.dry_run {
            desk.output.talk("nothing was done");
            return Ok(());
        }
        let n_steps = plan.steps.len();
        for (at, step) in plan.steps.iter().enumerate() {
            let answer = perform(&desk.client, &step.action)
                .await
                .map_err(|source| Failure::Step {
                    what: format!("{} {}", step.change.sign(), step.what),
                    n_done: at,
                    n_steps,
                    source: Box::new(source),
                })?;
            desk.warn(&answer);
        }
        desk.output.talk(&format!("done: {n_steps} changes"));
        Ok(())
    }
}

async fn plan_of(desk: &Desk, file: &std::path::Path, is_pruned: bool) -> Result<Plan, Failure> {
    let wanted = Fleet::of_file(file)?;
    let found = named(&desk.client, &wanted).await?;
    plan(&wanted, &found, is_pruned).map_err(|found| Failure::Fleet {
        path: file.to_owned(),
        found,
    })
}

fn show(desk: &Desk, plan: &Plan) -> Result<(), Failure> {
    if desk.output.is_json() {
        let step = |step: &Step| json!({ "change": verb(step.change), "what": step.what });
        let steps: Vec<Value> = plan.steps.iter().map(step).collect();
        return desk.output.json(&json!({ "changes": steps, "leftAlone": plan.left }));
    }
    let line = |step: &Step| format!("{} {}\n", step.change.sign(), step.what);
    desk.output.text(&plan.steps.iter().map(line).collect::<String>())?;
    for what in &plan.left {
        desk.output.talk(&format!("left alone, not in the file: {what}"));
    }
    if plan.steps.is_empty() {
        desk.output.talk("no difference");
    }
    Ok(())
}

const fn verb(change: Change) -> &'static str {
    match change {
        Change::Add => "add",
        Change::Alter => "change",
        Change::Remove => "remove",
    }
}

/// Does one step, and answers what the API's last call answered.
///
/// # Errors
/// The server cannot be asked, or refuses.
pub(crate) async fn perform(client: &Client, action: &Action) -> Result<Value, Failure> {
    let call = match action {
        Action::Create { kind, name, body } => Call::post(&path(*kind, name)).json(&with_token(*kind, body, name)),
        Action::Update {
            kind: Kind::Policy,
            name,
            body,
        } => return replace_document(client, name, body).await,
        Action::Update { kind, name, body } => Call::patch(&path(*kind, name)).json(body),
        Action::Delete {
            kind: Kind::Policy,
            name,
        } => return delete_policy(client, name).await,
        Action::Delete { kind, name } => Call::delete(&path(*kind, name)),
        Action::AttachPolicy { name, group } => {
            let target = beside_policy(client, name, &format!("thinggroup/{group}")).await?;
            Call::put(&["target-policies", name]).json(&json!({ "target": target }))
        }
        Action::DetachPolicy { name, group } => {
            let target = beside_policy(client, name, &format!("thinggroup/{group}")).await?;
            Call::post(&["target-policies", name]).json(&json!({ "target": target }))
        }
        Action::AttachProfile { name, target } => Call::put(&["security-profiles", name, "targets"])
            .query("securityProfileTargetArn", &beside_profile(client, name, target).await?),
        Action::DetachProfile { name, target } => Call::delete(&["security-profiles", name, "targets"])
            .query("securityProfileTargetArn", &beside_profile(client, name, target).await?),
    };
    Ok(client.call(&call).await?)
}

/// Where the API has what is called so.
fn path(kind: Kind, name: &str) -> Vec<&str> {
    let mut path = match kind {
        Kind::CustomMetric => vec!["custom-metric"],
        Kind::Dimension => vec!["dimensions"],
        Kind::Policy => vec!["policies"],
        Kind::Group => vec!["thing-groups"],
        Kind::Mitigation => vec!["mitigationactions", "actions"],
        Kind::Profile => vec!["security-profiles"],
    };
    path.push(name);
    path
}

/// Some are created with an idempotency token: the same body, sent again after a lost answer, is the same request.
fn with_token(kind: Kind, body: &Value, name: &str) -> Value {
    let mut body = body.clone();
    if matches!(kind, Kind::CustomMetric | Kind::Dimension) {
        let token: String = picket_aws::percent::hex(name.as_bytes()).chars().take(50).collect();
        body["clientRequestToken"] = format!("picket-{token}").into();
    }
    body
}

async fn beside_policy(client: &Client, policy: &str, resource: &str) -> Result<String, Failure> {
    beside(client, &Call::get(&["policies", policy]), "policyArn", resource).await
}

async fn beside_profile(client: &Client, profile: &str, target: &str) -> Result<String, Failure> {
    let resource = if target.starts_with("all/") {
        target.to_owned()
    } else {
        format!("thinggroup/{target}")
    };
    let call = Call::get(&["security-profiles", profile]);
    beside(client, &call, "securityProfileArn", &resource).await
}

/// The ARN of a resource, made from that of another one: which account and region it is the server says.
async fn beside(client: &Client, call: &Call, member: &'static str, resource: &str) -> Result<String, Failure> {
    let answer = client.call(call).await?;
    let own = required(&answer, member)?;
    arn::sibling(own, resource).ok_or_else(|| Failure::Unexpected {
        what: format!("`{member}` in the server's answer"),
        found: own.to_owned(),
        expected: "an ARN",
    })
}

/// A new version, in force; the oldest that is not makes place when there is none.
async fn replace_document(client: &Client, name: &str, body: &Value) -> Result<Value, Failure> {
    let create = Call::post(&["policies", name, "version"])
        .query("setAsDefault", "true")
        .json(body);
    match client.call(&create).await {
        Err(CallError::Refused { code, .. }) if code == "VersionsLimitExceededException" => {}
        answered => return Ok(answered?),
    }
    if let Some(oldest) = idle_versions(client, name).await?.first() {
        client
            .call(&Call::delete(&["policies", name, "version", oldest]))
            .await?;
    }
    Ok(client.call(&create).await?)
}

async fn delete_policy(client: &Client, name: &str) -> Result<Value, Failure> {
    for version in idle_versions(client, name).await? {
        client
            .call(&Call::delete(&["policies", name, "version", &version]))
            .await?;
    }
    Ok(client.call(&Call::delete(&["policies", name])).await?)
}

/// The versions that are not in force, oldest first.
async fn idle_versions(client: &Client, name: &str) -> Result<Vec<String>, Failure> {
    let call = Call::get(&["policies", name, "version"]);
    let answer = client.list(&call, Paging::Whole, "policyVersions").await?;
    let versions = answer["policyVersions"].as_array().into_iter().flatten();
    let mut idle: Vec<String> = versions
        .filter(|version| version["isDefaultVersion"] != true)
        .filter_map(|version| version["versionId"].as_str().map(str::to_owned))
        .collect();
    idle.sort_by_key(|version| version.parse::<u64>().unwrap_or(u64::MAX));
    Ok(idle)
}
