//! `picket import`: what an account of AWS has, made here, so that its devices keep their keys and names.

mod devices;

use std::collections::BTreeMap;
use std::path::PathBuf;

use picket_aws::sigv4::Credentials;
use serde_json::json;

use crate::client::Client;
use crate::credentials::Access;
use crate::desk::Desk;
use crate::failure::Failure;
use crate::fleet::{self, Change, Fleet, Kind, Step};
use crate::output::{Column, table};
use devices::{Devices, Link};

/// Where to import from.
#[derive(Debug, clap::Subcommand)]
pub enum Source {
    /// An account of AWS IoT, read with the ordinary calls of its API; the key comes from AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (`aws configure export-credentials --format env` prints them)
    Aws(Aws),
}

/// What `picket import aws` takes.
#[derive(Debug, clap::Args)]
pub struct Aws {
    /// The account's region
    #[arg(long, value_name = "REGION", env = "AWS_REGION")]
    from_region: String,
    /// Where its API is [default: https://iot.REGION.amazonaws.com]
    #[arg(long, value_name = "URL")]
    from_endpoint: Option<String>,
    /// The certificates to trust there, PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    from_ca_file: Option<PathBuf>,
    /// Change what is here already to what the account has; else it is left alone and reported
    #[arg(long)]
    overwrite: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// A change here, and how to make it.
#[derive(Debug)]
enum Task {
    /// Of what is not a device.
    Fleet(Step),
    /// Of a device.
    Device(Link),
}

const COLUMNS: [Column; 4] = [
    ("KIND", |item| crate::field::text(item, "kind")),
    ("IN THE ACCOUNT", |item| crate::field::text(item, "found")),
    ("TO CREATE", |item| crate::field::text(item, "toCreate")),
    ("DIFFERENT HERE", |item| crate::field::text(item, "different")),
];

impl Source {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Aws(aws) => aws.run(desk).await,
        }
    }
}

impl Aws {
    async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let account = Client::patient(self.access()?)?;
        desk.output.talk("reading the account");
        let wanted = fleet::all(&account).await?;
        let wanted_devices = Devices::read(&account, &wanted).await?;
        desk.output.talk("reading what is here");
        let here = fleet::named(&desk.client, &wanted).await?;
        let devices_here = Devices::read(&desk.client, &here).await?;
        let plan = fleet::plan(&wanted, &here, false).map_err(|found| Failure::Unexpected {
            what: "the account".to_owned(),
            found,
            expected: "what can be made of what is here",
        })?;
        let (changes, additions): (Vec<Step>, Vec<Step>) =
            plan.steps.into_iter().partition(|step| step.change == Change::Alter);
        let difference = wanted_devices.beyond(&devices_here);

        Self::report(desk, &wanted, &wanted_devices, &additions, &changes, &difference)?;
        let kept = if self.overwrite { Vec::new() } else { changes.clone() };
        for line in kept.iter().map(|step| &step.what).chain(&difference.different) {
            desk.output.talk(&format!("different here, left alone: {line}"));
        }
        for note in wanted_devices.notes.iter().chain(&alert_notes(&wanted)) {
            desk.output.talk(&format!("note: {note}"));
        }
        if self.dry_run {
            desk.output.talk("nothing was done");
            return Ok(());
        }
        // A certificate's policies come last: until then its device may do nothing, and no denial of a group is missing.
        let changes = if self.overwrite { changes } else { Vec::new() };
        let tasks = additions.into_iter().chain(changes).map(Task::Fleet);
        let tasks: Vec<Task> = tasks.chain(difference.links.into_iter().map(Task::Device)).collect();
        let n_steps = tasks.len();
        for (at, task) in tasks.iter().enumerate() {
            let done = match task {
                Task::Fleet(step) => fleet::perform(&desk.client, &step.action).await.map(|_| ()),
                Task::Device(link) => link.make(&account, &desk.client).await,
            };
            done.map_err(|source| Failure::Step {
                what: task.to_string(),
                n_done: at,
                n_steps,
                source: Box::new(source),
            })?;
        }
        desk.output.talk(&format!("done: {n_steps} changes"));
        Ok(())
    }

    fn access(&self) -> Result<Access, Failure> {
        let variable = |name: &'static str| {
            let value = std::env::var(name).ok().filter(|value| !value.is_empty());
            value.ok_or(Failure::Unexpected {
                what: name.to_owned(),
                found: "not set".to_owned(),
                expected: "the account's key (try: eval $(aws configure export-credentials --format env))",
            })
        };
        let region = &self.from_region;
        Ok(Access {
            endpoint: (self.from_endpoint.clone()).unwrap_or_else(|| format!("https://iot.{region}.amazonaws.com")),
            credentials: Credentials {
                access_key_id: variable("AWS_ACCESS_KEY_ID")?,
                secret_access_key: variable("AWS_SECRET_ACCESS_KEY")?,
            },
            session_token: variable("AWS_SESSION_TOKEN").ok(),
            region: region.clone(),
            ca_file: self.from_ca_file.clone(),
        })
    }

    fn report(
        desk: &Desk,
        fleet: &Fleet,
        devices: &Devices,
        additions: &[Step],
        changes: &[Step],
        difference: &devices::Difference,
    ) -> Result<(), Failure> {
        fn n<T>(section: &Option<BTreeMap<String, T>>) -> usize {
            section.as_ref().map_or(0, BTreeMap::len)
        }
        let kinds = [
            (Kind::Policy, n(&fleet.policies)),
            (Kind::Group, n(&fleet.groups)),
            (Kind::CustomMetric, n(&fleet.custom_metrics)),
            (Kind::Dimension, n(&fleet.dimensions)),
            (Kind::Mitigation, n(&fleet.mitigation_actions)),
            (Kind::Profile, n(&fleet.profiles)),
        ];
        let of_kind = |steps: &[Step], kind| steps.iter().filter(|step| step.is_of(kind)).count();
        let row = |(kind, found): (Kind, usize)| {
            let (to_create, different) = (of_kind(additions, kind), of_kind(changes, kind));
            json!({ "kind": kind.noun(), "found": found, "toCreate": to_create, "different": different })
        };
        let mut rows: Vec<_> = kinds.into_iter().map(row).collect();
        let attachments = additions.iter().filter(|step| step.is_of_attachment()).count();
        rows.push(json!({ "kind": "attachment of policies and profiles", "toCreate": attachments }));
        rows.extend(devices.counted(difference));
        if desk.output.is_json() {
            let changes = changes.iter().map(|step| step.what.clone());
            let different: Vec<String> = changes.chain(difference.different.iter().cloned()).collect();
            let notes = [devices.notes.clone(), alert_notes(fleet)].concat();
            return desk
                .output
                .json(&json!({ "counts": rows, "different": different, "notes": notes }));
        }
        desk.output.text(&table(&rows, &COLUMNS))
    }
}

/// Where profiles of the account alert to: topics come over by name only, their subscribers do not.
fn alert_notes(fleet: &Fleet) -> Vec<String> {
    let profiles = fleet.profiles.iter().flatten();
    profiles
        .filter_map(|(name, profile)| {
            let arn = profile.alert_targets.as_ref()?["SNS"]["alertTargetArn"].as_str()?;
            Some(format!(
                "profile {name} alerts to {arn}: create that topic here and subscribe to it"
            ))
        })
        .collect()
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fleet(step) => write!(f, "{} {}", step.change.sign(), step.what),
            Self::Device(link) => write!(f, "+ {link}"),
        }
    }
}
