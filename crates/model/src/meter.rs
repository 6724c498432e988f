//! What the endpoint measured of its clients: the broker-side metrics, before anybody has judged them.
//!
//! Everything here belongs to an MQTT client id, as AWS's cloud-side metrics do, whatever the certificate.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::name::{CertificateId, DeviceName, DimensionName};

/// What some clients did in about a second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Sorted by client id, then genuine ones first; no two alike in both.
    pub clients: Vec<ClientMeter>,
}

/// What one client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientMeter {
    /// The client id that it went by.
    pub client_id: DeviceName,
    /// Whether it may speak for that name: the certificate is attached to the thing of this name, or there is no such
    /// thing. A loose policy lets a device connect by another's name, and only what is genuine supports a quarantine.
    pub is_genuine: bool,
    /// The newest certificate behind it: evidence, not identity.
    pub certificate: CertificateId,
    /// Connection attempts that were refused; those that succeeded are records of their own.
    pub n_refused_attempts: u32,
    /// Requests that policy refused, refused connections included.
    pub n_authorization_failures: u32,
    /// Messages of all topics. Their refused requests are those that name a topic.
    pub total: Tally,
    /// The same for each dimension that a behavior uses, sorted by name.
    pub dimensions: Vec<DimensionMeter>,
}

/// What a client did on the topics of one dimension, and on the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DimensionMeter {
    /// Which dimension.
    pub dimension: DimensionName,
    /// On topics that match one of its filters.
    pub inside: Tally,
    /// On topics that match none.
    pub outside: Tally,
}

/// What a client did on some topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that it sent, and how large their payloads were; `None` if there was none.
    pub sent: Option<Sizes>,
    /// Messages that it was sent.
    pub n_received: u32,
    /// Requests on these topics that policy refused.
    pub n_refused: u32,
    /// The addresses that it was active from, at most [`Tally::ADDRESSES_MAX`].
    pub addresses: BTreeSet<IpAddr>,
}

/// Sizes of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// How many messages, at least 1.
    pub n_messages: u32,
    /// The sum of their payloads, bytes.
    pub sum_bytes: u64,
    /// The smallest payload, bytes.
    pub min_bytes: u32,
    /// The largest payload, bytes.
    pub max_bytes: u32,
}

/// A client that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The client id.
    pub client_id: DeviceName,
    /// See [`ClientMeter::is_genuine`].
    pub is_genuine: bool,
    /// Tells the connections of a client id apart: one that is taken over ends after its successor began. Never used
    /// twice.
    pub connection: u64,
    /// The certificate of the connection.
    pub certificate: CertificateId,
    /// The address that the client connected from.
    pub address: IpAddr,
}

impl ClientMeter {
    /// Dimensions kept; ten are in use at a time, and others only while the log takes nothing.
    pub const DIMENSIONS_MAX: usize = 16;

    /// Adds what the same client did later.
    pub fn add(&mut self, later: &Self) {
        self.certificate = later.certificate;
        self.n_refused_attempts = self.n_refused_attempts.saturating_add(later.n_refused_attempts);
        self.n_authorization_failures = self
            .n_authorization_failures
            .saturating_add(later.n_authorization_failures);
        self.total.add(&later.total);
        for one in &later.dimensions {
            match self
                .dimensions
                .binary_search_by(|own| own.dimension.cmp(&one.dimension))
            {
                Ok(at) => {
                    self.dimensions[at].inside.add(&one.inside);
                    self.dimensions[at].outside.add(&one.outside);
                }
                Err(at) if self.dimensions.len() < Self::DIMENSIONS_MAX => self.dimensions.insert(at, one.clone()),
                Err(_) => {}
            }
        }
    }
}

impl Tally {
    /// Addresses kept; a client that is active from more within a second is on no good way either.
    pub const ADDRESSES_MAX: usize = 16;

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Notes a message that the client sent, from this address.
    pub fn note_sent(&mut self, size_bytes: usize, from: IpAddr) {
        let one = Sizes::of(size_bytes);
        self.sent = Some(self.sent.map_or(one, |sizes| sizes.and(one)));
        self.note_address(from);
    }

    /// Notes that the client was active from this address.
    pub fn note_address(&mut self, from: IpAddr) {
        if self.addresses.len() < Self::ADDRESSES_MAX {
            self.addresses.insert(from.to_canonical());
        }
    }

    /// Adds what another tally of the same client and topics holds.
    pub fn add(&mut self, other: &Self) {
        self.sent = match (self.sent, other.sent) {
            (Some(own), Some(other)) => Some(own.and(other)),
            (own, other) => own.or(other),
        };
        self.n_received = self.n_received.saturating_add(other.n_received);
        self.n_refused = self.n_refused.saturating_add(other.n_refused);
        for &address in &other.addresses {
            self.note_address(address);
        }
    }
}

impl Sizes {
    /// Of one message with a payload of so many bytes.
    pub fn of(size_bytes: usize) -> Self {
        let size = u32::try_from(size_bytes).unwrap_or(u32::MAX);
        Self {
            n_messages: 1,
            sum_bytes: size.into(),
            min_bytes: size,
            max_bytes: size,
        }
    }

    /// Of these messages and others.
    pub fn and(self, other: Self) -> Self {
        Self {
            n_messages: self.n_messages.saturating_add(other.n_messages),
            sum_bytes: self.sum_bytes.saturating_add(other.sum_bytes),
            min_bytes: self.min_bytes.min(other.min_bytes),
            max_bytes: self.max_bytes.max(other.max_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let near: IpAddr = [192, 0, 2, 1].into();
        let mut tally = Tally::default();
        assert!(tally.is_empty());
        for (size_bytes, expected) in [
            (26, (1, 26, 26, 26)),
            (3_000, (2, 3_026, 26, 3_000)),
            (0, (3, 3_026, 0, 3_000)),
        ] {
            tally.note_sent(size_bytes, near);
            let sizes = tally.sent.unwrap();
            let found = (sizes.n_messages, sizes.sum_bytes, sizes.min_bytes, sizes.max_bytes);
            assert_eq!(found, expected, "{size_bytes} bytes");
        }
        let mut both = tally.clone();
        both.add(&tally);
        both.add(&Tally::default());
        assert_eq!(
            both.sent.map(|sizes| (sizes.n_messages, sizes.sum_bytes)),
            Some((6, 6_052))
        );
        assert_eq!(both.addresses.len(), 1);
        let dimension = |name: &str, n_received| DimensionMeter {
            dimension: name.parse().unwrap(),
            inside: Tally {
                n_received,
                ..Tally::default()
            },
            outside: Tally::default(),
        };
        let client = |certificate, dimensions| ClientMeter {
            client_id: "a".parse().unwrap(),
            is_genuine: true,
            certificate: CertificateId::from_bytes([certificate; 32]),
            n_refused_attempts: 1,
            n_authorization_failures: u32::MAX,
            total: tally.clone(),
            dimensions,
        };
        let mut one = client(1, vec![dimension("b", 1), dimension("d", 1)]);
        one.add(&client(2, vec![dimension("a", 2), dimension("d", 2)]));
        let mut expected = client(2, vec![dimension("a", 2), dimension("b", 1), dimension("d", 3)]);
        expected.n_refused_attempts = 2;
        expected.total.add(&tally);
        assert_eq!(one, expected);
        for last in 0..100 {
            both.note_address([192, 0, 2, last].into());
        }
        assert_eq!(both.addresses.len(), Tally::ADDRESSES_MAX);
    }
}
