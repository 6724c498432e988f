//! What a client gets: each message is asked about when it leaves, by the rights of now.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::BytesMut;
use picket_mqtt::wire::{Answer, Publish, PublishProperties, Version};
use picket_policy::Action;
use tokio::time::Instant;

use super::end::End;
use super::{Connection, OUTBOUND_SIZE_BYTES_MAX};
use crate::mailbox::Delivery;
use crate::message::Message;

impl Connection {
    /// Encodes messages that wait, as many as the buffer and the client's window take.
    pub(super) fn deliver(&mut self, outbound: &mut BytesMut) -> Result<(), End> {
        let live = Arc::clone(&self.live);
        while outbound.len() < OUTBOUND_SIZE_BYTES_MAX {
            // Taken for each message, so that a change of rights does not wait for a full queue.
            let mut rights = live.rights();
            if let Some(cut) = rights.ordered_end() {
                return Err(End::Cut(cut));
            }
            let Some((delivery, id)) = live.session.take(self.n_outbound_max) else {
                break;
            };
            let message = &delivery.message;
            let counters = &self.shared.counters;
            let is_sent = if message.expires_at.is_some_and(|at| at <= Instant::now()) {
                counters.dropped.add_one();
                false
            } else if !rights.allows(Action::Receive, &message.topic) {
                counters.withheld.add_one();
                self.shared
                    .router
                    .pass_on(&delivery, &live.session, self.shared.bounds());
                false
            } else {
                self.send(&delivery, id, outbound)
            };
            if let Some(id) = id.filter(|_| !is_sent) {
                live.session.settle(id);
            }
        }
        Ok(())
    }

    /// Encodes a message; not if it is larger than the client takes.
    fn send(&mut self, delivery: &Delivery, id: Option<NonZeroU16>, outbound: &mut BytesMut) -> bool {
        let Message { topic, payload, .. } = &*delivery.message;
        let publish = Publish {
            dup: delivery.is_repeated && id.is_some(),
            retain: delivery.retain,
            qos: delivery.qos.into(),
            topic: topic.clone(),
            packet_id: id,
            payload: payload.clone(),
            properties: match self.version() {
                Version::V3 => None,
                Version::V5 => Some(properties(&delivery.message)),
            },
        };
        let len = outbound.len();
        let is_encoded = self.codec.encode(Answer::Publish(Box::new(publish)), outbound).is_ok();
        if !is_encoded || self.packet_size_bytes_max < outbound.len() - len {
            outbound.truncate(len);
            self.shared.counters.dropped.add_one();
            return false;
        }
        self.shared.counters.delivered.add_one();
        self.shared.metering.received(&self.live, topic);
        true
    }
}

/// The properties as they are forwarded: with the time that the message has left.
fn properties(message: &Message) -> PublishProperties {
    let mut properties = message.properties.as_deref().cloned().unwrap_or_default();
    properties.message_expiry_interval = message.expires_at.and_then(|at| {
        let secs = (at - Instant::now()).as_secs().max(1);
        std::num::NonZeroU32::new(u32::try_from(secs).unwrap_or(u32::MAX))
    });
    properties
}
