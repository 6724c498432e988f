//! Which thing is in which group.

use std::collections::BTreeSet;

use picket_model::name::{ThingGroupName, ThingName};
use picket_model::record::Member;

use super::{group, thing};
use crate::outbox::OutboxItem;
use crate::sql::args;
use crate::{Db, StoreError, Tx};

/// Groups that a thing is in, whatever their trees.
const N_GROUPS_OF_THING_MAX: u32 = 10;

impl Db {
    /// Puts a thing into a group; once more changes nothing. Says whether it was not in it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the thing or the group; [`StoreError::Rule`] when the thing is in another group of the
    /// same tree, or in 10 groups.
    pub async fn add_to_group(&self, thing: &ThingName, group: &ThingGroupName) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        let is_new = add(&mut tx, thing, group).await?;
        tx.commit().await?;
        Ok(is_new)
    }

    /// Takes a thing out of a group; says whether it was in it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the thing or the group.
    pub async fn remove_from_group(&self, thing: &ThingName, group: &ThingGroupName) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        if !group::lock(&mut tx, group).await? {
            return Err(StoreError::not_found("thing group", group));
        }
        if !thing::lock(&mut tx, thing).await? {
            return Err(StoreError::not_found("thing", thing));
        }
        let was_member = remove(&mut tx, thing, group).await?;
        tx.commit().await?;
        Ok(was_member)
    }

    /// Takes a thing out of some groups and puts it into others, all or nothing. It is taken out first, so that it can move
    /// within a tree. Says whether anything changed.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the thing or a group; [`StoreError::Rule`] when the thing would be in two groups of a tree,
    /// or in more than 10 groups.
    pub async fn change_groups(
        &self,
        thing: &ThingName,
        add: &BTreeSet<ThingGroupName>,
        remove: &BTreeSet<ThingGroupName>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        // In one order, so that two of these never wait for each other.
        for group in add.union(remove) {
            if !group::lock(&mut tx, group).await? {
                return Err(StoreError::not_found("thing group", group));
            }
        }
        if !thing::lock(&mut tx, thing).await? {
            return Err(StoreError::not_found("thing", thing));
        }
        let mut is_changed = false;
        for group in remove {
            is_changed |= leave(&mut tx, thing, group).await?;
        }
        for group in add {
            is_changed |= join(&mut tx, thing, group).await?;
        }
        if is_changed {
            announce(&mut tx, thing).await?;
            tx.commit().await?;
        }
        Ok(is_changed)
    }

    /// The next `n_max` groups that a thing is in, by name, without the groups above them.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn groups_of_thing(
        &self,
        thing: &ThingName,
        after: Option<&ThingGroupName>,
        n_max: u32,
    ) -> Result<Vec<ThingGroupName>, StoreError> {
        let sql = "SELECT group_name FROM membership WHERE thing = $1 AND group_name > $2 ORDER BY group_name LIMIT $3";
        let after = after.map_or("", ThingGroupName::as_str);
        let rows = self.rows(sql, args![thing.as_str(), after, n_max]).await?;
        rows.iter().map(|row| row.parsed(0)).collect()
    }

    /// The next `n_max` things of a group, by name; with `is_recursive` also those of the groups below it.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn things_of_group(
        &self,
        group: &ThingGroupName,
        is_recursive: bool,
        after: Option<&ThingName>,
        n_max: u32,
    ) -> Result<Vec<ThingName>, StoreError> {
        // A thing is in one group of a tree only, so none comes twice.
        let sql = "WITH RECURSIVE below(name) AS ( \
                       SELECT name FROM thing_group WHERE name = $1 \
                       UNION SELECT g.name FROM thing_group g JOIN below b ON g.parent = b.name WHERE $2 \
                   ) SELECT m.thing FROM membership m JOIN below b ON b.name = m.group_name \
                   WHERE m.thing > $3 ORDER BY m.thing LIMIT $4";
        let after = after.map_or("", ThingName::as_str);
        let rows = self
            .rows(sql, args![group.as_str(), is_recursive, after, n_max])
            .await?;
        rows.iter().map(|row| row.parsed(0)).collect()
    }
}

