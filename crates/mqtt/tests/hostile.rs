//! What the codec does with bytes that no honest peer sends: it never panics, and it never takes memory for a packet
//! that is over the limit.

#![expect(
    clippy::unwrap_used,
    reason = "a test harness: what cannot be unwrapped fails the test"
)]

use bytes::{Bytes, BytesMut};
use picket_mqtt::wire;
use proptest::prelude::*;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::{MqttCodec, v3, v5, version};
use tokio_util::codec::{Decoder, Encoder};

const LIMIT: u32 = 1024;

fn codecs() -> [MqttCodec; 3] {
    [
        MqttCodec::V3(v3::Codec::new(LIMIT)),
        MqttCodec::V5(v5::Codec::new(LIMIT, 0)),
        MqttCodec::Version(version::VersionCodec),
    ]
}

/// Decodes until the codec wants more or gives up; says the most memory that the buffer took.
fn decode_in_pieces(codec: &mut MqttCodec, bytes: &[u8], piece: usize) -> usize {
    let (mut buffer, mut capacity) = (BytesMut::new(), 0);
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            let before = buffer.len();
            match codec.decode(&mut buffer) {
                Ok(Some(_)) if buffer.len() < before => {}
                Ok(_) => break,
                Err(_) => return capacity,
            }
        }
        capacity = capacity.max(buffer.capacity());
    }
    capacity
}

fn decode_as_a_server(bytes: &[u8]) {
    let mut codec = wire::Codec::new(LIMIT);
    let mut inbound = BytesMut::from(bytes);
    while let Ok(Some(_)) = codec.decode(&mut inbound) {}
}

/// Packets of every kind that a client sends, in both versions: seeds for mutation.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        &b"\x10\x26\0\x04MQTT\x04\xf6\0\x3c\0\x04pump\0\x04will\0\x02hi\0\x04user\0\x04pass"[..],
        b"\x82\x0c\0\x01\0\x03a/+\x01\0\x01b\0",
        b"\xa2\x07\0\x01\0\x03a/+",
        b"\x40\x02\0\x01",
        b"\x50\x02\0\x01",
        b"\x62\x02\0\x01",
        b"\x70\x02\0\x01",
        b"\xc0\0",
        b"\xe0\0",
        b"\x20\x02\0\x05",
        b"\x90\x04\0\x01\x01\x80",
        b"\xf0\x02\x18\0",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    let mut bytes = BytesMut::new();
    v3::Codec::default()
        .encode(v3::Packet::Publish(Box::new(publish(None))), &mut bytes)
        .unwrap();
    seeds.push(bytes.split().to_vec());
    for packet in v5_packets() {
        v5::Codec::default().encode(packet, &mut bytes).unwrap();
        seeds.push(bytes.split().to_vec());
    }
    seeds
}

fn publish(properties: Option<v5::PublishProperties>) -> Publish {
    Publish {
        dup: false,
        retain: true,
        qos: QoS::AtLeastOnce,
        topic: "a/b".into(),
        packet_id: std::num::NonZeroU16::new(7),
        payload: Bytes::from_static(b"payload"),
        properties,
    }
}

fn v5_packets() -> [v5::Packet; 3] {
    let properties = v5::PublishProperties {
        topic_alias: std::num::NonZeroU16::new(3),
        correlation_data: Some(Bytes::from_static(b"c")),
        message_expiry_interval: std::num::NonZeroU32::new(9),
        content_type: Some("t".into()),
        user_properties: vec![("k".into(), "v".into())],
        is_utf8_payload: true,
        response_topic: Some("r".into()),
        subscription_ids: Vec::new(),
    };
    let connect = v5::Connect {
        client_id: "pump".into(),
        session_expiry_interval_secs: 60,
        receive_max: std::num::NonZeroU16::new(5),
        topic_alias_max: 3,
        max_packet_size: std::num::NonZeroU32::new(4000),
        user_properties: vec![("k".into(), "v".into())],
        last_will: Some(v5::LastWill {
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: "w".into(),
            message: Bytes::from_static(b"m"),
            will_delay_interval_sec: Some(1),
            correlation_data: None,
            message_expiry_interval: None,
            content_type: None,
            user_properties: Vec::new(),
            is_utf8_payload: None,
            response_topic: None,
        }),
        ..v5::Connect::default()
    };
    let disconnect = v5::Disconnect::new(v5::DisconnectReasonCode::NormalDisconnection);
    [
        v5::Packet::Publish(Box::new(publish(Some(properties)))),
        v5::Packet::Connect(Box::new(connect)),
        v5::Packet::Disconnect(disconnect),
    ]
}

#[test]
fn a_packet_over_the_limit_is_refused_before_it_is_buffered() {
    for mut codec in codecs().into_iter().take(2) {
        let mut buffer = BytesMut::from(&b"\x30\xff\xff\xff\x7f"[..]); // claims 256 MiB
        assert!(codec.decode(&mut buffer).is_err());
        assert!(buffer.capacity() < 64);
        let mut buffer = BytesMut::from(&b"\x30\xff\xff\xff\xff"[..]); // a length that never ends
        assert!(codec.decode(&mut buffer).is_err());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_codec_panic_or_hoard(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1_usize..40) {
        for mut codec in codecs() {
            prop_assert!(decode_in_pieces(&mut codec, &bytes, piece) <= 8 * 1024);
        }
        decode_as_a_server(&bytes);
    }

    #[test]
    fn no_mutated_packet_makes_the_codec_panic_or_hoard(
        seed in prop::sample::select(seeds()),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = seed;
        for (at, byte) in mutations {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if is_cut {
            let at = cut.index(bytes.len());
            bytes.truncate(at);
            // The length says what follows, so that the cut falls into the fields and not between packets.
            if 2 <= bytes.len() && bytes[1] < 0x80 {
                bytes[1] = u8::try_from(bytes.len() - 2).unwrap_or(0x7f);
            }
        }
        for mut codec in codecs() {
            prop_assert!(decode_in_pieces(&mut codec, &bytes, 64) <= 8 * 1024);
        }
        decode_as_a_server(&[&seeds()[0][..], &bytes[..]].concat());
        decode_as_a_server(&bytes);
    }
}
