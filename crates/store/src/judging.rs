//! What judging depends on: every revision of it, whole.

use picket_model::behavior::{Behavior, wire};
use picket_model::profile::{JudgedProfile, JudgingConfig, Target};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dimensions::filters_of;
use crate::outbox::{self, OutboxItem};
use crate::profiles::Collected;
use crate::sql::{args, int};
use crate::{Db, StoreError, Tx};

/// Makes what this transaction has written so far the next revision of what judging depends on. To be called after the
/// last write to profiles, targets, custom metrics or dimensions.
pub(crate) async fn bump(tx: &mut Tx) -> Result<u64, StoreError> {
    // The counter is locked first: whoever comes later sees what this transaction wrote.
    let revision = outbox::take(tx, "judging", 1).await?;
    let config = config(tx, revision).await?;
    let body = config.encode();
    let body = String::from_utf8(body).map_err(|err| unreadable(revision, err))?;
    let sql = "INSERT INTO judging_config (revision, body) VALUES ($1, $2)";
    tx.execute(sql, args![int(revision), body]).await?;
    outbox::push(tx, OutboxItem::Config { revision });
    Ok(revision)
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

    /// A revision, whole. Revision 0 is the empty one; `None` when it was given up, or never was.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn judging_config(&self, revision: u64) -> Result<Option<JudgingConfig>, StoreError> {
        if revision == 0 {
            return Ok(Some(JudgingConfig::default()));
        }
        let sql = "SELECT body FROM judging_config WHERE revision = $1";
        let Some(row) = self.row(sql, args![int(revision)]).await? else {
            return Ok(None);
        };
        let body: String = row.at(0)?;
        JudgingConfig::decode(body.as_bytes())
            .map(Some)
            .map_err(|err| unreadable(revision, err))
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
            bump(&mut tx).await?;
        }
        tx.commit().await
    }

    /// Gives up revisions below `below`: every snapshot must be past them. The newest stays.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn trim_judging(&self, below: u64) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "DELETE FROM judging_config WHERE revision < $1 \
                   AND revision < (SELECT value FROM counter WHERE name = 'judging')";
        tx.execute(sql, args![int(below)]).await?;
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

async fn config(tx: &mut Tx, revision: u64) -> Result<JudgingConfig, StoreError> {
    let mut targets: BTreeMap<String, Vec<Target>> = BTreeMap::new();
    let sql = "SELECT profile, target FROM profile_target ORDER BY profile, target";
    for row in tx.rows(sql, args![]).await? {
        targets.entry(row.at(0)?).or_default().push(row.parsed(1)?);
    }
    let mut profiles = Vec::new();
    let sql = "SELECT name, behaviors, extras FROM security_profile ORDER BY name";
    for row in tx.rows(sql, args![]).await? {
        let name: String = row.at(0)?;
        let Collected { retained, export_topic } = Collected::of(&row.at::<String>(2)?)?;
        profiles.push(JudgedProfile {
            targets: targets.remove(&name).unwrap_or_default(),
            name: row.parsed(0)?,
            behaviors: behaviors(&row.at::<String>(1)?)?.into_iter().map(Arc::new).collect(),
            retained,
            export_topic,
        });
    }
    let rows = tx
        .rows("SELECT name, kind FROM custom_metric ORDER BY name", args![])
        .await?;
    let custom_metrics = rows.iter().map(|row| Ok((row.parsed(0)?, row.parsed(1)?)));
    let sql = "SELECT name, string_values FROM dimension ORDER BY name";
    let mut dimensions = BTreeMap::new();
    for row in tx.rows(sql, args![]).await? {
        dimensions.insert(row.parsed(0)?, filters_of(&row.at::<String>(1)?)?);
    }
    Ok(JudgingConfig {
        revision,
        profiles,
        custom_metrics: custom_metrics.collect::<Result<_, StoreError>>()?,
        dimensions,
        strict_aws_timing: is_strict(tx).await?,
    })
}

fn unreadable(revision: u64, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::corrupt("judging configuration", revision, source)
}
