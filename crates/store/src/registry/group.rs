//! Thing groups: trees of them, fixed once made.

use picket_model::name::{ProfileName, ThingGroupName};
use picket_model::profile::Target;
use picket_model::time::Timestamp;

use super::tag::{self, TaggedKind, Tags};
use super::{Attributes, Change, attributes_of_json, attributes_to_json, expect_version, id_of, membership};
use crate::judging::Part;
use crate::sql::{Row, args};
use crate::{Db, StoreError, Tx, judging};

/// Levels of a tree, the root among them.
const DEPTH_MAX: i64 = 7;
/// Groups directly below one.
const N_CHILDREN_MAX: u32 = 100;

/// A thing group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: ThingGroupName,
    /// Its id, in the form of a UUID: another one if it is deleted and created again.
    pub id: String,
    /// The group above it; `None` for a root.
    pub parent: Option<ThingGroupName>,
    /// What people say of it.
    pub description: Option<String>,
    /// Its attributes.
    pub attributes: Attributes,
    /// 1 at first, one more with each update.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A thing group to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGroup {
    /// Its name.
    pub name: ThingGroupName,
    /// The group above it; `None` for a root.
    pub parent: Option<ThingGroupName>,
    /// What people say of it.
    pub description: Option<String>,
    /// Its attributes.
    pub attributes: Attributes,
}

/// An update of a thing group. Its place is fixed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupUpdate {
    /// What people say of it; `None` leaves it as it is.
    pub description: Option<String>,
    /// Its attributes. One that is set to an empty text is left out.
    pub attributes: Change<Attributes>,
    /// The version that the caller has seen; refused when it is another.
    pub expected_version: Option<i64>,
}

/// Which groups to list. Everything that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFilter {
    /// Only groups below this one.
    pub parent: Option<ThingGroupName>,
    /// Only groups whose name begins so.
    pub name_prefix: Option<String>,
    /// Not only the groups directly below `parent`, or the roots, but all. When it is not said, all groups if there is no
    /// `parent`.
    pub is_recursive: Option<bool>,
}

const SELECT: &str =
    "SELECT name, group_id, parent, description, attributes, version, created_at FROM thing_group WHERE name = $1";

impl Db {
    /// Creates a group. The same group again is the same.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is another one of that name; [`StoreError::NotFound`] for the parent;
    /// [`StoreError::Rule`] when the tree would be deeper than 7 or the parent have more than 100 children.
    pub async fn create_group(&self, new: &NewGroup, tags: &Tags, at: Timestamp) -> Result<Group, StoreError> {
        let mut tx = self.begin_write().await?;
        let is_new = insert(&mut tx, new, at).await?;
        let group = group_in(&mut tx, &new.name).await?;
        if is_new {
            tag::put(&mut tx, TaggedKind::Group, new.name.as_str(), tags).await?;
            tx.commit().await?;
        } else if !group.is_same(new) {
            return Err(StoreError::exists("thing group", &new.name));
        }
        Ok(group)
    }

    /// Changes what people say of a group; says its version then.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Version`] when the caller has seen another version; [`StoreError::Rule`] when it
    /// would have more attributes than [`Group::N_ATTRIBUTES_MAX`].
    pub async fn update_group(&self, name: &ThingGroupName, update: &GroupUpdate) -> Result<i64, StoreError> {
        let mut tx = self.begin_write().await?;
        if !lock(&mut tx, name).await? {
            return Err(StoreError::not_found("thing group", name));
        }
        let mut group = group_in(&mut tx, name).await?;
        expect_version("thing group", name, group.version, update.expected_version)?;
        update.attributes.apply(&mut group.attributes);
        let (n_found, n_max) = (group.attributes.len(), Group::N_ATTRIBUTES_MAX);
        if n_max < n_found {
            let reason = format!("thing group {name} would have {n_found} attributes, expected {n_max} at most");
            return Err(StoreError::Rule { reason });
        }
        let sql = "UPDATE thing_group SET description = COALESCE($1, description), attributes = $2, \
                   version = version + 1 WHERE name = $3";
        let attributes = attributes_to_json(&group.attributes)?;
        tx.execute(sql, args![update.description.as_deref(), attributes, name.as_str()])
            .await?;
        tx.commit().await?;
        Ok(group.version + 1)
    }

