//! Subscriptions: each filter is asked about by itself.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::BytesMut;
use bytestring::ByteString;
use picket_mqtt::Qos;
use picket_mqtt::topic;
use picket_mqtt::wire::{
    Answer, DisconnectReasonCode, QoS, RetainHandling, Subscribe, SubscribeAckReason, SubscribeFilter,
    UnsubscribeAckReason,
};

use super::Connection;
use super::end::End;
use crate::lifecycle::Event;
use crate::mailbox::{Delivery, Subscription, SubscriptionOptions};
use crate::rights::Rights;

/// The most bytes of the name of a shared subscription.
const GROUP_LEN_BYTES_MAX: usize = 128;

impl Connection {
    pub(super) fn subscribe(
        &mut self,
        subscribe: Subscribe,
        rights: &mut Rights,
        outbound: &mut BytesMut,
    ) -> Result<(), End> {
        if subscribe.has_identifier {
            return Err(End::Broken(DisconnectReasonCode::SubscriptionIdentifiersNotSupported));
        }
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        let mut retained = Vec::new();
        let mut topics = Vec::with_capacity(subscribe.filters.len());
        for (n_before, filter) in subscribe.filters.iter().enumerate() {
            let granted = if n_before < self.shared.limits.n_filters_per_subscribe_max {
                self.subscribe_one(filter, rights, &mut retained)
            } else {
                Err(SubscribeAckReason::QuotaExceeded)
            };
            // Counted on the topics that it names: of a shared subscription, those that are shared.
            let named = topic::split_share(&filter.filter).map_or(&*filter.filter, |(_, filter)| filter);
            if granted == Err(SubscribeAckReason::NotAuthorized) {
                self.shared.counters.denied.add_one();
                self.shared.metering.refused(&self.live, named);
            } else if granted.is_ok() {
                self.shared.metering.subscribed(&self.live, named);
                topics.push(&*filter.filter);
            }
            reasons.push(granted.unwrap_or_else(|refused| refused));
        }
        self.answer(
            Answer::SubscribeAck {
                id: subscribe.id,
                reasons,
            },
            outbound,
        )?;
        if !topics.is_empty() {
            self.shared.tell(&self.live, &Event::Subscribed(&topics));
        }
        for delivery in retained {
            // One for which there is no room is dropped, as any message.
            let _ = self.live.session.deliver(delivery, &self.shared.limits);
        }
        Ok(())
    }

    fn subscribe_one(
        &self,
        wanted: &SubscribeFilter,
        rights: &mut Rights,
        retained: &mut Vec<Delivery>,
    ) -> Result<SubscribeAckReason, SubscribeAckReason> {
        let invalid = SubscribeAckReason::TopicFilterInvalid;
        let (group, filter) = topic::split_share(&wanted.filter).map_err(|_| invalid)?;
        topic::check_filter(filter).map_err(|_| invalid)?;
        if group.is_some_and(|group| GROUP_LEN_BYTES_MAX < group.len() || wanted.no_local) {
            return Err(invalid);
        }
        if !rights.allows_subscribe(&wanted.filter, filter) {
            return Err(SubscribeAckReason::NotAuthorized);
        }
        if filter.starts_with('$') && !is_served(filter) {
            return Err(invalid);
        }
        // QoS 2 is not offered: the client gets 1, as MQTT permits.
        let (qos, granted) = match wanted.qos {
            QoS::AtMostOnce => (Qos::AtMostOnce, SubscribeAckReason::GrantedQos0),
            QoS::AtLeastOnce | QoS::ExactlyOnce => (Qos::AtLeastOnce, SubscribeAckReason::GrantedQos1),
        };
        let subscription = Subscription {
            written: (&*wanted.filter).into(),
            options: SubscriptionOptions {
                qos,
                no_local: wanted.no_local,
                retain_as_published: wanted.retain_as_published,
            },
        };
        let session = &self.live.session;
        if !session.add(subscription.clone(), self.shared.limits.n_subscriptions_per_session_max) {
            return Err(SubscribeAckReason::QuotaExceeded);
        }
        let is_new = self.shared.router.subscribe(session, &subscription);
        let wants_retained = match wanted.retain_handling {
            RetainHandling::AtSubscribe => true,
            RetainHandling::AtSubscribeNew => is_new,
            RetainHandling::NoAtSubscribe => false,
        };
        // As on AWS, only a filter without wildcards gets what is retained.
        if wants_retained && group.is_none() && !topic::has_wildcard(filter) {
            retained.extend(self.shared.router.retained.find(filter).map(|kept| Delivery {
                message: kept.message,
                qos: kept.qos.min(qos),
                retain: true,
                is_repeated: false,
                shared: None,
            }));
        }
        Ok(granted)
    }

