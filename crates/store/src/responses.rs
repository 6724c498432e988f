//! What operators want done about violations.

use std::fmt;
use std::str::FromStr;

use picket_model::name::{BehaviorName, ProfileName, ResponseName, ThingGroupName};
use picket_model::time::Timestamp;

use crate::sql::{Row, args};
use crate::{Db, StoreError, outbox};

/// Something to be done about violations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its name.
    pub name: ResponseName,
    /// Only violations of these profiles; of all when empty.
    pub profiles: Vec<ProfileName>,
    /// Only violations of behaviors with these names; of all when empty.
    pub behaviors: Vec<BehaviorName>,
    /// Quarantine the device.
    pub quarantine: Option<Quarantine>,
    /// Tell somebody.
    pub webhook: Option<Webhook>,
    /// Whether it acts at all.
    pub is_enabled: bool,
    /// When it was created.
    pub created_at: Timestamp,
}

/// How to quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// The root group whose members are shown as quarantined; made with a policy that denies everything if missing.
    pub group: ThingGroupName,
}

/// Whom to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Alerts are POSTed to this.
    pub url: WebhookUrl,
}

/// `http://` or `https://` and a host, at most 2048 bytes of printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WebhookUrl(String);

/// Why a text is no URL of a webhook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("webhook URL is {found:?}, expected http:// or https:// and a host, at most 2048 printable characters")]
pub struct BadWebhookUrl {
    /// The beginning of the text.
    pub found: String,
}

/// Responses in all.
const N_RESPONSES_MAX: u64 = 100;

const SELECT: &str =
    "SELECT name, profiles, behaviors, quarantine_group, webhook_url, is_enabled, created_at FROM response";

impl Db {
    /// Creates a response. It acts on what happens from now on.
    ///
    /// # Errors
    /// [`StoreError::Exists`]; [`StoreError::Limit`] when there are 100.
    pub async fn create_response(&self, response: &Response) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "INSERT INTO response (name, profiles, behaviors, quarantine_group, webhook_url, is_enabled, created_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING";
        let args = args![
            response.name.as_str(),
            list_json(&response.profiles),
            list_json(&response.behaviors),
            response.quarantine.as_ref().map(|quarantine| quarantine.group.as_str()),
            response.webhook.as_ref().map(|webhook| webhook.url.as_str()),
            response.is_enabled,
            response.created_at.millis(),
        ];
        if tx.execute(sql, args).await? == 0 {
            return Err(StoreError::exists("response", &response.name));
        }
        let row = tx.row("SELECT COUNT(*) FROM response", args![]).await?;
        if N_RESPONSES_MAX < row.map_or(Ok(0), |row| row.count(0))? {
            return Err(StoreError::Limit {
                what: "responses",
                n_max: N_RESPONSES_MAX,
            });
        }
        if response.webhook.is_some() {
            outbox::begin_at_end(&mut tx, &webhook_consumer(&response.name)).await?;
        }
        tx.commit().await
    }

    /// The response of that name.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn response(&self, name: &ResponseName) -> Result<Option<Response>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("{SELECT} WHERE name = $1"));
        let row = self.row(sql, args![name.as_str()]).await?;
        row.as_ref().map(response_of).transpose()
    }

    /// All responses, by name; there are 100 at most.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn responses(&self) -> Result<Vec<Response>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("{SELECT} ORDER BY name"));
        self.rows(sql, args![]).await?.iter().map(response_of).collect()
    }

    /// Lets a response act, or not. What happens while it does not is not made up for. Enabling starts its webhook again,
    /// if that was stopped, with what happens from now on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn enable_response(&self, name: &ResponseName, is_enabled: bool) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "UPDATE response SET is_enabled = $1 WHERE name = $2 RETURNING webhook_url";
        match tx.row(sql, args![is_enabled, name.as_str()]).await? {
            None => return Err(StoreError::not_found("response", name)),
            Some(row) if is_enabled && row.at::<Option<String>>(0)?.is_some() => {
                outbox::begin_at_end(&mut tx, &webhook_consumer(name)).await?;
            }
            Some(_) => {}
        }
        tx.commit().await
    }

    /// Stops a response's webhook, whose target said that it is gone for good. The rest of the response goes on; see
    /// [`Db::enable_response`].
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn stop_webhook(&self, name: &ResponseName) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        outbox::forget(&mut tx, &webhook_consumer(name)).await?;
        tx.commit().await
    }

    /// Removes a response; says whether there was one. Alerts that its webhook has not taken yet are not sent any more; what
    /// it decided stays in force.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn delete_response(&self, name: &ResponseName) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        let n_rows = tx
            .execute("DELETE FROM response WHERE name = $1", args![name.as_str()])
            .await?;
        outbox::forget(&mut tx, &webhook_consumer(name)).await?;
        tx.commit().await?;
        Ok(n_rows == 1)
    }
}

/// The reader of the outbox that sends a response's alerts.
pub fn webhook_consumer(response: &ResponseName) -> String {
    format!("webhook:{response}")
}

fn response_of(row: &Row) -> Result<Response, StoreError> {
    let quarantine = row.parsed_option(3)?.map(|group| Quarantine { group });
    let webhook = row.parsed_option(4)?.map(|url| Webhook { url });
    Ok(Response {
        name: row.parsed(0)?,
        profiles: list_of(&row.at::<String>(1)?)?,
        behaviors: list_of(&row.at::<String>(2)?)?,
        quarantine,
        webhook,
        is_enabled: row.at(5)?,
        created_at: Timestamp::from_millis(row.at(6)?),
    })
}

fn list_json<T: fmt::Display>(names: &[T]) -> String {
    let names = names.iter().map(|name| serde_json::Value::String(name.to_string()));
    serde_json::Value::Array(names.collect()).to_string()
}

fn list_of<T>(json: &str) -> Result<Vec<T>, StoreError>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let names: Vec<String> = serde_json::from_str(json).map_err(|err| StoreError::corrupt("names", json, err))?;
    let names = names.iter().map(|name| name.parse());
    names
        .collect::<Result<_, _>>()
        .map_err(|err| StoreError::corrupt("names", json, err))
}

impl Response {
    /// Whether it acts on violations of this profile's behavior.
    pub fn concerns(&self, profile: &ProfileName, behavior: &BehaviorName) -> bool {
        let of_profile = self.profiles.is_empty() || self.profiles.contains(profile);
        let of_behavior = self.behaviors.is_empty() || self.behaviors.contains(behavior);
        self.is_enabled && of_profile && of_behavior
    }
}

impl WebhookUrl {
    /// The most bytes of a URL.
    pub const LEN_BYTES_MAX: usize = 2048;

    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WebhookUrl {
    type Err = BadWebhookUrl;

    fn from_str(text: &str) -> Result<Self, BadWebhookUrl> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let has_host = rest.is_some_and(|rest| {
            rest.bytes()
                .next()
                .is_some_and(|b| !matches!(b, b'/' | b'?' | b'#' | b':'))
        });
        if has_host && text.len() <= Self::LEN_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadWebhookUrl {
                found: text.chars().take(200).collect(),
            })
        }
    }
}
