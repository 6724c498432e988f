//! A client that sends whatever it is told to, in both versions of the protocol.

use std::sync::Arc;

use picket_mqtt::link::{Link, Progress};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{World, within};

/// 3.1.1
pub(crate) const V3: u8 = 4;
/// 5
pub(crate) const V5: u8 = 5;

/// A TLS connection and the bytes on it.
pub(crate) struct Raw {
    link: Link<TlsStream<TcpStream>>,
    is_broken: bool,
    version: u8,
}

/// A packet from the server: the first byte, and what follows the length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) head: u8,
    pub(crate) body: Vec<u8>,
}

/// A CONNECT.
#[derive(Clone, Copy)]
pub(crate) struct Hello<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) clean: bool,
    pub(crate) keep_alive_secs: u16,
    /// Seconds, told by MQTT 5 alone.
    pub(crate) expiry_secs: u32,
    /// Further properties of MQTT 5, encoded.
    pub(crate) properties: &'a [u8],
    /// Topic and payload, QoS 0.
    pub(crate) will: Option<(&'a str, &'a str)>,
}

impl<'a> Hello<'a> {
    pub(crate) fn new(client_id: &'a str) -> Self {
        Self {
            client_id,
            clean: true,
            keep_alive_secs: 60,
            expiry_secs: 0,
            properties: &[],
            will: None,
        }
    }

    pub(crate) fn bytes(&self, version: u8) -> Vec<u8> {
        let flags = (u8::from(self.clean) << 1) | if self.will.is_some() { 4 } else { 0 };
        let mut body = b"\0\x04MQTT".to_vec();
        body.extend([version, flags]);
        body.extend(self.keep_alive_secs.to_be_bytes());
        if version == V5 {
            body.extend([u8::try_from(5 + self.properties.len()).unwrap(), 0x11]);
            body.extend(self.expiry_secs.to_be_bytes());
            body.extend(self.properties);
        }
        body.extend(text(self.client_id));
        if let Some((topic, payload)) = self.will {
            if version == V5 {
                body.push(0);
            }
            body.extend(text(topic));
            body.extend(text(payload));
        }
        packet(0x10, &body)
    }
}

impl Raw {
    /// TLS without CONNECT.
    pub(crate) async fn open(world: &World, tls: &Arc<ClientConfig>, version: u8) -> std::io::Result<Self> {
        let tcp = TcpStream::connect(world.address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = within("TLS", TlsConnector::from(Arc::clone(tls)).connect(name, tcp)).await?;
        Ok(Self {
            link: Link::new(stream),
            is_broken: false,
            version,
        })
    }

    /// Connects, and expects to be let in.
    pub(crate) async fn connect(world: &World, version: u8, hello: Hello<'_>) -> Self {
        let (raw, ack) = Self::hello(world, version, hello).await;
        assert_eq!(ack.map(|ack| (ack.head, ack.body[1])), Some((0x20, 0)), "CONNACK");
        raw
    }

    /// Connects; says what was answered.
    pub(crate) async fn hello(world: &World, version: u8, hello: Hello<'_>) -> (Self, Option<Packet>) {
        let mut raw = Self::open(world, &world.tls, version).await.unwrap();
        raw.send(&hello.bytes(version)).await;
        let ack = raw.packet().await;
        (raw, ack)
    }

    /// Whether the server has been found to have closed.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Sends bytes; that the server has closed shows when it is read.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.link.outbound.extend_from_slice(bytes);
        while !self.link.is_sent() {
            if within("sent", self.link.progress(false)).await.is_err() {
                self.link.outbound.clear();
                self.is_broken = true;
                return;
            }
        }
    }

    /// The next packet; `None`: the server has closed.
    pub(crate) async fn packet(&mut self) -> Option<Packet> {
        loop {
            if let Some((packet, len)) = split(&self.link.inbound) {
                drop(self.link.inbound.split_to(len));
                return Some(packet);
            }
            match within("a packet", self.link.progress(true)).await {
                Ok(Progress::Read | Progress::Sent) => {}
                Ok(Progress::Closed) | Err(_) => return None,
            }
        }
    }

