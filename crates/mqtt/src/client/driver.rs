//! The task that owns a connection: encodes requests, matches answers to them, hands out messages, keeps alive.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v3;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::codec::{Decoder, Encoder};

use super::connect::protocol;
use super::{Ended, Message, PAYLOAD_SIZE_BYTES_MAX};
use crate::Qos;
use crate::link::{Link, Progress};

/// Requests that wait for the task.
pub(super) const N_COMMANDS_MAX: usize = 64;
/// Messages that wait for [`super::Incoming::next`].
pub(super) const N_MESSAGES_MAX: usize = 64;
/// The largest packet that is read: a payload and room for its topic.
#[expect(clippy::cast_possible_truncation, reason = "132 KiB")]
pub(super) const PACKET_SIZE_BYTES_MAX: u32 = (PAYLOAD_SIZE_BYTES_MAX + 4096) as u32;
/// No request is taken while this much waits to be sent.
const OUTBOUND_SIZE_BYTES_MAX: usize = 64 * 1024;
/// The most time for goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What [`super::Client`] asks of the task.
#[derive(Debug)]
pub(super) enum Command {
    Request(Request),
    Disconnect { done: oneshot::Sender<()> },
}

#[derive(Debug)]
pub(super) enum Request {
    Publish {
        topic: ByteString,
        payload: Bytes,
        qos: Qos,
        retain: bool,
        done: oneshot::Sender<()>,
    },
    Subscribe {
        filters: Vec<(ByteString, QoS)>,
        done: oneshot::Sender<Vec<Option<Qos>>>,
    },
    Unsubscribe {
        filters: Vec<ByteString>,
        done: oneshot::Sender<()>,
    },
}

/// A request that waits for the server's answer.
#[derive(Debug)]
enum Waiting {
    Publish(oneshot::Sender<()>),
    Subscribe(oneshot::Sender<Vec<Option<Qos>>>),
    Unsubscribe(oneshot::Sender<()>),
}

#[derive(Debug)]
pub(super) struct Driver<S> {
    link: Link<S>,
    codec: v3::Codec,
    commands: mpsc::Receiver<Command>,
    messages: mpsc::Sender<Message>,
    /// A message for which there was no room, and the packet id that it is acknowledged with. Nothing is read meanwhile.
    stalled: Option<(Message, Option<NonZeroU16>)>,
    in_flight: HashMap<NonZeroU16, Waiting>,
    n_in_flight_max: usize,
    last_id: NonZeroU16,
    /// QoS 0 messages by the number of bytes that must have left before they count as written.
    unwritten: VecDeque<(u64, oneshot::Sender<()>)>,
    keep_alive: Duration,
    has_heard: bool,
    has_spoken: bool,
    ping_since: Option<Instant>,
    /// Set when somebody asked to disconnect, or nobody is left to ask for anything.
    is_leaving: bool,
    goodbyes: Vec<oneshot::Sender<()>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(super) fn new(
        link: Link<S>,
        codec: v3::Codec,
        commands: mpsc::Receiver<Command>,
        messages: mpsc::Sender<Message>,
        n_in_flight_max: u16,
        keep_alive: Duration,
    ) -> Self {
        Self {
            link,
            codec,
            commands,
            messages,
            stalled: None,
            in_flight: HashMap::new(),
            n_in_flight_max: usize::from(n_in_flight_max.max(1)),
            last_id: NonZeroU16::MAX,
            unwritten: VecDeque::new(),
            keep_alive,
            has_heard: false,
            has_spoken: false,
            ping_since: None,
            is_leaving: false,
            goodbyes: Vec::new(),
        }
    }

    pub(super) async fn run(mut self, end: oneshot::Sender<Ended>) {
        let ended = self.serve().await;
        if matches!(ended, Ended::Disconnected) {
            self.link.outbound.extend_from_slice(&[0xE0, 0]); // DISCONNECT
        }
        // The peer may be gone: whether it hears the goodbye changes nothing.
        drop(tokio::time::timeout(CLOSE_TIMEOUT, self.link.close()).await);
        self.settle_written();
        // Nobody may listen any more: whom it concerns is told, the others do not care.
        drop(end.send(ended));
        for goodbye in self.goodbyes {
            settle(goodbye, ());
        }
    }