    pub(super) fn unsubscribe(
        &mut self,
        id: NonZeroU16,
        filters: &[ByteString],
        outbound: &mut BytesMut,
    ) -> Result<(), End> {
        let session = Arc::clone(&self.live.session);
        let end = |filter: &ByteString| {
            if !session.remove(filter) {
                return UnsubscribeAckReason::NoSubscriptionExisted;
            }
            self.shared.router.unsubscribe(&session, filter);
            UnsubscribeAckReason::Success
        };
        let reasons: Vec<_> = filters.iter().map(end).collect();
        let ended = filters.iter().zip(&reasons);
        let ended = ended.filter(|(_, reason)| **reason == UnsubscribeAckReason::Success);
        let topics: Vec<&str> = ended.map(|(filter, _)| &**filter).collect();
        if !topics.is_empty() {
            self.shared.tell(&self.live, &Event::Unsubscribed(&topics));
        }
        self.answer(Answer::UnsubscribeAck { id, reasons }, outbound)
    }
}

/// Whether a filter that begins with `$` can match a topic that the service publishes on.
fn is_served(filter: &str) -> bool {
    let rules = (RULES_LEVELS_MIN..=RULES.len()).map(|n_levels| &RULES[..n_levels]);
    SERVED.iter().copied().chain(rules).any(|served| {
        let mut served = served.iter();
        let mut levels = filter.split('/');
        loop {
            match (levels.next(), served.next()) {
                (Some("#"), Some(_)) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(level), Some(names)) if names.is_empty() || names.contains(&level) => {}
                _ => return false,
            }
        }
    })
}

/// Topics that the service publishes on, level by level: the names that may stand there, none for any name.
const SERVED: &[&[&[&str]]] = &[
    &[
        &["$aws"],
        &["things"],
        &[],
        &["defender"],
        &["metrics"],
        &["json", "cbor"],
        &["accepted", "rejected"],
    ],
    &[
        &["$aws"],
        &["events"],
        &["presence"],
        &["connected", "disconnected", "connect_failed"],
        &[],
    ],
    &[
        &["$aws"],
        &["events"],
        &["subscriptions"],
        &["subscribed", "unsubscribed"],
        &[],
    ],
];

/// Topics by which AWS's rules take messages in, down to eight levels. No rules are here: values of metrics that a
/// profile sends there go to those who subscribe.
const RULES: &[&[&str]] = &[&["$aws"], &["rules"], &[], &[], &[], &[], &[], &[]];

/// The levels of the shortest of them.
const RULES_LEVELS_MIN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_filters_are_served_if_they_can_match() {
        for (filter, expected) in [
            ("$aws/things/T/defender/metrics/json/accepted", true),
            ("$aws/things/+/defender/metrics/+/rejected", true),
            ("$aws/things/T/defender/#", true),
            ("$aws/#", true),
            ("$aws/things/T/defender/metrics/json", false),
            ("$aws/things/T/defender/metrics/xml/accepted", false),
            ("$aws/things/T/shadow/update/accepted", false),
            ("$aws/events/presence/connected/+", true),
            ("$aws/events/presence/other/+", false),
            ("$aws/rules/Metrics", true),
            ("$aws/rules/Metrics/fleet/+", true),
            ("$aws/rules/#", true),
            ("$aws/+/Metrics/a/b/c/d/e", true),
            ("$aws/rules", false),
            ("$SYS/#", false),
            ("$aws", false),
        ] {
            assert_eq!(is_served(filter), expected, "{filter}");
        }
    }
}
