//! What a server reads and writes: one set of types for both versions of the protocol.
//!
//! The version is that of the first packet. Reason codes are those of MQTT 5; what 3.1.1 cannot say is left out or becomes
//! the nearest that it can.

mod read;

use std::num::{NonZeroU16, NonZeroU32};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
pub use rmqtt_codec::types::{Publish, QoS};
pub use rmqtt_codec::v5::{
    ConnectAck, ConnectAckReason, DisconnectReasonCode, PublishAckReason, PublishProperties, RetainHandling,
    SubscribeAckReason, UnsubscribeAckReason,
};
use rmqtt_codec::{v3, v5};
use tokio_util::codec::Encoder;

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1
    V3,
    /// MQTT 5
    V5,
}

/// Decodes what a client sends, encodes what a server answers.
#[derive(Debug)]
pub struct Codec {
    state: State,
    packet_size_bytes_max: u32,
}

#[derive(Debug)]
enum State {
    Unknown,
    V3(v3::Codec),
    V5(v5::Codec),
}

/// A packet from a client.
#[derive(Debug)]
pub enum Packet {
    /// CONNECT
    Connect(Box<Connect>),
    /// PUBLISH, of any QoS
    Publish(Box<Publish>),
    /// PUBACK; that it may carry a failure changes nothing.
    PublishAck {
        /// The packet id of the message.
        id: NonZeroU16,
    },
    /// SUBSCRIBE
    Subscribe(Subscribe),
    /// UNSUBSCRIBE
    Unsubscribe {
        /// The packet id of the request.
        id: NonZeroU16,
        /// The filters as written.
        filters: Vec<ByteString>,
    },
    /// PINGREQ
    PingRequest,
    /// DISCONNECT
    Disconnect {
        /// Whether the will is to be published all the same.
        with_will: bool,
        /// A new session expiry, seconds.
        session_expiry_secs: Option<u32>,
    },
    /// A packet of QoS 2, of enhanced authentication, or one that only servers send.
    Unsupported,
}

/// CONNECT
#[derive(Debug)]
pub struct Connect {
    /// The client id, empty if the server is to assign one.
    pub client_id: ByteString,
    /// Whether an earlier session is forgotten.
    pub clean_start: bool,
    /// The longest silence asked for, seconds; 0 for no limit.
    pub keep_alive_secs: u16,
    /// How long the session outlives the connection, seconds. `None`: 3.1.1 with a persistent session, where the server
    /// decides. `u32::MAX` means for ever.
    pub session_expiry_secs: Option<u32>,
    /// The will.
    pub will: Option<Will>,
    /// The most QoS 1 messages without PUBACK that the client takes.
    pub receive_max: u16,
    /// The largest packet that the client takes, bytes.
    pub packet_size_bytes_max: Option<NonZeroU32>,
    /// Whether enhanced authentication is asked for.
    pub has_auth_method: bool,
    /// Whether the protocol level is 3 (MQTT 3.1).
    pub is_level_3: bool,
}

/// What is to be published if the connection ends without goodbye.
#[derive(Debug)]
pub struct Will {
    /// The topic.
    pub topic: ByteString,
    /// The payload.
    pub payload: Bytes,
    /// The quality of service.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// What MQTT 5 adds.
    pub properties: Option<Box<PublishProperties>>,
}

/// SUBSCRIBE
#[derive(Debug)]
pub struct Subscribe {
    /// The packet id of the request.
    pub id: NonZeroU16,
    /// The filters.
    pub filters: Vec<SubscribeFilter>,
    /// Whether it carries a subscription identifier.
    pub has_identifier: bool,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug)]
pub struct SubscribeFilter {
    /// The filter as written.
    pub filter: ByteString,
    /// The highest quality of service wanted.
    pub qos: QoS,
    /// Whether the client's own messages are left out.
    pub no_local: bool,
    /// Whether live messages keep their retain flag.
    pub retain_as_published: bool,
    /// Whether retained messages are sent on subscribing.
    pub retain_handling: RetainHandling,
}

/// What a server sends.
#[derive(Debug)]
pub enum Answer {
    /// CONNACK
    ConnectAck(Box<ConnectAck>),
    /// PUBACK. 3.1.1 has no failure: the caller closes instead.
    PublishAck {
        /// The packet id of the message.
        id: NonZeroU16,
        /// What became of it.
        reason: PublishAckReason,
    },
    /// SUBACK
    SubscribeAck {
        /// The packet id of the request.
        id: NonZeroU16,
        /// One for each filter.
        reasons: Vec<SubscribeAckReason>,
    },
    /// UNSUBACK
    UnsubscribeAck {
        /// The packet id of the request.
        id: NonZeroU16,
        /// One for each filter.
        reasons: Vec<UnsubscribeAckReason>,
    },
    /// PINGRESP
    PingResponse,
    /// PUBLISH
    Publish(Box<Publish>),
    /// DISCONNECT, which 3.1.1 does not have: nothing is written.
    Disconnect(DisconnectReasonCode),
}

