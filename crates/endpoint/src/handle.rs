//! How the rest of the server reaches live sessions.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use picket_model::name::{CertificateId, DeviceName};
use picket_mqtt::Qos;
use picket_mqtt::topic::{self, BadTopic};

use crate::counters::CountersSnapshot;
use crate::message::{Message, Publication};
use crate::rights::Cut;
use crate::shared::Shared;

/// Sessions rechecked before others get a turn.
const N_RECHECKS_PER_TURN: usize = 64;

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
            if let Err(refused) = live.admit(&*self.shared.doorkeeper) {
                tracing::info!(client = live.client_id.as_str(), ?refused, "session cut");
            }
        }
    }

    /// Publishes to whoever subscribed and may receive. No policy is asked whether we may publish.
    ///
    /// # Errors
    /// The topic is none.
    pub fn publish(&self, topic: &str, payload: &Bytes, qos: Qos, retain: bool) -> Result<(), BadTopic> {
        topic::check_name(topic)?;
        let message = Message::new(topic, payload, None).counted(&self.shared.counters);
        // One for which there is no room is lost and counted; nobody waits for it.
        if !self.shared.publish(&message, Publication { qos, retain }, None) {
            self.shared.counters.dropped.add_one();
        }
        Ok(())
    }

    /// Ends the connection of a client; it may connect again. `false`: it has none.
    pub fn disconnect(&self, client_id: &DeviceName) -> bool {
        let live = self.shared.table.live(client_id.as_str());
        live.is_some_and(|live| {
            live.cut(Cut::Administrative);
            true
        })
    }

    /// Whether a client has a connection now.
    pub fn is_connected(&self, client_id: &DeviceName) -> bool {
        self.shared.table.live(client_id.as_str()).is_some()
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
