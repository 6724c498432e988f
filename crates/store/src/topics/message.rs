//! What is said to a topic, and who has still to be told.
//!
//! A message and its deliveries are written in one transaction, so whoever was subscribed is told, whatever crashes. A
//! delivery goes away when the endpoint has taken it.

use picket_model::sns::{SubscriptionId, TopicArn};
use picket_model::time::Timestamp;

use super::lock;
use super::subscription::Subscription;
use crate::outbox::take;
use crate::registry::id_of;
use crate::sql::{args, int};
use crate::{Db, StoreError, Tx};

/// What somebody says to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The topic.
    pub topic: TopicArn,
    /// A headline, for mail above all.
    pub subject: Option<String>,
    /// The text; when it is structured, a JSON object with one text a protocol, and `default`.
    pub body: String,
    /// Whether it is.
    pub is_structured: bool,
    /// What else is said, a JSON object as the envelope carries it.
    pub attributes: Option<String>,
}

/// A message of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// In the form of a UUID.
    pub id: String,
    /// The topic's ARN, as whoever spoke wrote it.
    pub topic_arn: String,
    /// Whether it asks if the subscription is wanted; else it is a notification.
    pub is_question: bool,
    /// See [`Publication::subject`].
    pub subject: Option<String>,
    /// See [`Publication::body`].
    pub body: String,
    /// See [`Publication::is_structured`].
    pub is_structured: bool,
    /// See [`Publication::attributes`].
    pub attributes: Option<String>,
    /// When it was said.
    pub published_at: Timestamp,
}

/// A message that has to be delivered to a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The number of the message.
    pub seq: u64,
    /// How often it was tried.
    pub n_attempts: u64,
    /// What is to be delivered.
    pub message: Message,
}

/// Messages that may wait for one subscription: beyond that the oldest are given up.
pub const DELIVERIES_MAX: u32 = 10_000;

impl Db {
    /// Publishes a message: whoever is subscribed with a URL now will be told. Says the message's id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the topic.
    pub async fn publish(&self, publication: &Publication, at: Timestamp) -> Result<String, StoreError> {
        let mut tx = self.begin_write().await?;
        let id = write(&mut tx, publication, at).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Publishes what item `seq` of the outbox gives rise to, and notes that its reader is done with it, both or none: so it
    /// is said once. Nothing is said when the reader was done with it before.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the topic: then nothing is noted either.
    pub async fn publish_news(
        &self,
        consumer: &str,
        seq: u64,
        publication: &Publication,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        // The reader's row is held: whoever else reads as it waits here, and then finds that it is done.
        let sql = "UPDATE outbox_consumer SET seq = $1 WHERE name = $2 AND seq < $1";
        if tx.execute(sql, args![int(seq), consumer]).await? == 0 {
            return Ok(());
        }
        write(&mut tx, publication, at).await?;
        tx.commit().await
    }

    /// The subscriptions that have still to be told something.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn awaiting_subscriptions(&self) -> Result<Vec<SubscriptionId>, StoreError> {
        let sql = "SELECT DISTINCT subscription_id FROM delivery ORDER BY subscription_id";
        let rows = self.rows(sql, args![]).await?;
        rows.iter().map(|row| row.parsed(0)).collect()
    }

