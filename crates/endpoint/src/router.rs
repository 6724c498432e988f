//! From a message to the mailboxes of those who subscribed to its topic.
//!
//! Nothing here asks a policy: whether a session may receive is asked when the message leaves its mailbox.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use picket_mqtt::topic::{self, Shared, Tree};

use crate::counters::Counters;
use crate::limits::Limits;
use crate::mailbox::{Delivered, Delivery, Session, SharedDelivery, Subscription, SubscriptionOptions};
use crate::message::{Message, Publication};
use crate::retained::Retained;

/// Subscriptions and retained messages.
#[derive(Debug, Default)]
pub(crate) struct Router {
    tree: RwLock<Tree<Subscriber, SubscriptionOptions>>,
    pub(crate) retained: Retained,
    turn: AtomicUsize,
}

/// A session as a key: the same only if it is the same object, so that a new session of a client never inherits.
#[derive(Clone, Debug)]
struct Subscriber(Arc<Session>);

impl PartialEq for Subscriber {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Subscriber {}

impl Hash for Subscriber {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl Router {
    /// Puts the message into the mailbox of every session that subscribed to its topic, once each; of a group, into one
    /// member's. `sender` is left out where it asked for that.
    #[expect(
        clippy::mutable_key_type,
        reason = "a subscriber is its address, which nothing inside it changes"
    )]
    pub(crate) fn route(
        &self,
        message: &Arc<Message>,
        publication: Publication,
        sender: Option<&Arc<Session>>,
        bounds: (&Limits, &Counters),
    ) {
        let mut plain: HashMap<Subscriber, SubscriptionOptions> = HashMap::new();
        let mut shared = Vec::new();
        self.tree.read().unwrap_or_else(PoisonError::into_inner).for_each_match(
            &message.topic,
            |subscriber, options| {
                let is_own = sender.is_some_and(|sender| Arc::ptr_eq(sender, &subscriber.0));
                if !(is_own && options.no_local) {
                    plain
                        .entry(subscriber.clone())
                        .and_modify(|known| *known = known.or(options))
                        .or_insert(*options);
                }
            },
            |group| shared.push(self.pick(&group)),
        );
        for (subscriber, options) in plain {
            hand_over(&subscriber.0, delivery(message, publication, options, None), bounds);
        }
        for (subscriber, options, group) in shared {
            hand_over(
                &subscriber.0,
                delivery(message, publication, options, Some(group)),
                bounds,
            );
        }
    }

    /// Hands what `from` may not receive to the next member of the group; drops it when all have had their turn.
    pub(crate) fn pass_on(&self, denied: &Delivery, from: &Arc<Session>, bounds: (&Limits, &Counters)) {
        let Some(group) = &denied.shared else { return };
        let mut next = None;
        self.tree.read().unwrap_or_else(PoisonError::into_inner).for_each_match(
            &denied.message.topic,
            |_, _| (),
            |found| {
                if found.group != &*group.group || found.filter != &*group.filter {
                    return;
                }
                let n_passed = group.n_passed + 1;
                let own = found
                    .members
                    .iter()
                    .position(|(member, _)| Arc::ptr_eq(&member.0, from));
                if n_passed < found.members.len() {
                    let (member, options) = &found.members[own.map_or(0, |own| (own + 1) % found.members.len())];
                    next = Some((member.clone(), *options, n_passed));
                }
            },
        );
        let Some((member, options, n_passed)) = next else {
            return;
        };
        let shared = SharedDelivery {
            group: group.group.clone(),
            filter: group.filter.clone(),
            n_passed,
        };
        let delivery = Delivery {
            qos: denied.qos.min(options.qos),
            shared: Some(Arc::new(shared)),
            ..denied.clone()
        };
        hand_over(&member.0, delivery, bounds);
    }

    /// Adds or changes a subscription. `true`: it is new.
    pub(crate) fn subscribe(&self, session: &Arc<Session>, subscription: &Subscription) -> bool {
        let Ok((group, filter)) = topic::split_share(&subscription.written) else {
            return false;
        };
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        tree.insert(group, filter, Subscriber(Arc::clone(session)), subscription.options)
            .is_none()
    }

    pub(crate) fn unsubscribe(&self, session: &Arc<Session>, written: &str) {
        let Ok((group, filter)) = topic::split_share(written) else {
            return;
        };
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        tree.remove(group, filter, &Subscriber(Arc::clone(session)));
    }

    /// Ends a session for good.
    pub(crate) fn forget(&self, session: &Arc<Session>) {
        for subscription in session.end() {
            self.unsubscribe(session, &subscription.written);
        }
    }

