//! A message on its way from one publisher to many sessions.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use picket_mqtt::Qos;
use picket_mqtt::wire::{PublishProperties, QoS};
use tokio::time::Instant;

use crate::counters::Counters;

/// A message, shared by all queues that hold it. It owns its bytes alone, so that a small message that waits does not hold
/// on to the buffer it was read into.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: ByteString,
    pub(crate) payload: Bytes,
    /// What MQTT 5 adds, without topic alias and subscription ids.
    pub(crate) properties: Option<Box<PublishProperties>>,
    pub(crate) expires_at: Option<Instant>,
    share: Option<Share>,
}

/// What a message takes of the memory for all messages; given back with the message.
#[derive(Debug)]
struct Share {
    size_bytes: usize,
    counters: Arc<Counters>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.counters.held_size_bytes.subtract(self.size_bytes);
    }
}

/// What a message is published with, beside its content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publication {
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
}

impl Message {
    pub(crate) fn new(topic: &str, payload: &[u8], properties: Option<Box<PublishProperties>>) -> Self {
        let expiry = properties
            .as_ref()
            .and_then(|properties| properties.message_expiry_interval);
        Self {
            topic: ByteString::from(topic),
            payload: Bytes::copy_from_slice(payload),
            expires_at: expiry.map(|secs| Instant::now() + std::time::Duration::from_secs(u64::from(secs.get()))),
            properties: properties.map(own),
            share: None,
        }
    }

    /// The message, counted as long as anybody holds it.
    pub(crate) fn counted(mut self, counters: &Arc<Counters>) -> Arc<Self> {
        let size_bytes = self.size_bytes();
        counters.held_size_bytes.add(size_bytes);
        self.share = Some(Share {
            size_bytes,
            counters: Arc::clone(counters),
        });
        Arc::new(self)
    }

    /// What the message takes in a queue, bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| {
            let user = properties.user_properties.iter();
            user.map(|(key, value)| key.len() + value.len() + size_of::<(ByteString, ByteString)>())
                .sum::<usize>()
                + properties.correlation_data.as_ref().map_or(0, Bytes::len)
                + properties.content_type.as_ref().map_or(0, |text| text.len())
                + properties.response_topic.as_ref().map_or(0, |text| text.len())
                + size_of::<PublishProperties>()
        });
        self.topic.len() + self.payload.len() + properties + size_of::<Self>()
    }
}

/// QoS 2 is not offered: `None`.
pub(crate) fn offered(qos: QoS) -> Option<Qos> {
    match qos {
        QoS::AtMostOnce => Some(Qos::AtMostOnce),
        QoS::AtLeastOnce => Some(Qos::AtLeastOnce),
        QoS::ExactlyOnce => None,
    }
}

/// Copies what still points into the buffer that the packet was read into.
fn own(mut properties: Box<PublishProperties>) -> Box<PublishProperties> {
    let copy = |text: &ByteString| ByteString::from(&**text);
    properties.topic_alias = None;
    properties.subscription_ids = Vec::new();
    properties.correlation_data = properties.correlation_data.as_deref().map(Bytes::copy_from_slice);
    properties.content_type = properties.content_type.as_ref().map(copy);
    properties.response_topic = properties.response_topic.as_ref().map(copy);
    for (key, value) in &mut properties.user_properties {
        *key = copy(key);
        *value = copy(value);
    }
    properties
}
