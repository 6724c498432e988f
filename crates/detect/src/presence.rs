//! Whether a client is connected, and since when it is not.

use std::net::IpAddr;

use picket_model::meter;

use crate::moment::Moment;

/// What is known of a client's connections.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Presence {
    /// By any connection.
    #[n(0)]
    pub(crate) all: Link,
    /// By connections that may speak for the device; `None` if there never was one.
    #[n(1)]
    pub(crate) genuine: Option<Link>,
}

/// A connection, or the lack of one.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Link {
    /// The connection, and the address that it came from; `None` while there is none.
    #[n(0)]
    pub(crate) connection: Option<(u64, IpAddr)>,
    /// When the last connection ended; `None` before.
    #[n(1)]
    #[cbor(with = "crate::snapshot::optional_moment")]
    pub(crate) left_at: Option<Moment>,
    /// When the client last did anything, or left.
    #[n(2)]
    #[cbor(with = "crate::snapshot::moment")]
    pub(crate) active_at: Moment,
}

impl Presence {
    /// A client of which nothing is known but that it is active now.
    pub(crate) fn begun(now: Moment) -> Self {
        Self {
            all: Link::begun(now),
            genuine: None,
        }
    }

    /// The client did something.
    pub(crate) fn act(&mut self, is_genuine: bool, now: Moment) {
        self.all.active_at = now;
        if is_genuine {
            self.genuine.get_or_insert_with(|| Link::begun(now)).active_at = now;
        }
    }

    /// A connection began.
    pub(crate) fn arrive(&mut self, presence: &meter::Presence, now: Moment) {
        let connection = Some((presence.connection, presence.address.to_canonical()));
        self.act(presence.is_genuine, now);
        self.all.connection = connection;
        if let Some(genuine) = self.genuine.as_mut().filter(|_| presence.is_genuine) {
            genuine.connection = connection;
        }
    }

    /// A connection ended. If it was taken over, its successor is there already and stays.
    pub(crate) fn leave(&mut self, presence: &meter::Presence, now: Moment) {
        self.act(presence.is_genuine, now);
        for link in std::iter::once(&mut self.all).chain(&mut self.genuine) {
            link.leave(|one| one == presence.connection, now);
        }
    }

    /// Whatever connection there was is gone.
    pub(crate) fn end(&mut self, now: Moment) {
        for link in std::iter::once(&mut self.all).chain(&mut self.genuine) {
            link.leave(|_| true, now);
        }
    }
}

impl Link {
    fn begun(now: Moment) -> Self {
        Self {
            connection: None,
            left_at: None,
            active_at: now,
        }
    }

    fn leave(&mut self, is_it: impl Fn(u64) -> bool, now: Moment) {
        if self.connection.take_if(|(connection, _)| is_it(*connection)).is_some() {
            self.left_at = Some(now);
            self.active_at = now;
        }
    }

    /// Seconds since the last connection ended, 0 while there is one; `None` if there never was one.
    pub(crate) fn away_secs(&self, now: Moment) -> Option<u64> {
        match (self.connection, self.left_at) {
            (Some(_), _) => Some(0),
            (None, Some(left_at)) => Some(now.since(left_at).as_secs()),
            (None, None) => None,
        }
    }
}
