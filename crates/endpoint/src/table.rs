//! All sessions by client id: those with a connection, and those that are kept until their client returns.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use picket_model::connection::DisconnectReason;
use picket_model::name::CertificateId;
use picket_model::time::Timestamp;
use tokio::time::Instant;

use crate::facts::{ConnectionFacts, Departed};
use crate::live::Live;
use crate::mailbox::Session;
use crate::rights::Cut;

/// How long a client is away at least before its connections are numbered from 0 again.
const VERSION_KEPT: Duration = Duration::from_secs(60 * 60);

/// The sessions. Its lock comes before those of rights and mailboxes.
#[derive(Debug, Default)]
pub(crate) struct Table {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_client: HashMap<Arc<str>, Entry>,
    live_by_certificate: HashMap<CertificateId, HashSet<Arc<str>>>,
    /// Sessions whose client is away, by the time at which they expire.
    away: BTreeMap<(Instant, u64), Arc<str>>,
    next_away: u64,
    departed: Departed,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    state: State,
}

#[derive(Debug)]
enum State {
    Live(Arc<Live>),
    Away((Instant, u64)),
}

/// What became of a client that came in.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) live: Arc<Live>,
    /// Whether an earlier session goes on.
    pub(crate) is_present: bool,
    /// A session that ended in favour of the new one: to be forgotten by the router.
    pub(crate) ended: Option<Arc<Session>>,
    /// Whether an earlier connection was cut.
    pub(crate) has_taken_over: bool,
}

impl Table {
    /// Enters a connection that came at this time. An earlier one of the same client id is cut before this returns; its
    /// session goes on unless `clean_start`. `make` is given the session and the connection's version.
    pub(crate) fn enter(
        &self,
        client_id: &str,
        (at, clean_start): (Timestamp, bool),
        make: impl FnOnce(Arc<Session>, u64) -> Live,
    ) -> Entered {
        let mut inner = self.inner();
        let version = inner.next_version(client_id, at);
        let (mut kept, mut ended, mut has_taken_over) = (None, None, false);
        if let Some(Entry { session, state }) = inner.by_client.remove(client_id) {
            let is_kept = match &state {
                State::Live(live) => {
                    live.cut(Cut::TakenOver);
                    has_taken_over = true;
                    0 < live.keep_secs()
                }
                State::Away((expires_at, _)) => Instant::now() < *expires_at,
            };
            inner.unlist(&session.client_id, &state);
            if is_kept && !clean_start {
                kept = Some(session);
            } else {
                ended = Some(session);
            }
        }
        let is_present = kept.is_some();
        let session = kept.unwrap_or_else(|| Arc::new(Session::new(client_id.into())));
        let live = Arc::new(make(Arc::clone(&session), version));
        session.attach(Arc::clone(&live.wake));
        inner.departed.forget(client_id);
        let name = Arc::clone(&session.client_id);
        inner
            .live_by_certificate
            .entry(live.peer.certificate)
            .or_default()
            .insert(Arc::clone(&name));
        let state = State::Live(Arc::clone(&live));
        inner.by_client.insert(name, Entry { session, state });
        Entered {
            live,
            is_present,
            ended,
            has_taken_over,
        }
    }

    /// A connection has ended. Its session is kept as long as it asked for, unless another connection has it. Returns the
    /// sessions that ended: this one, or the one that would have expired first if too many clients are away.
    /// `ended` is kept for those who ask, of so many clients.
    pub(crate) fn leave(
        &self,
        live: &Arc<Live>,
        ended: (Timestamp, DisconnectReason),
        (n_away_max, n_departed_max): (usize, usize),
    ) -> Option<Arc<Session>> {
        let mut inner = self.inner();
        let name = &live.session.client_id;
        let entry = inner.by_client.get(name)?;
        if !matches!(&entry.state, State::Live(current) if Arc::ptr_eq(current, live)) {
            return None;
        }
        let Entry { session, state } = inner.by_client.remove(name)?;
        inner.unlist(name, &state);
        let facts = ConnectionFacts {
            ended: Some(ended),
            ..ConnectionFacts::of(live)
        };
        inner.departed.note(name, facts, n_departed_max);
        if live.keep_secs() == 0 {
            return Some(session);
        }
        session.detach(&live.wake);
        let key = (
            Instant::now() + Duration::from_secs(u64::from(live.keep_secs())),
            inner.next_away,
        );
        inner.next_away += 1;
        inner.away.insert(key, Arc::clone(name));
        let state = State::Away(key);
        inner.by_client.insert(Arc::clone(name), Entry { session, state });
        if n_away_max < inner.away.len() {
            let (_, first) = inner.away.pop_first()?;
            return inner.by_client.remove(&first).map(|entry| entry.session);
        }
        None
    }

