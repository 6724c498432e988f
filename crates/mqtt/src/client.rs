//! A small MQTT 3.1.1 client: for the agent, where it must be lean, and for load tests, where it must be fast.
//!
//! One task owns the connection. [`Client`] speaks to it through a bounded channel, [`Incoming`] listens to it through
//! another. Nothing reconnects by itself: when the connection ends, [`Incoming::next`] says why, and the caller decides.

mod connect;
mod driver;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use tokio::sync::{mpsc, oneshot};

use crate::Qos;
use crate::topic::{self, BadTopic};
use driver::{Command, Request};

/// Where to connect, as whom, and how.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Host name or address to resolve and connect to.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The name that the server's certificate must have. `None`: the host.
    pub server_name: Option<String>,
    /// The client id.
    pub client_id: String,
    /// The longest silence; zero for no limit. Sent in seconds, at most 65535.
    pub keep_alive: Duration,
    /// Whether the server forgets the session when the connection ends.
    pub clean_session: bool,
    /// What the server publishes if the connection ends without goodbye.
    pub will: Option<Will>,
    /// The most time for TCP, TLS and CONNACK together.
    pub connect_timeout: Duration,
    /// The most QoS 1 messages, subscribes and unsubscribes without an answer; further ones wait. At least 1.
    pub n_in_flight_max: u16,
}

/// What the server publishes if the connection ends without goodbye.
#[derive(Clone, Debug)]
pub struct Will {
    /// The topic.
    pub topic: String,
    /// The payload, at most 65535 bytes.
    pub payload: Bytes,
    /// The quality of service.
    pub qos: Qos,
    /// Whether it is retained.
    pub retain: bool,
}

impl ConnectOptions {
    /// Options with AWS's window of 100 in flight, 60 s keep-alive, a clean session, no will, 30 s to connect.
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            server_name: None,
            client_id: client_id.into(),
            keep_alive: Duration::from_secs(60),
            clean_session: true,
            will: None,
            connect_timeout: Duration::from_secs(30),
            n_in_flight_max: 100,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server name is neither a DNS name nor an address.
    #[error("server name is {found:?}, expected a DNS name or an IP address")]
    ServerName {
        /// The text as given.
        found: String,
    },
    /// The host does not resolve, or nothing listens there.
    #[error("no connection to {host}:{port}")]
    Tcp {
        /// The host as given.
        host: String,
        /// The port as given.
        port: u16,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed: the server's certificate is not trusted, or ours is not.
    #[error("TLS handshake failed")]
    Tls(#[source] io::Error),
    /// Not done within [`ConnectOptions::connect_timeout`].
    #[error("no answer after {} s", after.as_secs_f32())]
    Timeout {
        /// The time given.
        after: Duration,
    },
    /// The server answered CONNECT with a refusal.
    #[error("connection refused with code {code}")]
    Refused {
        /// The return code of CONNACK: 1 protocol version, 2 client id, 3 unavailable, 4 credentials, 5 not authorized.
        code: u8,
    },
    /// The connection ended before CONNACK. With TLS 1.3 an unknown client certificate shows here; AWS closes so too
    /// when policy refuses.
    #[error("connection ended before the server answered")]
    Ended(#[source] Ended),
    /// The will's topic, the client id or the will's payload cannot be sent.
    #[error("CONNECT cannot be encoded, expected texts and a will of at most 65535 bytes")]
    TooLong,
}

/// Why a connection ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Ended {
    /// We disconnected.
    #[error("disconnected")]
    Disconnected,
    /// The server closed the connection: MQTT 3.1.1 cannot say why.
    #[error("closed by the server")]
    Closed,
    /// The network failed.
    #[error("connection lost")]
    Lost(#[source] Arc<io::Error>),
    /// The server was silent for longer than the keep-alive.
    #[error("server silent for longer than the keep-alive")]
    KeepAlive,
    /// The server sent what a server may not send.
    #[error("server broke the protocol: {found}")]
    Protocol {
        /// What was found.
        found: String,
    },
}

/// Why a request failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    /// The topic cannot be published to, or the filter cannot be subscribed to.
    #[error("bad topic")]
    Topic(#[source] BadTopic),
    /// The payload is larger than the server would take.
    #[error("payload has {size_bytes} bytes, expected at most {PAYLOAD_SIZE_BYTES_MAX}")]
    Payload {
        /// Its size.
        size_bytes: usize,
    },
    /// The connection ended before the request was answered: it may have been carried out or not.
    #[error("connection ended")]
    Ended,
}

/// The largest payload: AWS IoT's limit, 128 KiB.
pub const PAYLOAD_SIZE_BYTES_MAX: usize = 128 * 1024;

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic it was published on.
    pub topic: ByteString,
    /// The payload.
    pub payload: Bytes,
    /// How it was delivered.
    pub qos: Qos,
    /// Whether it was stored before we subscribed.
    pub retain: bool,
    /// Whether the server had sent it before.
    pub duplicate: bool,
}

/// A connection's sending side. Clones share the connection; when the last is dropped, it says goodbye.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    is_session_present: bool,
}

/// A connection's receiving side. If it is dropped, messages are acknowledged and thrown away.
#[derive(Debug)]
pub struct Incoming {
    messages: mpsc::Receiver<Message>,
    end: oneshot::Receiver<Ended>,
    ended: Option<Ended>,
}

/// A request on its way: done when a QoS 0 message is written, when a QoS 1 message is acknowledged. Requests leave in
/// the order in which they became `Delivery`s.
#[derive(Debug)]
#[must_use = "a delivery that is not awaited may fail unseen"]
pub struct Delivery(oneshot::Receiver<()>);

impl Future for Delivery {
    type Output = Result<(), RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let done = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(done.map_err(|_| RequestError::Ended))
    }
}

