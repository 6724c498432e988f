//! What a subscriber is sent: SNS's JSON, and what of it is signed. Pure.

use jiff::fmt::temporal::DateTimePrinter;
use picket_model::time::Timestamp;
use picket_store::topics::{Message, Subscription};
use serde_json::{Map, Value, json};

/// A message on its way to a subscription.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) message: &'a Message,
    pub(crate) subscription: &'a Subscription,
    /// Where the API is reached: `http://127.0.0.1:8080`.
    pub(crate) base_url: &'a str,
}

/// The kind of message that asks whether a subscription is wanted.
pub(crate) const QUESTION: &str = "SubscriptionConfirmation";
/// The kind of every other message.
pub(crate) const NOTIFICATION: &str = "Notification";

impl Envelope<'_> {
    /// The kind of message, as the envelope and a header say it.
    pub(crate) fn kind(&self) -> &'static str {
        if self.message.is_question {
            QUESTION
        } else {
            NOTIFICATION
        }
    }

    /// The ARN of the subscription.
    pub(crate) fn subscription_arn(&self) -> String {
        format!("{}:{}", self.message.topic_arn, self.subscription.id)
    }

    /// Whether the text is sent as it is. A question never is, or nobody could answer it.
    pub(crate) fn is_raw(&self) -> bool {
        self.subscription.is_raw && !self.message.is_question
    }

    /// The text for this subscriber.
    pub(crate) fn text(&self) -> String {
        let structured = || {
            let texts: Map<String, Value> = serde_json::from_str(&self.message.body).ok()?;
            let protocol = self.subscription.protocol.as_str();
            let own = texts.get(protocol).and_then(Value::as_str);
            let text = own.or_else(|| texts.get("default").and_then(Value::as_str));
            text.map(str::to_owned)
        };
        let of_protocol = self.message.is_structured.then(structured).flatten();
        of_protocol.unwrap_or_else(|| self.message.body.clone())
    }

    /// What the signature is made of: names and values of these members, a line each, in the order of their names.
    pub(crate) fn text_to_sign(&self) -> String {
        let members = self.members();
        let signed = if self.message.is_question {
            &[
                "Message",
                "MessageId",
                "SubscribeURL",
                "Timestamp",
                "Token",
                "TopicArn",
                "Type",
            ][..]
        } else {
            &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
        };
        let line = |name: &&str| {
            let value = members.get(*name)?.as_str()?;
            Some(format!("{name}\n{value}\n"))
        };
        signed.iter().filter_map(line).collect()
    }

    /// The envelope, signed.
    pub(crate) fn signed(&self, signature_base64: &str, certificate_path: &str) -> Value {
        let mut members = self.members();
        members.insert("SignatureVersion".to_owned(), "2".into());
        members.insert("Signature".to_owned(), signature_base64.into());
        let certificate_url = format!("{}{certificate_path}", self.base_url);
        members.insert("SigningCertURL".to_owned(), certificate_url.into());
        Value::Object(members)
    }

    fn members(&self) -> Map<String, Value> {
        let message = self.message;
        let (base, topic) = (self.base_url, &message.topic_arn);
        let mut members = Map::new();
        let mut put = |name: &str, value: String| members.insert(name.to_owned(), value.into());
        put("Type", self.kind().to_owned());
        put("MessageId", message.id.clone());
        put("TopicArn", topic.clone());
        put("Message", self.text());
        put("Timestamp", iso(message.published_at));
        if let Some(subject) = &message.subject {
            put("Subject", subject.clone());
        }
        if message.is_question {
            let token = &self.subscription.token;
            put("Token", token.clone());
            put(
                "SubscribeURL",
                format!("{base}/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}"),
            );
        } else {
            let arn = self.subscription_arn();
            put(
                "UnsubscribeURL",
                format!("{base}/?Action=Unsubscribe&SubscriptionArn={arn}"),
            );
        }
        if let Some(attributes) = &message.attributes {
            let attributes = serde_json::from_str(attributes).unwrap_or_else(|_| json!({}));
            members.insert("MessageAttributes".to_owned(), attributes);
        }
        members
    }
}

