//! MQTT 3.1.1 and 5 on the wire, and a small client.
//!
//! This room knows no policy and no report. It never chooses a cryptography provider: TLS configurations are passed in.
//! There is no way to speak without TLS.
//!
//! Reading order: [`topic`], [`link`], [`client`], [`wire`].

pub mod client;
pub mod link;
pub mod topic;
pub mod wire;

pub use client::{Client, ConnectError, ConnectOptions, Ended, Incoming, Message, RequestError, Will};

/// How surely a message is delivered. There is no "exactly once": AWS IoT does not offer it either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Qos {
    /// 0: sent once, never acknowledged.
    AtMostOnce,
    /// 1: sent again until acknowledged, so that it may arrive twice.
    AtLeastOnce,
}

impl From<Qos> for rmqtt_codec::types::QoS {
    fn from(qos: Qos) -> Self {
        match qos {
            Qos::AtMostOnce => Self::AtMostOnce,
            Qos::AtLeastOnce => Self::AtLeastOnce,
        }
    }
}
