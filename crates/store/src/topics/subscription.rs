//! Who is subscribed to a topic, and whether they have said that they want to be.

use picket_model::name::TopicName;
use picket_model::sns::{SubscriptionId, SubscriptionProtocol, TopicArn};
use picket_model::time::Timestamp;
use sqlx::AssertSqlSafe;

use super::{lock, message};
use crate::sql::{Row, args};
use crate::{Db, StoreError, Tx};

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// The topic.
    pub topic: TopicName,
    /// How the endpoint is told.
    pub protocol: SubscriptionProtocol,
    /// Who is told: a URL, an address, a number or an ARN.
    pub endpoint: String,
    /// Whether the message is delivered as it is, without an envelope.
    pub is_raw: bool,
    /// Whether only a signed request ends it.
    pub is_guarded: bool,
    /// What whoever confirms it must know.
    pub token: String,
    /// When it was asked for, for the last time.
    pub created_at: Timestamp,
    /// Since when it is confirmed; nothing is delivered before.
    pub confirmed_at: Option<Timestamp>,
}

/// A subscription to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSubscription {
    /// Its id, if there is none yet.
    pub id: SubscriptionId,
    /// The topic.
    pub topic: TopicArn,
    /// How the endpoint is told.
    pub protocol: SubscriptionProtocol,
    /// Who is told.
    pub endpoint: String,
    /// Whether without an envelope.
    pub is_raw: bool,
    /// What whoever confirms it must know, if there is none yet.
    pub token: String,
    /// Whether the endpoint need not be asked.
    pub is_confirmed: bool,
}

/// Somebody says that a subscription is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation<'a> {
    /// The topic.
    pub topic: &'a TopicName,
    /// What only the endpoint was told.
    pub token: &'a str,
    /// Whether only a signed request may end it.
    pub is_guarded: bool,
}

/// Subscriptions in all.
const N_SUBSCRIPTIONS_MAX: u64 = 1000;

/// How long a URL may take to confirm, in milliseconds: two days, as on AWS. Then the subscription is forgotten.
pub const PENDING_MILLIS_MAX: i64 = 2 * 24 * 3600 * 1000;

const COLUMNS: &str = "subscription_id, topic, protocol, endpoint, is_raw, is_guarded, token, created_at, confirmed_at";

