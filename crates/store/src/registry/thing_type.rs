//! Thing types: what things of one kind have in common.

use std::collections::BTreeSet;

use picket_model::name::ThingTypeName;
use picket_model::time::Timestamp;

use super::id_of;
use super::tag::{self, TaggedKind, Tags};
use crate::sql::{Row, args};
use crate::{Db, StoreError, Tx};

/// How long a type must be out of use before it can be deleted: AWS's rule.
const DEPRECATED_MS_MIN: i64 = 5 * 60 * 1000;

/// A thing type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThingType {
    /// Its name.
    pub name: ThingTypeName,
    /// What people say of it, and what its things have.
    pub properties: ThingTypeProperties,
    /// When it was created.
    pub created_at: Timestamp,
    /// Since when no more things can have it; `None` while they can.
    pub deprecated_at: Option<Timestamp>,
}

/// What people say of a thing type, and what its things have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThingTypeProperties {
    /// A description.
    pub description: Option<String>,
    /// Names of attributes; [`ThingType::N_SEARCHABLE_MAX`] at most.
    pub searchable_attributes: BTreeSet<String>,
    /// AWS's `mqtt5Configuration`, as JSON.
    pub mqtt5_configuration: Option<String>,
}

/// What to change of a thing type. `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThingTypeUpdate {
    /// A description.
    pub description: Option<String>,
    /// Names of attributes.
    pub searchable_attributes: Option<BTreeSet<String>>,
    /// AWS's `mqtt5Configuration`, as JSON.
    pub mqtt5_configuration: Option<String>,
}

const SELECT: &str = "SELECT name, description, searchable_attributes, mqtt5_configuration, created_at, deprecated_at \
                      FROM thing_type WHERE name = $1";

impl ThingType {
    /// The most searchable attributes of one type: AWS's quota.
    pub const N_SEARCHABLE_MAX: usize = 3;

    /// Its id, in the form of a UUID: another one if it is deleted and created again.
    pub fn id(&self) -> String {
        id_of("thing type", self.name.as_str(), self.created_at)
    }
}