    async fn serve(&mut self) -> Ended {
        // Twice as often as needed, so that one lost ping is not the end.
        let every = self.keep_alive.max(Duration::from_secs(2)) / 2;
        let mut tick = tokio::time::interval_at(Instant::now() + every, every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // CONNACK may have been followed by messages of a kept session.
        let mut turn = self.decode_all();
        loop {
            if let Err(ended) = turn {
                return ended;
            }
            if self.is_leaving {
                return Ended::Disconnected;
            }
            turn = self.turn(&mut tick).await;
            self.settle_written();
        }
    }

    async fn turn(&mut self, tick: &mut tokio::time::Interval) -> Result<(), Ended> {
        let may_take = self.may_take();
        tokio::select! {
            progress = self.link.progress(self.stalled.is_none()) => match progress {
                Ok(Progress::Read) => {
                    self.has_heard = true;
                    self.ping_since = None;
                    self.decode_all()
                }
                Ok(Progress::Sent) => Ok(()),
                Ok(Progress::Closed) => Err(Ended::Closed),
                Err(error) => Err(Ended::Lost(Arc::new(error))),
            },
            command = self.commands.recv(), if may_take => self.take(command),
            _ = tick.tick(), if !self.keep_alive.is_zero() => self.keep_alive(),
            permit = self.messages.clone().reserve_owned(), if self.stalled.is_some() => {
                if let Some((message, id)) = self.stalled.take() {
                    // A failed permit means that nobody listens: acknowledged and thrown away.
                    if let Ok(permit) = permit {
                        permit.send(message);
                    }
                    self.acknowledge(id)?;
                }
                self.decode_all()
            }
        }
    }

    fn may_take(&self) -> bool {
        !self.is_leaving
            && self.in_flight.len() < self.n_in_flight_max
            && self.link.outbound.len() < OUTBOUND_SIZE_BYTES_MAX
    }

    /// Takes this command and what else waits, so that many small packets leave in one write.
    fn take(&mut self, command: Option<Command>) -> Result<(), Ended> {
        let mut next = command;
        if next.is_none() {
            self.is_leaving = true;
        }
        while let Some(command) = next {
            match command {
                Command::Request(request) => self.encode(request)?,
                Command::Disconnect { done } => {
                    self.goodbyes.push(done);
                    self.is_leaving = true;
                }
            }
            next = if self.may_take() {
                self.commands.try_recv().ok()
            } else {
                None
            };
        }
        Ok(())
    }

    fn encode(&mut self, request: Request) -> Result<(), Ended> {
        self.has_spoken = true;
        match request {
            Request::Publish {
                topic,
                payload,
                qos,
                retain,
                done,
            } => {
                let id = match qos {
                    Qos::AtMostOnce => None,
                    Qos::AtLeastOnce => Some(self.free_id()),
                };
                let publish = Publish {
                    dup: false,
                    retain,
                    qos: qos.into(),
                    topic,
                    packet_id: id,
                    payload,
                    properties: None,
                };
                self.write(v3::Packet::Publish(Box::new(publish)))?;
                match id {
                    Some(id) => drop(self.in_flight.insert(id, Waiting::Publish(done))),
                    None => self.unwritten.push_back((self.n_bytes_queued(), done)),
                }
            }
            Request::Subscribe { filters, done } => {
                let packet_id = self.free_id();
                self.in_flight.insert(packet_id, Waiting::Subscribe(done));
                self.write(v3::Packet::Subscribe {
                    packet_id,
                    topic_filters: filters,
                })?;
            }
            Request::Unsubscribe { filters, done } => {
                let packet_id = self.free_id();
                self.in_flight.insert(packet_id, Waiting::Unsubscribe(done));
                self.write(v3::Packet::Unsubscribe {
                    packet_id,
                    topic_filters: filters,
                })?;
            }
        }
        Ok(())
    }

    fn decode_all(&mut self) -> Result<(), Ended> {
        while self.stalled.is_none() {
            match self.codec.decode(&mut self.link.inbound) {
                Ok(Some((packet, _))) => self.handle(packet)?,
                Ok(None) => break,
                Err(error) => return Err(protocol(&error.to_string())),
            }
        }
        self.link.release_buffers();
        Ok(())
    }

    fn handle(&mut self, packet: v3::Packet) -> Result<(), Ended> {
        match packet {
            v3::Packet::Publish(publish) => return self.hand_out(*publish),
            v3::Packet::PublishAck { packet_id } => match self.in_flight.remove(&packet_id) {
                Some(Waiting::Publish(done)) => settle(done, ()),
                _ => return Err(protocol("a PUBACK that answers nothing")),
            },
            v3::Packet::SubscribeAck { packet_id, status } => match self.in_flight.remove(&packet_id) {
                Some(Waiting::Subscribe(done)) => settle(done, status.into_iter().map(granted).collect()),
                _ => return Err(protocol("a SUBACK that answers nothing")),
            },
            v3::Packet::UnsubscribeAck { packet_id } => match self.in_flight.remove(&packet_id) {
                Some(Waiting::Unsubscribe(done)) => settle(done, ()),
                _ => return Err(protocol("an UNSUBACK that answers nothing")),
            },
            v3::Packet::PingResponse => {}
            _ => return Err(protocol("a packet that only clients send")),
        }
        Ok(())
    }

    fn hand_out(&mut self, publish: Publish) -> Result<(), Ended> {
        let qos = match publish.qos {
            QoS::AtMostOnce => Qos::AtMostOnce,
            QoS::AtLeastOnce => Qos::AtLeastOnce,
            QoS::ExactlyOnce => return Err(protocol("a message with QoS 2")),
        };
        let message = Message {
            topic: publish.topic,
            payload: publish.payload,
            qos,
            retain: publish.retain,
            duplicate: publish.dup,
        };
        match self.messages.try_send(message) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => self.acknowledge(publish.packet_id),
            Err(mpsc::error::TrySendError::Full(message)) => {
                self.stalled = Some((message, publish.packet_id));
                Ok(())
            }
        }
    }