impl Db {
    /// Subscribes an endpoint to a topic. One that is subscribed already stays what it is. A URL that has not confirmed is
    /// asked, once more if it has been.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the topic; [`StoreError::Exists`] when the endpoint is subscribed in another form;
    /// [`StoreError::Limit`] when there are 1000.
    pub async fn subscribe(&self, new: &NewSubscription, at: Timestamp) -> Result<Subscription, StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx, &new.topic.name).await?;
        forget_unconfirmed(&mut tx, at).await?;
        let sql = "INSERT INTO subscription (subscription_id, topic, protocol, endpoint, is_raw, is_guarded, token, \
                   created_at, confirmed_at) VALUES ($1, $2, $3, $4, $5, FALSE, $6, $7, $8) \
                   ON CONFLICT (topic, protocol, endpoint) DO NOTHING";
        let args = args![
            new.id.to_string(),
            new.topic.name.as_str(),
            new.protocol.as_str(),
            new.endpoint.as_str(),
            new.is_raw,
            new.token.as_str(),
            at.millis(),
            new.is_confirmed.then(|| at.millis()),
        ];
        let is_new = tx.execute(sql, args).await? == 1;
        let select = format!("SELECT {COLUMNS} FROM subscription WHERE topic = $1 AND protocol = $2 AND endpoint = $3");
        let args = args![new.topic.name.as_str(), new.protocol.as_str(), new.endpoint.as_str()];
        let row = tx.row(AssertSqlSafe(select), args).await?;
        let mut found = subscription_of(&row.ok_or_else(|| StoreError::not_found("subscription", new.id))?)?;
        if found.is_raw != new.is_raw {
            return Err(StoreError::exists("subscription with other attributes", &new.endpoint));
        }
        if is_new {
            let row = tx.row("SELECT COUNT(*) FROM subscription", args![]).await?;
            if N_SUBSCRIPTIONS_MAX < row.map_or(Ok(0), |row| row.count(0))? {
                return Err(StoreError::Limit {
                    what: "subscriptions",
                    n_max: N_SUBSCRIPTIONS_MAX,
                });
            }
        }
        if found.confirmed_at.is_none() {
            found.created_at = at;
            let sql = "UPDATE subscription SET created_at = $1 WHERE subscription_id = $2";
            tx.execute(sql, args![at.millis(), found.id.to_string()]).await?;
            if found.protocol.is_web() {
                message::ask(&mut tx, &new.topic, &found, at).await?;
            }
        }
        tx.commit().await?;
        Ok(found)
    }

    /// Takes the word of somebody who knows the token that the subscription is wanted. Once more changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the topic; [`StoreError::Rule`] when no subscription has that token, or it is too old.
    pub async fn confirm_subscription(
        &self,
        confirmation: &Confirmation<'_>,
        at: Timestamp,
    ) -> Result<Subscription, StoreError> {
        let unknown = || StoreError::Rule {
            reason: "token is none of a subscription to this topic that waits for it".to_owned(),
        };
        // Anybody may come with a token: who guesses does not make others wait for the writer.
        let sql = "SELECT 1 FROM subscription WHERE topic = $1 AND token = $2";
        let args = args![confirmation.topic.as_str(), confirmation.token];
        if self.row(sql, args).await?.is_none() {
            return Err(match self.topic(confirmation.topic).await? {
                Some(_) => unknown(),
                None => StoreError::not_found("topic", confirmation.topic),
            });
        }
        let mut tx = self.begin_write().await?;
        lock(&mut tx, confirmation.topic).await?;
        let unconfirmed_since = at.millis().saturating_sub(PENDING_MILLIS_MAX);
        let sql = format!(
            "UPDATE subscription SET confirmed_at = COALESCE(confirmed_at, $1), \
             is_guarded = CASE WHEN confirmed_at IS NULL THEN $2 ELSE is_guarded END \
             WHERE topic = $3 AND token = $4 AND (confirmed_at IS NOT NULL OR created_at > $5) RETURNING {COLUMNS}"
        );
        let args = args![
            at.millis(),
            confirmation.is_guarded,
            confirmation.topic.as_str(),
            confirmation.token,
            unconfirmed_since,
        ];
        let row = tx.row(AssertSqlSafe(sql), args).await?;
        let found = subscription_of(&row.ok_or_else(unknown)?)?;
        tx.commit().await?;
        Ok(found)
    }

    /// The subscription with that id.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM subscription WHERE subscription_id = $1");
        let row = self.row(AssertSqlSafe(sql), args![id.to_string()]).await?;
        row.as_ref().map(subscription_of).transpose()
    }

    /// The next `n_max` subscriptions after `after`, by id; of one topic if it is given.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn subscriptions(
        &self,
        topic: Option<&TopicName>,
        after: Option<SubscriptionId>,
        n_max: u32,
    ) -> Result<Vec<Subscription>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM subscription WHERE subscription_id > $1 AND ($2 = '' OR topic = $2) \
             ORDER BY subscription_id LIMIT $3"
        );
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let topic = topic.map_or("", TopicName::as_str);
        let rows = self.rows(AssertSqlSafe(sql), args![after, topic, n_max]).await?;
        rows.iter().map(subscription_of).collect()
    }

    /// Delivers with an envelope or without one from now on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]
    pub async fn deliver_raw(&self, id: SubscriptionId, is_raw: bool) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "UPDATE subscription SET is_raw = $1 WHERE subscription_id = $2";
        if tx.execute(sql, args![is_raw, id.to_string()]).await? == 0 {
            return Err(StoreError::not_found("subscription", id));
        }
        tx.commit().await
    }

    /// Ends a subscription; what it had still to be told is not told any more. Says whether there was one.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn unsubscribe(&self, id: SubscriptionId) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "SELECT topic FROM subscription WHERE subscription_id = $1";
        let Some(row) = tx.row(sql, args![id.to_string()]).await? else {
            return Ok(false);
        };
        // The topic's row is held first, as everywhere.
        match lock(&mut tx, &row.parsed(0)?).await {
            Err(StoreError::NotFound { .. }) => return Ok(false),
            locked => locked?,
        }
        let sql = "DELETE FROM subscription WHERE subscription_id = $1";
        let n_rows = tx.execute(sql, args![id.to_string()]).await?;
        let sql = "DELETE FROM delivery WHERE subscription_id = $1";
        tx.execute(sql, args![id.to_string()]).await?;
        message::forget_delivered(&mut tx).await?;
        tx.commit().await?;
        Ok(n_rows == 1)
    }

    /// Forgets URLs that have not confirmed within two days, and what nobody has to be told any more.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_unconfirmed(&self, at: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        forget_unconfirmed(&mut tx, at).await?;
        // Two that end the last deliveries of a message at the same time do not see each other.
        message::forget_delivered(&mut tx).await?;
        tx.commit().await
    }
}

async fn forget_unconfirmed(tx: &mut Tx, at: Timestamp) -> Result<(), StoreError> {
    let since = at.millis().saturating_sub(PENDING_MILLIS_MAX);
    // Who is told in ways that come later is never asked, so it waits for those.
    let sql =
        "DELETE FROM subscription WHERE confirmed_at IS NULL AND created_at <= $1 AND protocol IN ('http', 'https')";
    if 0 < tx.execute(sql, args![since]).await? {
        let sql = "DELETE FROM delivery WHERE subscription_id NOT IN (SELECT subscription_id FROM subscription)";
        tx.execute(sql, args![]).await?;
    }
    Ok(())
}

pub(super) fn subscription_of(row: &Row) -> Result<Subscription, StoreError> {
    Ok(Subscription {
        id: row.parsed(0)?,
        topic: row.parsed(1)?,
        protocol: row.parsed(2)?,
        endpoint: row.at(3)?,
        is_raw: row.at(4)?,
        is_guarded: row.at(5)?,
        token: row.at(6)?,
        created_at: Timestamp::from_millis(row.at(7)?),
        confirmed_at: row.at::<Option<i64>>(8)?.map(Timestamp::from_millis),
    })
}