    /// The first bytes of all packets until the server closes; of a DISCONNECT also the reason.
    pub(crate) async fn rest(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        while let Some(packet) = self.packet().await {
            packets.push(packet);
        }
        packets
    }

    /// Why the server closed: the reason of its DISCONNECT, or nothing.
    pub(crate) async fn end(&mut self) -> Option<u8> {
        let last = self.rest().await.pop()?;
        (last.head == 0xe0).then(|| last.body.first().copied().unwrap_or(0))
    }

    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8], id: Option<u16>) {
        let bytes = publish(self.version, topic, payload, id, false);
        self.send(&bytes).await;
    }

    /// Subscribes with QoS 1; says what was granted.
    pub(crate) async fn subscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let bytes = subscribe(self.version, filters);
        self.send(&bytes).await;
        let ack = self.packet().await.unwrap();
        assert_eq!(ack.head, 0x90, "SUBACK");
        ack.body[ack.body.len() - filters.len()..].to_vec()
    }

    /// The next packet, which must be a PUBLISH: its topic and its payload, acknowledged if `acknowledged`.
    pub(crate) async fn message(&mut self, acknowledged: bool) -> (String, Vec<u8>) {
        let packet = self.packet().await.unwrap();
        assert_eq!(packet.head & 0xf0, 0x30, "PUBLISH");
        let len = usize::from(u16::from_be_bytes([packet.body[0], packet.body[1]]));
        let topic = String::from_utf8(packet.body[2..2 + len].to_vec()).unwrap();
        let mut at = 2 + len;
        if packet.head & 0x06 != 0 {
            if acknowledged {
                self.send(&[0x40, 2, packet.body[at], packet.body[at + 1]]).await;
            }
            at += 2;
        }
        if self.version == V5 {
            at += 1 + usize::from(packet.body[at]);
        }
        (topic, packet.body[at..].to_vec())
    }

    /// Whether the TLS handshake resumed an earlier one.
    pub(crate) fn is_resumed(&self) -> bool {
        let (_, connection) = self.link.stream().get_ref();
        connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// Asks whether the server is there.
    pub(crate) async fn ping(&mut self) -> bool {
        self.send(&[0xc0, 0]).await;
        self.packet().await
            == Some(Packet {
                head: 0xd0,
                body: Vec::new(),
            })
    }
}

/// A packet with its length.
pub(crate) fn packet(head: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![head];
    let mut len = body.len();
    loop {
        let low = u8::try_from(len % 128).unwrap();
        len /= 128;
        bytes.push(low | if len == 0 { 0 } else { 0x80 });
        if len == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn publish(version: u8, topic: &str, payload: &[u8], id: Option<u16>, retain: bool) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(id.into_iter().flat_map(u16::to_be_bytes));
    if version == V5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    packet(0x30 | if id.is_some() { 2 } else { 0 } | u8::from(retain), &body)
}

pub(crate) fn subscribe(version: u8, filters: &[&str]) -> Vec<u8> {
    let mut body = vec![0, 77];
    if version == V5 {
        body.push(0);
    }
    for filter in filters {
        body.extend(text(filter));
        body.push(1);
    }
    packet(0x82, &body)
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// The first packet and its length, if it is whole.
fn split(bytes: &[u8]) -> Option<(Packet, usize)> {
    let (&head, rest) = bytes.split_first()?;
    let mut len = 0;
    for (at, byte) in rest.iter().enumerate().take(4) {
        len |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let body = rest.get(at + 1..at + 1 + len)?;
            return Some((
                Packet {
                    head,
                    body: body.to_vec(),
                },
                2 + at + len,
            ));
        }
    }
    None
}
