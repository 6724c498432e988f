//! How the rest of the server reaches live sessions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use picket_model::meter::ClientMeter;
use picket_model::name::{CertificateId, DeviceName, DimensionName};
use picket_model::time::Timestamp;
use picket_mqtt::Qos;
use picket_mqtt::topic::{self, BadTopic};
use picket_mqtt::wire::PublishProperties;

use crate::counters::CountersSnapshot;
use crate::facts::ConnectionFacts;
use crate::message::{Message, Publication};
use crate::retained::Retention;
use crate::rights::Cut;
use crate::shared::Shared;

/// Sessions rechecked before others get a turn.
const N_RECHECKS_PER_TURN: usize = 64;

/// How often it is looked whether a client that is sent away has left.
const LEAVING_CHECK_EVERY: Duration = Duration::from_millis(5);

/// Reaches the endpoint from elsewhere. Clones reach the same endpoint.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

/// Whose sessions are rechecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recheck {
    /// Everybody's.
    All,
    /// Those over a certificate.
    Certificate(CertificateId),
    /// The one with this client id.
    Client(DeviceName),
}

/// A message that the server publishes itself.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// Where to.
    pub topic: &'a str,
    /// What.
    pub payload: &'a [u8],
    /// What MQTT 5 adds; a client of 3.1.1 does not see it.
    pub properties: Option<PublishProperties>,
    /// At most once or at least once.
    pub qos: Qos,
    /// Whether it is kept for those who subscribe later.
    pub retain: bool,
}

/// Why a message went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPublished {
    /// The topic is no topic's name.
    #[error("topic cannot be published to")]
    Topic(#[source] BadTopic),
    /// The payload is too large.
    #[error("payload has {size_bytes} bytes, expected at most {size_bytes_max}")]
    Payload {
        /// As given.
        size_bytes: usize,
        /// The most.
        size_bytes_max: usize,
    },
    /// There are as many messages as there may be.
    #[error("there is no room for another message")]
    NoRoom,
}

/// A message that is kept for those who subscribe to its topic.
#[derive(Clone, Debug)]
pub struct RetainedMessage {
    /// Its topic.
    pub topic: String,
    /// Its content.
    pub payload: Bytes,
    /// The QoS that it was published with.
    pub qos: Qos,
    /// When it was published.
    pub published_at: Timestamp,
    /// What its publisher added, as names and values.
    pub user_properties: Vec<(String, String)>,
}

impl RetainedMessage {
    fn of(kept: Retention) -> Self {
        let properties = kept.message.properties.as_ref();
        let user = properties.map(|properties| properties.user_properties.iter());
        Self {
            topic: kept.message.topic.to_string(),
            payload: kept.message.payload.clone(),
            qos: kept.qos,
            published_at: kept.at,
            user_properties: user
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
        }
    }
}

