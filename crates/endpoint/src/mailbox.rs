//! What waits for a session, whether its client is there or away: messages, and messages that await their PUBACK.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use picket_mqtt::Qos;
use tokio::sync::Notify;

use crate::limits::Limits;
use crate::message::Message;

/// A session: what outlives a connection. It is a place to deliver to, and knows no rights: these are asked when a message
/// leaves.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client_id: Arc<str>,
    mailbox: Mutex<Mailbox>,
}

#[derive(Debug, Default)]
struct Mailbox {
    waiting: VecDeque<Delivery>,
    waiting_size_bytes: usize,
    in_flight: VecDeque<(NonZeroU16, Delivery)>,
    last_id: u16,
    subscriptions: Vec<Subscription>,
    reader: Reader,
    has_overflowed: bool,
}

#[derive(Debug, Default)]
enum Reader {
    /// The client is away.
    #[default]
    Away,
    /// A connection, which is told when something comes.
    Here(Arc<Notify>),
    /// Nobody will come again: nothing is taken any more.
    Gone,
}

/// A message for one session.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// Whether it may have been sent before.
    pub(crate) is_repeated: bool,
    /// The group of a shared subscription, as (group, filter), and how many members have passed the message on.
    pub(crate) shared: Option<Arc<SharedDelivery>>,
}

/// For which group a session got a message.
#[derive(Debug)]
pub(crate) struct SharedDelivery {
    pub(crate) group: Box<str>,
    pub(crate) filter: Box<str>,
    /// Members that may not receive it.
    pub(crate) n_passed: usize,
}

/// One subscription of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// The filter as written, with `$share/<group>/` if it has that.
    pub(crate) written: Box<str>,
    pub(crate) options: SubscriptionOptions,
}

/// How a session wants what its filter matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionOptions {
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
}

/// What became of a message at the door of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// It waits.
    Queued,
    /// The queue is full, or a QoS 0 message found nobody: dropped.
    Dropped,
    /// The queue is full and the message is QoS 1: a live session must end.
    Overflowed,
}

impl Session {
    pub(crate) fn new(client_id: Arc<str>) -> Self {
        Self {
            client_id,
            mailbox: Mutex::default(),
        }
    }

    pub(crate) fn deliver(&self, delivery: Delivery, limits: &Limits) -> Delivered {
        let mut mailbox = self.mailbox();
        let is_full = limits.n_queued_max <= mailbox.waiting.len()
            || limits.queued_size_bytes_max < mailbox.waiting_size_bytes.saturating_add(delivery.message.size_bytes());
        match (&mailbox.reader, delivery.qos) {
            (Reader::Gone, _) | (Reader::Away, Qos::AtMostOnce) => return Delivered::Dropped,
            (Reader::Here(reader), Qos::AtLeastOnce) if is_full => {
                reader.notify_one();
                mailbox.has_overflowed = true;
                return Delivered::Overflowed;
            }
            _ if is_full => return Delivered::Dropped,
            (Reader::Here(reader), _) if mailbox.waiting.is_empty() => reader.notify_one(),
            _ => {}
        }
        mailbox.push(delivery);
        Delivered::Queued
    }

    /// The next message to send, with a packet id if it is QoS 1; `None` if none waits, or `n_in_flight_max` are not
    /// acknowledged.
    pub(crate) fn take(&self, n_in_flight_max: usize) -> Option<(Delivery, Option<NonZeroU16>)> {
        let mut mailbox = self.mailbox();
        let is_blocked = |next: &Delivery| next.qos == Qos::AtLeastOnce && n_in_flight_max <= mailbox.in_flight.len();
        if mailbox.waiting.front().is_none_or(is_blocked) {
            return None;
        }
        let delivery = mailbox.waiting.pop_front()?;
        mailbox.waiting_size_bytes = mailbox.waiting_size_bytes.saturating_sub(delivery.message.size_bytes());
        if mailbox.waiting.is_empty() && 64 < mailbox.waiting.capacity() {
            mailbox.waiting = VecDeque::new();
        }
        if delivery.qos == Qos::AtMostOnce {
            return Some((delivery, None));
        }
        let id = mailbox.free_id();
        mailbox.in_flight.push_back((id, delivery.clone()));
        Some((delivery, Some(id)))
    }

