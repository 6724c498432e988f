//! The last message of each topic that was published to be kept.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytestring::ByteString;
use picket_model::time::Timestamp;
use picket_mqtt::Qos;
use tokio::time::Instant;

use crate::limits::Limits;
use crate::message::Message;

/// Retained messages, in memory: they do not survive a restart.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    kept: RwLock<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    messages: BTreeMap<ByteString, Retention>,
    /// The topics of messages that expire, by when.
    expiring: BTreeSet<(Instant, ByteString)>,
    size_bytes: usize,
}

/// A message that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Retention {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: Qos,
    /// When it was published.
    pub(crate) at: Timestamp,
}

impl Retention {
    fn is_over(&self, now: Instant) -> bool {
        self.message.expires_at.is_some_and(|at| at <= now)
    }
}

impl Retained {
    /// Keeps the message in place of the topic's last one; an empty payload only removes that. `false`: there is no room.
    pub(crate) fn put(&self, message: &Arc<Message>, qos: Qos, at: Timestamp, limits: &Limits) -> bool {
        let mut kept = self.write();
        if message.payload.is_empty() {
            kept.remove(&message.topic);
            return true;
        }
        let before = kept
            .messages
            .get(&message.topic)
            .map(|before| before.message.size_bytes());
        let n_messages = kept.messages.len() + usize::from(before.is_none());
        let size_bytes = kept
            .size_bytes
            .saturating_sub(before.unwrap_or(0))
            .saturating_add(message.size_bytes());
        if limits.n_retained_max < n_messages || limits.retained_size_bytes_max < size_bytes {
            return false;
        }
        kept.remove(&message.topic);
        kept.size_bytes = size_bytes;
        if let Some(expires_at) = message.expires_at {
            kept.expiring.insert((expires_at, message.topic.clone()));
        }
        let retention = Retention {
            message: Arc::clone(message),
            qos,
            at,
        };
        kept.messages.insert(message.topic.clone(), retention);
        true
    }

    /// The topic's message, unless it has expired.
    pub(crate) fn find(&self, topic: &str) -> Option<Retention> {
        let now = Instant::now();
        let found = self.read().messages.get(topic).cloned();
        found.filter(|kept| !kept.is_over(now))
    }

    /// Up to `n_max` messages that have not expired, in the order of their topics, from the first topic after `after`.
    pub(crate) fn list(&self, after: Option<&str>, n_max: usize) -> Vec<Retention> {
        let now = Instant::now();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let kept = self.read();
        let from_start = kept.messages.range::<str, _>((start, Bound::Unbounded));
        let lasting = from_start.map(|(_, kept)| kept).filter(|kept| !kept.is_over(now));
        lasting.take(n_max).cloned().collect()
    }

    /// Drops what has expired, so that it takes no place.
    pub(crate) fn expire(&self) {
        let now = Instant::now();
        // As a rule there is nothing to drop, and readers go on.
        if self.read().expiring.first().is_none_or(|(at, _)| now < *at) {
            return;
        }
        let mut kept = self.write();
        while let Some((_, topic)) = kept.expiring.first().filter(|(at, _)| *at <= now).cloned() {
            kept.remove(&topic);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.read().messages.len()
    }

    fn read(&self) -> RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, topic: &ByteString) {
        let Some(Retention { message, .. }) = self.messages.remove(topic) else {
            return;
        };
        self.size_bytes = self.size_bytes.saturating_sub(message.size_bytes());
        if let Some(at) = message.expires_at {
            self.expiring.remove(&(at, topic.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_message_is_kept_within_the_limits() {
        let limits = Limits {
            n_retained_max: 2,
            ..Limits::default()
        };
        let retained = Retained::default();
        for (topic, payload, is_kept, n_kept) in [
            ("a", "1", true, 1),
            ("a", "2", true, 1),
            ("b", "1", true, 2),
            ("c", "1", false, 2),
            ("b", "2", true, 2),
            ("a", "", true, 1),
            ("a", "", true, 1),
            ("c", "1", true, 2),
        ] {
            let message = Arc::new(Message::new(topic, payload.as_bytes(), None));
            assert_eq!(
                retained.put(&message, Qos::AtLeastOnce, Timestamp::default(), &limits),
                is_kept,
                "{topic} {payload}"
            );
            assert_eq!(retained.len(), n_kept, "{topic} {payload}");
        }
        assert_eq!(&retained.find("b").unwrap().message.payload[..], b"2");
        assert!(retained.find("a").is_none());
        let topics = |after, n_max| -> Vec<String> {
            let listed = retained.list(after, n_max).into_iter();
            listed.map(|kept| kept.message.topic.to_string()).collect()
        };
        assert_eq!(topics(None, 9), ["b", "c"]);
        assert_eq!(topics(None, 1), ["b"]);
        assert_eq!(topics(Some("b"), 9), ["c"]);
        assert_eq!(topics(Some("a"), 1), ["b"]);
    }
}
