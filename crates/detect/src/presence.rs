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
    /// When the client last did anything, or left.
    #[n(2)]
    #[cbor(with = "crate::snapshot::moment")]
    pub(crate) active_at: Moment,
}

/// A connection, or the lack of one.
#[derive(Clone, Debug, Default, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Link {
    /// The connection, and the address that it came from; `None` while there is none.
    #[n(0)]
    pub(crate) connection: Option<(u64, IpAddr)>,
    /// When the last connection ended; `None` before.
    #[n(1)]
    #[cbor(with = "crate::snapshot::optional_moment")]
    pub(crate) left_at: Option<Moment>,
}

impl Presence {
    /// A client that was active, and of which nothing else is known.
    pub(crate) fn begun(now: Moment) -> Self {
        Self {
            all: Link::default(),
            genuine: None,
            active_at: now,
        }
    }

    /// A connection began.
    pub(crate) fn arrive(&mut self, presence: &meter::Presence, now: Moment) {
        let connection = Some((presence.connection, presence.address.to_canonical()));
        self.active_at = now;
        self.all.connection = connection;
        if presence.is_genuine {
            self.genuine.get_or_insert_default().connection = connection;
        }
    }

    /// A connection ended. If it was taken over, its successor is there already and stays.
    pub(crate) fn leave(&mut self, connection: u64, now: Moment) {
        self.active_at = now;
        for link in std::iter::once(&mut self.all).chain(&mut self.genuine) {
            link.leave(|one| one == connection, now);
        }
    }

    /// Whatever connection there was is gone.
    pub(crate) fn end(&mut self, now: Moment) {
        if self.all.connection.is_some() {
            self.active_at = now;
        }
        for link in std::iter::once(&mut self.all).chain(&mut self.genuine) {
            link.leave(|_| true, now);
        }
    }
}

impl Link {
    fn leave(&mut self, is_it: impl Fn(u64) -> bool, now: Moment) {
        if self.connection.take_if(|(connection, _)| is_it(*connection)).is_some() {
            self.left_at = Some(now);
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
