//! Things: the devices that are registered.

use picket_model::name::{ThingName, ThingTypeName};
use picket_model::time::Timestamp;

use super::{Attributes, attributes_of_json, attributes_to_json, expect_version, id_of, membership, thing_type};
use crate::sql::{Row, args};
use crate::{Db, StoreError, Tx};

/// A registered thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// Its name.
    pub name: ThingName,
    /// Its id, in the form of a UUID: another one if it is deleted and created again.
    pub id: String,
    /// Its type, if it has one.
    pub type_name: Option<ThingTypeName>,
    /// Its attributes.
    pub attributes: Attributes,
    /// 1 at first, one more with each update.
    pub version: i64,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// A thing to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewThing {
    /// Its name.
    pub name: ThingName,
    /// Its type, if it has one.
    pub type_name: Option<ThingTypeName>,
    /// Its attributes.
    pub attributes: Attributes,
}

/// What to do to one member of a thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// Leave it as it is.
    #[default]
    Keep,
    /// Have this and nothing else.
    Set(T),
    /// Put this into what is there; an attribute with an empty text goes away.
    Merge(T),
    /// Have none.
    Remove,
}

/// An update of a thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThingUpdate {
    /// Its type.
    pub type_name: Change<ThingTypeName>,
    /// Its attributes. One that is set to an empty text is left out.
    pub attributes: Change<Attributes>,
    /// The version that the caller has seen; refused when it is another.
    pub expected_version: Option<i64>,
}

/// Which things to list. Everything that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThingFilter {
    /// Only things of this type.
    pub type_name: Option<ThingTypeName>,
    /// Only things with such an attribute.
    pub attribute: Option<AttributeFilter>,
}

/// An attribute that a thing must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeFilter {
    /// Its name.
    pub name: String,
    /// Its text; any when `None`.
    pub value: Option<String>,
    /// Whether the text need only begin so.
    pub is_prefix: bool,
}

impl Db {
    /// Registers a thing. The same thing again is the same.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is one of that name with another type or other attributes;
    /// [`StoreError::NotFound`] for the type; [`StoreError::Rule`] when the type is out of use, or there are more attributes
    /// than such a thing can have.
    pub async fn create_thing(&self, new: &NewThing, at: Timestamp) -> Result<Thing, StoreError> {
        let mut tx = self.begin_write().await?;
        let type_name = new.type_name.as_ref().map(ThingTypeName::as_str);
        let attributes = attributes_to_json(&new.attributes)?;
        let sql = "INSERT INTO thing (name, thing_id, type_name, attributes, version, created_at) \
                   VALUES ($1, $2, $3, $4, 1, $5) ON CONFLICT (name) DO NOTHING";
        let id = id_of("thing", new.name.as_str(), at);
        let values = args![new.name.as_str(), id, type_name, attributes, at.millis()];
        let is_new = tx.execute(sql, values).await? == 1;
        let thing = thing_in(&mut tx, &new.name).await?;
        if is_new {
            if let Some(name) = &new.type_name {
                thing_type::lock_in_use(&mut tx, name).await?;
            }
            thing.check_attributes()?;
            write_attributes(&mut tx, &thing).await?;
            membership::announce(&mut tx, &new.name).await?;
            tx.commit().await?;
        } else if (&thing.type_name, &thing.attributes) != (&new.type_name, &new.attributes) {
            return Err(StoreError::exists("thing", &new.name));
        }
        Ok(thing)
    }

    /// The thing of that name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn thing(&self, name: &ThingName) -> Result<Option<Thing>, StoreError> {
        let sql = "SELECT name, thing_id, type_name, attributes, version, created_at FROM thing WHERE name = $1";
        self.row(sql, args![name.as_str()])
            .await?
            .map(|row| thing_of(&row))
            .transpose()
    }

    /// The first `n_max` things after `after`, by name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn things(
        &self,
        filter: &ThingFilter,
        after: Option<&ThingName>,
        n_max: u32,
    ) -> Result<Vec<Thing>, StoreError> {
        let after = after.map_or("", ThingName::as_str);
        let type_name = filter.type_name.as_ref().map(ThingTypeName::as_str);
        let rows = match &filter.attribute {
            None => {
                let sql = "SELECT name, thing_id, type_name, attributes, version, created_at FROM thing \
                           WHERE name > $1 AND ($2 IS NULL OR type_name = $2) ORDER BY name LIMIT $3";
                self.rows(sql, args![after, type_name, n_max]).await?
            }
            Some(wanted) => {
                let sql = "SELECT t.name, t.thing_id, t.type_name, t.attributes, t.version, t.created_at \
                           FROM thing_attribute a JOIN thing t ON t.name = a.thing \
                           WHERE a.name = $1 AND a.value >= $2 AND a.value <= $3 AND a.thing > $4 \
                           AND ($5 IS NULL OR t.type_name = $5) ORDER BY a.thing LIMIT $6";
                let (first, last) = wanted.range();
                let values = args![wanted.name.as_str(), first, last, after, type_name, n_max];
                self.rows(sql, values).await?
            }
        };
        rows.iter().map(thing_of).collect()
    }

    /// Changes a thing; says what it is now.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the thing or its new type; [`StoreError::Version`] when the caller has seen another
    /// version; [`StoreError::Rule`] when the new type is out of use, or there would be more attributes than such a thing can
    /// have.
    pub async fn update_thing(&self, name: &ThingName, update: &ThingUpdate) -> Result<Thing, StoreError> {
        let mut tx = self.begin_write().await?;
        if !lock(&mut tx, name).await? {
            return Err(StoreError::not_found("thing", name));
        }
        let mut thing = thing_in(&mut tx, name).await?;
        expect_version("thing", name, thing.version, update.expected_version)?;
        let old_type = thing.type_name.clone();
        thing.apply(update);
        match &thing.type_name {
            Some(new) if thing.type_name != old_type => thing_type::lock_in_use(&mut tx, new).await?,
            _ => {}
        }
        thing.check_attributes()?;
        let sql = "UPDATE thing SET type_name = $1, attributes = $2, version = $3 WHERE name = $4";
        let attributes = attributes_to_json(&thing.attributes)?;
        let type_name = thing.type_name.as_ref().map(ThingTypeName::as_str);
        tx.execute(sql, args![type_name, attributes, thing.version, name.as_str()])
            .await?;
        tx.execute("DELETE FROM thing_attribute WHERE thing = $1", args![name.as_str()])
            .await?;
        write_attributes(&mut tx, &thing).await?;
        tx.commit().await?;
        Ok(thing)
    }

    /// Removes a thing and its memberships; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while a principal is attached to it, [`StoreError::Version`] when the caller has seen another
    /// version.
    pub async fn delete_thing(&self, name: &ThingName, expected_version: Option<i64>) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        if !lock(&mut tx, name).await? {
            return Ok(false);
        }
        let thing = thing_in(&mut tx, name).await?;
        expect_version("thing", name, thing.version, expected_version)?;
        let sql = "SELECT certificate FROM thing_principal WHERE thing = $1 LIMIT 1";
        if let Some(row) = tx.row(sql, args![name.as_str()]).await? {
            return Err(StoreError::InUse {
                what: "thing",
                name: name.to_string(),
                by: format!("certificate {}", row.at::<String>(0)?),
            });
        }
        tx.execute("DELETE FROM thing WHERE name = $1", args![name.as_str()])
            .await?;
        membership::announce(&mut tx, name).await?;
        tx.commit().await?;
        Ok(true)
    }
}

