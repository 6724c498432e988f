//! From options to a connection that the server has accepted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rmqtt_codec::types::{MQTT_LEVEL_311, Protocol};
use rmqtt_codec::v3;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::codec::{Decoder, Encoder};

use super::driver::{Driver, N_COMMANDS_MAX, N_MESSAGES_MAX, PACKET_SIZE_BYTES_MAX};
use super::{Client, ConnectError, ConnectOptions, Ended, Incoming};
use crate::link::{Link, Progress};

/// The most addresses of a host that are tried.
const N_ADDRESSES_MAX: usize = 8;

impl Client {
    /// Connects. The TLS configuration brings the provider, the roots, our certificate, and ALPN if any.
    ///
    /// # Errors
    /// Which step failed.
    pub async fn connect(
        options: &ConnectOptions,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<(Self, Incoming), ConnectError> {
        let after = options.connect_timeout;
        // Boxed: a handshake's state is large, and callers would carry it in their own futures.
        match timeout(after, Box::pin(connect(options, tls))).await {
            Ok(connected) => connected,
            Err(_) => Err(ConnectError::Timeout { after }),
        }
    }
}

async fn connect(options: &ConnectOptions, tls: Arc<rustls::ClientConfig>) -> Result<(Client, Incoming), ConnectError> {
    let name = options.server_name.as_deref().unwrap_or(&options.host);
    let server_name =
        ServerName::try_from(name.to_owned()).map_err(|_| ConnectError::ServerName { found: name.to_owned() })?;
    let tcp_error = |source| ConnectError::Tcp {
        host: options.host.clone(),
        port: options.port,
        source,
    };
    let addresses: Vec<SocketAddr> = lookup_host((options.host.as_str(), options.port))
        .await
        .map_err(tcp_error)?
        .take(N_ADDRESSES_MAX)
        .collect();
    let tcp = first_to_answer(&addresses, options.connect_timeout)
        .await
        .map_err(tcp_error)?;
    tcp.set_nodelay(true).map_err(tcp_error)?;
    let stream = TlsConnector::from(tls)
        .connect(server_name, tcp)
        .await
        .map_err(ConnectError::Tls)?;
    greet(Link::new(stream), options).await
}

/// Tries one address after the other, and leaves each but the last in time for the others: a host may have an address
/// that never answers, as with IPv6 that leads nowhere.
async fn first_to_answer(addresses: &[SocketAddr], patience: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + patience;
    let mut rest = addresses;
    while let [address, others @ ..] = rest {
        if others.is_empty() {
            return TcpStream::connect(address).await;
        }
        let n_left = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / n_left;
        if let Ok(Ok(stream)) = timeout(share, TcpStream::connect(address)).await {
            return Ok(stream);
        }
        rest = others;
    }
    Err(io::ErrorKind::AddrNotAvailable.into())
}

/// Speaks CONNECT over an open stream, and starts the task that owns it from then on.
async fn greet<S>(mut link: Link<S>, options: &ConnectOptions) -> Result<(Client, Incoming), ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut codec = v3::Codec::new(PACKET_SIZE_BYTES_MAX);
    codec
        .encode(v3::Packet::Connect(Box::new(packet(options))), &mut link.outbound)
        .map_err(|_| ConnectError::TooLong)?;
    let is_session_present = loop {
        match codec.decode(&mut link.inbound) {
            Ok(Some((v3::Packet::ConnectAck(ack), _))) => match u8::from(ack.return_code) {
                0 => break ack.session_present,
                code => return Err(ConnectError::Refused { code }),
            },
            Ok(Some(_)) => return Err(ConnectError::Ended(protocol("a packet before CONNACK"))),
            Err(error) => return Err(ConnectError::Ended(protocol(&error.to_string()))),
            Ok(None) => {}
        }
        match link.progress(true).await {
            Ok(Progress::Closed) => return Err(ConnectError::Ended(Ended::Closed)),
            Ok(Progress::Read | Progress::Sent) => {}
            Err(error) => return Err(ConnectError::Ended(Ended::Lost(Arc::new(error)))),
        }
    };
    let (commands, receiver) = mpsc::channel(N_COMMANDS_MAX);
    let (sender, messages) = mpsc::channel(N_MESSAGES_MAX);
    let (end_sender, end) = oneshot::channel();
    let keep_alive = Duration::from_secs(u64::from(keep_alive_secs(options)));
    let driver = Driver::new(link, codec, receiver, sender, options.n_in_flight_max, keep_alive);
    tokio::spawn(driver.run(end_sender));
    let client = Client {
        commands,
        is_session_present,
    };
    let incoming = Incoming {
        messages,
        end,
        ended: None,
    };
    Ok((client, incoming))
}