    pub(crate) fn n_subscriptions(&self) -> usize {
        self.tree.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The member whose turn it is; one whose client is there comes before those whose clients are away.
    fn pick(
        &self,
        group: &Shared<'_, Subscriber, SubscriptionOptions>,
    ) -> (Subscriber, SubscriptionOptions, Arc<SharedDelivery>) {
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % group.members.len();
        let in_turn = group.members[start..].iter().chain(&group.members[..start]);
        let (member, options) = in_turn
            .clone()
            .find(|(member, _)| member.0.is_here())
            .unwrap_or(&group.members[start]);
        let shared = SharedDelivery {
            group: group.group.into(),
            filter: group.filter.into(),
            n_passed: 0,
        };
        (member.clone(), *options, Arc::new(shared))
    }
}

impl SubscriptionOptions {
    /// What a session gets whose two filters match.
    fn or(self, other: &Self) -> Self {
        Self {
            qos: self.qos.max(other.qos),
            no_local: self.no_local && other.no_local,
            retain_as_published: self.retain_as_published || other.retain_as_published,
        }
    }
}

fn delivery(
    message: &Arc<Message>,
    publication: Publication,
    options: SubscriptionOptions,
    shared: Option<Arc<SharedDelivery>>,
) -> Delivery {
    Delivery {
        message: Arc::clone(message),
        qos: publication.qos.min(options.qos),
        retain: publication.retain && options.retain_as_published,
        is_repeated: false,
        shared,
    }
}

fn hand_over(session: &Session, delivery: Delivery, (limits, counters): (&Limits, &Counters)) {
    match session.deliver(delivery, limits) {
        Delivered::Queued => {}
        Delivered::Dropped | Delivered::Overflowed => counters.dropped.add_one(),
    }
}

#[cfg(test)]
mod tests {
    use picket_mqtt::Qos;
    use tokio::sync::Notify;

    use super::*;

    fn session(router: &Router, name: &str, filters: &[(&str, Qos)]) -> Arc<Session> {
        let session = Arc::new(Session::new(name.into()));
        session.attach(Arc::new(Notify::new()));
        for &(filter, qos) in filters {
            let subscription = Subscription {
                written: filter.into(),
                options: SubscriptionOptions {
                    qos,
                    no_local: filter == "own",
                    retain_as_published: false,
                },
            };
            assert!(session.add(subscription.clone(), 50));
            router.subscribe(&session, &subscription);
        }
        session
    }

    fn publish(router: &Router, topic: &str, sender: Option<&Arc<Session>>) {
        let publication = Publication {
            qos: Qos::AtLeastOnce,
            retain: false,
        };
        let message = Arc::new(Message::new(topic, b"x", None));
        router.route(
            &message,
            publication,
            sender,
            (&Limits::default(), &Counters::default()),
        );
    }

    fn n_received(session: &Session) -> usize {
        std::iter::from_fn(|| session.take(1000)).count()
    }

    #[test]
    fn overlapping_filters_deliver_once_with_the_higher_qos() {
        let router = Router::default();
        let both = session(
            &router,
            "a",
            &[
                ("t/#", Qos::AtMostOnce),
                ("t/1", Qos::AtLeastOnce),
                ("own", Qos::AtMostOnce),
            ],
        );
        publish(&router, "t/1", None);
        assert_eq!(both.take(9).map(|(delivery, _)| delivery.qos), Some(Qos::AtLeastOnce));
        assert_eq!(n_received(&both), 0);
        publish(&router, "own", Some(&both));
        assert_eq!(n_received(&both), 0);
        publish(&router, "own", None);
        assert_eq!(n_received(&both), 1);
        router.forget(&both);
        publish(&router, "t/1", None);
        assert_eq!((n_received(&both), router.n_subscriptions()), (0, 0));
    }

    #[test]
    fn a_group_shares_and_passes_on_what_a_member_may_not_have() {
        let router = Router::default();
        let members: Vec<_> = ["a", "b", "c"]
            .map(|name| session(&router, name, &[("$share/g/t", Qos::AtLeastOnce)]))
            .into();
        for _ in 0..9 {
            publish(&router, "t", None);
        }
        assert_eq!(
            members.iter().map(|member| n_received(member)).collect::<Vec<_>>(),
            [3, 3, 3]
        );
        publish(&router, "t", None);
        let bounds = (&Limits::default(), &Counters::default());
        let mut n_passed = 0;
        while let Some((at, denied)) = members
            .iter()
            .find_map(|member| member.take(1000).map(|(denied, _)| (member, denied)))
        {
            router.pass_on(&denied, at, bounds);
            n_passed += 1;
        }
        assert_eq!(n_passed, 3, "each member has one turn, then the message is dropped");
    }
}