    /// The group of that name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn group(&self, name: &ThingGroupName) -> Result<Option<Group>, StoreError> {
        self.row(SELECT, args![name.as_str()])
            .await?
            .map(|row| group_of(&row))
            .transpose()
    }

    /// The groups above this one, the root first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn groups_above(&self, name: &ThingGroupName) -> Result<Vec<ThingGroupName>, StoreError> {
        let sql = "WITH RECURSIVE above(name, parent, depth) AS ( \
                       SELECT name, parent, depth FROM thing_group WHERE name = $1 \
                       UNION SELECT g.name, g.parent, g.depth FROM thing_group g JOIN above a ON g.name = a.parent \
                   ) SELECT name FROM above WHERE name <> $1 ORDER BY depth";
        let rows = self.rows(sql, args![name.as_str()]).await?;
        rows.iter().map(|row| row.parsed(0)).collect()
    }

    /// The names of the next `n_max` groups after `after`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the filter's parent.
    pub async fn groups(
        &self,
        filter: &GroupFilter,
        after: Option<&ThingGroupName>,
        n_max: u32,
    ) -> Result<Vec<ThingGroupName>, StoreError> {
        let after = after.map_or("", ThingGroupName::as_str);
        let first = filter.name_prefix.clone().unwrap_or_default();
        let last = format!("{first}{}", char::MAX);
        let rows = match &filter.parent {
            None => {
                let sql = "SELECT name FROM thing_group WHERE name > $1 AND name >= $2 AND name <= $3 \
                           AND (parent IS NULL OR $4) ORDER BY name LIMIT $5";
                let is_recursive = filter.is_recursive.unwrap_or(true);
                self.rows(sql, args![after, first, last, is_recursive, n_max]).await?
            }
            Some(parent) => {
                if self.group(parent).await?.is_none() {
                    return Err(StoreError::not_found("thing group", parent));
                }
                let sql = "WITH RECURSIVE below(name) AS ( \
                               SELECT name FROM thing_group WHERE parent = $1 \
                               UNION SELECT g.name FROM thing_group g JOIN below b ON g.parent = b.name WHERE $2 \
                           ) SELECT name FROM below WHERE name > $3 AND name >= $4 AND name <= $5 \
                           ORDER BY name LIMIT $6";
                let is_recursive = filter.is_recursive.unwrap_or_default();
                let values = args![parent.as_str(), is_recursive, after, first, last, n_max];
                self.rows(sql, values).await?
            }
        };
        rows.iter().map(|row| row.parsed(0)).collect()
    }

    /// Removes a group; its things stay, out of it, and profiles and policies are detached from it. Says whether there was
    /// one.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while there are groups below it, [`StoreError::Version`] when the caller has seen another
    /// version.
    pub async fn delete_group(&self, name: &ThingGroupName, expected_version: Option<i64>) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        if !lock(&mut tx, name).await? {
            return Ok(false);
        }
        let group = group_in(&mut tx, name).await?;
        expect_version("thing group", name, group.version, expected_version)?;
        let sql = "SELECT name FROM thing_group WHERE parent = $1 ORDER BY name LIMIT 1";
        if let Some(child) = tx.row(sql, args![name.as_str()]).await? {
            return Err(StoreError::InUse {
                what: "thing group",
                name: name.to_string(),
                by: format!("thing group {} below it", child.at::<String>(0)?),
            });
        }
        membership::empty(&mut tx, name).await?;
        tx.execute("DELETE FROM thing_group WHERE name = $1", args![name.as_str()])
            .await?;
        tag::remove_all(&mut tx, TaggedKind::Group, name.as_str()).await?;
        let target = Target::Group(name.clone());
        let sql = "DELETE FROM profile_target WHERE target = $1 RETURNING profile";
        let rows = tx.rows(sql, args![target.to_string()]).await?;
        let profiles: Vec<ProfileName> = rows.iter().map(|row| row.parsed(0)).collect::<Result<_, _>>()?;
        if !profiles.is_empty() {
            let parts: Vec<Part<'_>> = profiles.iter().map(|profile| Part::Target(profile, &target)).collect();
            judging::bump(&mut tx, &parts).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}