/// How a client is sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dismissal {
    /// Whether its will is published.
    pub with_will: bool,
    /// Whether its session is kept for its return, as long as the client asked for.
    pub keeps_session: bool,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    /// Asks the doorkeeper again for the named live sessions; those that may not be are cut. When this is done, no packet
    /// of a named session is handled, and no message leaves for it, by the rights of before. A session that connects
    /// meanwhile is asked about by itself.
    ///
    /// What left before is not called back: at most 64 KiB of a session that is not cut, and what TLS and the operating
    /// system hold.
    pub async fn recheck(&self, whose: Recheck) {
        let named = match whose {
            Recheck::All => self.shared.table.all_live(),
            Recheck::Certificate(id) => self.shared.table.live_of(&id),
            Recheck::Client(name) => self.shared.table.live(name.as_str()).into_iter().collect(),
        };
        for (n_before, live) in named.iter().enumerate() {
            if n_before % N_RECHECKS_PER_TURN == N_RECHECKS_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
            if let Err(refused) = live.admit(&*self.shared.doorkeeper, &self.shared.clock) {
                tracing::info!(client = live.client_id.as_str(), ?refused, "session cut");
            }
        }
    }

    /// [`Self::send`] of a topic and a payload.
    ///
    /// # Errors
    /// As there.
    pub fn publish(&self, topic: &str, payload: &Bytes, qos: Qos, retain: bool) -> Result<(), NotPublished> {
        self.send(Outgoing {
            topic,
            payload,
            properties: None,
            qos,
            retain,
        })
    }

    /// Publishes to whoever subscribed and may receive. No policy is asked whether we may publish. When this returns, the
    /// message waits for every session that it is for, and is kept if it is to be retained.
    ///
    /// # Errors
    /// The topic or the payload is none, or there is no room.
    pub fn send(&self, outgoing: Outgoing<'_>) -> Result<(), NotPublished> {
        topic::check_name(outgoing.topic).map_err(NotPublished::Topic)?;
        if self.shared.limits.payload_size_bytes_max < outgoing.payload.len() {
            return Err(NotPublished::Payload {
                size_bytes: outgoing.payload.len(),
                size_bytes_max: self.shared.limits.payload_size_bytes_max,
            });
        }
        let publication = Publication {
            qos: outgoing.qos,
            retain: outgoing.retain,
        };
        let properties = outgoing.properties.filter(|it| *it != PublishProperties::default());
        let message =
            Message::new(outgoing.topic, outgoing.payload, properties.map(Box::new)).counted(&self.shared.counters);
        if self.shared.publish(&message, publication, None) {
            Ok(())
        } else {
            self.shared.counters.dropped.add_one();
            Err(NotPublished::NoRoom)
        }
    }

    /// The message that is kept for a topic.
    pub fn retained(&self, topic: &str) -> Option<RetainedMessage> {
        self.shared.router.retained.find(topic).map(RetainedMessage::of)
    }

    /// Up to `n_max` messages that are kept, in the order of their topics, from the first topic after `after`.
    pub fn retained_after(&self, after: Option<&str>, n_max: usize) -> Vec<RetainedMessage> {
        let listed = self.shared.router.retained.list(after, n_max).into_iter();
        listed.map(RetainedMessage::of).collect()
    }

    /// Ends the connection of a client; it may connect again. `false`: it has none.
    pub fn disconnect(&self, client_id: &DeviceName) -> bool {
        let live = self.shared.table.live(client_id.as_str());
        live.is_some_and(|live| {
            live.cut(Cut::Administrative { with_will: true });
            true
        })
    }

    /// Ends the connection of a client; it may connect again. When this is done, the connection is in nobody's way any
    /// more. `false`: there was none, nor a session to remove.
    pub async fn dismiss(&self, client_id: &DeviceName, dismissal: Dismissal) -> bool {
        let table = &self.shared.table;
        let Some(live) = table.live(client_id.as_str()) else {
            let ended = (!dismissal.keeps_session).then(|| table.end_away(client_id.as_str()));
            return ended.flatten().is_some_and(|session| {
                self.shared.router.forget(&session);
                true
            });
        };
        if !dismissal.keeps_session {
            live.set_keep_secs(0);
        }
        live.cut(Cut::Administrative {
            with_will: dismissal.with_will,
        });
        let is_there = || {
            let now = table.live(client_id.as_str());
            now.is_some_and(|now| Arc::ptr_eq(&now, &live))
        };
        let left = async {
            while is_there() {
                tokio::time::sleep(LEAVING_CHECK_EVERY).await;
            }
        };
        // Nothing happens in the session any more, even if its task is slow to find out.
        drop(tokio::time::timeout(self.shared.limits.goodbye_timeout, left).await);
        true
    }

    /// The connection of a client, or the last that it had, if that is still known.
    pub fn connection(&self, client_id: &DeviceName) -> Option<ConnectionFacts> {
        self.shared.table.facts(client_id.as_str())
    }

    /// The filters that a client's session has subscribed to, as written and in their order; `None`: it has no session.
    pub fn subscriptions(&self, client_id: &DeviceName) -> Option<Vec<(Box<str>, Qos)>> {
        let session = self.shared.table.session(client_id.as_str())?;
        let subscriptions = session.subscriptions().into_iter();
        let mut subscriptions: Vec<_> = subscriptions.map(|it| (it.written, it.options.qos)).collect();
        subscriptions.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Some(subscriptions)
    }

    /// Whether a client has a connection now.
    pub fn is_connected(&self, client_id: &DeviceName) -> bool {
        self.shared.table.live(client_id.as_str()).is_some()
    }

    /// Takes what clients have done since it was taken last: in no order, and in several parts for a client that had
    /// several connections. To be called about once a second: a session that has counted is held until then.
    pub fn take_meters(&self) -> Vec<ClientMeter> {
        self.shared.metering.take()
    }

    /// From here on, what clients do is counted by these dimensions as well: names and topic filters, in which
    /// `${iot:ClientId}` stands for the client id. Of more than ten, the first by name hold.
    pub fn measure_by(&self, dimensions: Vec<(DimensionName, Vec<String>)>) {
        self.shared.metering.dimensions.set(dimensions);
    }

    /// What has been counted so far.
    pub fn counters(&self) -> CountersSnapshot {
        self.shared.counters.snapshot()
    }

    /// Subscriptions of all sessions, of clients that are there or away.
    pub fn n_subscriptions(&self) -> usize {
        self.shared.router.n_subscriptions()
    }
}