    /// Takes out the sessions whose clients have been away for too long.
    pub(crate) fn expire(&self) -> Vec<Arc<Session>> {
        let now = Instant::now();
        let mut inner = self.inner();
        let mut expired = Vec::new();
        while let Some(first) = inner.away.first_entry() {
            if now < first.key().0 {
                break;
            }
            let name = first.remove();
            expired.extend(inner.by_client.remove(&name).map(|entry| entry.session));
        }
        expired
    }

    /// The live session of a client id.
    pub(crate) fn live(&self, client_id: &str) -> Option<Arc<Live>> {
        match &self.inner().by_client.get(client_id)?.state {
            State::Live(live) => Some(Arc::clone(live)),
            State::Away(_) => None,
        }
    }

    /// The session of a client id, whether its client is there or away.
    pub(crate) fn session(&self, client_id: &str) -> Option<Arc<Session>> {
        let inner = self.inner();
        inner.by_client.get(client_id).map(|entry| Arc::clone(&entry.session))
    }

    /// Takes out the session of a client that is away.
    pub(crate) fn end_away(&self, client_id: &str) -> Option<Arc<Session>> {
        let mut inner = self.inner();
        let State::Away(key) = inner.by_client.get(client_id)?.state else {
            return None;
        };
        inner.away.remove(&key);
        inner.by_client.remove(client_id).map(|entry| entry.session)
    }

    /// The connection of a client, or the last that it had.
    pub(crate) fn facts(&self, client_id: &str) -> Option<ConnectionFacts> {
        let inner = self.inner();
        match inner.by_client.get(client_id).map(|entry| &entry.state) {
            Some(State::Live(live)) => Some(ConnectionFacts::of(live)),
            _ => inner.departed.find(client_id).cloned(),
        }
    }

    /// The live sessions over a certificate.
    pub(crate) fn live_of(&self, certificate: &CertificateId) -> Vec<Arc<Live>> {
        let inner = self.inner();
        let names = inner.live_by_certificate.get(certificate);
        let entries = names.into_iter().flatten().filter_map(|name| inner.by_client.get(name));
        entries.filter_map(Entry::live).collect()
    }

    /// All live sessions.
    pub(crate) fn all_live(&self) -> Vec<Arc<Live>> {
        self.inner().by_client.values().filter_map(Entry::live).collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn live(&self) -> Option<Arc<Live>> {
        match &self.state {
            State::Live(live) => Some(Arc::clone(live)),
            State::Away(_) => None,
        }
    }
}

impl Inner {
    /// Grows from connection to connection of a client that does not stay away for long, or whose session is kept.
    fn next_version(&self, client_id: &str, at: Timestamp) -> u64 {
        if let Some(State::Live(live)) = self.by_client.get(client_id).map(|entry| &entry.state) {
            return live.arrival.version + 1;
        }
        let last = self.departed.find(client_id);
        let is_recent = |last: &&ConnectionFacts| {
            let kept = VERSION_KEPT.max(last.session_expiry);
            last.ended.is_some_and(|(ended_at, _)| at.since(ended_at) < kept)
        };
        last.filter(is_recent).map_or(0, |last| last.version + 1)
    }