impl Group {
    /// The most attributes of a group: as many as AWS's quota has for a thing.
    pub const N_ATTRIBUTES_MAX: usize = 50;

    fn is_same(&self, new: &NewGroup) -> bool {
        (&self.parent, &self.description, &self.attributes) == (&new.parent, &new.description, &new.attributes)
    }
}

/// Creates a group unless there is one of that name; says whether it did.
pub(crate) async fn insert(tx: &mut Tx, new: &NewGroup, at: Timestamp) -> Result<bool, StoreError> {
    let (root, depth) = match &new.parent {
        None => (new.name.to_string(), 1),
        Some(parent) => place_below(tx, parent).await?,
    };
    let sql = "INSERT INTO thing_group \
               (name, group_id, parent, root, depth, description, attributes, version, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8) ON CONFLICT (name) DO NOTHING";
    let values = args![
        new.name.as_str(),
        id_of("thing group", new.name.as_str(), at),
        new.parent.as_ref().map(ThingGroupName::as_str),
        root,
        depth,
        new.description.as_deref(),
        attributes_to_json(&new.attributes)?,
        at.millis(),
    ];
    if tx.execute(sql, values).await? == 0 {
        return Ok(false);
    }
    // Checked only now: a group that exists already is not refused for the place it would have.
    if depth > DEPTH_MAX {
        let reason = format!(
            "thing group {} would be at level {depth}, at most {DEPTH_MAX} are possible",
            new.name
        );
        return Err(StoreError::Rule { reason });
    }
    if let Some(parent) = &new.parent {
        let sql = "SELECT count(*) FROM thing_group WHERE parent = $1";
        let n_children = tx
            .row(sql, args![parent.as_str()])
            .await?
            .map_or(Ok(0), |row| row.count(0))?;
        if n_children > u64::from(N_CHILDREN_MAX) {
            let reason = format!("thing group {parent} has {N_CHILDREN_MAX} groups below it, no more are possible");
            return Err(StoreError::Rule { reason });
        }
    }
    Ok(true)
}

/// Holds the group until the transaction ends; says whether there is one.
pub(crate) async fn lock(tx: &mut Tx, name: &ThingGroupName) -> Result<bool, StoreError> {
    let sql = "UPDATE thing_group SET version = version WHERE name = $1";
    Ok(tx.execute(sql, args![name.as_str()]).await? == 1)
}

async fn place_below(tx: &mut Tx, parent: &ThingGroupName) -> Result<(String, i64), StoreError> {
    if !lock(tx, parent).await? {
        return Err(StoreError::not_found("thing group", parent));
    }
    let sql = "SELECT root, depth + 1 FROM thing_group WHERE name = $1";
    match tx.row(sql, args![parent.as_str()]).await? {
        Some(row) => Ok((row.at(0)?, row.at(1)?)),
        None => Err(StoreError::not_found("thing group", parent)),
    }
}

async fn group_in(tx: &mut Tx, name: &ThingGroupName) -> Result<Group, StoreError> {
    match tx.row(SELECT, args![name.as_str()]).await? {
        Some(row) => group_of(&row),
        None => Err(StoreError::not_found("thing group", name)),
    }
}

fn group_of(row: &Row) -> Result<Group, StoreError> {
    Ok(Group {
        name: row.parsed(0)?,
        id: row.at(1)?,
        parent: row.parsed_option(2)?,
        description: row.at(3)?,
        attributes: attributes_of_json(&row.at::<String>(4)?)?,
        version: row.at(5)?,
        created_at: Timestamp::from_millis(row.at(6)?),
    })
}
