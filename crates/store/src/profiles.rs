//! Security profiles and what they are attached to. Every change that judging depends on makes a new revision.

mod collected;
mod uses;

use picket_model::behavior::Behavior;
use picket_model::behavior::{Test, wire};
use picket_model::name::{BehaviorName, DimensionName, MetricName, ProfileName};
use picket_model::profile::{Behaviors, Target};
use picket_model::time::Timestamp;

use crate::judging::Part;
use crate::registry::group;
use crate::registry::tag::{self, TaggedKind, Tags};
use crate::sql::{Row, args};
use crate::{Db, StoreError, Tx, judging};

pub(crate) use collected::Collected;

/// A security profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: ProfileName,
    /// What people say of it.
    pub description: Option<String>,
    /// Its rules, in the order written.
    pub behaviors: Vec<Behavior>,
    /// Alert targets, metrics to retain, export: a JSON object that belongs to the caller. Of alert targets judging knows
    /// nothing.
    pub extras: String,
    /// 1 at first, one more with each update.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub modified_at: Timestamp,
}

/// A profile to create.
#[derive(Clone, Debug, PartialEq)]
pub struct NewProfile {
    /// Its name.
    pub name: ProfileName,
    /// What people say of it.
    pub description: Option<String>,
    /// Its rules.
    pub behaviors: Behaviors,
    /// See [`Profile::extras`].
    pub extras: String,
}

/// What to change of a profile; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProfileUpdate {
    /// What people say of it.
    pub description: Option<String>,
    /// All its rules.
    pub behaviors: Option<Behaviors>,
    /// See [`Profile::extras`].
    pub extras: Option<String>,
}

/// Which profiles to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileFilter {
    /// Only those that judge or retain this metric.
    pub metric: Option<MetricName>,
    /// Only those that use this dimension.
    pub dimension: Option<DimensionName>,
}

/// Profiles that one target may have: AWS's quota.
const N_PROFILES_OF_TARGET_MAX: u64 = 5;

pub(crate) use uses::{Uses, using};

const SELECT: &str = "SELECT name, description, behaviors, extras, version, created_at, modified_at \
                      FROM security_profile WHERE name = $1";

