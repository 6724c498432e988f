//! Topics that alerts go to, and who is subscribed to them, as Amazon SNS names them (2010-03-31).

use std::fmt;
use std::str::FromStr;

use crate::behavior::BadWord;
use crate::behavior::spelling::words;
use crate::name::{BadName, TopicName};

/// A topic with where it is: `arn:aws:sns:<region>:<account>:<name>`. The region is written as somebody said it, and read
/// without regard to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicArn {
    /// The region.
    pub region: String,
    /// The account's 12 digits.
    pub account: String,
    /// The topic.
    pub name: TopicName,
}

/// A subscription with its topic: the topic's ARN, `:`, and the id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionArn {
    /// The topic.
    pub topic: TopicArn,
    /// Which of its subscriptions.
    pub id: SubscriptionId,
}

/// Which subscription: 16 random bytes, written as a UUID. Who knows it may end the subscription, unless it was confirmed
/// otherwise, so nobody can guess it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId([u8; 16]);

/// How a subscriber is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubscriptionProtocol {
    /// `http`: a POST to a URL.
    Http,
    /// `https`: a POST to a URL.
    Https,
    /// `email`: plain text by mail.
    Email,
    /// `email-json`: JSON by mail.
    EmailJson,
    /// `sms`: a text message.
    Sms,
    /// `sqs`: a queue.
    Sqs,
    /// `application`: an app on a phone.
    Application,
    /// `lambda`: a function.
    Lambda,
    /// `firehose`: a delivery stream.
    Firehose,
}

words! {
    SubscriptionProtocol, "protocol", [
        Http = "http",
        Https = "https",
        Email = "email",
        EmailJson = "email-json",
        Sms = "sms",
        Sqs = "sqs",
        Application = "application",
        Lambda = "lambda",
        Firehose = "firehose",
    ];
}

/// Why a text is no ARN of a topic or a subscription.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTopicArn {
    /// It is none of this service.
    #[error("ARN is {found:?}, expected {expected}")]
    Form {
        /// The text as found, its beginning.
        found: String,
        /// How it should look.
        expected: &'static str,
    },
    /// Its topic's name is none.
    #[error("ARN {found:?} names no topic: {reason}")]
    Name {
        /// The text as found, its beginning.
        found: String,
        /// Why not.
        reason: BadName,
    },
}

const TOPIC_FORM: &str = "arn:aws:sns:<region>:<account of 12 digits>:<topic>";
const SUBSCRIPTION_FORM: &str = "arn:aws:sns:<region>:<account of 12 digits>:<topic>:<id>";

impl SubscriptionProtocol {
    /// Whether a subscriber is told by a POST to a URL.
    pub const fn is_web(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

impl SubscriptionId {
    /// The id with these bytes, which are random.
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        // Version 4 and the variant of RFC 9562.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for SubscriptionId {
    type Err = BadTopicArn;

    fn from_str(text: &str) -> Result<Self, BadTopicArn> {
        let read = || {
            let digits: String = text.split('-').collect();
            let number = u128::from_str_radix(&digits, 16).ok()?;
            let id = Self(number.to_be_bytes());
            // One text for one id: no sign, no capital letter, dashes where they belong.
            (id.to_string() == text).then_some(id)
        };
        read().ok_or_else(|| BadTopicArn::Form {
            found: text.chars().take(80).collect(),
            expected: "an id in the form of a UUID",
        })
    }
}

impl fmt::Display for TopicArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:sns:{}:{}:{}", self.region, self.account, self.name)
    }
}

impl FromStr for TopicArn {
    type Err = BadTopicArn;

    fn from_str(text: &str) -> Result<Self, BadTopicArn> {
        let found = || text.chars().take(300).collect();
        let bad = || BadTopicArn::Form {
            found: found(),
            expected: TOPIC_FORM,
        };
        let mut parts = text.splitn(6, ':');
        let mut part = || parts.next().unwrap_or_default();
        let ("arn", partition, "sns", region, account, name) = (part(), part(), part(), part(), part(), part()) else {
            return Err(bad());
        };
        let is_region_char = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_region = (1..=64).contains(&region.len()) && region.bytes().all(is_region_char);
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        if !partition.starts_with("aws") || !is_region || !is_account {
            return Err(bad());
        }
        let name = name
            .parse()
            .map_err(|reason| BadTopicArn::Name { found: found(), reason })?;
        Ok(Self {
            region: region.to_owned(),
            account: account.to_owned(),
            name,
        })
    }
}

impl fmt::Display for SubscriptionArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.topic, self.id)
    }
}

impl FromStr for SubscriptionArn {
    type Err = BadTopicArn;

    fn from_str(text: &str) -> Result<Self, BadTopicArn> {
        let bad = || BadTopicArn::Form {
            found: text.chars().take(300).collect(),
            expected: SUBSCRIPTION_FORM,
        };
        let (topic, id) = text.rsplit_once(':').ok_or_else(bad)?;
        Ok(Self {
            topic: topic.parse()?,
            id: id.parse().map_err(|_| bad())?,
        })
    }
}

const CERTIFICATE_PREFIX: &str = "/SimpleNotificationService-";

/// The path under which a server hands out the certificate that its messages are signed by: receivers may keep what they
/// got there, so another certificate has another path.
pub fn certificate_path(id: &str) -> String {
    format!("{CERTIFICATE_PREFIX}{id}.pem")
}

/// The id in such a path, if it is one.
pub fn certificate_of_path(path: &str) -> Option<&str> {
    path.strip_prefix(CERTIFICATE_PREFIX)?.strip_suffix(".pem")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:BadIoTDevices";

    #[test]
    fn arns_are_written_as_they_are_read() {
        let arn: TopicArn = TOPIC.parse().unwrap();
        assert_eq!((arn.to_string().as_str(), arn.name.as_str()), (TOPIC, "BadIoTDevices"));
        let id = SubscriptionId::from_random([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let subscription = SubscriptionArn { topic: arn, id };
        assert_eq!(subscription.to_string().parse(), Ok(subscription));
    }

    #[test]
    fn what_is_no_arn_is_refused() {
        for (text, expected) in [
            ("", "<topic>"),
            ("BadIoTDevices", "<topic>"),
            ("arn:aws:iot:eu-central-1:123456789012:thing/a", "<topic>"),
            ("arn:aws:sns:eu-central-1:12:a", "<topic>"),
            ("arn:aws:sns::123456789012:a", "<topic>"),
            ("arn:aws:sns:eu central:123456789012:a", "<topic>"),
            ("arn:aws:sns:eu-central-1:123456789012:", "has 0 bytes"),
            ("arn:aws:sns:eu-central-1:123456789012:a b", "has ' '"),
            ("arn:aws:sns:eu-central-1:123456789012:a.fifo", "has '.'"),
        ] {
            let found = text.parse::<TopicArn>().unwrap_err().to_string();
            assert!(found.contains(expected), "{text}: {found}");
        }
        for id in [
            "",
            "x",
            "ffffffff-ffff-4fff-bfff-fffffffffffF",
            "ffffffffffff4fffbfffffffffffffff",
            "+fffffff-ffff-4fff-bfff-ffffffffffff",
        ] {
            assert!(format!("{TOPIC}:{id}").parse::<SubscriptionArn>().is_err(), "{id}");
        }
        assert!(TOPIC.parse::<SubscriptionArn>().is_err());
    }
}