    fn acknowledge(&mut self, id: Option<NonZeroU16>) -> Result<(), Ended> {
        match id {
            Some(packet_id) => self.write(v3::Packet::PublishAck { packet_id }),
            None => Ok(()),
        }
    }

    /// Pings when one of the sides was silent since the last tick; gives up when nothing came for too long after a ping.
    fn keep_alive(&mut self) -> Result<(), Ended> {
        if self.stalled.is_some() {
            // Nothing is read, so nothing can be missed.
            self.ping_since = None;
            return self.write(v3::Packet::PingRequest);
        }
        let now = Instant::now();
        match self.ping_since {
            Some(since) if self.keep_alive <= now - since => return Err(Ended::KeepAlive),
            Some(_) => {}
            None if self.has_heard && self.has_spoken => {}
            None => {
                self.write(v3::Packet::PingRequest)?;
                self.ping_since = Some(now);
            }
        }
        self.has_heard = false;
        self.has_spoken = false;
        Ok(())
    }

    /// Tells those whose QoS 0 messages have left.
    fn settle_written(&mut self) {
        while let Some((_, done)) = self
            .unwritten
            .pop_front_if(|(n_bytes, _)| *n_bytes <= self.link.n_sent_bytes())
        {
            settle(done, ());
        }
    }

    fn write(&mut self, packet: v3::Packet) -> Result<(), Ended> {
        self.codec
            .encode(packet, &mut self.link.outbound)
            .map_err(|error| protocol(&error.to_string()))
    }

    fn n_bytes_queued(&self) -> u64 {
        self.link.n_sent_bytes() + u64::try_from(self.link.outbound.len()).unwrap_or(0)
    }

    /// The next packet id that is not in flight; fewer than 65535 are, so there is one.
    fn free_id(&mut self) -> NonZeroU16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(NonZeroU16::MIN);
            if !self.in_flight.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

/// Whoever asked may have stopped waiting: nobody else needs the answer.
fn settle<T>(done: oneshot::Sender<T>, answer: T) {
    let _ = done.send(answer);
}

fn granted(code: v3::SubscribeReturnCode) -> Option<Qos> {
    match code {
        v3::SubscribeReturnCode::Success(QoS::AtMostOnce) => Some(Qos::AtMostOnce),
        v3::SubscribeReturnCode::Success(_) => Some(Qos::AtLeastOnce),
        v3::SubscribeReturnCode::Failure => None,
    }
}