/// Bytes that are no packet that a client may send.
#[derive(Debug, thiserror::Error)]
#[error("malformed packet: {found}")]
pub struct Malformed {
    /// What MQTT 5 calls it.
    pub reason: DisconnectReasonCode,
    /// What was found.
    pub found: String,
}

/// An answer that cannot be encoded: a text or payload is longer than the protocol permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packet does not fit into the protocol")]
pub struct TooLarge;

impl Codec {
    /// A codec for a new connection, whose version is not known yet. A packet whose header claims more than
    /// `packet_size_bytes_max` after the header is refused before it is buffered.
    pub fn new(packet_size_bytes_max: u32) -> Self {
        Self {
            state: State::Unknown,
            packet_size_bytes_max,
        }
    }

    /// The version of the connection; 3.1.1 before CONNECT.
    pub fn version(&self) -> Version {
        match self.state {
            State::Unknown | State::V3(_) => Version::V3,
            State::V5(_) => Version::V5,
        }
    }

    /// Encodes an answer behind what `outbound` holds, which is left as it was on an error.
    ///
    /// # Errors
    /// It does not fit into the protocol.
    pub fn encode(&mut self, answer: Answer, outbound: &mut BytesMut) -> Result<(), TooLarge> {
        let len = outbound.len();
        let encoded = match &mut self.state {
            State::V5(codec) => codec.encode(v5_packet(answer), outbound),
            State::V3(codec) => match v3_packet(answer) {
                Some(packet) => codec.encode(packet, outbound),
                None => Ok(()),
            },
            // Nothing is answered to what is no CONNECT.
            State::Unknown => Ok(()),
        };
        encoded.map_err(|_| {
            outbound.truncate(len);
            TooLarge
        })
    }
}

fn v3_packet(answer: Answer) -> Option<v3::Packet> {
    Some(match answer {
        Answer::ConnectAck(ack) => v3::Packet::ConnectAck(v3::ConnectAck {
            session_present: ack.session_present,
            return_code: v3_connect_code(ack.reason_code)?,
        }),
        Answer::PublishAck { id, .. } => v3::Packet::PublishAck { packet_id: id },
        Answer::SubscribeAck { id, reasons } => v3::Packet::SubscribeAck {
            packet_id: id,
            status: reasons.into_iter().map(v3_subscribe_code).collect(),
        },
        Answer::UnsubscribeAck { id, .. } => v3::Packet::UnsubscribeAck { packet_id: id },
        Answer::PingResponse => v3::Packet::PingResponse,
        Answer::Publish(publish) => v3::Packet::Publish(publish),
        Answer::Disconnect(_) => return None,
    })
}

/// `None` for what 3.1.1 answers with a closed connection.
fn v3_connect_code(reason: ConnectAckReason) -> Option<v3::ConnectAckReason> {
    use v3::ConnectAckReason as Code;
    Some(match reason {
        ConnectAckReason::Success => Code::ConnectionAccepted,
        ConnectAckReason::UnsupportedProtocolVersion => Code::UnacceptableProtocolVersion,
        ConnectAckReason::ClientIdentifierNotValid => Code::IdentifierRejected,
        ConnectAckReason::ServerUnavailable | ConnectAckReason::ServerBusy | ConnectAckReason::QuotaExceeded => {
            Code::ServiceUnavailable
        }
        ConnectAckReason::BadUserNameOrPassword => Code::BadUserNameOrPassword,
        ConnectAckReason::NotAuthorized | ConnectAckReason::Banned => Code::NotAuthorized,
        _ => return None,
    })
}

fn v3_subscribe_code(reason: SubscribeAckReason) -> v3::SubscribeReturnCode {
    match reason {
        SubscribeAckReason::GrantedQos0 => v3::SubscribeReturnCode::Success(QoS::AtMostOnce),
        SubscribeAckReason::GrantedQos1 => v3::SubscribeReturnCode::Success(QoS::AtLeastOnce),
        SubscribeAckReason::GrantedQos2 => v3::SubscribeReturnCode::Success(QoS::ExactlyOnce),
        _ => v3::SubscribeReturnCode::Failure,
    }
}

fn v5_packet(answer: Answer) -> v5::Packet {
    match answer {
        Answer::ConnectAck(ack) => v5::Packet::ConnectAck(ack),
        Answer::PublishAck { id, reason } => v5::Packet::PublishAck(v5::PublishAck {
            packet_id: id,
            reason_code: reason,
            properties: Vec::new(),
            reason_string: None,
        }),
        Answer::SubscribeAck { id, reasons } => v5::Packet::SubscribeAck(v5::SubscribeAck {
            packet_id: id,
            properties: Vec::new(),
            reason_string: None,
            status: reasons,
        }),
        Answer::UnsubscribeAck { id, reasons } => v5::Packet::UnsubscribeAck(v5::UnsubscribeAck {
            packet_id: id,
            properties: Vec::new(),
            reason_string: None,
            status: reasons,
        }),
        Answer::PingResponse => v5::Packet::PingResponse,
        Answer::Publish(publish) => v5::Packet::Publish(publish),
        Answer::Disconnect(reason) => v5::Packet::Disconnect(v5::Disconnect::new(reason)),
    }
}