    fn unlist(&mut self, client_id: &str, state: &State) {
        match state {
            State::Away(key) => drop(self.away.remove(key)),
            State::Live(live) => {
                if let Some(names) = self.live_by_certificate.get_mut(&live.peer.certificate) {
                    names.remove(client_id);
                    if names.is_empty() {
                        self.live_by_certificate.remove(&live.peer.certificate);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use picket_policy::ConnectAttributes;

    use super::*;
    use crate::live::{Arrival, Peer};

    const ENDED: (Timestamp, DisconnectReason) = (Timestamp::from_millis(7), DisconnectReason::ConnectionLost);

    fn enter(table: &Table, name: &str, clean_start: bool, keep_secs: u32, certificate: u8) -> Entered {
        table.enter(name, (Timestamp::default(), clean_start), |session, version| {
            let peer = Peer {
                certificate: CertificateId::from_bytes([certificate; 32]),
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                port: 1,
                target: (Ipv4Addr::LOCALHOST, 8883).into(),
                domain_name: None,
                fields: None,
            };
            Live::new(
                name.parse().unwrap(),
                peer,
                ConnectAttributes::default(),
                session,
                Arrival {
                    at: Timestamp::default(),
                    connection: 0,
                    version,
                    keep_alive: Duration::from_secs(30),
                    is_clean: clean_start,
                    keep_secs,
                },
            )
        })
    }

    fn n_of(table: &Table, certificate: u8) -> usize {
        table.live_of(&CertificateId::from_bytes([certificate; 32])).len()
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_are_kept_as_long_as_asked() {
        let table = Table::default();
        let first = enter(&table, "a", false, 60, 1);
        assert!(!first.is_present && !first.has_taken_over);
        assert!(table.leave(&first.live, ENDED, (9, 9)).is_none());
        assert!(table.live("a").is_none());
        assert_eq!(table.facts("a").unwrap().ended, Some(ENDED));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(table.expire().is_empty());
        let second = enter(&table, "a", false, 60, 1);
        assert_eq!(table.facts("a").unwrap().ended, None);
        assert!(second.is_present && Arc::ptr_eq(&second.live.session, &first.live.session));
        table.leave(&second.live, ENDED, (9, 9));
        tokio::time::advance(Duration::from_secs(60)).await;
        let third = enter(&table, "a", false, 0, 1);
        assert!(!third.is_present && third.ended.is_some());
        assert!(table.leave(&third.live, ENDED, (9, 9)).is_some());
        let fourth = enter(&table, "a", false, 60, 1);
        table.leave(&fourth.live, ENDED, (9, 9));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(table.expire().len(), 1);
        assert!(table.inner().by_client.is_empty() && table.inner().away.is_empty());
    }

    #[tokio::test]
    async fn a_new_connection_takes_over() {
        let table = Table::default();
        let old = enter(&table, "a", false, 60, 1);
        let new = enter(&table, "a", false, 60, 2);
        assert!(new.has_taken_over && new.is_present);
        assert_eq!(old.live.rights().ordered_end(), Some(Cut::TakenOver));
        assert_eq!((n_of(&table, 1), n_of(&table, 2)), (0, 1));
        assert!(table.leave(&old.live, ENDED, (9, 9)).is_none());
        assert!(table.live("a").is_some_and(|live| Arc::ptr_eq(&live, &new.live)));
        let clean = enter(&table, "a", true, 0, 2);
        assert!(!clean.is_present && clean.ended.is_some());
        assert_eq!(table.all_live().len(), 1);
    }

    #[tokio::test]
    async fn the_first_to_expire_goes_when_too_many_are_away() {
        let table = Table::default();
        for (name, secs) in [("a", 30), ("b", 20), ("c", 10)] {
            let entered = enter(&table, name, false, secs, 1);
            let ended = table.leave(&entered.live, ENDED, (2, 9));
            assert_eq!(
                ended.map(|session| session.client_id.to_string()),
                (name == "c").then(|| "c".to_owned())
            );
        }
        assert_eq!(n_of(&table, 1), 0);
    }
}
