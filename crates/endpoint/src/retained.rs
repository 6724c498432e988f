//! The last message of each topic that was published to be kept.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use bytestring::ByteString;
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
    messages: HashMap<ByteString, (Arc<Message>, Qos)>,
    size_bytes: usize,
}

impl Retained {
    /// Keeps the message in place of the topic's last one; an empty payload only removes that. `false`: there is no room.
    pub(crate) fn put(&self, message: &Arc<Message>, qos: Qos, limits: &Limits) -> bool {
        let mut kept = self.kept.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = kept
            .messages
            .get(&message.topic)
            .map_or(0, |(before, _)| before.size_bytes());
        if message.payload.is_empty() {
            kept.messages.remove(&message.topic);
            kept.size_bytes = kept.size_bytes.saturating_sub(before);
            return true;
        }
        let n_messages = kept.messages.len() + usize::from(before == 0);
        let size_bytes = kept
            .size_bytes
            .saturating_sub(before)
            .saturating_add(message.size_bytes());
        if limits.n_retained_max < n_messages || limits.retained_size_bytes_max < size_bytes {
            return false;
        }
        kept.size_bytes = size_bytes;
        kept.messages.insert(message.topic.clone(), (Arc::clone(message), qos));
        true
    }

    /// The topic's message, unless it has expired.
    pub(crate) fn find(&self, topic: &str) -> Option<(Arc<Message>, Qos)> {
        let kept = self.kept.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let found = kept.messages.get(topic);
        found
            .filter(|(message, _)| message.expires_at.is_none_or(|at| Instant::now() < at))
            .cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.kept
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .messages
            .len()
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
                retained.put(&message, Qos::AtLeastOnce, &limits),
                is_kept,
                "{topic} {payload}"
            );
            assert_eq!(retained.len(), n_kept, "{topic} {payload}");
        }
        assert_eq!(&retained.find("b").unwrap().0.payload[..], b"2");
        assert!(retained.find("a").is_none());
    }
}
