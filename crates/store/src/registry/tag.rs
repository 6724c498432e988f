//! Tags: names with texts that people give to resources. They go with the resource.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;

use crate::sql::args;
use crate::{Db, StoreError, Tx};

/// What can have tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaggedKind {
    /// A thing group.
    Group,
    /// A thing type.
    ThingType,
    /// A policy.
    Policy,
    /// A security profile.
    Profile,
    /// A custom metric.
    Metric,
    /// A dimension.
    Dimension,
    /// A mitigation action.
    MitigationAction,
    /// A CA certificate.
    CaCertificate,
}

/// A resource that can have tags.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tagged {
    /// What it is.
    pub kind: TaggedKind,
    /// Its name.
    pub name: String,
}

/// Tags of one resource: at most [`Tags::N_MAX`], each key once, none of AWS's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<String, String>);

/// Why these are no tags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTags {
    /// A key comes twice.
    #[error("tags have the key {key:?} twice, expected each key once")]
    Twice {
        /// The key.
        key: String,
    },
    /// A key is one of AWS's own.
    #[error("tags have the key {key:?}, expected none that begins with aws:")]
    Reserved {
        /// The key.
        key: String,
    },
    /// A value cannot be stored.
    #[error("the value of tag {key:?} has a character NUL, expected none")]
    Nul {
        /// The key.
        key: String,
    },
    /// There are too many.
    #[error("there are {n_found} tags, expected {} at most", Tags::N_MAX)]
    TooMany {
        /// How many.
        n_found: usize,
    },
}

impl Tags {
    /// The most tags of one resource: AWS's quota.
    pub const N_MAX: usize = 50;

    /// Keys with values, as tags.
    ///
    /// # Errors
    /// Which of the rules they break.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, BadTags> {
        let mut tags = BTreeMap::new();
        for (key, value) in pairs {
            if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
                return Err(BadTags::Reserved { key });
            }
            if value.contains('\0') {
                return Err(BadTags::Nul { key });
            }
            if tags.contains_key(&key) {
                return Err(BadTags::Twice { key });
            }
            tags.insert(key, value);
        }
        match tags.len() {
            n_found if Self::N_MAX < n_found => Err(BadTags::TooMany { n_found }),
            _ => Ok(Self(tags)),
        }
    }
}

impl TaggedKind {
    /// What people call it, its kind in ARNs, its table, and the column that names it.
    const fn place(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Group => ("thing group", "thinggroup", "thing_group", "name"),
            Self::ThingType => ("thing type", "thingtype", "thing_type", "name"),
            Self::Policy => ("policy", "policy", "policy", "name"),
            Self::Profile => ("security profile", "securityprofile", "security_profile", "name"),
            Self::Metric => ("custom metric", "custommetric", "custom_metric", "name"),
            Self::Dimension => ("dimension", "dimension", "dimension", "name"),
            Self::MitigationAction => ("mitigation action", "mitigationaction", "mitigation_action", "name"),
            Self::CaCertificate => ("CA certificate", "cacert", "ca_certificate", "id"),
        }
    }
}

impl Tagged {
    /// The key of its tags: the end of its ARN.
    fn key(&self) -> String {
        format!("{}/{}", self.kind.place().1, self.name)
    }

    /// Holds the resource until the transaction ends, so that it does not go away without its tags.
    async fn lock(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let (what, _, table, column) = self.kind.place();
        let sql = AssertSqlSafe(format!("UPDATE {table} SET {column} = {column} WHERE {column} = $1"));
        match tx.execute(sql, args![self.name.as_str()]).await? {
            0 => Err(StoreError::not_found(what, &self.name)),
            _ => Ok(()),
        }
    }
}

impl Db {
    /// Gives tags to a resource; a tag that it has gets the new value.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Limit`] when it would have more than [`Tags::N_MAX`].
    pub async fn tag(&self, resource: &Tagged, tags: &Tags) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        resource.lock(&mut tx).await?;
        put(&mut tx, resource.kind, &resource.name, tags).await?;
        let sql = "SELECT COUNT(*) FROM tag WHERE resource = $1";
        let row = tx.row(sql, args![resource.key()]).await?;
        let n_max = u64::try_from(Tags::N_MAX).unwrap_or(u64::MAX);
        if n_max < row.map_or(Ok(0), |row| row.count(0))? {
            let what = "tags of a resource";
            return Err(StoreError::Limit { what, n_max });
        }
        tx.commit().await
    }

    /// Takes tags from a resource; one that it does not have is taken already.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the resource.
    pub async fn untag(&self, resource: &Tagged, keys: &[String]) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        resource.lock(&mut tx).await?;
        for key in keys {
            let sql = "DELETE FROM tag WHERE resource = $1 AND name = $2";
            tx.execute(sql, args![resource.key(), key.as_str()]).await?;
        }
        tx.commit().await
    }

    /// The tags of a resource, by key.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the resource.
    pub async fn tags(&self, resource: &Tagged) -> Result<BTreeMap<String, String>, StoreError> {
        let sql = "SELECT name, value FROM tag WHERE resource = $1 ORDER BY name";
        let rows = self.rows(sql, args![resource.key()]).await?;
        let (what, _, table, column) = resource.kind.place();
        let exists = AssertSqlSafe(format!("SELECT 1 FROM {table} WHERE {column} = $1"));
        if rows.is_empty() && self.row(exists, args![resource.name.as_str()]).await?.is_none() {
            return Err(StoreError::not_found(what, &resource.name));
        }
        rows.iter().map(|row| Ok((row.at(0)?, row.at(1)?))).collect()
    }
}

/// Writes the tags of a resource that this transaction holds, or has just created.
pub(crate) async fn put(tx: &mut Tx, kind: TaggedKind, name: &str, tags: &Tags) -> Result<(), StoreError> {
    let name = name.to_owned();
    let resource = Tagged { kind, name }.key();
    let sql = "INSERT INTO tag (resource, name, value) VALUES ($1, $2, $3) \
               ON CONFLICT (resource, name) DO UPDATE SET value = excluded.value";
    for (key, value) in &tags.0 {
        tx.execute(sql, args![resource.as_str(), key.as_str(), value.as_str()])
            .await?;
    }
    Ok(())
}

/// Removes the tags of a resource. To be called when this transaction holds it, or has just deleted it, so that nobody can
/// give it another.
pub(crate) async fn remove_all(tx: &mut Tx, kind: TaggedKind, name: &str) -> Result<(), StoreError> {
    let name = name.to_owned();
    let sql = "DELETE FROM tag WHERE resource = $1";
    tx.execute(sql, args![Tagged { kind, name }.key()]).await.map(drop)
}