    /// What a subscription has to be told next, if anything.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn next_delivery(&self, id: SubscriptionId) -> Result<Option<Delivery>, StoreError> {
        let sql = "SELECT d.seq, d.n_attempts, m.message_id, m.topic_arn, m.is_question, m.subject, m.body, \
                   m.is_structured, m.attributes, m.published_at \
                   FROM delivery d JOIN message m ON m.seq = d.seq \
                   WHERE d.subscription_id = $1 ORDER BY d.seq LIMIT 1";
        let Some(row) = self.row(sql, args![id.to_string()]).await? else {
            return Ok(None);
        };
        Ok(Some(Delivery {
            seq: row.count(0)?,
            n_attempts: row.count(1)?,
            message: Message {
                id: row.at(2)?,
                topic_arn: row.at(3)?,
                is_question: row.at(4)?,
                subject: row.at(5)?,
                body: row.at(6)?,
                is_structured: row.at(7)?,
                attributes: row.at(8)?,
                published_at: Timestamp::from_millis(row.at(9)?),
            },
        }))
    }

    /// Notes that nothing is left to do about a message for a subscription.
    ///
    /// # Errors
    /// The database cannot be written; the subscription will be told once more.
    pub async fn end_delivery(&self, id: SubscriptionId, seq: u64) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "DELETE FROM delivery WHERE subscription_id = $1 AND seq = $2";
        tx.execute(sql, args![id.to_string(), int(seq)]).await?;
        let sql = "DELETE FROM message WHERE seq = $1 AND NOT EXISTS (SELECT 1 FROM delivery WHERE seq = $1)";
        tx.execute(sql, args![int(seq)]).await?;
        tx.commit().await
    }

    /// Notes that a delivery was tried in vain, and gives the oldest up beyond [`DELIVERIES_MAX`]. Says how many those were.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn note_attempt(&self, id: SubscriptionId, seq: u64) -> Result<u64, StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "UPDATE delivery SET n_attempts = n_attempts + 1 WHERE subscription_id = $1 AND seq = $2";
        tx.execute(sql, args![id.to_string(), int(seq)]).await?;
        let sql = "DELETE FROM delivery WHERE subscription_id = $1 AND seq <= (SELECT seq FROM delivery \
                   WHERE subscription_id = $1 ORDER BY seq DESC LIMIT 1 OFFSET $2)";
        let n_given_up = tx.execute(sql, args![id.to_string(), DELIVERIES_MAX]).await?;
        if 0 < n_given_up {
            forget_delivered(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(n_given_up)
    }
}

/// Asks an endpoint whether it wants to be subscribed.
pub(super) async fn ask(
    tx: &mut Tx,
    topic: &TopicArn,
    subscription: &Subscription,
    at: Timestamp,
) -> Result<(), StoreError> {
    let seq = take(tx, "message", 1).await?;
    let body = format!(
        "You have chosen to subscribe to the topic {topic}.\nTo confirm the subscription, visit the SubscribeURL included \
         in this message."
    );
    let sql = "INSERT INTO message (seq, message_id, topic_arn, is_question, body, is_structured, published_at) \
               VALUES ($1, $2, $3, TRUE, $4, FALSE, $5)";
    let args = args![int(seq), message_id(seq, at), topic.to_string(), body, at.millis()];
    tx.execute(sql, args).await?;
    let sql = "INSERT INTO delivery (subscription_id, seq, n_attempts) VALUES ($1, $2, 0)";
    tx.execute(sql, args![subscription.id.to_string(), int(seq)]).await?;
    tx.has_deliveries = true;
    Ok(())
}

/// Removes messages that nobody has to be told any more.
pub(super) async fn forget_delivered(tx: &mut Tx) -> Result<(), StoreError> {
    let sql = "DELETE FROM message WHERE seq NOT IN (SELECT seq FROM delivery)";
    tx.execute(sql, args![]).await.map(drop)
}

async fn write(tx: &mut Tx, publication: &Publication, at: Timestamp) -> Result<String, StoreError> {
    lock(tx, &publication.topic.name).await?;
    // The counter is held until the commit: numbers become visible in order, and so nobody is told out of order.
    let seq = take(tx, "message", 1).await?;
    let id = message_id(seq, at);
    let sql = "INSERT INTO delivery (subscription_id, seq, n_attempts) SELECT subscription_id, $1, 0 FROM subscription \
               WHERE topic = $2 AND confirmed_at IS NOT NULL AND protocol IN ('http', 'https')";
    let n_subscriptions = tx
        .execute(sql, args![int(seq), publication.topic.name.as_str()])
        .await?;
    if n_subscriptions == 0 {
        return Ok(id);
    }
    let sql = "INSERT INTO message (seq, message_id, topic_arn, is_question, subject, body, is_structured, attributes, \
               published_at) VALUES ($1, $2, $3, FALSE, $4, $5, $6, $7, $8)";
    let args = args![
        int(seq),
        id.as_str(),
        publication.topic.to_string(),
        publication.subject.as_deref(),
        publication.body.as_str(),
        publication.is_structured,
        publication.attributes.as_deref(),
        at.millis(),
    ];
    tx.execute(sql, args).await?;
    tx.has_deliveries = true;
    Ok(id)
}

fn message_id(seq: u64, at: Timestamp) -> String {
    id_of("message", &seq.to_string(), at)
}
