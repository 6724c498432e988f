//! What all connections share.

use std::sync::Arc;

use picket_mqtt::Qos;

use crate::counters::Counters;
use crate::doors::{Clock, Doorkeeper, Inbox, Ledger, Reply};
use crate::ids::ConnectionIds;
use crate::limits::Limits;
use crate::mailbox::Session;
use crate::message::{Message, Publication};
use crate::metering::Metering;
use crate::router::Router;
use crate::table::Table;

/// Sessions, ended ones included, whose counts may wait to be collected, for each connection that there may be.
const N_COUNTING_PER_CONNECTION_MAX: usize = 2;

/// Whom the endpoint asks and tells.
pub(crate) struct Doors {
    pub(crate) doorkeeper: Arc<dyn Doorkeeper>,
    pub(crate) inbox: Arc<dyn Inbox>,
    pub(crate) ledger: Arc<dyn Ledger>,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) counters: Arc<Counters>,
    pub(crate) doorkeeper: Arc<dyn Doorkeeper>,
    pub(crate) inbox: Arc<dyn Inbox>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) metering: Metering,
    pub(crate) ids: ConnectionIds,
    pub(crate) router: Router,
    pub(crate) table: Table,
    pub(crate) clock: Clock,
}

impl Shared {
    pub(crate) fn new(limits: Limits, clock: Clock, ids: ConnectionIds, doors: Doors) -> Self {
        let counters = Arc::<Counters>::default();
        let n_active_max = limits.n_connections_max.saturating_mul(N_COUNTING_PER_CONNECTION_MAX);
        Self {
            limits,
            metering: Metering::new(Arc::clone(&counters), n_active_max),
            counters,
            doorkeeper: doors.doorkeeper,
            inbox: doors.inbox,
            ledger: doors.ledger,
            ids,
            router: Router::default(),
            table: Table::default(),
            clock,
        }
    }

    /// Keeps the message if it is to be retained, and routes it. `false`: there is no room for it, and it went nowhere.
    pub(crate) fn publish(
        &self,
        message: &Arc<Message>,
        publication: Publication,
        sender: Option<&Arc<Session>>,
    ) -> bool {
        if self.has_no_room() {
            return false;
        }
        if publication.retain {
            let at = (self.clock)();
            if !self.router.retained.put(message, publication.qos, at, &self.limits) {
                return false;
            }
            self.counters.retained.set(self.router.retained.len());
        }
        self.router.route(message, publication, sender, self.bounds());
        true
    }

    /// Publishes the answer to a report, to whoever may receive it.
    pub(crate) fn publish_reply(&self, reply: &Reply) {
        if self.has_no_room() {
            self.counters.dropped.add_one();
            return;
        }
        let message = Message::new(&reply.topic, &reply.payload, None).counted(&self.counters);
        let publication = Publication {
            qos: Qos::AtLeastOnce,
            retain: false,
        };
        self.router.route(&message, publication, None, self.bounds());
    }

    /// Whether there are as many messages as there may be.
    fn has_no_room(&self) -> bool {
        let size_bytes = usize::try_from(self.counters.held_size_bytes.value()).unwrap_or(usize::MAX);
        self.limits.held_size_bytes_max < size_bytes
    }

    /// Whether there are as many connections as there may be.
    pub(crate) fn is_full(&self) -> bool {
        let n_connections = usize::try_from(self.counters.connections.value()).unwrap_or(usize::MAX);
        self.limits.n_connections_max <= n_connections
    }

    pub(crate) fn bounds(&self) -> (&Limits, &Counters) {
        (&self.limits, &self.counters)
    }

    pub(crate) fn session_expiry_secs_max(&self) -> u32 {
        u32::try_from(self.limits.session_expiry_max.as_secs()).unwrap_or(u32::MAX)
    }
}
