//! What a live session may do now, and the order to end it.
//!
//! The session's task holds the lock of [`Rights`] while it handles a packet or a delivery. Whoever changes the rights
//! takes the same lock: after that, nothing happens by the old ones. Under it only the router's locks are taken.

use picket_policy::{Action, Decision, Request};

use crate::doors::{Access, Clock, Refusal};
use crate::memory::Memory;

/// What a live session may do now.
#[derive(Default)]
pub(crate) struct Rights {
    /// `None`: the doorkeeper refuses the session, and so everything.
    access: Option<Box<Access>>,
    /// Set when a policy asks for the time: then each answer is of its moment, and none is remembered.
    clock: Option<Clock>,
    cut: Option<Cut>,
    publish: Memory<bool>,
    receive: Memory<bool>,
}

/// Why a session is to end at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A new connection has the same client id.
    TakenOver,
    /// The doorkeeper refuses it now.
    Refused(Refusal),
    /// Policy no longer allows its connect.
    Denied,
    /// Asked for through the handle.
    Administrative {
        /// Whether the will is published.
        with_will: bool,
    },
    /// The endpoint stops.
    ShuttingDown,
}

impl Rights {
    /// The rights of a session that has been admitted.
    pub(crate) fn grant(&mut self, access: Access, clock: &Clock) {
        *self = Self {
            clock: access.policies.asks().time.then(|| Clock::clone(clock)),
            access: Some(Box::new(access)),
            cut: self.cut,
            ..Self::default()
        };
    }

    /// Takes all rights, and orders the end.
    pub(crate) fn revoke(&mut self, refusal: Refusal) {
        *self = Self {
            cut: self.cut,
            ..Self::default()
        };
        self.cut(Cut::Refused(refusal));
    }

    /// Orders the end, unless it is ordered already.
    pub(crate) fn cut(&mut self, cut: Cut) {
        self.cut.get_or_insert(cut);
    }

    /// The order to end, if there is one: then nothing more may happen in the session.
    pub(crate) fn ordered_end(&self) -> Option<Cut> {
        self.cut
    }

    pub(crate) fn allows(&mut self, action: Action, name: &str) -> bool {
        self.look_at_the_clock();
        let Some(access) = &self.access else { return false };
        let decide = || access.policies.decide(&access.context, Request { action, name }) == Decision::Allow;
        match action {
            _ if self.clock.is_some() => decide(),
            Action::Publish => self.publish.recall(name, decide),
            Action::Receive => self.receive.recall(name, decide),
            _ => decide(),
        }
    }

    /// Whether a message may be published; if it is to be retained, that must be allowed too.
    pub(crate) fn allows_publish(&mut self, topic: &str, retain: bool) -> bool {
        self.allows(Action::Publish, topic) && (!retain || self.allows(Action::RetainPublish, topic))
    }

    /// Whether a subscription is allowed. A shared one is named both as written and by the filter that it shares: a deny
    /// of either wins, an allow of either is enough.
    pub(crate) fn allows_subscribe(&mut self, written: &str, shared: &str) -> bool {
        self.look_at_the_clock();
        let Some(access) = &self.access else { return false };
        let decide = |name| {
            access.policies.decide(
                &access.context,
                Request {
                    action: Action::Subscribe,
                    name,
                },
            )
        };
        let decisions = [decide(written), decide(shared)];
        decisions.contains(&Decision::Allow) && !decisions.contains(&Decision::ExplicitDeny)
    }

    fn look_at_the_clock(&mut self) {
        if let (Some(clock), Some(access)) = (&self.clock, &mut self.access) {
            access.context.now = Some(clock());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use picket_model::time::Timestamp;
    use picket_policy::{Context, PolicySet, Reach};

    use super::*;

    fn access(statements: &str) -> Access {
        let document = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
        Access {
            policies: PolicySet::new(vec![(Arc::new(document.parse().unwrap()), Reach::Full)]),
            context: Context::default(),
            things: Vec::new(),
        }
    }

    fn clock(millis: i64) -> Clock {
        Arc::new(move || Timestamp::from_millis(millis))
    }

    const ALLOW: &str = r#"{"Effect":"Allow","Action":"iot:*","Resource":"*"}"#;

    #[test]
    fn what_is_remembered_goes_with_the_rights() {
        let mut rights = Rights::default();
        assert!(!rights.allows(Action::Publish, "a"));
        rights.grant(access(ALLOW), &clock(0));
        for n in 0..100 {
            assert!(rights.allows(Action::Publish, &format!("t/{}", n % 40)));
        }
        let deny = r#"{"Effect":"Deny","Action":"iot:Publish","Resource":"arn:aws:iot:r:1:topic/t/3"}"#;
        rights.grant(access(&format!("{ALLOW},{deny}")), &clock(0));
        assert!(!rights.allows(Action::Publish, "t/3"));
        assert!(rights.allows(Action::Publish, "t/4"));
        rights.revoke(Refusal::Quarantined);
        assert!(!rights.allows(Action::Publish, "t/4") && !rights.allows_subscribe("a", "a"));
        rights.cut(Cut::TakenOver);
        assert_eq!(rights.ordered_end(), Some(Cut::Refused(Refusal::Quarantined)));
    }

    #[test]
    fn what_depends_on_the_time_is_asked_each_time() {
        let allow = r#"{"Effect":"Allow","Action":"iot:*","Resource":"*",
            "Condition":{"DateLessThan":{"aws:CurrentTime":"1970-01-01T00:00:10Z"}}}"#;
        let deny = r#"{"Effect":"Deny","Action":"iot:Publish","Resource":"arn:aws:iot:r:1:topic/t",
            "Condition":{"NumericGreaterThanEquals":{"aws:EpochTime":"5"}}}"#;
        let millis = Arc::new(AtomicI64::new(0));
        let clock: Clock = {
            let millis = Arc::clone(&millis);
            Arc::new(move || Timestamp::from_millis(millis.load(Ordering::Relaxed)))
        };
        let mut rights = Rights::default();
        rights.grant(access(&format!("{allow},{deny}")), &clock);
        for (at, publishes, receives) in [
            (1000, true, true),
            (4999, true, true),
            (5000, false, true),
            (10_000, false, false),
            (4999, true, true),
        ] {
            millis.store(at, Ordering::Relaxed);
            assert_eq!(rights.allows(Action::Publish, "t"), publishes, "{at}");
            assert_eq!(rights.allows(Action::Receive, "t"), receives, "{at}");
            assert_eq!(rights.allows_subscribe("t", "t"), receives, "{at}");
        }
    }

    #[test]
    fn a_shared_subscription_slips_past_no_deny() {
        let deny = |filter| {
            format!(
                r#"{ALLOW},{{"Effect":"Deny","Action":"iot:Subscribe","Resource":"arn:aws:iot:r:1:topicfilter/{filter}"}}"#
            )
        };
        let only = |filter| {
            format!(
                r#"{{"Effect":"Allow","Action":"iot:Subscribe","Resource":"arn:aws:iot:r:1:topicfilter/{filter}"}}"#
            )
        };
        for (statements, expected) in [
            (ALLOW.to_owned(), true),
            (deny("a"), false),
            (deny("$share/*"), false),
            (only("a"), true),
            (only("$share/g/a"), true),
            (only("b"), false),
        ] {
            let mut rights = Rights::default();
            rights.grant(access(&statements), &clock(0));
            assert_eq!(rights.allows_subscribe("$share/g/a", "a"), expected, "{statements}");
        }
    }
}
