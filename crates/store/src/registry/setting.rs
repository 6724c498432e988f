//! Settings of the account: what is announced, what is logged.

use std::collections::BTreeMap;

use picket_model::time::Timestamp;

use crate::sql::args;
use crate::{Db, StoreError};

/// Whether changes of one type are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSetting {
    /// Whether they are.
    pub is_enabled: bool,
    /// When it was said first.
    pub created_at: Timestamp,
    /// When it was said last.
    pub modified_at: Timestamp,
}

/// A setting that is stored as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// AWS's logging options.
    Logging,
    /// AWS's logging options, the second version of them.
    V2Logging,
}

impl Setting {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Logging => "logging",
            Self::V2Logging => "v2-logging",
        }
    }
}

impl Db {
    /// What was said of events, by type. A type that is missing was never spoken of.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn event_settings(&self) -> Result<BTreeMap<String, EventSetting>, StoreError> {
        let sql = "SELECT event_type, is_enabled, created_at, modified_at FROM event_configuration";
        let mut settings = BTreeMap::new();
        for row in self.rows(sql, args![]).await? {
            let setting = EventSetting {
                is_enabled: row.at(1)?,
                created_at: Timestamp::from_millis(row.at(2)?),
                modified_at: Timestamp::from_millis(row.at(3)?),
            };
            settings.insert(row.at(0)?, setting);
        }
        Ok(settings)
    }

    /// Says of some types whether they are announced; the others stay as they are.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn set_events(&self, events: &BTreeMap<String, bool>, at: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        for (event_type, is_enabled) in events {
            let sql = "INSERT INTO event_configuration (event_type, is_enabled, created_at, modified_at) \
                       VALUES ($1, $2, $3, $3) ON CONFLICT (event_type) \
                       DO UPDATE SET is_enabled = excluded.is_enabled, modified_at = excluded.modified_at";
            tx.execute(sql, args![event_type.as_str(), *is_enabled, at.millis()])
                .await?;
        }
        tx.commit().await
    }

    /// A setting as it was given; `None` when it never was.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn setting(&self, setting: Setting) -> Result<Option<String>, StoreError> {
        let sql = "SELECT body FROM account_setting WHERE name = $1";
        let row = self.row(sql, args![setting.as_str()]).await?;
        row.map(|row| row.at(0)).transpose()
    }

    /// Changes a setting from what it is to what `change` makes of it, with nobody in between.
    ///
    /// # Errors
    /// That of `change`, or the database cannot be written.
    pub async fn change_setting<E: From<StoreError>>(
        &self,
        setting: Setting,
        change: impl FnOnce(Option<&str>) -> Result<String, E> + Send,
    ) -> Result<(), E> {
        let mut tx = self.begin_write().await?;
        // Empty until it is given, so that there is a row to hold.
        let sql = "INSERT INTO account_setting (name, body) VALUES ($1, '') ON CONFLICT (name) DO UPDATE SET name = excluded.name";
        tx.execute(sql, args![setting.as_str()]).await?;
        let sql = "SELECT body FROM account_setting WHERE name = $1";
        let row = tx.row(sql, args![setting.as_str()]).await?;
        let old: Option<String> = row.map(|row| row.at(0)).transpose()?;
        let new = change(old.as_deref().filter(|body| !body.is_empty()))?;
        let sql = "UPDATE account_setting SET body = $1 WHERE name = $2";
        tx.execute(sql, args![new, setting.as_str()]).await?;
        tx.commit().await?;
        Ok(())
    }
}