impl Db {
    /// Creates a profile, attached to nothing.
    ///
    /// # Errors
    /// [`StoreError::Exists`], however similar the other is; [`StoreError::Rule`] when it uses a custom metric or a dimension
    /// that does not exist.
    pub async fn create_profile(&self, new: &NewProfile, tags: &Tags, at: Timestamp) -> Result<Profile, StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx).await?;
        let sql = "INSERT INTO security_profile (name, description, behaviors, extras, version, created_at, modified_at) \
                   VALUES ($1, $2, $3, $4, 1, $5, $5) ON CONFLICT (name) DO NOTHING";
        let args = args![
            new.name.as_str(),
            new.description.as_deref(),
            behaviors_json(&new.behaviors)?,
            new.extras.as_str(),
            at.millis(),
        ];
        if tx.execute(sql, args).await? == 0 {
            return Err(StoreError::exists("security profile", &new.name));
        }
        tag::put(&mut tx, TaggedKind::Profile, new.name.as_str(), tags).await?;
        judging::bump(&mut tx, &[Part::Profile(&new.name)]).await?;
        let profile = profile_in(&mut tx, &new.name).await?;
        Uses::of(&profile.behaviors, &profile.extras)?.exist(&mut tx).await?;
        tx.commit().await?;
        Ok(profile)
    }

    /// Changes a profile; says what it is then.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Version`] when the caller has seen another version; [`StoreError::Rule`] when
    /// it would use a custom metric or a dimension that does not exist.
    pub async fn update_profile(
        &self,
        name: &ProfileName,
        update: &ProfileUpdate,
        expected_version: Option<i64>,
        at: Timestamp,
    ) -> Result<Profile, StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx).await?;
        let found = profile_in(&mut tx, name).await?;
        expect_version(&found, expected_version)?;
        let sql = "UPDATE security_profile SET description = COALESCE($1, description), \
                   behaviors = COALESCE($2, behaviors), extras = COALESCE($3, extras), version = version + 1, \
                   modified_at = $4 WHERE name = $5";
        let args = args![
            update.description.as_deref(),
            update.behaviors.as_ref().map(behaviors_json).transpose()?,
            update.extras.as_deref(),
            at.millis(),
            name.as_str(),
        ];
        tx.execute(sql, args).await?;
        let profile = profile_in(&mut tx, name).await?;
        Uses::of(&profile.behaviors, &profile.extras)?.exist(&mut tx).await?;
        if profile.behaviors != found.behaviors || Collected::of(&profile.extras)? != Collected::of(&found.extras)? {
            judging::bump(&mut tx, &[Part::Profile(name)]).await?;
        }
        tx.commit().await?;
        Ok(profile)
    }

    /// The profile of that name.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn profile(&self, name: &ProfileName) -> Result<Option<Profile>, StoreError> {
        let row = self.row(SELECT, args![name.as_str()]).await?;
        row.as_ref().map(profile_of).transpose()
    }

    /// Removes a profile and its attachments; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Version`] when the caller has seen another version.
    pub async fn delete_profile(&self, name: &ProfileName, expected_version: Option<i64>) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx).await?;
        let Some(row) = tx.row(SELECT, args![name.as_str()]).await? else {
            return Ok(false);
        };
        expect_version(&profile_of(&row)?, expected_version)?;
        for sql in [
            "DELETE FROM profile_target WHERE profile = $1",
            "DELETE FROM security_profile WHERE name = $1",
        ] {
            tx.execute(sql, args![name.as_str()]).await?;
        }
        tag::remove_all(&mut tx, TaggedKind::Profile, name.as_str()).await?;
        judging::bump(&mut tx, &[Part::Profile(name), Part::FormerTargets(name)]).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The names of the next `n_max` profiles after `after`.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn profiles(
        &self,
        filter: &ProfileFilter,
        after: Option<&ProfileName>,
        n_max: u32,
    ) -> Result<Vec<ProfileName>, StoreError> {
        const N_ROWS: u32 = 100;
        let n_max = usize::try_from(n_max).unwrap_or(usize::MAX);
        let mut last = after.map(ToString::to_string).unwrap_or_default();
        let mut names = Vec::new();
        // SQL does not look into behaviors, so more rows are read than are listed.
        let sql = "SELECT name, behaviors, extras FROM security_profile WHERE name > $1 ORDER BY name LIMIT $2";
        loop {
            let rows = self.rows(sql, args![last.as_str(), N_ROWS]).await?;
            for row in &rows {
                if names.len() < n_max && filter.takes(row)? {
                    names.push(row.parsed(0)?);
                }
            }
            match rows.last() {
                Some(row) if names.len() < n_max => last = row.at(0)?,
                _ => return Ok(names),
            }
        }
    }

    /// The next `n_max` behaviors, by profile and name, that judge by what was learned, after the one at `after`; of one
    /// profile or of all.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn learned_behaviors(
        &self,
        of: Option<&ProfileName>,
        after: Option<&(ProfileName, BehaviorName)>,
        n_max: u32,
    ) -> Result<Vec<(ProfileName, BehaviorName)>, StoreError> {
        const N_ROWS: u32 = 100;
        let n_max = usize::try_from(n_max).unwrap_or(usize::MAX);
        let mut from = after.map(|(profile, _)| profile.to_string()).unwrap_or_default();
        let mut found = Vec::new();
        let sql = "SELECT name, behaviors FROM security_profile \
                   WHERE name >= $1 AND (CAST($2 AS TEXT) IS NULL OR name = $2) ORDER BY name LIMIT $3";
        loop {
            let of = of.map(ProfileName::as_str);
            let rows = self.rows(sql, args![from.as_str(), of, N_ROWS]).await?;
            for row in &rows {
                let profile: ProfileName = row.parsed(0)?;
                let places = learned_of(row)?.into_iter().map(|name| (profile.clone(), name));
                found.extend(places.filter(|place| after.is_none_or(|after| after < place)));
            }
            match rows.last() {
                // The name after this one in the order of bytes.
                Some(row) if found.len() < n_max => from = format!("{}\u{1}", row.at::<String>(0)?),
                _ => {
                    found.truncate(n_max);
                    return Ok(found);
                }
            }
        }
    }

    /// Attaches a profile to a target; once more changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the profile or the group; [`StoreError::Limit`] when the target has five.
    pub async fn attach_profile(&self, name: &ProfileName, target: &Target, at: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        // The group before the revision, as everywhere.
        if let Target::Group(name) = target
            && !group::lock(&mut tx, name).await?
        {
            return Err(StoreError::not_found("thing group", name));
        }
        lock(&mut tx).await?;
        profile_in(&mut tx, name).await?;
        let sql = "INSERT INTO profile_target (profile, target, attached_at) VALUES ($1, $2, $3) \
                   ON CONFLICT (profile, target) DO NOTHING";
        if tx
            .execute(sql, args![name.as_str(), target.to_string(), at.millis()])
            .await?
            == 0
        {
            return Ok(());
        }
        let sql = "SELECT COUNT(*) FROM profile_target WHERE target = $1";
        let row = tx.row(sql, args![target.to_string()]).await?;
        if N_PROFILES_OF_TARGET_MAX < row.map_or(Ok(0), |row| row.count(0))? {
            return Err(StoreError::Limit {
                what: "security profiles of a target",
                n_max: N_PROFILES_OF_TARGET_MAX,
            });
        }
        judging::bump(&mut tx, &[Part::Target(name, target)]).await?;
        tx.commit().await
    }

    /// Detaches a profile; says whether it was attached.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the profile.
    pub async fn detach_profile(&self, name: &ProfileName, target: &Target) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx).await?;
        profile_in(&mut tx, name).await?;
        let sql = "DELETE FROM profile_target WHERE profile = $1 AND target = $2";
        if tx.execute(sql, args![name.as_str(), target.to_string()]).await? == 0 {
            return Ok(false);
        }
        judging::bump(&mut tx, &[Part::Target(name, target)]).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The next `n_max` targets of a profile after `after`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the profile.
    pub async fn targets_of_profile(
        &self,
        name: &ProfileName,
        after: Option<&Target>,
        n_max: u32,
    ) -> Result<Vec<Target>, StoreError> {
        if self.profile(name).await?.is_none() {
            return Err(StoreError::not_found("security profile", name));
        }
        let sql = "SELECT target FROM profile_target WHERE profile = $1 AND target > $2 ORDER BY target LIMIT $3";
        let after = after.map(ToString::to_string).unwrap_or_default();
        let rows = self.rows(sql, args![name.as_str(), after, n_max]).await?;
        rows.iter().map(|row| row.parsed(0)).collect()
    }

    /// The next `n_max` profiles attached to a target, with the target; with `is_recursive` also those of groups below.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn profiles_of_target(
        &self,
        target: &Target,
        is_recursive: bool,
        after: Option<&(ProfileName, Target)>,
        n_max: u32,
    ) -> Result<Vec<(ProfileName, Target)>, StoreError> {
        let (group, whole) = match target {
            Target::Group(group) if is_recursive => (group.as_str(), target.to_string()),
            _ => ("", target.to_string()),
        };
        let (profile_after, target_after) = after.map_or_else(Default::default, |(profile, target)| {
            (profile.to_string(), target.to_string())
        });
        let sql = "WITH RECURSIVE below(name) AS ( \
                       SELECT name FROM thing_group WHERE name = $1 \
                       UNION SELECT g.name FROM thing_group g JOIN below b ON g.parent = b.name \
                   ) SELECT profile, target FROM profile_target \
                   WHERE (target = $2 OR target IN (SELECT 'thinggroup/' || name FROM below)) \
                   AND (profile, target) > ($3, $4) ORDER BY profile, target LIMIT $5";
        let rows = self
            .rows(sql, args![group, whole, profile_after, target_after, n_max])
            .await?;
        rows.iter().map(|row| Ok((row.parsed(0)?, row.parsed(1)?))).collect()
    }
}