impl Db {
    /// Creates a thing type. The same type again is the same.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is one of that name with other properties.
    pub async fn create_thing_type(
        &self,
        name: &ThingTypeName,
        properties: &ThingTypeProperties,
        tags: &Tags,
        at: Timestamp,
    ) -> Result<ThingType, StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "INSERT INTO thing_type (name, description, searchable_attributes, mqtt5_configuration, created_at) \
                   VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING";
        let values = args![
            name.as_str(),
            properties.description.as_deref(),
            attributes_json(&properties.searchable_attributes)?,
            properties.mqtt5_configuration.as_deref(),
            at.millis(),
        ];
        let is_new = tx.execute(sql, values).await? == 1;
        let found = type_in(&mut tx, name).await?;
        if is_new {
            tag::put(&mut tx, TaggedKind::ThingType, name.as_str(), tags).await?;
            tx.commit().await?;
        } else if found.properties != *properties {
            return Err(StoreError::exists("thing type", name));
        }
        Ok(found)
    }

    /// Changes the properties of a thing type.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]
    pub async fn update_thing_type(&self, name: &ThingTypeName, update: &ThingTypeUpdate) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "UPDATE thing_type SET description = COALESCE($1, description), \
                   searchable_attributes = COALESCE($2, searchable_attributes), \
                   mqtt5_configuration = COALESCE($3, mqtt5_configuration) WHERE name = $4";
        let values = args![
            update.description.as_deref(),
            update.searchable_attributes.as_ref().map(attributes_json).transpose()?,
            update.mqtt5_configuration.as_deref(),
            name.as_str(),
        ];
        if tx.execute(sql, values).await? == 0 {
            return Err(StoreError::not_found("thing type", name));
        }
        tx.commit().await
    }

    /// The thing type of that name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn thing_type(&self, name: &ThingTypeName) -> Result<Option<ThingType>, StoreError> {
        let row = self.row(SELECT, args![name.as_str()]).await?;
        row.as_ref().map(type_of).transpose()
    }

    /// The next `n_max` thing types after `after`, by name; with a name only that one.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn thing_types(
        &self,
        only: Option<&ThingTypeName>,
        after: Option<&ThingTypeName>,
        n_max: u32,
    ) -> Result<Vec<ThingType>, StoreError> {
        let sql = "SELECT name, description, searchable_attributes, mqtt5_configuration, created_at, deprecated_at \
                   FROM thing_type WHERE name > $1 AND ($2 IS NULL OR name = $2) ORDER BY name LIMIT $3";
        let after = after.map_or("", ThingTypeName::as_str);
        let rows = self
            .rows(sql, args![after, only.map(ThingTypeName::as_str), n_max])
            .await?;
        rows.iter().map(type_of).collect()
    }

    /// Takes a thing type out of use at that time, or into use again with `None`. Out of use once more changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]
    pub async fn deprecate_thing_type(&self, name: &ThingTypeName, at: Option<Timestamp>) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let at = at.map(Timestamp::millis);
        let sql = "UPDATE thing_type SET deprecated_at = CASE WHEN $1 IS NULL THEN NULL ELSE COALESCE(deprecated_at, $1) END \
                   WHERE name = $2";
        if tx.execute(sql, args![at, name.as_str()]).await? == 0 {
            return Err(StoreError::not_found("thing type", name));
        }
        tx.commit().await
    }

    /// Removes a thing type that has been out of use for five minutes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Rule`] when it is in use, or was five minutes ago; [`StoreError::InUse`]
    /// while things have it.
    pub async fn delete_thing_type(&self, name: &ThingTypeName, at: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx, name).await?;
        let found = type_in(&mut tx, name).await?;
        let Some(deprecated_at) = found.deprecated_at else {
            let reason = format!("thing type {name} is not deprecated, expected one that was 5 minutes ago");
            return Err(StoreError::Rule { reason });
        };
        let since_ms = at.millis().saturating_sub(deprecated_at.millis());
        if since_ms < DEPRECATED_MS_MIN {
            let since_secs = since_ms / 1000;
            let reason =
                format!("thing type {name} was deprecated {since_secs} s ago, expected 5 minutes ago or before");
            return Err(StoreError::Rule { reason });
        }
        let sql = "SELECT name FROM thing WHERE type_name = $1 ORDER BY name LIMIT 1";
        if let Some(thing) = tx.row(sql, args![name.as_str()]).await? {
            return Err(StoreError::InUse {
                what: "thing type",
                name: name.to_string(),
                by: format!("thing {}", thing.at::<String>(0)?),
            });
        }
        tx.execute("DELETE FROM thing_type WHERE name = $1", args![name.as_str()])
            .await?;
        tag::remove_all(&mut tx, TaggedKind::ThingType, name.as_str()).await?;
        tx.commit().await
    }
}

/// Makes sure that a thing can get this type, and that it still can when the transaction ends.
pub(super) async fn lock_in_use(tx: &mut Tx, name: &ThingTypeName) -> Result<(), StoreError> {
    lock(tx, name).await?;
    if type_in(tx, name).await?.deprecated_at.is_some() {
        let reason = format!("thing type {name} is deprecated, no more things can have it");
        return Err(StoreError::Rule { reason });
    }
    Ok(())
}

/// Holds the type until the transaction ends.
async fn lock(tx: &mut Tx, name: &ThingTypeName) -> Result<(), StoreError> {
    let sql = "UPDATE thing_type SET created_at = created_at WHERE name = $1";
    match tx.execute(sql, args![name.as_str()]).await? {
        0 => Err(StoreError::not_found("thing type", name)),
        _ => Ok(()),
    }
}

async fn type_in(tx: &mut Tx, name: &ThingTypeName) -> Result<ThingType, StoreError> {
    match tx.row(SELECT, args![name.as_str()]).await? {
        Some(row) => type_of(&row),
        None => Err(StoreError::not_found("thing type", name)),
    }
}

fn type_of(row: &Row) -> Result<ThingType, StoreError> {
    let attributes: String = row.at(2)?;
    let searchable_attributes = serde_json::from_str(&attributes)
        .map_err(|err| StoreError::corrupt("searchable attributes", &attributes, err))?;
    Ok(ThingType {
        name: row.parsed(0)?,
        properties: ThingTypeProperties {
            description: row.at(1)?,
            searchable_attributes,
            mqtt5_configuration: row.at(3)?,
        },
        created_at: Timestamp::from_millis(row.at(4)?),
        deprecated_at: row.at::<Option<i64>>(5)?.map(Timestamp::from_millis),
    })
}

fn attributes_json(attributes: &BTreeSet<String>) -> Result<String, StoreError> {
    serde_json::to_string(attributes).map_err(|err| StoreError::corrupt("searchable attributes", "a list", err))
}
