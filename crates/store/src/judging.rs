//! What judging depends on: every revision of it, in parts that are kept as they were from one revision to another, so that a
//! revision costs what its change costs.

mod read;

use picket_model::behavior::{Behavior, wire};
use picket_model::name::{DimensionName, MetricName, ProfileName};
use picket_model::profile::Target;

use crate::outbox::{self, OutboxItem};
use crate::sql::{Args, args, int};
use crate::{Db, StoreError, Tx};

/// A part of what judging depends on, which a transaction has written or removed.
#[derive(Clone, Debug)]
pub(crate) enum Part<'a> {
    /// What a profile judges and collects.
    Profile(&'a ProfileName),
    /// That a profile is attached to this.
    Target(&'a ProfileName, &'a Target),
    /// Whatever a profile that was removed was attached to.
    FormerTargets(&'a ProfileName),
    /// A custom metric.
    Metric(&'a MetricName),
    /// A dimension.
    Dimension(&'a DimensionName),
    /// Whether alarms wait for the end of their windows.
    StrictAwsTiming,
}

/// Until when a part is in force that nothing has taken the place of.
const IN_FORCE: i64 = i64::MAX;

/// Makes what this transaction has written of these parts the next revision of what judging depends on. To be called after
/// the last write to profiles, targets, custom metrics or dimensions, once.
pub(crate) async fn bump(tx: &mut Tx, parts: &[Part<'_>]) -> Result<u64, StoreError> {
    // The counter is locked first: whoever comes later sees what this transaction wrote.
    let revision = outbox::take(tx, "judging", 1).await?;
    for part in parts {
        part.end(tx, revision).await?;
        part.begin(tx, revision).await?;
    }
    outbox::push(tx, OutboxItem::Config { revision });
    Ok(revision)
}

impl Part<'_> {
    /// Notes that the part as it was is not in force any more.
    async fn end(&self, tx: &mut Tx, revision: u64) -> Result<(), StoreError> {
        let (kind, first, last) = match self {
            Self::Profile(name) => ("profile", name.to_string(), name.to_string()),
            Self::Target(profile, target) => {
                let name = target_name(profile, target);
                ("target", name.clone(), name)
            }
            // What follows the space in the order of bytes.
            Self::FormerTargets(profile) => ("target", format!("{profile} "), format!("{profile}!")),
            Self::Metric(name) => ("metric", name.to_string(), name.to_string()),
            Self::Dimension(name) => ("dimension", name.to_string(), name.to_string()),
            Self::StrictAwsTiming => ("setting", STRICT_AWS_TIMING.to_owned(), STRICT_AWS_TIMING.to_owned()),
        };
        let sql = "UPDATE judging_part SET until = $1 WHERE kind = $2 AND name >= $3 AND name <= $4 AND until = $5";
        let args = args![int(revision), kind, first, last, IN_FORCE];
        tx.execute(sql, args).await.map(drop)
    }

    /// Keeps the part as it is now, if there still is one.
    async fn begin(&self, tx: &mut Tx, revision: u64) -> Result<(), StoreError> {
        let since = int(revision);
        let (sql, args): (&'static str, Args) = match self {
            Self::Profile(name) => (
                "INSERT INTO judging_part (kind, name, since, until, body, extras) \
                 SELECT 'profile', name, $1, $2, behaviors, extras FROM security_profile WHERE name = $3",
                args![since, IN_FORCE, name.as_str()],
            ),
            Self::Target(profile, target) => (
                "INSERT INTO judging_part (kind, name, since, until, body, extras) \
                 SELECT 'target', profile || ' ' || target, $1, $2, '', '' FROM profile_target \
                 WHERE profile = $3 AND target = $4",
                args![since, IN_FORCE, profile.as_str(), target.to_string()],
            ),
            Self::FormerTargets(_) => return Ok(()),
            Self::Metric(name) => (
                "INSERT INTO judging_part (kind, name, since, until, body, extras) \
                 SELECT 'metric', name, $1, $2, kind, '' FROM custom_metric WHERE name = $3",
                args![since, IN_FORCE, name.as_str()],
            ),
            Self::Dimension(name) => (
                "INSERT INTO judging_part (kind, name, since, until, body, extras) \
                 SELECT 'dimension', name, $1, $2, string_values, '' FROM dimension WHERE name = $3",
                args![since, IN_FORCE, name.as_str()],
            ),
            Self::StrictAwsTiming => (
                "INSERT INTO judging_part (kind, name, since, until, body, extras) \
                 SELECT 'setting', name, $1, $2, body, '' FROM account_setting WHERE name = $3",
                args![since, IN_FORCE, STRICT_AWS_TIMING],
            ),
        };
        tx.execute(sql, args).await.map(drop)
    }
}

/// The name of a profile's target: neither name holds a space.
fn target_name(profile: &ProfileName, target: &Target) -> String {
    format!("{profile} {target}")
}

impl Db {
    /// The newest revision; 0 when nothing was ever configured.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn judging_revision(&self) -> Result<u64, StoreError> {
        let row = self
            .row("SELECT value FROM counter WHERE name = 'judging'", args![])
            .await?;
        row.map_or(Ok(0), |row| row.count(0))
    }

    /// Says whether alarms wait for the end of their windows, as AWS's do. A new revision, if that was otherwise: engines
    /// learn it at a place in the log, so that a replay judges as they did.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn set_strict_aws_timing(&self, is_strict_now: bool) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        if is_strict(&mut tx).await? != is_strict_now {
            let sql = "INSERT INTO account_setting (name, body) VALUES ($1, $2) \
                       ON CONFLICT (name) DO UPDATE SET body = excluded.body";
            tx.execute(sql, args![STRICT_AWS_TIMING, is_strict_now.to_string()])
                .await?;
            bump(&mut tx, &[Part::StrictAwsTiming]).await?;
        }
        tx.commit().await
    }

    /// Gives up revisions below `below`: every snapshot must be past them. The newest stays.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn trim_judging(&self, below: u64) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let newest = read::kept(&mut tx).await?.newest;
        let below = int(below.min(newest));
        tx.execute("DELETE FROM judging_config WHERE revision < $1", args![below])
            .await?;
        let sql = "UPDATE counter SET value = $1 WHERE name = 'judging_part' AND value < $1";
        if tx.execute(sql, args![below]).await? == 1 {
            tx.execute("DELETE FROM judging_part WHERE until <= $1", args![below])
                .await?;
        }
        tx.commit().await
    }
}

/// The name of the setting.
const STRICT_AWS_TIMING: &str = "strict-aws-timing";

async fn is_strict(tx: &mut Tx) -> Result<bool, StoreError> {
    let sql = "SELECT body FROM account_setting WHERE name = $1";
    let body: Option<String> = match tx.row(sql, args![STRICT_AWS_TIMING]).await? {
        Some(row) => Some(row.at(0)?),
        None => None,
    };
    Ok(body.as_deref() == Some("true"))
}

/// The behaviors of a profile as its row holds them: AWS's list.
pub(crate) fn behaviors(json: &str) -> Result<Vec<Behavior>, StoreError> {
    let bad = |err: Box<dyn std::error::Error + Send + Sync>| StoreError::corrupt("behaviors", json, err);
    let written: Vec<wire::Behavior> = serde_json::from_str(json).map_err(|err| bad(err.into()))?;
    let parsed = written.into_iter().map(Behavior::try_from);
    parsed.collect::<Result<_, _>>().map_err(|err| bad(err.into()))
}
