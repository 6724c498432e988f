//! What subscribers are told of the comings and goings of clients: AWS's lifecycle events.
//!
//! Source: AWS IoT Core's life cycle events. They are published to whoever subscribed and may receive them, and are not
//! retained.

use picket_model::connection::DisconnectReason;
use picket_model::name::{CertificateId, DeviceName};
use picket_model::time::Timestamp;
use picket_mqtt::Qos;
use picket_mqtt::topic;
use serde::Serialize;

use crate::live::{Live, Peer};
use crate::message::{Message, Publication};
use crate::shared::Shared;

/// What happened to a connection, or was refused to become one.
pub(crate) enum Event<'a> {
    Connected,
    Disconnected(DisconnectReason),
    /// With the filters, as written.
    Subscribed(&'a [&'a str]),
    Unsubscribed(&'a [&'a str]),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    client_id: &'a str,
    timestamp: i64,
    event_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_failure_reason: Option<&'static str>,
    session_identifier: &'a str,
    principal_identifier: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topics: Option<&'a [&'a str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_initiated_disconnect: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_number: Option<u64>,
}

impl<'a> Payload<'a> {
    fn new(
        client_id: &'a DeviceName,
        event_type: &'static str,
        certificate: &CertificateId,
        session_identifier: &'a str,
        at: Timestamp,
    ) -> Self {
        Self {
            client_id: client_id.as_str(),
            timestamp: at.millis(),
            event_type,
            connect_failure_reason: None,
            session_identifier,
            principal_identifier: certificate.to_string(),
            ip_address: None,
            topics: None,
            client_initiated_disconnect: None,
            disconnect_reason: None,
            version_number: None,
        }
    }
}

impl Shared {
    /// Tells what happened to a connection.
    pub(crate) fn tell(&self, live: &Live, event: &Event<'_>) {
        let (kind, event_type) = match event {
            Event::Connected => ("presence", "connected"),
            Event::Disconnected(_) => ("presence", "disconnected"),
            Event::Subscribed(_) => ("subscriptions", "subscribed"),
            Event::Unsubscribed(_) => ("subscriptions", "unsubscribed"),
        };
        let session_identifier = self.ids.session_identifier(live.arrival.connection);
        let at = match event {
            Event::Connected => live.arrival.at,
            _ => (self.clock)(),
        };
        let certificate = &live.peer.certificate;
        let mut payload = Payload::new(&live.client_id, event_type, certificate, &session_identifier, at);
        match event {
            Event::Connected => {
                payload.ip_address = Some(live.peer.address.to_string());
                payload.version_number = Some(live.arrival.version);
            }
            Event::Disconnected(reason) => {
                payload.client_initiated_disconnect = Some(*reason == DisconnectReason::ClientInitiated);
                payload.disconnect_reason = Some(reason.as_str());
                payload.version_number = Some(live.arrival.version);
            }
            Event::Subscribed(topics) | Event::Unsubscribed(topics) => payload.topics = Some(topics),
        }
        self.publish_event(kind, &payload);
    }

    /// Tells that a client may not come in, or may not leave the will that it came with.
    pub(crate) fn tell_refused(&self, client_id: &DeviceName, peer: &Peer) {
        let session_identifier = self.ids.session_identifier(self.ids.next());
        let at = (self.clock)();
        let event_type = "connect_failed";
        let mut payload = Payload::new(client_id, event_type, &peer.certificate, &session_identifier, at);
        payload.connect_failure_reason = Some("AUTHORIZATION_FAILED");
        payload.ip_address = Some(peer.address.to_string());
        self.publish_event("presence", &payload);
    }

    fn publish_event(&self, kind: &str, payload: &Payload<'_>) {
        let topic = format!("$aws/events/{kind}/{}/{}", payload.event_type, payload.client_id);
        // Of a client whose name is no part of a topic, nothing is told.
        let Ok(()) = topic::check_name(&topic) else { return };
        // Texts and numbers always have a JSON form.
        let Ok(text) = serde_json::to_vec(payload) else { return };
        let message = Message::new(&topic, &text, None).counted(&self.counters);
        let publication = Publication {
            qos: Qos::AtLeastOnce,
            retain: false,
        };
        if !self.publish(&message, publication, None) {
            self.counters.dropped.add_one();
        }
    }
}
