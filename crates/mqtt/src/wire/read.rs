//! From bytes to the packets of one set of types.

use bytes::BytesMut;
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::types::MQTT_LEVEL_31;
use rmqtt_codec::v5::ToReasonCode as _;
use rmqtt_codec::version::{ProtocolVersion, VersionCodec};
use rmqtt_codec::{v3, v5};
use tokio_util::codec::Decoder;

use super::{
    Codec, Connect, DisconnectReasonCode, Malformed, Packet, PublishProperties, RetainHandling, State, Subscribe,
    SubscribeFilter, Will,
};

impl Codec {
    /// Takes one packet from the front of `inbound`; `None` if more bytes are needed.
    ///
    /// # Errors
    /// The bytes are no packet that a client may send, or the packet is over the limit. Decode no more after that.
    pub fn decode(&mut self, inbound: &mut BytesMut) -> Result<Option<Packet>, Malformed> {
        if matches!(self.state, State::Unknown) {
            match VersionCodec.decode(inbound).map_err(malformed)? {
                Some(ProtocolVersion::MQTT3) => self.state = State::V3(v3::Codec::new(self.packet_size_bytes_max)),
                Some(ProtocolVersion::MQTT5) => self.state = State::V5(v5::Codec::new(self.packet_size_bytes_max, 0)),
                None => return Ok(None),
            }
        }
        match &mut self.state {
            State::Unknown => Ok(None),
            State::V3(codec) => Ok(codec
                .decode(inbound)
                .map_err(malformed)?
                .map(|(packet, _)| from_v3(packet))),
            State::V5(codec) => Ok(codec
                .decode(inbound)
                .map_err(malformed)?
                .map(|(packet, _)| from_v5(packet))),
        }
    }
}

fn malformed(error: DecodeError) -> Malformed {
    let reason = match error {
        DecodeError::Utf8Error => DisconnectReasonCode::MalformedPacket,
        _ => error.to_reason_code(),
    };
    Malformed {
        reason,
        found: error.to_string(),
    }
}

fn from_v3(packet: v3::Packet) -> Packet {
    match packet {
        v3::Packet::Connect(connect) => Packet::Connect(Box::new(connect_from_v3(*connect))),
        v3::Packet::Publish(publish) => Packet::Publish(publish),
        v3::Packet::PublishAck { packet_id } => Packet::PublishAck { id: packet_id },
        v3::Packet::Subscribe {
            packet_id,
            topic_filters,
        } => Packet::Subscribe(Subscribe {
            id: packet_id,
            filters: topic_filters
                .into_iter()
                .map(|(filter, qos)| SubscribeFilter {
                    filter,
                    qos,
                    no_local: false,
                    retain_as_published: false,
                    retain_handling: RetainHandling::AtSubscribe,
                })
                .collect(),
            has_identifier: false,
        }),
        v3::Packet::Unsubscribe {
            packet_id,
            topic_filters,
        } => Packet::Unsubscribe {
            id: packet_id,
            filters: topic_filters,
        },
        v3::Packet::PingRequest => Packet::PingRequest,
        v3::Packet::Disconnect => Packet::Disconnect {
            with_will: false,
            session_expiry_secs: None,
        },
        _ => Packet::Unsupported,
    }
}

fn connect_from_v3(connect: v3::Connect) -> Connect {
    Connect {
        client_id: connect.client_id,
        clean_start: connect.clean_session,
        keep_alive_secs: connect.keep_alive,
        session_expiry_secs: connect.clean_session.then_some(0),
        will: connect.last_will.map(|will| Will {
            topic: will.topic,
            payload: will.message,
            qos: will.qos,
            retain: will.retain,
            properties: None,
        }),
        receive_max: u16::MAX,
        packet_size_bytes_max: None,
        has_auth_method: false,
        is_level_3: connect.protocol.level() == MQTT_LEVEL_31,
    }
}

fn from_v5(packet: v5::Packet) -> Packet {
    match packet {
        v5::Packet::Connect(connect) => Packet::Connect(Box::new(connect_from_v5(*connect))),
        v5::Packet::Publish(publish) => Packet::Publish(publish),
        v5::Packet::PublishAck(ack) => Packet::PublishAck { id: ack.packet_id },
        v5::Packet::Subscribe(subscribe) => Packet::Subscribe(Subscribe {
            id: subscribe.packet_id,
            filters: subscribe
                .topic_filters
                .into_iter()
                .map(|(filter, options)| SubscribeFilter {
                    filter,
                    qos: options.qos,
                    no_local: options.no_local,
                    retain_as_published: options.retain_as_published,
                    retain_handling: options.retain_handling,
                })
                .collect(),
            has_identifier: subscribe.id.is_some(),
        }),
        v5::Packet::Unsubscribe(unsubscribe) => Packet::Unsubscribe {
            id: unsubscribe.packet_id,
            filters: unsubscribe.topic_filters,
        },
        v5::Packet::PingRequest => Packet::PingRequest,
        v5::Packet::Disconnect(disconnect) => Packet::Disconnect {
            with_will: disconnect.reason_code != DisconnectReasonCode::NormalDisconnection,
            session_expiry_secs: disconnect.session_expiry_interval_secs,
        },
        _ => Packet::Unsupported,
    }
}

fn connect_from_v5(connect: v5::Connect) -> Connect {
    Connect {
        client_id: connect.client_id,
        clean_start: connect.clean_start,
        keep_alive_secs: connect.keep_alive,
        session_expiry_secs: Some(connect.session_expiry_interval_secs),
        will: connect.last_will.map(|will| Will {
            topic: will.topic,
            payload: will.message,
            qos: will.qos,
            retain: will.retain,
            properties: Some(Box::new(PublishProperties {
                topic_alias: None,
                correlation_data: will.correlation_data,
                message_expiry_interval: will.message_expiry_interval,
                content_type: will.content_type,
                user_properties: will.user_properties,
                is_utf8_payload: will.is_utf8_payload.unwrap_or(false),
                response_topic: will.response_topic,
                subscription_ids: Vec::new(),
            })),
        }),
        receive_max: connect.receive_max.map_or(u16::MAX, std::num::NonZeroU16::get),
        packet_size_bytes_max: connect.max_packet_size,
        has_auth_method: connect.auth_method.is_some(),
        is_level_3: false,
    }
}