impl Thing {
    /// The most attributes of a thing with a type: AWS's quota.
    pub const N_ATTRIBUTES_MAX: usize = 50;
    /// The most attributes of a thing without a type: AWS's quota.
    pub const N_ATTRIBUTES_WITHOUT_TYPE_MAX: usize = 3;

    fn check_attributes(&self) -> Result<(), StoreError> {
        let (kind, n_max) = match &self.type_name {
            Some(_) => ("with", Self::N_ATTRIBUTES_MAX),
            None => ("without", Self::N_ATTRIBUTES_WITHOUT_TYPE_MAX),
        };
        let (name, n_found) = (&self.name, self.attributes.len());
        if n_max < n_found {
            let reason = format!(
                "thing {name} would have {n_found} attributes, expected {n_max} at most for a thing {kind} a type"
            );
            return Err(StoreError::Rule { reason });
        }
        Ok(())
    }

    fn apply(&mut self, update: &ThingUpdate) {
        self.version += 1;
        match &update.type_name {
            Change::Keep => {}
            Change::Set(name) | Change::Merge(name) => self.type_name = Some(name.clone()),
            Change::Remove => self.type_name = None,
        }
        update.attributes.apply(&mut self.attributes);
    }
}

impl Change<Attributes> {
    /// Changes the attributes. One with an empty text goes away.
    pub(super) fn apply(&self, attributes: &mut Attributes) {
        match self {
            Self::Keep => {}
            Self::Set(new) => attributes.clone_from(new),
            Self::Merge(new) => attributes.extend(new.clone()),
            Self::Remove => attributes.clear(),
        }
        attributes.retain(|_, value| !value.is_empty());
    }
}

impl AttributeFilter {
    /// The first and the last text that fit. No attribute holds the last character of Unicode.
    fn range(&self) -> (String, String) {
        let value = self.value.clone().unwrap_or_default();
        if self.is_prefix || self.value.is_none() {
            let last = format!("{value}{}", char::MAX);
            (value, last)
        } else {
            (value.clone(), value)
        }
    }
}

/// Holds the thing until the transaction ends; says whether there is one.
pub(crate) async fn lock(tx: &mut Tx, name: &ThingName) -> Result<bool, StoreError> {
    let sql = "UPDATE thing SET version = version WHERE name = $1";
    Ok(tx.execute(sql, args![name.as_str()]).await? == 1)
}

async fn thing_in(tx: &mut Tx, name: &ThingName) -> Result<Thing, StoreError> {
    let sql = "SELECT name, thing_id, type_name, attributes, version, created_at FROM thing WHERE name = $1";
    match tx.row(sql, args![name.as_str()]).await? {
        Some(row) => thing_of(&row),
        None => Err(StoreError::not_found("thing", name)),
    }
}

async fn write_attributes(tx: &mut Tx, thing: &Thing) -> Result<(), StoreError> {
    let sql = "INSERT INTO thing_attribute (thing, name, value) VALUES ($1, $2, $3)";
    for (name, value) in &thing.attributes {
        tx.execute(sql, args![thing.name.as_str(), name.as_str(), value.as_str()])
            .await?;
    }
    Ok(())
}

fn thing_of(row: &Row) -> Result<Thing, StoreError> {
    Ok(Thing {
        name: row.parsed(0)?,
        id: row.at(1)?,
        type_name: row.parsed_option(2)?,
        attributes: attributes_of_json(&row.at::<String>(3)?)?,
        version: row.at(4)?,
        created_at: Timestamp::from_millis(row.at(5)?),
    })
}
