//! Why a connection ended, and what follows from it.

use std::sync::Arc;

use picket_model::connection::DisconnectReason;
use picket_mqtt::link::Link;
use picket_mqtt::wire::{Answer, DisconnectReasonCode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use crate::doors::Refusal;
use crate::lifecycle::Event;
use crate::live::Live;
use crate::message::{Message, Publication, offered};
use crate::rights::Cut;
use crate::shared::Shared;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client said goodbye.
    Goodbye {
        /// Whether the will is published all the same.
        with_will: bool,
    },
    /// The connection is gone.
    Lost,
    /// The client was silent for too long.
    KeepAlive,
    /// The client broke the protocol or a limit.
    Broken(DisconnectReasonCode),
    /// A PUBLISH was refused, and the protocol has no other way to say it.
    Refused(DisconnectReasonCode),
    /// The log could not take a QoS 1 report.
    NotStored,
    /// The client did not take its messages.
    Overflowed,
    /// Somebody ordered it.
    Cut(Cut),
}

impl End {
    /// What an MQTT 5 client is told.
    fn reason(self) -> Option<DisconnectReasonCode> {
        match self {
            Self::Goodbye { .. } | Self::Lost => None,
            Self::KeepAlive => Some(DisconnectReasonCode::KeepAliveTimeout),
            Self::Broken(reason) | Self::Refused(reason) => Some(reason),
            Self::NotStored | Self::Overflowed => Some(DisconnectReasonCode::QuotaExceeded),
            Self::Cut(Cut::TakenOver) => Some(DisconnectReasonCode::SessionTakenOver),
            Self::Cut(Cut::Refused(Refusal::Quarantined) | Cut::Administrative { .. }) => {
                Some(DisconnectReasonCode::AdministrativeAction)
            }
            Self::Cut(Cut::Refused(_) | Cut::Denied) => Some(DisconnectReasonCode::NotAuthorized),
            Self::Cut(Cut::ShuttingDown) => Some(DisconnectReasonCode::ServerShuttingDown),
        }
    }

    /// What is told to those who ask about the connection.
    fn told(self) -> DisconnectReason {
        match self {
            Self::Goodbye { .. } => DisconnectReason::ClientInitiated,
            Self::Lost => DisconnectReason::ConnectionLost,
            Self::KeepAlive => DisconnectReason::KeepAliveTimeout,
            Self::Refused(DisconnectReasonCode::NotAuthorized) | Self::Cut(Cut::Refused(_) | Cut::Denied)
                if self != Self::Cut(Cut::Refused(Refusal::Quarantined)) =>
            {
                DisconnectReason::AuthError
            }
            Self::Cut(Cut::Refused(_) | Cut::Denied) => DisconnectReason::ForbiddenAccess,
            Self::Refused(DisconnectReasonCode::QuotaExceeded) | Self::Overflowed => DisconnectReason::Throttled,
            Self::Broken(_) | Self::Refused(_) => DisconnectReason::ClientError,
            Self::NotStored => DisconnectReason::ServerError,
            Self::Cut(Cut::TakenOver) => DisconnectReason::DuplicateClientId,
            Self::Cut(Cut::Administrative { .. }) => DisconnectReason::ApiInitiated,
            Self::Cut(Cut::ShuttingDown) => DisconnectReason::ServerInitiated,
        }
    }

    /// Whether the will is to be published, if policy allows it now.
    fn leaves_will(self) -> bool {
        match self {
            Self::Goodbye { with_will } => with_will,
            // The device is not gone, we are.
            Self::Cut(Cut::ShuttingDown) => false,
            Self::Cut(Cut::Administrative { with_will }) => with_will,
            _ => true,
        }
    }
}

/// A connection's place in the table and in the count. It is given back when this is dropped, also by a task that panics.
pub(super) struct Seat {
    shared: Arc<Shared>,
    live: Arc<Live>,
    /// Whether anybody knows of the connection.
    is_announced: bool,
    /// How the connection ended, as far as known: a task that panics does not say.
    told: DisconnectReason,
}

impl Seat {
    pub(super) fn take(shared: Arc<Shared>, live: Arc<Live>) -> Self {
        shared.counters.connections.add_one();
        Self {
            shared,
            live,
            is_announced: false,
            told: DisconnectReason::ServerError,
        }
    }

    /// Tells everybody that the connection was accepted, and at its end that it has ended.
    pub(super) fn announce(&mut self) {
        self.is_announced = true;
        self.shared.ledger.connected(self.live.presence());
        self.shared.tell(&self.live, &Event::Connected);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let limits = &self.shared.limits;
        let ended = ((self.shared.clock)(), self.told);
        let bounds = (limits.n_away_max, limits.n_departed_max);
        if let Some(ended) = self.shared.table.leave(&self.live, ended, bounds) {
            self.shared.router.forget(&ended);
        }
        if self.is_announced {
            self.shared.ledger.disconnected(self.live.presence(), self.told);
            self.shared.tell(&self.live, &Event::Disconnected(self.told));
        }
        self.shared.counters.connections.subtract_one();
    }
}

impl Connection {
    pub(super) async fn finish<S: AsyncRead + AsyncWrite + Unpin>(mut self, link: &mut Link<S>, end: End) {
        self.count(end);
        tracing::debug!(client = self.live.client_id.as_str(), ?end, "connection ended");
        if end.leaves_will() {
            self.publish_will();
        }
        if let Some(mut seat) = self.seat.take() {
            seat.told = end.told();
        }
        // Reports on their way are stored and answered all the same: somebody else may listen.
        if !matches!(end, End::Cut(Cut::Refused(_) | Cut::Denied)) {
            std::mem::take(&mut self.reports).finish(Arc::clone(&self.shared));
        }
        if matches!(end, End::Cut(_)) && !link.is_sent() {
            // What was encoded before the cut is not sent; a goodbye in the middle of a packet would be garbage.
            link.outbound.clear();
        } else if let Some(reason) = end.reason() {
            // One that does not fit is not said.
            let _ = self.answer(Answer::Disconnect(reason), &mut link.outbound);
        }
        // The client may be gone, or not reading: then it hears nothing.
        drop(tokio::time::timeout(self.shared.limits.goodbye_timeout, link.close()).await);
    }

    fn publish_will(&mut self) {
        let Some(will) = self.will.take() else { return };
        // QoS 2 was refused at CONNECT.
        let Some(qos) = offered(will.qos) else { return };
        let live = Arc::clone(&self.live);
        let mut rights = live.rights_of_now(&*self.shared.doorkeeper, &self.shared.clock);
        if !rights.allows_publish(&will.topic, will.retain) {
            self.shared.counters.denied.add_one();
            return;
        }
        let message = Message::new(&will.topic, &will.payload, will.properties).counted(&self.shared.counters);
        let publication = Publication {
            qos,
            retain: will.retain,
        };
        if !self.shared.publish(&message, publication, None) {
            self.shared.counters.dropped.add_one();
        }
    }

    fn count(&self, end: End) {
        let counters = &self.shared.counters;
        match end {
            End::KeepAlive => counters.keep_alive_timeouts.add_one(),
            End::Broken(_) => counters.protocol_errors.add_one(),
            End::Overflowed => counters.overflowed.add_one(),
            End::Cut(Cut::Refused(_) | Cut::Denied) => counters.cut.add_one(),
            _ => {}
        }
    }
}