/// Puts a thing into a group, and tells its partition; says whether it was not in it.
pub(crate) async fn add(tx: &mut Tx, thing: &ThingName, group: &ThingGroupName) -> Result<bool, StoreError> {
    // Group before thing, everywhere: two transactions that lock both never wait for each other.
    if !group::lock(tx, group).await? {
        return Err(StoreError::not_found("thing group", group));
    }
    if !thing::lock(tx, thing).await? {
        return Err(StoreError::not_found("thing", thing));
    }
    let is_new = join(tx, thing, group).await?;
    if is_new {
        announce(tx, thing).await?;
    }
    Ok(is_new)
}

/// Puts a thing into a group, both held by this transaction; says whether it was not in it.
async fn join(tx: &mut Tx, thing: &ThingName, group: &ThingGroupName) -> Result<bool, StoreError> {
    let sql = "INSERT INTO membership (thing, root, group_name) SELECT $1, root, name FROM thing_group WHERE name = $2 \
               ON CONFLICT (thing, root) DO NOTHING";
    if tx.execute(sql, args![thing.as_str(), group.as_str()]).await? == 0 {
        return refuse_another_of_the_tree(tx, thing, group).await.map(|()| false);
    }
    let sql = "SELECT count(*) FROM membership WHERE thing = $1";
    let n_groups = tx
        .row(sql, args![thing.as_str()])
        .await?
        .map_or(Ok(0), |row| row.count(0))?;
    if n_groups > u64::from(N_GROUPS_OF_THING_MAX) {
        let reason = format!("thing {thing} is in {N_GROUPS_OF_THING_MAX} groups, no more are possible");
        return Err(StoreError::Rule { reason });
    }
    Ok(true)
}

/// Takes a thing out of a group, and tells its partition; says whether it was in it.
pub(crate) async fn remove(tx: &mut Tx, thing: &ThingName, group: &ThingGroupName) -> Result<bool, StoreError> {
    let was_member = leave(tx, thing, group).await?;
    if was_member {
        announce(tx, thing).await?;
    }
    Ok(was_member)
}

async fn leave(tx: &mut Tx, thing: &ThingName, group: &ThingGroupName) -> Result<bool, StoreError> {
    let sql = "DELETE FROM membership WHERE thing = $1 AND group_name = $2";
    Ok(tx.execute(sql, args![thing.as_str(), group.as_str()]).await? == 1)
}

/// Takes all things out of a group, and tells their partitions.
pub(super) async fn empty(tx: &mut Tx, group: &ThingGroupName) -> Result<(), StoreError> {
    let sql = "DELETE FROM membership WHERE group_name = $1 RETURNING thing";
    for row in tx.rows(sql, args![group.as_str()]).await? {
        announce(tx, &row.parsed(0)?).await?;
    }
    Ok(())
}

/// Tells the thing's partition what the registry says of it now.
pub(super) async fn announce(tx: &mut Tx, thing: &ThingName) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM thing WHERE name = $1";
    let is_registered = tx.row(sql, args![thing.as_str()]).await?.is_some();
    let sql = "WITH RECURSIVE above(name, parent) AS ( \
                   SELECT g.name, g.parent FROM thing_group g JOIN membership m ON m.group_name = g.name WHERE m.thing = $1 \
                   UNION SELECT g.name, g.parent FROM thing_group g JOIN above a ON g.name = a.parent \
               ) SELECT name FROM above ORDER BY name";
    let rows = tx.rows(sql, args![thing.as_str()]).await?;
    let member = Member {
        thing: thing.clone(),
        is_registered,
        groups: rows.iter().map(|row| row.parsed(0)).collect::<Result<_, _>>()?,
    };
    tx.outbox.push(OutboxItem::Member(member));
    Ok(())
}

async fn refuse_another_of_the_tree(tx: &mut Tx, thing: &ThingName, group: &ThingGroupName) -> Result<(), StoreError> {
    let sql = "SELECT m.group_name FROM membership m JOIN thing_group g ON g.root = m.root \
               WHERE m.thing = $1 AND g.name = $2";
    let other = tx
        .row(sql, args![thing.as_str(), group.as_str()])
        .await?
        .map(|row| row.at::<String>(0))
        .transpose()?;
    match other {
        Some(other) if other != group.as_str() => Err(StoreError::Rule {
            reason: format!("thing {thing} is in thing group {other}, which is of the same hierarchy as {group}"),
        }),
        _ => Ok(()),
    }
}
