//! A revision, put together from the parts that were in force.

use std::sync::Arc;

use picket_model::name::ProfileName;
use picket_model::profile::{JudgedProfile, JudgingConfig, Target};

use super::{STRICT_AWS_TIMING, behaviors};
use crate::dimensions::filters_of;
use crate::profiles::Collected;
use crate::sql::{Row, args, int};
use crate::{Db, StoreError, Tx};

/// Which revisions there are.
pub(super) struct Kept {
    /// The first that the parts tell. Some before it may be there whole.
    first_in_parts: u64,
    pub(super) newest: u64,
}

pub(super) async fn kept(tx: &mut Tx) -> Result<Kept, StoreError> {
    let sql = "SELECT name, value FROM counter WHERE name IN ('judging', 'judging_part')";
    let mut kept = Kept {
        first_in_parts: 0,
        newest: 0,
    };
    for row in tx.rows(sql, args![]).await? {
        match row.at::<String>(0)?.as_str() {
            "judging" => kept.newest = row.count(1)?,
            _ => kept.first_in_parts = row.count(1)?,
        }
    }
    Ok(kept)
}

/// The parts in force at a revision.
const AT: &str = "SELECT kind, name, until, body, extras FROM judging_part \
                  WHERE until > $1 AND since <= $1 ORDER BY kind, name, since";

/// The parts that began or ended after one revision, up to another.
const BETWEEN: &str = "SELECT kind, name, until, body, extras FROM judging_part \
                       WHERE (since > $1 AND since <= $2) OR (until > $1 AND until <= $2) ORDER BY kind, name, since";

impl Db {
    /// A revision, whole. Revision 0 is the empty one; `None` when it was given up, or never was.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn judging_config(&self, revision: u64) -> Result<Option<JudgingConfig>, StoreError> {
        self.judging_config_after(&JudgingConfig::default(), revision).await
    }

    /// The same, sharing with a revision that the caller has read what has not changed in between: from an earlier one,
    /// only the changes are read.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn judging_config_after(
        &self,
        known: &JudgingConfig,
        revision: u64,
    ) -> Result<Option<JudgingConfig>, StoreError> {
        if revision == 0 {
            return Ok(Some(JudgingConfig::default()));
        }
        let mut tx = self.begin_read().await?;
        let kept = kept(&mut tx).await?;
        if kept.newest < revision {
            return Ok(None);
        }
        if revision < kept.first_in_parts {
            return whole(&mut tx, revision).await;
        }
        let (mut config, rows) = if (kept.first_in_parts..=revision).contains(&known.revision) {
            let args = args![int(known.revision), int(revision)];
            (known.clone(), tx.rows(BETWEEN, args).await?)
        } else {
            (JudgingConfig::default(), tx.rows(AT, args![int(revision)]).await?)
        };
        config.revision = revision;
        let mut rows = rows.iter().peekable();
        while let Some(row) = rows.next() {
            let part = (row.at::<String>(0)?, row.at::<String>(1)?);
            // What became of a part last is all that counts.
            if let Some(next) = rows.peek()
                && part == (next.at(0)?, next.at(1)?)
            {
                continue;
            }
            let is_in_force = int(revision) < row.at::<i64>(2)?;
            apply(&mut config, (&part.0, &part.1), row, is_in_force)?;
        }
        Ok(Some(config))
    }
}

/// A revision as it was kept before there were parts.
async fn whole(tx: &mut Tx, revision: u64) -> Result<Option<JudgingConfig>, StoreError> {
    let sql = "SELECT body FROM judging_config WHERE revision = $1";
    let Some(row) = tx.row(sql, args![int(revision)]).await? else {
        return Ok(None);
    };
    let body: String = row.at(0)?;
    let config = JudgingConfig::decode(body.as_bytes());
    config
        .map(Some)
        .map_err(|err| unreadable(&format!("revision {revision}"), err))
}

/// Puts a part in its place, or takes it away.
fn apply(
    config: &mut JudgingConfig,
    (kind, name): (&str, &str),
    row: &Row,
    is_in_force: bool,
) -> Result<(), StoreError> {
    match kind {
        "profile" => {
            let name: ProfileName = row.parsed(1)?;
            let place = config.profiles.binary_search_by(|profile| profile.name.cmp(&name));
            match (place, is_in_force) {
                (Ok(at), true) => put_profile(Arc::make_mut(&mut config.profiles[at]), row)?,
                (Ok(at), false) => drop(config.profiles.remove(at)),
                (Err(at), true) => {
                    let mut profile = empty(name);
                    put_profile(&mut profile, row)?;
                    config.profiles.insert(at, Arc::new(profile));
                }
                (Err(_), false) => {}
            }
        }
        "target" => {
            let (profile, target) = name.split_once(' ').unwrap_or((name, ""));
            let place = config.profiles.binary_search_by(|one| one.name.as_str().cmp(profile));
            // Of a profile that is gone, the targets are too.
            if let Ok(at) = place {
                let target = target.parse().map_err(|err| unreadable(name, err))?;
                put_target(Arc::make_mut(&mut config.profiles[at]), target, is_in_force);
            }
        }
        "metric" => put(&mut config.custom_metrics, row.parsed(1)?, is_in_force, || {
            row.parsed(3)
        })?,
        "dimension" => put(&mut config.dimensions, row.parsed(1)?, is_in_force, || {
            filters_of(&row.at::<String>(3)?)
        })?,
        "setting" if name == STRICT_AWS_TIMING => {
            config.strict_aws_timing = is_in_force && row.at::<String>(3)? == "true";
        }
        _ => return Err(unreadable(name, format!("its kind is {kind:?}"))),
    }
    Ok(())
}

fn empty(name: ProfileName) -> JudgedProfile {
    JudgedProfile {
        name,
        behaviors: Vec::new(),
        targets: Vec::new(),
        retained: Vec::new(),
        export_topic: None,
    }
}

/// Its targets are parts of their own.
fn put_profile(profile: &mut JudgedProfile, row: &Row) -> Result<(), StoreError> {
    let Collected { retained, export_topic } = Collected::of(&row.at::<String>(4)?)?;
    let behaviors = behaviors(&row.at::<String>(3)?)?;
    profile.behaviors = behaviors.into_iter().map(Arc::new).collect();
    (profile.retained, profile.export_topic) = (retained, export_topic);
    Ok(())
}

fn put_target(profile: &mut JudgedProfile, target: Target, is_in_force: bool) {
    match (profile.targets.binary_search(&target), is_in_force) {
        (Err(at), true) => profile.targets.insert(at, target),
        (Ok(at), false) => drop(profile.targets.remove(at)),
        (Ok(_), true) | (Err(_), false) => {}
    }
}

fn put<K: Ord, V>(
    map: &mut std::collections::BTreeMap<K, V>,
    name: K,
    is_in_force: bool,
    value: impl FnOnce() -> Result<V, StoreError>,
) -> Result<(), StoreError> {
    if is_in_force {
        map.insert(name, value()?);
    } else {
        map.remove(&name);
    }
    Ok(())
}

fn unreadable(what: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::corrupt("judging configuration", what, source)
}