fn packet(options: &ConnectOptions) -> v3::Connect {
    v3::Connect {
        protocol: Protocol(MQTT_LEVEL_311),
        clean_session: options.clean_session,
        keep_alive: keep_alive_secs(options),
        client_id: options.client_id.as_str().into(),
        last_will: options.will.as_ref().map(|will| v3::LastWill {
            qos: will.qos.into(),
            retain: will.retain,
            topic: will.topic.as_str().into(),
            message: will.payload.clone(),
        }),
        username: None,
        password: None,
        cert: None,
    }
}

fn keep_alive_secs(options: &ConnectOptions) -> u16 {
    u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX)
}

pub(super) fn protocol(found: &str) -> Ended {
    Ended::Protocol {
        found: found.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use rmqtt_codec::types::QoS;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;
    use crate::Qos;
    use crate::client::RequestError;

    /// A server that speaks bytes as told, so that a test can say what no real server would.
    struct Script(DuplexStream);

    impl Script {
        async fn hear(&mut self, expected: &[u8]) {
            let mut heard = vec![0; expected.len()];
            self.0.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, expected);
        }

        async fn say(&mut self, bytes: &[u8]) {
            self.0.write_all(bytes).await.unwrap();
        }
    }

    const CONNECT: &[u8] = b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04pump";

    async fn connected(answer: &[u8]) -> (Result<(Client, Incoming), ConnectError>, Script) {
        let (near, far) = tokio::io::duplex(1 << 20);
        let mut script = Script(far);
        script.say(answer).await;
        let client = greet(Link::new(near), &ConnectOptions::new("unused", 0, "pump")).await;
        script.hear(CONNECT).await;
        (client, script)
    }

    #[tokio::test]
    async fn refusals_tell_their_code() {
        for (answer, expected) in [
            (&b"\x20\x02\0\x05"[..], "connection refused with code 5"),
            (b"\x20\x02\0\x02", "connection refused with code 2"),
            (b"\xd0\0", "connection ended before the server answered"),
            (b"\x20\xff\xff\xff\xff", "connection ended before the server answered"),
        ] {
            let (refused, _script) = connected(answer).await;
            assert_eq!(refused.unwrap_err().to_string(), expected, "{answer:?}");
        }
    }

    /// A listener whose queue is full, so that the kernel answers nobody who connects, and what fills it.
    async fn silent() -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            queue.push(stream.unwrap());
        }
        (listener, queue)
    }

    #[tokio::test]
    async fn addresses_that_lead_nowhere_leave_time_for_the_others() {
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good_at = good.local_addr().unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone_at = gone.local_addr().unwrap();
        drop(gone);
        let (silent, _queue) = silent().await;
        let silent_at = silent.local_addr().unwrap();
        for addresses in [&[good_at][..], &[gone_at, good_at], &[silent_at, good_at, gone_at]] {
            let stream = first_to_answer(addresses, Duration::from_secs(3)).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), good_at, "{addresses:?}");
        }
        for addresses in [&[][..], &[gone_at], &[silent_at, gone_at]] {
            let refused = first_to_answer(addresses, Duration::from_millis(100)).await;
            assert!(refused.is_err(), "{addresses:?}");
        }
    }

    #[tokio::test]
    async fn publishes_are_done_when_acknowledged_in_any_order() {
        let (client, mut script) = connected(b"\x20\x02\x01\0").await;
        let (client, mut incoming) = client.unwrap();
        assert!(client.is_session_present());
        let first = client.enqueue("a", "1", Qos::AtLeastOnce, false).await.unwrap();
        let second = client.enqueue("a", "2", Qos::AtLeastOnce, true).await.unwrap();
        client.publish("a", "3", Qos::AtMostOnce, false).await.unwrap();
        script
            .hear(b"\x32\x06\0\x01a\0\x011\x33\x06\0\x01a\0\x022\x30\x04\0\x01a3")
            .await;
        script.say(b"\x40\x02\0\x02").await;
        second.await.unwrap();
        script.say(b"\x40\x02\0\x01").await;
        first.await.unwrap();

        let lost = client.enqueue("a", "4", Qos::AtLeastOnce, false).await.unwrap();
        script.hear(b"\x32\x06\0\x01a\0\x034").await;
        drop(script);
        assert!(matches!(lost.await, Err(RequestError::Ended)));
        assert!(matches!(incoming.next().await, Err(Ended::Closed)));
        assert!(matches!(
            client.publish("a", "", Qos::AtMostOnce, false).await,
            Err(RequestError::Ended)
        ));
    }

    #[tokio::test]
    async fn subscribes_messages_and_goodbye() {
        let (client, mut script) = connected(b"\x20\x02\0\0").await;
        let (client, mut incoming) = client.unwrap();
        let subscribed = tokio::spawn({
            let client = client.clone();
            async move {
                client
                    .subscribe(&[("a/+", Qos::AtLeastOnce), ("b", Qos::AtMostOnce)])
                    .await
            }
        });
        script.hear(b"\x82\x0c\0\x01\0\x03a/+\x01\0\x01b\0").await;
        script.say(b"\x90\x04\0\x01\x01\x80\x32\x09\0\x03a/b\x12\x34hi").await;
        assert_eq!(subscribed.await.unwrap().unwrap(), [Some(Qos::AtLeastOnce), None]);
        let message = incoming.next().await.unwrap();
        assert_eq!(
            (&*message.topic, &message.payload[..], message.qos),
            ("a/b", &b"hi"[..], Qos::AtLeastOnce)
        );
        script.hear(b"\x40\x02\x12\x34").await;
        client.disconnect().await;
        script.hear(b"\xe0\0").await;
        assert_eq!(script.0.read(&mut [0]).await.unwrap(), 0);
        assert!(matches!(incoming.next().await, Err(Ended::Disconnected)));
        assert!(matches!(incoming.next().await, Err(Ended::Disconnected)));
    }

    #[tokio::test]
    async fn a_listener_that_sleeps_stops_the_reading_and_loses_nothing() {
        let (client, mut script) = connected(b"\x20\x02\0\0").await;
        let (_client, mut incoming) = client.unwrap();
        let mut bytes = BytesMut::new();
        let n_messages = N_MESSAGES_MAX * 3;
        for id in 1..=u16::try_from(n_messages).unwrap() {
            let publish = rmqtt_codec::types::Publish {
                dup: false,
                retain: false,
                qos: QoS::AtLeastOnce,
                topic: "t".into(),
                packet_id: std::num::NonZeroU16::new(id),
                payload: id.to_be_bytes().to_vec().into(),
                properties: None,
            };
            v3::Codec::default()
                .encode(v3::Packet::Publish(Box::new(publish)), &mut bytes)
                .unwrap();
        }
        script.say(&bytes).await;
        for id in 1..=u16::try_from(n_messages).unwrap() {
            assert_eq!(incoming.next().await.unwrap().payload[..], id.to_be_bytes());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_pinged_and_then_given_up() {
        let (client, mut script) = connected(b"\x20\x02\0\0").await;
        let (_client, mut incoming) = client.unwrap();
        script.hear(b"\xc0\0").await;
        script.say(b"\xd0\0").await;
        script.hear(b"\xc0\0").await;
        assert!(matches!(incoming.next().await, Err(Ended::KeepAlive)));
    }

    #[tokio::test]
    async fn bad_requests_do_not_reach_the_wire() {
        let (client, mut script) = connected(b"\x20\x02\0\0").await;
        let (client, _incoming) = client.unwrap();
        for topic in ["a/+", "", "a/b/c/d/e/f/g/h/i"] {
            let refused = client.publish(topic, "", Qos::AtMostOnce, false).await;
            assert!(matches!(refused, Err(RequestError::Topic(_))), "{topic}");
        }
        assert!(matches!(
            client.subscribe(&[("a/#/b", Qos::AtMostOnce)]).await,
            Err(RequestError::Topic(_))
        ));
        let large = vec![0; crate::client::PAYLOAD_SIZE_BYTES_MAX + 1];
        let refused = client.publish("a", large, Qos::AtMostOnce, false).await;
        assert!(matches!(refused, Err(RequestError::Payload { .. })));
        client.publish("a", "", Qos::AtMostOnce, false).await.unwrap();
        script.hear(b"\x30\x03\0\x01a").await;
    }
}
