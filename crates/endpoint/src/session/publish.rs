//! What a client publishes: to the inbox, or to those who subscribed.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::BytesMut;
use bytestring::ByteString;
use picket_model::topic::{DefenderTopic, TopicKind, is_reserved};
use picket_mqtt::topic;
use picket_mqtt::wire::{Answer, DisconnectReasonCode, Publish, PublishAckReason, PublishProperties, Version};

use super::Connection;
use super::end::End;
use super::reports::Ready;
use crate::doors::{Outcome, Pending, Submission};
use crate::message::{Message, Publication, offered};
use crate::rights::Rights;

/// Topics that an MQTT 5 client has given numbers.
pub(super) type Aliases = Option<Box<HashMap<NonZeroU16, ByteString>>>;

enum Destination {
    Inbox(DefenderTopic),
    Subscribers,
}

impl Connection {
    pub(super) fn publish(
        &mut self,
        mut publish: Publish,
        rights: &mut Rights,
        outbound: &mut BytesMut,
    ) -> Result<(), End> {
        self.shared.counters.published.add_one();
        let Some(qos) = offered(publish.qos) else {
            return Err(End::Broken(DisconnectReasonCode::QosNotSupported));
        };
        if self.shared.limits.payload_size_bytes_max < publish.payload.len() {
            return Err(End::Broken(DisconnectReasonCode::PacketTooLarge));
        }
        self.resolve_alias(&mut publish)?;
        let publication = Publication {
            qos,
            retain: publish.retain,
        };
        match destination(&publish, rights) {
            Err(reason) => {
                if reason == PublishAckReason::NotAuthorized {
                    self.shared.metering.refused(&self.live, &publish.topic);
                }
                self.refuse(publish.packet_id, reason, outbound)
            }
            Ok(Destination::Inbox(topic)) => {
                let size_bytes = publish.payload.len();
                self.shared.metering.sent(&self.live, &publish.topic, size_bytes);
                self.submit(topic, publish, outbound)
            }
            Ok(Destination::Subscribers) => {
                let properties = publish
                    .properties
                    .map(without_alias)
                    .filter(|it| *it != PublishProperties::default());
                let message = Message::new(&publish.topic, &publish.payload, properties.map(Box::new))
                    .counted(&self.shared.counters);
                if !self.shared.publish(&message, publication, Some(&self.live.session)) {
                    return self.refuse(publish.packet_id, PublishAckReason::QuotaExceeded, outbound);
                }
                let size_bytes = publish.payload.len();
                self.shared.metering.sent(&self.live, &publish.topic, size_bytes);
                self.acknowledge(publish.packet_id, PublishAckReason::Success, outbound)
            }
        }
    }

    fn submit(&mut self, topic: DefenderTopic, publish: Publish, outbound: &mut BytesMut) -> Result<(), End> {
        self.shared.counters.reported.add_one();
        let pending = self.shared.inbox.submit(Submission {
            topic,
            payload: publish.payload,
            certificate: self.live.peer.certificate,
            client_id: self.live.client_id.clone(),
        });
        let id = publish.packet_id;
        match pending {
            Pending::Later(verdict) => self.reports.push(id, verdict),
            Pending::Ready(verdict) => {
                if let Some(ready) = self.reports.push_ready(Ready::Verdict { id, verdict }) {
                    return self.give(ready, outbound);
                }
            }
        }
        Ok(())
    }

    /// Gives an answer that waited, unless the session has been cut meanwhile.
    pub(super) fn settle(&mut self, ready: Ready, outbound: &mut BytesMut) -> Result<(), End> {
        let live = Arc::clone(&self.live);
        let rights = live.rights();
        match rights.ordered_end() {
            Some(cut) => Err(End::Cut(cut)),
            None => self.give(ready, outbound),
        }
    }

