//! Answers that wait for the log, in the order of the packets that they answer.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;

use picket_mqtt::wire::PublishAckReason;
use tokio::sync::oneshot;

use crate::doors::{Outcome, Verdict};
use crate::shared::Shared;

/// Answers that wait. PUBACKs go out in the order of the PUBLISHes (MQTT 3.1.1, 4.6), so one that could go waits behind a
/// report's.
#[derive(Debug, Default)]
pub(super) struct Reports {
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
enum Waiting {
    Report {
        id: Option<NonZeroU16>,
        verdict: oneshot::Receiver<Verdict>,
    },
    Ready(Ready),
}

/// An answer that can be given now.
#[derive(Debug)]
pub(super) enum Ready {
    /// What became of a report; with its packet id if it was QoS 1.
    Verdict { id: Option<NonZeroU16>, verdict: Verdict },
    /// A PUBACK.
    Acknowledge { id: NonZeroU16, reason: PublishAckReason },
}

impl Reports {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(&mut self, id: Option<NonZeroU16>, verdict: oneshot::Receiver<Verdict>) {
        self.waiting.push_back(Waiting::Report { id, verdict });
    }

    /// The answer back, if it can be given at once; else it takes its place in the order.
    pub(super) fn push_ready(&mut self, ready: Ready) -> Option<Ready> {
        if self.waiting.is_empty() {
            return Some(ready);
        }
        self.waiting.push_back(Waiting::Ready(ready));
        None
    }

    /// The next answer. Loses nothing when dropped. Never comes if there is none to wait for.
    pub(super) async fn next(&mut self) -> Ready {
        if let Some(Waiting::Report { verdict, .. }) = self.waiting.front_mut() {
            let verdict = verdict.await.unwrap_or_else(|_| not_stored());
            if let Some(Waiting::Report { id, .. }) = self.waiting.pop_front() {
                return Ready::Verdict { id, verdict };
            }
        } else if let Some(Waiting::Ready(ready)) = self.waiting.pop_front() {
            return ready;
        }
        std::future::pending().await
    }

    /// The next answer, if it is there.
    pub(super) fn try_next(&mut self) -> Option<Ready> {
        let verdict = match self.waiting.front_mut()? {
            Waiting::Ready(_) => None,
            Waiting::Report { verdict, .. } => match verdict.try_recv() {
                Ok(verdict) => Some(verdict),
                Err(oneshot::error::TryRecvError::Closed) => Some(not_stored()),
                Err(oneshot::error::TryRecvError::Empty) => return None,
            },
        };
        match (self.waiting.pop_front()?, verdict) {
            (Waiting::Ready(ready), _) => Some(ready),
            (Waiting::Report { id, .. }, Some(verdict)) => Some(Ready::Verdict { id, verdict }),
            (Waiting::Report { .. }, None) => None,
        }
    }

    /// Publishes the replies that still come after the connection has ended; there is nobody to acknowledge to.
    pub(super) fn finish(self, shared: Arc<Shared>) {
        if self.waiting.is_empty() {
            return;
        }
        tokio::spawn(async move {
            for waiting in self.waiting {
                let Waiting::Report { id, verdict } = waiting else {
                    continue;
                };
                let verdict = verdict.await.unwrap_or_else(|_| not_stored());
                let is_told = verdict.outcome == Outcome::Settled || id.is_none();
                if let Some(reply) = verdict.reply.filter(|_| is_told) {
                    shared.publish_reply(&reply);
                }
            }
        });
    }
}

/// Whoever was to say it went away.
fn not_stored() -> Verdict {
    Verdict {
        outcome: Outcome::NotStored,
        reply: None,
    }
}
