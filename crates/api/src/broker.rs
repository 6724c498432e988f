//! What the API asks of the place where devices arrive: messages and connections. Implemented in `server`.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use picket_model::connection::DisconnectReason;
use picket_model::name::{CertificateId, DeviceName};
use picket_model::time::Timestamp;

/// Publishes messages, and knows and ends connections.
pub trait Broker: Send + Sync {
    /// Publishes to whoever subscribed and may receive it. When this returns, a message of QoS 1 waits for every session
    /// that it is for.
    ///
    /// # Errors
    /// The message cannot be, or there is no room for it: it went to nobody.
    fn publish(&self, message: Outbound) -> Result<(), NotPublished>;

    /// The message that is kept for those who subscribe to this topic.
    fn retained(&self, topic: &str) -> Option<Retained>;

    /// Up to `n_max` messages that are kept, in the order of their topics, from the first topic after `after`.
    fn retained_after(&self, after: Option<&str>, n_max: usize) -> Vec<Retained>;

    /// The connection of a client, or the last that it had; `None` when nothing is known of it, or no more.
    fn connection(&self, client_id: &DeviceName) -> Option<Connection>;

    /// The filters that a client's session has subscribed to, each with its QoS (0 or 1), in the order of the filters;
    /// `None` when it has no session.
    fn subscriptions(&self, client_id: &DeviceName) -> Option<Vec<(String, u8)>>;

    /// Ends the connection of a client, and its session with `ends_session`. `false`: there was none.
    fn dismiss<'a>(&'a self, client_id: &'a DeviceName, with_will: bool, ends_session: bool) -> BoxFuture<'a, bool>;
}

/// A message to publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbound {
    /// Where to.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// At least once; else at most once.
    pub is_at_least_once: bool,
    /// Whether it is kept for those who subscribe later.
    pub retain: bool,
    /// What MQTT 5 adds.
    pub properties: Properties,
}

/// What MQTT 5 adds to a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// What kind of content it is.
    pub content_type: Option<String>,
    /// Where answers go.
    pub response_topic: Option<String>,
    /// By which an answer is known.
    pub correlation_data: Option<Vec<u8>>,
    /// How long it is worth delivering, seconds, 1 or more.
    pub expiry_secs: Option<u32>,
    /// Whether the payload is text in UTF-8.
    pub is_utf8: bool,
    /// Names and values of the publisher's own.
    pub user: Vec<(String, String)>,
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPublished {
    /// The topic, the topic for answers or the payload cannot be: what was found and expected.
    #[error("{0}")]
    Refused(String),
    /// There is no room for it now.
    #[error("there is no room for another message now")]
    NoRoom,
}

/// A message that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retained {
    /// Its topic.
    pub topic: String,
    /// Its content.
    pub payload: Vec<u8>,
    /// 0 or 1.
    pub qos: u8,
    /// When it was published.
    pub at: Timestamp,
    /// What its publisher added.
    pub user_properties: Vec<(String, String)>,
}

/// A client's connection: the one that it has, or the last that it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The certificate that it came over.
    pub certificate: CertificateId,
    /// Where it came from.
    pub source: SocketAddr,
    /// The address of ours that it reached.
    pub target: SocketAddr,
    /// The keep-alive that holds.
    pub keep_alive: Duration,
    /// Whether the client began with a new session.
    pub is_clean: bool,
    /// How long the session outlives the connection.
    pub session_expiry: Duration,
    /// When it was accepted.
    pub connected_at: Timestamp,
    /// When and why it ended; `None` while it is there.
    pub ended: Option<(Timestamp, DisconnectReason)>,
}
