//! What can be told about a client's connection: the one that it has, or the last that it had.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use picket_model::connection::DisconnectReason;
use picket_model::name::CertificateId;
use picket_model::time::Timestamp;

use crate::live::Live;

/// A client's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// The certificate that it came over.
    pub certificate: CertificateId,
    /// Where it came from.
    pub source: SocketAddr,
    /// The address of ours that it reached.
    pub target: SocketAddr,
    /// The keep-alive that holds, which need not be the one asked for.
    pub keep_alive: Duration,
    /// Whether the client began with a new session.
    pub is_clean: bool,
    /// How long the session outlives the connection.
    pub session_expiry: Duration,
    /// How many connections of the client came before it, since it was away for long.
    pub version: u64,
    /// When it was accepted.
    pub connected_at: Timestamp,
    /// When and why it ended; `None` while it is there.
    pub ended: Option<(Timestamp, DisconnectReason)>,
}

impl ConnectionFacts {
    pub(crate) fn of(live: &Live) -> Self {
        Self {
            certificate: live.peer.certificate,
            source: SocketAddr::new(live.peer.address, live.peer.port),
            target: live.peer.target,
            keep_alive: live.arrival.keep_alive,
            is_clean: live.arrival.is_clean,
            session_expiry: Duration::from_secs(u64::from(live.keep_secs())),
            version: live.arrival.version,
            connected_at: live.arrival.at,
            ended: None,
        }
    }
}

/// The last connections of clients that are gone: those that left last.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    by_client: HashMap<Arc<str>, (u64, ConnectionFacts)>,
    in_order: BTreeMap<u64, Arc<str>>,
    n_before: u64,
}

impl Departed {
    /// Notes how a client left; beyond `n_max` clients, the one that left first is forgotten.
    pub(crate) fn note(&mut self, client_id: &Arc<str>, facts: ConnectionFacts, n_max: usize) {
        self.forget(client_id);
        self.n_before += 1;
        self.in_order.insert(self.n_before, Arc::clone(client_id));
        self.by_client.insert(Arc::clone(client_id), (self.n_before, facts));
        if n_max < self.in_order.len()
            && let Some((_, first)) = self.in_order.pop_first()
        {
            self.by_client.remove(&first);
        }
    }

    pub(crate) fn forget(&mut self, client_id: &str) {
        if let Some((order, _)) = self.by_client.remove(client_id) {
            self.in_order.remove(&order);
        }
    }

    pub(crate) fn find(&self, client_id: &str) -> Option<&ConnectionFacts> {
        self.by_client.get(client_id).map(|(_, facts)| facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_left_first_are_forgotten_first() {
        let facts = |secs: i64| ConnectionFacts {
            certificate: CertificateId::from_bytes([1; 32]),
            source: SocketAddr::from(([127, 0, 0, 1], 1)),
            target: SocketAddr::from(([127, 0, 0, 1], 2)),
            keep_alive: Duration::from_secs(30),
            is_clean: true,
            session_expiry: Duration::ZERO,
            version: 0,
            connected_at: Timestamp::from_millis(secs * 1000),
            ended: Some((Timestamp::from_millis(secs * 1000), DisconnectReason::ConnectionLost)),
        };
        let mut departed = Departed::default();
        for (at, name) in [(1, "a"), (2, "b"), (3, "a"), (4, "c")] {
            departed.note(&Arc::from(name), facts(at), 2);
        }
        assert_eq!(departed.find("a"), Some(&facts(3)));
        assert_eq!(departed.find("b"), None);
        departed.forget("a");
        departed.note(&Arc::from("d"), facts(5), 2);
        assert_eq!(departed.find("c"), Some(&facts(4)));
        assert_eq!((departed.by_client.len(), departed.in_order.len()), (2, 2));
    }
}
