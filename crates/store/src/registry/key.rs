//! Access keys of the API's callers. A secret comes here sealed; whoever takes the database alone cannot use it.

use picket_model::time::Timestamp;

use crate::sql::{Row, args};
use crate::{Db, StoreError};

/// An access key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// Its id, which requests carry.
    pub id: String,
    /// Its secret, encrypted with a key that is not in the database.
    pub sealed_secret: Vec<u8>,
    /// What people say of it.
    pub description: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Since when it opens nothing any more.
    pub disabled_at: Option<Timestamp>,
}

impl Db {
    /// Keeps a new key.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is one of that id.
    pub async fn create_access_key(&self, key: &AccessKey) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "INSERT INTO access_key (id, sealed_secret, description, created_at, disabled_at) \
                   VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING";
        let values = args![
            key.id.as_str(),
            key.sealed_secret.as_slice(),
            key.description.as_str(),
            key.created_at.millis(),
            key.disabled_at.map(Timestamp::millis),
        ];
        if tx.execute(sql, values).await? == 0 {
            return Err(StoreError::exists("access key", &key.id));
        }
        tx.commit().await
    }

    /// The key of that id, disabled or not.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn access_key(&self, id: &str) -> Result<Option<AccessKey>, StoreError> {
        let sql = "SELECT id, sealed_secret, description, created_at, disabled_at FROM access_key WHERE id = $1";
        self.row(sql, args![id]).await?.map(|row| key_of(&row)).transpose()
    }

    /// The next `n_max` keys after `after`, by id.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn access_keys(&self, after: Option<&str>, n_max: u32) -> Result<Vec<AccessKey>, StoreError> {
        let sql = "SELECT id, sealed_secret, description, created_at, disabled_at FROM access_key \
                   WHERE id > $1 ORDER BY id LIMIT $2";
        let rows = self.rows(sql, args![after.unwrap_or_default(), n_max]).await?;
        rows.iter().map(key_of).collect()
    }

    /// Makes a key open nothing any more. Disabled once more, it stays disabled since the first time.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Rule`] for the last key that works, without which nobody could come in.
    pub async fn disable_access_key(&self, id: &str, at: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        // All rows are held: two callers that disable each other's key wait here.
        tx.execute("UPDATE access_key SET description = description", args![])
            .await?;
        let sql = "UPDATE access_key SET disabled_at = COALESCE(disabled_at, $1) WHERE id = $2";
        if tx.execute(sql, args![at.millis(), id]).await? == 0 {
            return Err(StoreError::not_found("access key", id));
        }
        let sql = "SELECT id FROM access_key WHERE disabled_at IS NULL LIMIT 1";
        if tx.row(sql, args![]).await?.is_none() {
            let reason = format!("access key {id} is the last one that works, create another one first");
            return Err(StoreError::Rule { reason });
        }
        tx.commit().await
    }
}

fn key_of(row: &Row) -> Result<AccessKey, StoreError> {
    Ok(AccessKey {
        id: row.at(0)?,
        sealed_secret: row.at(1)?,
        description: row.at(2)?,
        created_at: Timestamp::from_millis(row.at(3)?),
        disabled_at: row.at::<Option<i64>>(4)?.map(Timestamp::from_millis),
    })
}
