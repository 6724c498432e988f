//! What the endpoint counts of itself, for telemetry.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the start; see [`CountersSnapshot`] for what each means.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// The counts at one moment. All but `connections`, `retained` and `held_size_bytes` only grow.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct CountersSnapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> CountersSnapshot {
                CountersSnapshot { $($name: self.$name.value(),)* }
            }
        }
    };
}

counters! {
    /// Live connections whose CONNECT was accepted.
    connections,
    /// CONNECTs accepted.
    accepted,
    /// TLS handshakes that failed or took too long, and connections that ended before CONNECT.
    handshakes_failed,
    /// Handshakes refused because their address, or the endpoint, had too many.
    handshakes_shed,
    /// CONNECTs refused because the certificate is not registered or not ACTIVE.
    refused_certificate,
    /// CONNECTs refused, and sessions cut, because a thing of theirs is quarantined.
    refused_quarantined,
    /// CONNECTs refused by policy.
    refused_policy,
    /// CONNECTs refused because they are malformed, or ask for what is not offered.
    refused_protocol,
    /// PUBLISH packets received.
    published,
    /// Of these, reports handed to the inbox.
    reported,
    /// Reports that the log could not take.
    not_stored,
    /// PUBLISH packets, wills, and filters refused by policy.
    denied,
    /// Deliveries withheld by policy.
    withheld,
    /// Messages sent to clients.
    delivered,
    /// Messages dropped because a queue was full, they had expired, or the client takes none so large.
    dropped,
    /// Sessions closed because they did not take their messages.
    overflowed,
    /// Sessions taken over by a new connection of the same client id.
    taken_over,
    /// Sessions cut after a recheck.
    cut,
    /// Connections closed because the client broke the protocol or a limit.
    protocol_errors,
    /// Connections closed because the client was silent.
    keep_alive_timeouts,
    /// Times that a session did not count what it did, because nobody collected what others had counted.
    unmetered,
    /// Retained messages.
    retained,
    /// The size of all messages that wait somewhere, are not acknowledged or are retained, each counted once, bytes.
    held_size_bytes,
}

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn subtract_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, n: usize) {
        self.0
            .fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, n: usize) {
        self.0
            .fetch_sub(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: usize) {
        self.0
            .store(u64::try_from(value).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