impl Client {
    /// Whether the server had kept a session for the client id.
    pub fn is_session_present(&self) -> bool {
        self.is_session_present
    }

    /// Publishes: done when a QoS 0 message is written, when a QoS 1 message is acknowledged. Many may be under way at
    /// once, up to [`ConnectOptions::n_in_flight_max`].
    ///
    /// # Errors
    /// What is wrong with the message, or the connection ended before it was done.
    pub async fn publish(
        &self,
        topic: impl Into<ByteString>,
        payload: impl Into<Bytes>,
        qos: Qos,
        retain: bool,
    ) -> Result<(), RequestError> {
        self.enqueue(topic, payload, qos, retain).await?.await
    }

    /// Publishes without waiting for the end: returns when the message has its place in the order.
    ///
    /// # Errors
    /// What is wrong with the message, or the connection has ended.
    pub async fn enqueue(
        &self,
        topic: impl Into<ByteString>,
        payload: impl Into<Bytes>,
        qos: Qos,
        retain: bool,
    ) -> Result<Delivery, RequestError> {
        let (topic, payload) = (topic.into(), payload.into());
        topic::check_name(&topic).map_err(RequestError::Topic)?;
        if PAYLOAD_SIZE_BYTES_MAX < payload.len() {
            return Err(RequestError::Payload {
                size_bytes: payload.len(),
            });
        }
        let (done, delivery) = oneshot::channel();
        let request = Request::Publish {
            topic,
            payload,
            qos,
            retain,
            done,
        };
        self.send(Command::Request(request)).await?;
        Ok(Delivery(delivery))
    }

    /// Subscribes; says for each filter what was granted, `None` for refused.
    ///
    /// # Errors
    /// A filter is wrong, or the connection ended before the answer.
    pub async fn subscribe(&self, filters: &[(&str, Qos)]) -> Result<Vec<Option<Qos>>, RequestError> {
        let mut wanted = Vec::with_capacity(filters.len());
        for &(filter, qos) in filters {
            let (_, plain) = topic::split_share(filter).map_err(RequestError::Topic)?;
            topic::check_filter(plain).map_err(RequestError::Topic)?;
            wanted.push((ByteString::from(filter), qos.into()));
        }
        let (done, granted) = oneshot::channel();
        let request = Request::Subscribe { filters: wanted, done };
        self.send(Command::Request(request)).await?;
        granted.await.map_err(|_| RequestError::Ended)
    }

    /// Ends subscriptions.
    ///
    /// # Errors
    /// The connection ended before the answer.
    pub async fn unsubscribe(&self, filters: &[&str]) -> Result<(), RequestError> {
        let filters = filters.iter().map(|&filter| ByteString::from(filter)).collect();
        let (done, delivery) = oneshot::channel();
        self.send(Command::Request(Request::Unsubscribe { filters, done }))
            .await?;
        Delivery(delivery).await
    }

    /// Says goodbye after all that was requested before is written, and closes. What is not acknowledged by then stays
    /// unanswered. Does nothing if the connection has ended.
    pub async fn disconnect(&self) {
        let (done, closed) = oneshot::channel();
        if self.send(Command::Disconnect { done }).await.is_ok() {
            // An error means that the connection ended on its own meanwhile.
            drop(closed.await);
        }
    }

    async fn send(&self, command: Command) -> Result<(), RequestError> {
        self.commands.send(command).await.map_err(|_| RequestError::Ended)
    }
}

impl Incoming {
    /// The next message. While nobody asks, at most 64 messages wait here; then the connection is not read any more, and
    /// so no publish is acknowledged either.
    ///
    /// # Errors
    /// The connection has ended, and all messages have been taken.
    pub async fn next(&mut self) -> Result<Message, Ended> {
        if let Some(message) = self.messages.recv().await {
            return Ok(message);
        }
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        // The task sends the reason before it drops the messages' sender, unless its runtime was shut down.
        let ended = (&mut self.end).await.unwrap_or(Ended::Disconnected);
        Err(self.ended.insert(ended).clone())
    }
}
