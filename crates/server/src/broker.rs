//! The API's way to messages and connections.

use std::num::NonZeroU32;

use futures_util::future::BoxFuture;
use picket_api::broker::{Broker, Connection, NotPublished, Outbound, Properties, Retained};
use picket_endpoint::{ConnectionFacts, Dismissal, Handle, Outgoing, RetainedMessage};
use picket_model::name::DeviceName;
use picket_model::topic::is_reserved;
use picket_mqtt::Qos;
use picket_mqtt::topic;
use picket_mqtt::wire::PublishProperties;

/// Reaches the endpoint for the API.
#[derive(Clone, Debug)]
pub(crate) struct EndpointBroker(pub(crate) Handle);

impl Broker for EndpointBroker {
    fn publish(&self, message: Outbound) -> Result<(), NotPublished> {
        if is_reserved(&message.topic) {
            // What is published there is the service's own, or a report, which only the device that it is about may send:
            // by the certificate it is known whom to believe.
            let found: String = message.topic.chars().take(80).collect();
            return Err(NotPublished::Refused(format!(
                "topic is {found:?}, expected one that does not begin with $: those are published by the server, and by \
                 devices over MQTT"
            )));
        }
        if let Some(answers) = &message.properties.response_topic {
            topic::check_name(answers).map_err(|err| NotPublished::Refused(format!("responseTopic: {err}")))?;
        }
        let outgoing = Outgoing {
            topic: &message.topic,
            payload: &message.payload,
            properties: Some(properties(message.properties)),
            qos: if message.is_at_least_once {
                Qos::AtLeastOnce
            } else {
                Qos::AtMostOnce
            },
            retain: message.retain,
        };
        self.0.send(outgoing).map_err(|err| match err {
            picket_endpoint::NotPublished::NoRoom => NotPublished::NoRoom,
            picket_endpoint::NotPublished::Topic(why) => NotPublished::Refused(why.to_string()),
            picket_endpoint::NotPublished::Payload { .. } => NotPublished::Refused(err.to_string()),
        })
    }

    fn retained(&self, topic: &str) -> Option<Retained> {
        self.0.retained(topic).map(retained)
    }

    fn retained_after(&self, after: Option<&str>, n_max: usize) -> Vec<Retained> {
        self.0.retained_after(after, n_max).into_iter().map(retained).collect()
    }

    fn connection(&self, client_id: &DeviceName) -> Option<Connection> {
        self.0.connection(client_id).map(connection)
    }

    fn subscriptions(&self, client_id: &DeviceName) -> Option<Vec<(String, u8)>> {
        let subscriptions = self.0.subscriptions(client_id)?.into_iter();
        Some(
            subscriptions
                .map(|(filter, qos)| (filter.into(), number(qos)))
                .collect(),
        )
    }

    fn dismiss<'a>(&'a self, client_id: &'a DeviceName, with_will: bool, ends_session: bool) -> BoxFuture<'a, bool> {
        let dismissal = Dismissal {
            with_will,
            keeps_session: !ends_session,
        };
        Box::pin(self.0.dismiss(client_id, dismissal))
    }
}

fn properties(properties: Properties) -> PublishProperties {
    let user = properties.user.into_iter();
    PublishProperties {
        content_type: properties.content_type.map(Into::into),
        response_topic: properties.response_topic.map(Into::into),
        correlation_data: properties.correlation_data.map(Into::into),
        message_expiry_interval: properties.expiry_secs.and_then(NonZeroU32::new),
        is_utf8_payload: properties.is_utf8,
        user_properties: user.map(|(name, value)| (name.into(), value.into())).collect(),
        ..PublishProperties::default()
    }
}

fn retained(message: RetainedMessage) -> Retained {
    Retained {
        topic: message.topic,
        payload: message.payload.to_vec(),
        qos: number(message.qos),
        at: message.published_at,
        user_properties: message.user_properties,
    }
}

fn connection(facts: ConnectionFacts) -> Connection {
    Connection {
        certificate: facts.certificate,
        source: facts.source,
        target: facts.target,
        keep_alive: facts.keep_alive,
        is_clean: facts.is_clean,
        session_expiry: facts.session_expiry,
        connected_at: facts.connected_at,
        ended: facts.ended,
    }
}

const fn number(qos: Qos) -> u8 {
    match qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 1,
    }
}