impl ProfileFilter {
    /// Of a row with name, behaviors and extras.
    fn takes(&self, row: &Row) -> Result<bool, StoreError> {
        if *self == Self::default() {
            return Ok(true);
        }
        let uses = Uses::of_row(row)?;
        let judges = |name: &MetricName| uses.metrics.contains(name.as_str());
        let narrows = |name: &DimensionName| uses.dimensions.contains(name.as_str());
        Ok(self.metric.as_ref().is_none_or(judges) && self.dimension.as_ref().is_none_or(narrows))
    }
}

/// The behaviors of a profile's row that judge by what was learned, by name.
fn learned_of(row: &Row) -> Result<Vec<BehaviorName>, StoreError> {
    let behaviors = judging::behaviors(&row.at::<String>(1)?)?.into_iter();
    let mut names: Vec<_> = behaviors
        .filter(|behavior| {
            let test = behavior.criteria.as_ref().map(|criteria| &criteria.test);
            matches!(test, Some(Test::Learned { .. }))
        })
        .map(|behavior| behavior.name)
        .collect();
    names.sort();
    Ok(names)
}

/// Holds what judging depends on until the transaction ends, so that rules over several rows hold.
pub(crate) async fn lock(tx: &mut Tx) -> Result<(), StoreError> {
    let sql = "UPDATE counter SET value = value WHERE name = 'judging'";
    tx.execute(sql, args![]).await.map(drop)
}

pub(crate) async fn profile_in(tx: &mut Tx, name: &ProfileName) -> Result<Profile, StoreError> {
    match tx.row(SELECT, args![name.as_str()]).await? {
        Some(row) => profile_of(&row),
        None => Err(StoreError::not_found("security profile", name)),
    }
}

fn expect_version(profile: &Profile, expected: Option<i64>) -> Result<(), StoreError> {
    match expected {
        Some(expected) if expected != profile.version => Err(StoreError::Version {
            what: "security profile",
            name: profile.name.to_string(),
            found: profile.version,
            expected,
        }),
        _ => Ok(()),
    }
}

fn profile_of(row: &Row) -> Result<Profile, StoreError> {
    Ok(Profile {
        name: row.parsed(0)?,
        description: row.at(1)?,
        behaviors: judging::behaviors(&row.at::<String>(2)?)?,
        extras: row.at(3)?,
        version: row.at(4)?,
        created_at: Timestamp::from_millis(row.at(5)?),
        modified_at: Timestamp::from_millis(row.at(6)?),
    })
}

fn behaviors_json(behaviors: &Behaviors) -> Result<String, StoreError> {
    let written: Vec<wire::Behavior> = behaviors.as_slice().iter().map(wire::Behavior::from).collect();
    serde_json::to_string(&written).map_err(|err| StoreError::corrupt("behaviors", "a list", err))
}
