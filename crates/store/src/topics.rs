//! Topics that alerts go to, and who is subscribed to them.
//!
//! Reading order: this (topics), `subscription` (who is told), `message` (what is said, and to whom it has still to be
//! delivered).

mod message;
mod subscription;

use std::collections::BTreeMap;

use picket_model::name::TopicName;
use picket_model::time::Timestamp;

use crate::sql::{Row, args};
use crate::{Db, StoreError, Tx};

pub use message::{DELIVERIES_MAX, Delivery, Message, Publication};
pub use subscription::{Confirmation, NewSubscription, PENDING_MILLIS_MAX, Subscription};

/// Names with texts, as SNS attaches them to topics.
pub type TopicAttributes = BTreeMap<String, String>;

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// What its owner said of it, as written.
    pub attributes: TopicAttributes,
    /// When it was created.
    pub created_at: Timestamp,
    /// Subscriptions that are confirmed.
    pub n_confirmed: u64,
    /// Subscriptions that are not.
    pub n_pending: u64,
}

/// Topics in all.
const N_TOPICS_MAX: u64 = 1000;

const SELECT: &str = "SELECT name, attributes, created_at, \
    (SELECT COUNT(*) FROM subscription WHERE topic = topic.name AND confirmed_at IS NOT NULL), \
    (SELECT COUNT(*) FROM subscription WHERE topic = topic.name AND confirmed_at IS NULL) FROM topic WHERE name = $1";

impl Db {
    /// Creates a topic. The same once more is the same.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is one of that name with another value of one of these attributes;
    /// [`StoreError::Limit`] when there are 1000.
    pub async fn create_topic(
        &self,
        name: &TopicName,
        attributes: &TopicAttributes,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "INSERT INTO topic (name, attributes, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
        let args = args![name.as_str(), attributes_json(attributes)?, at.millis()];
        if tx.execute(sql, args).await? == 0 {
            let found = topic_in(&mut tx, name).await?;
            let is_same = attributes
                .iter()
                .all(|(attribute, value)| found.attributes.get(attribute) == Some(value));
            return if is_same {
                Ok(())
            } else {
                Err(StoreError::exists("topic", name))
            };
        }
        let row = tx.row("SELECT COUNT(*) FROM topic", args![]).await?;
        if N_TOPICS_MAX < row.map_or(Ok(0), |row| row.count(0))? {
            return Err(StoreError::Limit {
                what: "topics",
                n_max: N_TOPICS_MAX,
            });
        }
        tx.commit().await
    }

    /// The topic of that name.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn topic(&self, name: &TopicName) -> Result<Option<Topic>, StoreError> {
        let row = self.row(SELECT, args![name.as_str()]).await?;
        row.as_ref().map(topic_of).transpose()
    }

    /// The names of the next `n_max` topics after `after`.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn topics(&self, after: Option<&TopicName>, n_max: u32) -> Result<Vec<TopicName>, StoreError> {
        let sql = "SELECT name FROM topic WHERE name > $1 ORDER BY name LIMIT $2";
        let rows = self
            .rows(sql, args![after.map_or("", TopicName::as_str), n_max])
            .await?;
        rows.iter().map(|row| row.parsed(0)).collect()
    }

    /// Says something of a topic.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]
    pub async fn describe_topic(&self, name: &TopicName, attribute: &str, value: &str) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx, name).await?;
        let mut attributes = topic_in(&mut tx, name).await?.attributes;
        attributes.insert(attribute.to_owned(), value.to_owned());
        let sql = "UPDATE topic SET attributes = $1 WHERE name = $2";
        tx.execute(sql, args![attributes_json(&attributes)?, name.as_str()])
            .await?;
        tx.commit().await
    }

    /// Removes a topic, its subscriptions, and what they had still to be told; says whether there was one.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn delete_topic(&self, name: &TopicName) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        match lock(&mut tx, name).await {
            Err(StoreError::NotFound { .. }) => return Ok(false),
            locked => locked?,
        }
        for sql in [
            "DELETE FROM delivery WHERE subscription_id IN (SELECT subscription_id FROM subscription WHERE topic = $1)",
            "DELETE FROM subscription WHERE topic = $1",
            "DELETE FROM topic WHERE name = $1",
        ] {
            tx.execute(sql, args![name.as_str()]).await?;
        }
        message::forget_delivered(&mut tx).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Holds a topic until the transaction ends: who publishes sees all of its subscriptions, or none of a change.
async fn lock(tx: &mut Tx, name: &TopicName) -> Result<(), StoreError> {
    let sql = "UPDATE topic SET name = name WHERE name = $1";
    match tx.execute(sql, args![name.as_str()]).await? {
        0 => Err(StoreError::not_found("topic", name)),
        _ => Ok(()),
    }
}

async fn topic_in(tx: &mut Tx, name: &TopicName) -> Result<Topic, StoreError> {
    match tx.row(SELECT, args![name.as_str()]).await? {
        Some(row) => topic_of(&row),
        None => Err(StoreError::not_found("topic", name)),
    }
}

fn topic_of(row: &Row) -> Result<Topic, StoreError> {
    let attributes: String = row.at(1)?;
    Ok(Topic {
        name: row.parsed(0)?,
        attributes: serde_json::from_str(&attributes)
            .map_err(|err| StoreError::corrupt("attributes of a topic", &attributes, err))?,
        created_at: Timestamp::from_millis(row.at(2)?),
        n_confirmed: row.count(3)?,
        n_pending: row.count(4)?,
    })
}

fn attributes_json(attributes: &TopicAttributes) -> Result<String, StoreError> {
    serde_json::to_string(attributes).map_err(|err| StoreError::corrupt("attributes", "a map of texts", err))
}
