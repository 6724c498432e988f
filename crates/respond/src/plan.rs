//! What the configured responses want done about one piece of news. Pure.

use picket_model::name::{ResponseName, ThingGroupName};
use picket_model::violation::{EventType, ViolationNotice};
use picket_store::OutboxItem;
use picket_store::responses::{Response, WebhookUrl};

/// Something that happened to a violation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum News<'a> {
    /// One of the three events that clients see.
    Event(&'a ViolationNotice),
    /// Genuine reports support now what perhaps only forged ones did. No event.
    Supported(&'a ViolationNotice),
}

/// What one response wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which response.
    pub response: ResponseName,
    /// What.
    pub action: Action,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keep the device out.
    Quarantine {
        /// The group that mirrors it.
        group: ThingGroupName,
    },
    /// Nothing: the response would quarantine, but only reports that anybody could have sent support the violation. An
    /// alert may go out all the same.
    Refrain,
    /// Tell somebody.
    Alert {
        /// Where to POST the alert.
        url: WebhookUrl,
    },
}

impl<'a> News<'a> {
    /// The news in an item of the outbox, if it is some.
    pub fn of(item: &'a OutboxItem) -> Option<Self> {
        match item {
            OutboxItem::Violation(notice) => Some(Self::Event(notice)),
            OutboxItem::Supported(notice) => Some(Self::Supported(notice)),
            OutboxItem::Config { .. } | OutboxItem::Member(_) => None,
        }
    }

    /// The notice.
    pub fn notice(self) -> &'a ViolationNotice {
        match self {
            Self::Event(notice) | Self::Supported(notice) => notice,
        }
    }
}

/// What the responses want done, in their order. A device is kept out when an alarm is raised or becomes supported,
/// never when it ends. All three events are told, unless the behavior suppresses alerts.
pub fn plan(news: News<'_>, responses: &[Response]) -> Vec<Step> {
    let mut steps = Vec::new();
    let notice = news.notice();
    let concerned = |response: &&Response| response.concerns(&notice.profile, &notice.behavior.name);
    for response in responses.iter().filter(concerned) {
        let mut step = |action| {
            steps.push(Step {
                response: response.name.clone(),
                action,
            });
        };
        if let Some(quarantine) = &response.quarantine
            && news.notice().event == EventType::InAlarm
        {
            step(if news.notice().is_supported {
                Action::Quarantine {
                    group: quarantine.group.clone(),
                }
            } else {
                Action::Refrain
            });
        }
        if let (Some(webhook), News::Event(notice)) = (&response.webhook, news)
            && notice.behavior.suppress_alerts != Some(true)
        {
            step(Action::Alert {
                url: webhook.url.clone(),
            });
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use picket_model::behavior::Behavior;
    use picket_model::time::Timestamp;
    use picket_model::violation::{VerificationState, ViolationId};
    use picket_store::responses::{Quarantine, Webhook};

    use super::*;

    fn notice(event: EventType, is_supported: bool, suppress_alerts: Option<bool>) -> ViolationNotice {
        ViolationNotice {
            id: ViolationId([7; 16]),
            thing: "pump-7".parse().unwrap(),
            profile: "Quiet".parse().unwrap(),
            behavior: Arc::new(Behavior {
                name: "Bytes".parse().unwrap(),
                metric: None,
                dimension: None,
                criteria: None,
                suppress_alerts,
                export_metric: None,
            }),
            event,
            value: None,
            at: Timestamp::from_millis(1),
            verification: VerificationState::Unknown,
            is_supported,
            is_eager: false,
        }
    }

    /// `Q` quarantine and `W` webhook; `-` disabled; `p` of another profile, `b` of another behavior, `B` of this one.
    fn response(kind: &str) -> Response {
        Response {
            name: "r".parse().unwrap(),
            profiles: kind
                .contains('p')
                .then(|| "Other".parse().unwrap())
                .into_iter()
                .collect(),
            behaviors: [('b', "Other"), ('B', "Bytes")]
                .into_iter()
                .filter(|&(letter, _)| kind.contains(letter))
                .map(|(_, name)| name.parse().unwrap())
                .collect(),
            quarantine: kind.contains('Q').then(|| Quarantine {
                group: "Isolated".parse().unwrap(),
            }),
            webhook: kind.contains('W').then(|| Webhook {
                url: "http://127.0.0.1/".parse().unwrap(),
            }),
            is_enabled: !kind.contains('-'),
            created_at: Timestamp::from_millis(0),
        }
    }

    fn run(news: News<'_>, kinds: &[&str]) -> String {
        let responses: Vec<Response> = kinds.iter().map(|kind| response(kind)).collect();
        let letter = |step: Step| match step.action {
            Action::Quarantine { .. } => 'q',
            Action::Refrain => 'n',
            Action::Alert { .. } => 'a',
        };
        plan(news, &responses).into_iter().map(letter).collect()
    }

    #[test]
    fn responses_act_on_what_they_are_for() {
        use EventType::{AlarmCleared, AlarmInvalidated, InAlarm};
        for (event, is_supported, suppress, kinds, expected) in [
            (InAlarm, true, None, &["QW"][..], "qa"),
            (InAlarm, false, None, &["QW"], "na"),
            (InAlarm, true, Some(true), &["QW"], "q"),
            (InAlarm, true, Some(false), &["QW"], "qa"),
            (InAlarm, true, None, &["Q", "W", "Q"], "qaq"),
            (InAlarm, true, None, &["QW-"], ""),
            (InAlarm, true, None, &["QWp", "QWb"], ""),
            (InAlarm, true, None, &["QWB", "QWbB"], "qaqa"),
            (AlarmCleared, true, None, &["QW"], "a"),
            (AlarmInvalidated, false, None, &["QW"], "a"),
            (AlarmCleared, true, Some(true), &["QW"], ""),
            (InAlarm, true, None, &[], ""),
        ] {
            let notice = notice(event, is_supported, suppress);
            assert_eq!(
                run(News::Event(&notice), kinds),
                expected,
                "{event:?} {is_supported} {suppress:?} {kinds:?}"
            );
        }
        let notice = notice(InAlarm, true, None);
        assert_eq!(run(News::Supported(&notice), &["QW", "W"]), "q", "support is no event");
    }
}