    /// Whether a QoS 1 message found the queue full while the client was there.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.mailbox().has_overflowed
    }

    pub(crate) fn is_here(&self) -> bool {
        matches!(self.mailbox().reader, Reader::Here(_))
    }

    /// The client has the message, or is not to have it.
    pub(crate) fn settle(&self, id: NonZeroU16) {
        let mut mailbox = self.mailbox();
        // Acknowledged in the order sent, as a rule: the search ends at the first.
        if let Some(at) = mailbox.in_flight.iter().position(|(sent, _)| *sent == id) {
            mailbox.in_flight.remove(at);
        }
    }

    /// A connection begins to read. What was in flight is sent again, before all that waits.
    pub(crate) fn attach(&self, reader: Arc<Notify>) {
        let mut mailbox = self.mailbox();
        mailbox.recall_in_flight();
        mailbox.has_overflowed = false;
        reader.notify_one();
        mailbox.reader = Reader::Here(reader);
    }

    /// The connection ends, and another may come. Does nothing if another has come already.
    pub(crate) fn detach(&self, reader: &Arc<Notify>) {
        let mut mailbox = self.mailbox();
        if matches!(&mailbox.reader, Reader::Here(here) if Arc::ptr_eq(here, reader)) {
            mailbox.reader = Reader::Away;
            mailbox.recall_in_flight();
            // QoS 0 is for those who are there.
            let mailbox = &mut *mailbox;
            mailbox.waiting.retain(|delivery| delivery.qos == Qos::AtLeastOnce);
            mailbox.waiting_size_bytes = mailbox
                .waiting
                .iter()
                .map(|delivery| delivery.message.size_bytes())
                .sum();
            mailbox.waiting.shrink_to_fit();
        }
    }

    /// The session ends for good. Says what it had subscribed to, once.
    pub(crate) fn end(&self) -> Vec<Subscription> {
        let mut mailbox = self.mailbox();
        let subscriptions = std::mem::take(&mut mailbox.subscriptions);
        *mailbox = Mailbox {
            reader: Reader::Gone,
            ..Mailbox::default()
        };
        subscriptions
    }

    pub(crate) fn subscriptions(&self) -> Vec<Subscription> {
        self.mailbox().subscriptions.clone()
    }

    /// Adds a subscription, or changes the one of the same filter. `false`: there are too many, or the session has ended.
    pub(crate) fn add(&self, subscription: Subscription, n_subscriptions_max: usize) -> bool {
        let mut mailbox = self.mailbox();
        if matches!(mailbox.reader, Reader::Gone) {
            return false;
        }
        let same = mailbox
            .subscriptions
            .iter_mut()
            .find(|known| known.written == subscription.written);
        if let Some(known) = same {
            *known = subscription;
            return true;
        }
        if n_subscriptions_max <= mailbox.subscriptions.len() {
            return false;
        }
        mailbox.subscriptions.push(subscription);
        true
    }

    /// Removes a subscription. `false`: there was none.
    pub(crate) fn remove(&self, written: &str) -> bool {
        let mut mailbox = self.mailbox();
        let at = mailbox
            .subscriptions
            .iter()
            .position(|known| *known.written == *written);
        at.is_some_and(|at| {
            mailbox.subscriptions.swap_remove(at);
            true
        })
    }

    fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailbox {
    fn push(&mut self, delivery: Delivery) {
        self.waiting_size_bytes = self.waiting_size_bytes.saturating_add(delivery.message.size_bytes());
        self.waiting.push_back(delivery);
    }

    fn recall_in_flight(&mut self) {
        while let Some((_, mut delivery)) = self.in_flight.pop_back() {
            delivery.is_repeated = true;
            self.waiting_size_bytes = self.waiting_size_bytes.saturating_add(delivery.message.size_bytes());
            self.waiting.push_front(delivery);
        }
    }

    /// The next packet id that is not in flight; far fewer than 65535 are.
    fn free_id(&mut self) -> NonZeroU16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(self.last_id)
                && !self.in_flight.iter().any(|(sent, _)| *sent == id)
            {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(payload: &str, qos: Qos) -> Delivery {
        Delivery {
            message: Arc::new(Message::new("t", payload.as_bytes(), None)),
            qos,
            retain: false,
            is_repeated: false,
            shared: None,
        }
    }

    fn taken(session: &Session, n_in_flight_max: usize) -> Vec<String> {
        std::iter::from_fn(|| session.take(n_in_flight_max))
            .map(|(delivery, id)| {
                let mark = if delivery.is_repeated { "again " } else { "" };
                let payload = String::from_utf8_lossy(&delivery.message.payload).into_owned();
                format!("{mark}{payload}{}", id.map_or(String::new(), |id| format!("#{id}")))
            })
            .collect()
    }

    fn limits() -> Limits {
        Limits {
            n_queued_max: 3,
            queued_size_bytes_max: 1000,
            ..Limits::default()
        }
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_first() {
        let session = Session::new("c".into());
        let reader = Arc::new(Notify::new());
        session.attach(Arc::clone(&reader));
        for payload in ["1", "2", "3"] {
            assert_eq!(
                session.deliver(delivery(payload, Qos::AtLeastOnce), &limits()),
                Delivered::Queued
            );
        }
        assert_eq!(taken(&session, 2), ["1#1", "2#2"]);
        session.settle(NonZeroU16::MIN);
        session.detach(&reader);
        assert_eq!(
            session.deliver(delivery("0", Qos::AtMostOnce), &limits()),
            Delivered::Dropped
        );
        assert_eq!(
            session.deliver(delivery("4", Qos::AtLeastOnce), &limits()),
            Delivered::Queued
        );
        assert_eq!(
            session.deliver(delivery("5", Qos::AtLeastOnce), &limits()),
            Delivered::Dropped
        );
        session.attach(reader);
        assert_eq!(taken(&session, 9), ["again 2#3", "3#4", "4#5"]);
    }

    #[test]
    fn a_full_queue_drops_qos_0_and_ends_the_session_for_qos_1() {
        let session = Session::new("c".into());
        session.attach(Arc::new(Notify::new()));
        for _ in 0..3 {
            session.deliver(delivery("x", Qos::AtMostOnce), &limits());
        }
        assert_eq!(
            session.deliver(delivery("x", Qos::AtMostOnce), &limits()),
            Delivered::Dropped
        );
        assert_eq!(
            session.deliver(delivery("x", Qos::AtLeastOnce), &limits()),
            Delivered::Overflowed
        );
        session.end();
        assert_eq!(
            session.deliver(delivery("x", Qos::AtLeastOnce), &limits()),
            Delivered::Dropped
        );
        assert_eq!(session.take(9).map(|_| ()), None);
    }

    #[test]
    fn large_messages_fill_a_queue_too() {
        let session = Session::new("c".into());
        let large = "x".repeat(700);
        assert_eq!(
            session.deliver(delivery(&large, Qos::AtLeastOnce), &limits()),
            Delivered::Queued
        );
        assert_eq!(
            session.deliver(delivery(&large, Qos::AtLeastOnce), &limits()),
            Delivered::Dropped
        );
    }
}
