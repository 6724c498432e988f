//! One connection from CONNECT to its end.
//!
//! A turn takes the packets that have come, the verdicts that have come, and the messages that wait, and leaves the answers
//! in one buffer, which goes out in one write. Each packet and each message is handled under the lock of the session's
//! rights: once a change of rights has that lock, nothing more happens by the old ones.

mod admission;
mod deliver;
mod end;
mod publish;
mod reports;
mod subscribe;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use picket_mqtt::link::{Link, Progress};
use picket_mqtt::wire::{Answer, Codec, DisconnectReasonCode, Packet, Version, Will};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use crate::listener::Turn;
use crate::live::{Live, Peer};
use crate::shared::Shared;
use end::{End, Seat};
use publish::Aliases;
use reports::Reports;

/// No packet is taken and no message is sent while this much waits to leave, bytes.
const OUTBOUND_SIZE_BYTES_MAX: usize = 64 * 1024;

/// Serves a peer whose TLS handshake is done, until its connection ends.
pub(crate) async fn serve<S>(shared: Arc<Shared>, mut link: Box<Link<S>>, peer: Peer, turn: Turn)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Boxed, so that its state is gone while the session is idle.
    let Some(mut session) = Box::pin(admission::greet(&shared, &mut link, peer)).await else {
        return;
    };
    // Its place is for the next who comes.
    drop(turn);
    let end = session.run(&mut link).await;
    Box::pin(session.finish(&mut link, end)).await;
}

/// A connection whose CONNECT was accepted, without its stream.
struct Connection {
    shared: Arc<Shared>,
    live: Arc<Live>,
    seat: Option<Seat>,
    codec: Codec,
    will: Option<Box<Will>>,
    reports: Reports,
    /// The longest silence: one and a half times the keep-alive.
    silence_max: Duration,
    n_outbound_max: usize,
    /// The largest packet that the client takes, bytes.
    packet_size_bytes_max: usize,
    aliases: Aliases,
}

impl Connection {
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(&mut self, link: &mut Link<S>) -> End {
        let live = Arc::clone(&self.live);
        let mut heard_at = Instant::now();
        let mut deadline = pin!(sleep_until(heard_at + self.silence_max));
        loop {
            if let Err(end) = self.turn(link) {
                return end;
            }
            link.release_buffers();
            let may_read = self.may_take(&link.outbound);
            tokio::select! {
                () = live.wake.notified() => {}
                ready = self.reports.next(), if !self.reports.is_empty() => {
                    if let Err(end) = self.settle(ready, &mut link.outbound) {
                        return end;
                    }
                }
                progress = link.progress(may_read) => match progress {
                    Ok(Progress::Read) => heard_at = Instant::now(),
                    Ok(Progress::Sent) => {}
                    Ok(Progress::Closed) | Err(_) => return End::Lost,
                },
                () = &mut deadline => {
                    if self.is_full_of_reports() {
                        // Not read because the log is slow: the client may have spoken.
                        heard_at = Instant::now();
                    }
                    let due = heard_at + self.silence_max;
                    if due <= Instant::now() {
                        return End::KeepAlive;
                    }
                    deadline.as_mut().reset(due);
                }
            }
        }
    }

    fn turn<S: AsyncRead + AsyncWrite + Unpin>(&mut self, link: &mut Link<S>) -> Result<(), End> {
        // Asked also when nothing else can happen because the client does not read.
        if let Some(cut) = self.live.rights().ordered_end() {
            return Err(End::Cut(cut));
        }
        if self.live.session.has_overflowed() {
            return Err(End::Overflowed);
        }
        while let Some(ready) = self.reports.try_next() {
            self.settle(ready, &mut link.outbound)?;
        }
        while self.may_take(&link.outbound) {
            match self.codec.decode(&mut link.inbound) {
                Ok(Some(packet)) => self.take(packet, &mut link.outbound)?,
                Ok(None) => break,
                Err(malformed) => {
                    tracing::debug!(reason = malformed.found, "malformed packet");
                    return Err(End::Broken(malformed.reason));
                }
            }
        }
        self.deliver(&mut link.outbound)
    }

    fn take(&mut self, packet: Packet, outbound: &mut BytesMut) -> Result<(), End> {
        let live = Arc::clone(&self.live);
        let mut rights = live.rights();
        if let Some(cut) = rights.ordered_end() {
            return Err(End::Cut(cut));
        }
        match packet {
            Packet::Publish(publish) => self.publish(*publish, &mut rights, outbound),
            Packet::PublishAck { id } => {
                live.session.settle(id);
                Ok(())
            }
            Packet::Subscribe(subscribe) => self.subscribe(subscribe, &mut rights, outbound),
            Packet::Unsubscribe { id, filters } => self.unsubscribe(id, &filters, outbound),
            Packet::PingRequest => self.answer(Answer::PingResponse, outbound),
            Packet::Disconnect {
                with_will,
                session_expiry_secs,
            } => Err(self.goodbye(with_will, session_expiry_secs)),
            Packet::Connect(_) | Packet::Unsupported => Err(End::Broken(DisconnectReasonCode::ProtocolError)),
        }
    }

    fn goodbye(&self, with_will: bool, session_expiry_secs: Option<u32>) -> End {
        if let Some(secs) = session_expiry_secs {
            // A session that was to end with its connection cannot be kept after all (MQTT 5, 3.14.2.2.2).
            if self.live.keep_secs() == 0 && secs != 0 {
                return End::Broken(DisconnectReasonCode::ProtocolError);
            }
            self.live.set_keep_secs(secs.min(self.shared.session_expiry_secs_max()));
        }
        End::Goodbye { with_will }
    }

    /// Whether another packet may be taken: not while the client does not read its answers, or the log is slow.
    fn may_take(&self, outbound: &BytesMut) -> bool {
        outbound.len() < OUTBOUND_SIZE_BYTES_MAX && !self.is_full_of_reports()
    }

    fn is_full_of_reports(&self) -> bool {
        usize::from(self.shared.limits.n_inbound_max) <= self.reports.len()
    }

    fn answer(&mut self, answer: Answer, outbound: &mut BytesMut) -> Result<(), End> {
        self.codec
            .encode(answer, outbound)
            .map_err(|_| End::Broken(DisconnectReasonCode::PacketTooLarge))
    }

    fn version(&self) -> Version {
        self.codec.version()
    }
}