/// As in `2026-01-02T03:04:05.678Z`: three digits behind the point, always.
fn iso(at: Timestamp) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    let at = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or_default();
    PRINTER.timestamp_to_string(&at)
}

#[cfg(test)]
mod tests {
    use picket_model::sns::{SubscriptionId, SubscriptionProtocol};

    use super::*;

    fn message() -> Message {
        Message {
            id: "id".to_owned(),
            topic_arn: "arn:aws:sns:us-east-1:123456789012:T".to_owned(),
            is_question: false,
            subject: None,
            body: "hello".to_owned(),
            is_structured: false,
            attributes: None,
            published_at: Timestamp::from_millis(1_767_323_045_600),
        }
    }

    fn subscription() -> Subscription {
        Subscription {
            id: SubscriptionId::from_random([1; 16]),
            topic: "T".parse().unwrap(),
            protocol: SubscriptionProtocol::Https,
            endpoint: "https://example.com/".to_owned(),
            is_raw: true,
            is_guarded: false,
            token: "secret".to_owned(),
            created_at: Timestamp::default(),
            confirmed_at: None,
        }
    }

    #[test]
    fn what_is_signed_is_what_is_sent() {
        let subscription = subscription();
        let with_subject = Message {
            subject: Some("Alert".to_owned()),
            attributes: Some(r#"{"site":{"Type":"String","Value":"north"}}"#.to_owned()),
            ..message()
        };
        let question = Message {
            is_question: true,
            ..message()
        };
        let (topic, at) = (
            "TopicArn\narn:aws:sns:us-east-1:123456789012:T\n",
            "Timestamp\n2026-01-02T03:04:05.600Z\n",
        );
        let url = "http://p/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-east-1:123456789012:T&Token=secret";
        for (message, expected) in [
            (
                message(),
                format!("Message\nhello\nMessageId\nid\n{at}{topic}Type\nNotification\n"),
            ),
            (
                with_subject,
                format!("Message\nhello\nMessageId\nid\nSubject\nAlert\n{at}{topic}Type\nNotification\n"),
            ),
            (
                question,
                format!(
                    "Message\nhello\nMessageId\nid\nSubscribeURL\n{url}\n{at}Token\nsecret\n{topic}Type\n\
                     SubscriptionConfirmation\n"
                ),
            ),
        ] {
            let envelope = Envelope {
                message: &message,
                subscription: &subscription,
                base_url: "http://p",
            };
            assert_eq!(envelope.text_to_sign(), expected);
            assert_eq!(envelope.is_raw(), !message.is_question);
            let sent = envelope.signed("c2lnbmVk", "/cert.pem");
            for name in expected.lines().step_by(2) {
                assert!(sent[name].is_string(), "{name}: {sent}");
            }
            assert_eq!(sent["SigningCertURL"], "http://p/cert.pem");
            assert_eq!(sent.get("UnsubscribeURL").is_some(), !message.is_question);
            assert_eq!(sent.get("MessageAttributes").is_some(), message.attributes.is_some());
        }
    }

    #[test]
    fn a_structured_message_has_a_text_for_each_protocol() {
        for (body, protocol, expected) in [
            (r#"{"default":"d","https":"s"}"#, SubscriptionProtocol::Https, "s"),
            (r#"{"default":"d","https":"s"}"#, SubscriptionProtocol::Http, "d"),
            (r#"{"default":"d","http":7}"#, SubscriptionProtocol::Http, "d"),
        ] {
            let message = Message {
                body: body.to_owned(),
                is_structured: true,
                ..message()
            };
            let subscription = Subscription {
                protocol,
                ..subscription()
            };
            let envelope = Envelope {
                message: &message,
                subscription: &subscription,
                base_url: "",
            };
            assert_eq!(envelope.text(), expected, "{body}");
        }
    }
}