    fn give(&mut self, ready: Ready, outbound: &mut BytesMut) -> Result<(), End> {
        let (id, verdict) = match ready {
            Ready::Acknowledge { id, reason } => return self.answer(Answer::PublishAck { id, reason }, outbound),
            Ready::Verdict { id, verdict } => (id, verdict),
        };
        if verdict.outcome == Outcome::NotStored {
            self.shared.counters.not_stored.add_one();
            if id.is_some() {
                // Without a PUBACK the device sends it again.
                return Err(End::NotStored);
            }
        }
        if let Some(reply) = &verdict.reply {
            self.shared.publish_reply(reply);
        }
        match id {
            Some(id) => {
                let reason = PublishAckReason::Success;
                self.answer(Answer::PublishAck { id, reason }, outbound)
            }
            None => Ok(()),
        }
    }

    fn acknowledge(
        &mut self,
        id: Option<NonZeroU16>,
        reason: PublishAckReason,
        outbound: &mut BytesMut,
    ) -> Result<(), End> {
        let ready = id.and_then(|id| self.reports.push_ready(Ready::Acknowledge { id, reason }));
        match ready {
            Some(ready) => self.give(ready, outbound),
            None => Ok(()),
        }
    }

    /// MQTT 5 has a negative PUBACK; for QoS 0 and in 3.1.1 only the end of the connection tells the client.
    fn refuse(&mut self, id: Option<NonZeroU16>, reason: PublishAckReason, outbound: &mut BytesMut) -> Result<(), End> {
        if reason == PublishAckReason::NotAuthorized {
            self.shared.counters.denied.add_one();
        }
        if id.is_some() && self.version() == Version::V5 {
            return self.acknowledge(id, reason, outbound);
        }
        Err(End::Refused(match reason {
            PublishAckReason::NotAuthorized => DisconnectReasonCode::NotAuthorized,
            PublishAckReason::TopicNameInvalid => DisconnectReasonCode::TopicNameInvalid,
            _ => DisconnectReasonCode::QuotaExceeded,
        }))
    }

    /// Learns or uses a topic's number.
    fn resolve_alias(&mut self, publish: &mut Publish) -> Result<(), End> {
        let Some(alias) = publish
            .properties
            .as_ref()
            .and_then(|properties| properties.topic_alias)
        else {
            return Ok(());
        };
        let invalid = End::Broken(DisconnectReasonCode::TopicAliasInvalid);
        if self.shared.limits.n_topic_aliases_max < alias.get() {
            return Err(invalid);
        }
        let known = self.aliases.get_or_insert_default();
        if publish.topic.is_empty() {
            publish.topic = known.get(&alias).ok_or(invalid)?.clone();
        } else if publish.topic.len() <= topic::LEN_BYTES_MAX {
            // Copied, so that the buffer that the packet was read into is not kept.
            known.insert(alias, ByteString::from(&*publish.topic));
        }
        Ok(())
    }
}

/// Where the message goes, if it may.
fn destination(publish: &Publish, rights: &mut Rights) -> Result<Destination, PublishAckReason> {
    topic::check_name(&publish.topic).map_err(|_| PublishAckReason::TopicNameInvalid)?;
    if is_reserved(&publish.topic) {
        // Nothing is retained there, whatever the flag says.
        if !rights.allows_publish(&publish.topic, false) {
            return Err(PublishAckReason::NotAuthorized);
        }
        return match DefenderTopic::parse(&publish.topic) {
            Ok(Some(topic)) if topic.kind == TopicKind::Report => Ok(Destination::Inbox(topic)),
            _ => Err(PublishAckReason::TopicNameInvalid),
        };
    }
    if rights.allows_publish(&publish.topic, publish.retain) {
        Ok(Destination::Subscribers)
    } else {
        Err(PublishAckReason::NotAuthorized)
    }
}

fn without_alias(properties: PublishProperties) -> PublishProperties {
    PublishProperties {
        topic_alias: None,
        ..properties
    }
}
