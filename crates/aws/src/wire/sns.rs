//! The part of Amazon SNS (2010-03-31) that alerts need: topics, subscriptions, messages. Requests are forms, answers XML.
//!
//! What the service model leaves open is as the API reference says.

use std::collections::BTreeMap;

use picket_model::name::TopicName;
use picket_model::sns::{SubscriptionArn, SubscriptionProtocol, TopicArn};
use serde_json::{Map, Value};

use super::Done;
use super::constraint::{ANY, BOOLEAN, NO_CONTROL, TAG_KEY, text};
use crate::shape::{Pattern, Shape, member, operations};
use crate::xml::{Answer, Xml};

/// The version of the API, which every form says.
pub const VERSION: &str = "2010-03-31";

/// The most bytes of a message: 256 KiB.
pub const MESSAGE_BYTES_MAX: usize = 256 << 10;

const TOPIC_NAME: Shape = text(
    1,
    256,
    &Pattern {
        expression: "[a-zA-Z0-9_-]+",
        fits: |text| text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)),
    },
);
const ARN: Shape = text(1, 2048, &NO_CONTROL);
const ENDPOINT: Shape = text(1, 2048, &NO_CONTROL);
const PROTOCOL: Shape = Shape::Choice(&[
    "http",
    "https",
    "email",
    "email-json",
    "sms",
    "sqs",
    "application",
    "lambda",
    "firehose",
]);
const CONFIRMATION_TOKEN: Shape = text(1, 1024, &NO_CONTROL);
const NEXT_TOKEN: Shape = text(0, 4096, &ANY);
const FLAG: Shape = Shape::Choice(&["true", "false", "True", "False"]);
/// Texts that are stored hold everything but NUL.
const NO_NUL: Pattern = Pattern {
    expression: "[^\\u0000]*",
    fits: |text| !text.contains('\0'),
};
const ATTRIBUTE_VALUE: Shape = text(0, 30_720, &NO_NUL);
const MESSAGE: Shape = text(
    1,
    MESSAGE_BYTES_MAX,
    &Pattern {
        expression: "at most 262144 bytes of UTF-8 without U+0000",
        fits: |text| text.len() <= MESSAGE_BYTES_MAX && (NO_NUL.fits)(text),
    },
);
const SUBJECT: Shape = text(1, 100, &NO_CONTROL);
const TOPIC_ATTRIBUTE: Shape = Shape::Choice(&[
    "ApplicationFailureFeedbackRoleArn",
    "ApplicationSuccessFeedbackRoleArn",
    "ApplicationSuccessFeedbackSampleRate",
    "ArchivePolicy",
    "ContentBasedDeduplication",
    "DataProtectionPolicy",
    "DeliveryPolicy",
    "DisplayName",
    "FifoThroughputScope",
    "FifoTopic",
    "FirehoseFailureFeedbackRoleArn",
    "FirehoseSuccessFeedbackRoleArn",
    "FirehoseSuccessFeedbackSampleRate",
    "HTTPFailureFeedbackRoleArn",
    "HTTPSuccessFeedbackRoleArn",
    "HTTPSuccessFeedbackSampleRate",
    "KmsMasterKeyId",
    "LambdaFailureFeedbackRoleArn",
    "LambdaSuccessFeedbackRoleArn",
    "LambdaSuccessFeedbackSampleRate",
    "Policy",
    "SQSFailureFeedbackRoleArn",
    "SQSSuccessFeedbackRoleArn",
    "SQSSuccessFeedbackSampleRate",
    "SignatureVersion",
    "TracingConfig",
]);
const TOPIC_ATTRIBUTES: Shape = Shape::Map {
    key: &TOPIC_ATTRIBUTE,
    value: &ATTRIBUTE_VALUE,
};
const SUBSCRIPTION_ATTRIBUTE: Shape = Shape::Choice(&[
    "DeliveryPolicy",
    "FilterPolicy",
    "FilterPolicyScope",
    "RawMessageDelivery",
    "RedrivePolicy",
    "ReplayPolicy",
    "SubscriptionRoleArn",
]);
const SUBSCRIPTION_ATTRIBUTES: Shape = Shape::Map {
    key: &SUBSCRIPTION_ATTRIBUTE,
    value: &ATTRIBUTE_VALUE,
};
const MESSAGE_ATTRIBUTES: Shape = Shape::Map {
    key: &MESSAGE_ATTRIBUTE_NAME,
    value: &MESSAGE_ATTRIBUTE,
};
const MESSAGE_ATTRIBUTE_NAME: Shape = text(
    1,
    256,
    &Pattern {
        expression: "[a-zA-Z0-9_.-]+",
        fits: |text| text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)),
    },
);
const MESSAGE_ATTRIBUTE: Shape = Shape::Structure(&[
    member!(String, body "DataType", DATA_TYPE),
    member!(Option<String>, body "StringValue", MESSAGE),
    member!(Option<String>, body "BinaryValue", MESSAGE),
]);
const DATA_TYPE: Shape = text(
    1,
    256,
    &Pattern {
        expression: "(String|Number|Binary)(\\.[^\\u0000]+)?",
        fits: |text| {
            let (kind, label) = text.split_once('.').unwrap_or((text, "plain"));
            matches!(kind, "String" | "Number" | "Binary") && !label.is_empty() && (NO_NUL.fits)(label)
        },
    },
);

/// A topic's tags have values, unlike those of other services.
const TOPIC_TAGS: Shape = Shape::List {
    of: &Shape::Structure(&[
        member!(String, body "Key", TAG_KEY),
        member!(String, body "Value", text(0, 256, &ANY)),
    ]),
    len_min: 0,
    len_max: 50,
};

operations! {
    /// Makes a topic; the same again is the same.
    CreateTopic: "POST" "/" {
        name: TopicName = form "Name" TOPIC_NAME,
        attributes: Option<BTreeMap<String, String>> = form "Attributes" TOPIC_ATTRIBUTES,
        tags: Option<Vec<Value>> = form "Tags" TOPIC_TAGS,
        data_protection_policy: Option<String> = form "DataProtectionPolicy" ATTRIBUTE_VALUE,
    }

    /// Removes a topic with its subscriptions.
    DeleteTopic: "POST" "/" {
        topic_arn: TopicArn = form "TopicArn" ARN,
    }

    /// Lists topics, 100 a page.
    ListTopics: "POST" "/" {
        next_token: Option<String> = form "NextToken" NEXT_TOKEN,
    }

    /// Shows a topic.
    GetTopicAttributes: "POST" "/" {
        topic_arn: TopicArn = form "TopicArn" ARN,
    }

    /// Says something of a topic.
    SetTopicAttributes: "POST" "/" {
        topic_arn: TopicArn = form "TopicArn" ARN,
        attribute_name: String = form "AttributeName" TOPIC_ATTRIBUTE,
        attribute_value: Option<String> = form "AttributeValue" ATTRIBUTE_VALUE,
    }

    /// Subscribes an endpoint to a topic. A URL is asked whether it wants that.
    Subscribe: "POST" "/" {
        topic_arn: TopicArn = form "TopicArn" ARN,
        protocol: SubscriptionProtocol = form "Protocol" PROTOCOL,
        endpoint: Option<String> = form "Endpoint" ENDPOINT,
        attributes: Option<BTreeMap<String, String>> = form "Attributes" SUBSCRIPTION_ATTRIBUTES,
        return_subscription_arn: Option<bool> = form "ReturnSubscriptionArn" BOOLEAN,
    }

    /// Says that a subscription is wanted, by the token that its endpoint was sent.
    ConfirmSubscription: "POST" "/" {
        topic_arn: TopicArn = form "TopicArn" ARN,
        token: String = form "Token" CONFIRMATION_TOKEN,
        authenticate_on_unsubscribe: Option<String> = form "AuthenticateOnUnsubscribe" FLAG,
    }

    /// Lists all subscriptions, 100 a page.
    ListSubscriptions: "POST" "/" {
        next_token: Option<String> = form "NextToken" NEXT_TOKEN,
    }

    /// Lists the subscriptions to a topic, 100 a page.
    ListSubscriptionsByTopic: "POST" "/" {
        topic_arn: TopicArn = form "TopicArn" ARN,
        next_token: Option<String> = form "NextToken" NEXT_TOKEN,
    }

    /// Shows a subscription.
    GetSubscriptionAttributes: "POST" "/" {
        subscription_arn: SubscriptionArn = form "SubscriptionArn" ARN,
    }

    /// Says how a subscription is delivered to.
    SetSubscriptionAttributes: "POST" "/" {
        subscription_arn: SubscriptionArn = form "SubscriptionArn" ARN,
        attribute_name: String = form "AttributeName" SUBSCRIPTION_ATTRIBUTE,
        attribute_value: Option<String> = form "AttributeValue" ATTRIBUTE_VALUE,
    }

    /// Ends a subscription.
    Unsubscribe: "POST" "/" {
        subscription_arn: SubscriptionArn = form "SubscriptionArn" ARN,
    }

    /// Says something to whoever is subscribed to a topic.
    Publish: "POST" "/" {
        topic_arn: Option<TopicArn> = form "TopicArn" ARN,
        target_arn: Option<TopicArn> = form "TargetArn" ARN,
        phone_number: Option<String> = form "PhoneNumber" ENDPOINT,
        message: String = form "Message" MESSAGE,
        subject: Option<String> = form "Subject" SUBJECT,
        message_structure: Option<String> = form "MessageStructure" Shape::Choice(&["json"]),
        message_attributes: Option<Map<String, Value>> = form "MessageAttributes" MESSAGE_ATTRIBUTES,
        message_deduplication_id: Option<String> = form "MessageDeduplicationId" ENDPOINT,
        message_group_id: Option<String> = form "MessageGroupId" ENDPOINT,
    }
}

/// Answer of [`CreateTopic`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// The ARN.
    pub topic_arn: String,
}

/// Answer of [`ListTopics`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    /// The ARNs of one page.
    pub topic_arns: Vec<String>,
    /// Where the next page goes on; absent on the last.
    pub next_token: Option<String>,
}

/// Answer of [`GetTopicAttributes`] and [`GetSubscriptionAttributes`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Names with texts.
    pub attributes: BTreeMap<String, String>,
}

/// Answer of [`Subscribe`] and [`ConfirmSubscription`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// The ARN, or `pending confirmation`.
    pub subscription_arn: String,
}

/// A subscription in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionSummary {
    /// The ARN, or `PendingConfirmation`.
    pub subscription_arn: String,
    /// 12 digits.
    pub owner: String,
    /// How it is told.
    pub protocol: &'static str,
    /// Who is told.
    pub endpoint: String,
    /// The topic.
    pub topic_arn: String,
}

/// Answer of [`ListSubscriptions`] and [`ListSubscriptionsByTopic`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions {
    /// One page.
    pub subscriptions: Vec<SubscriptionSummary>,
    /// Where the next page goes on; absent on the last.
    pub next_token: Option<String>,
}

/// Answer of [`Publish`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// In the form of a UUID.
    pub message_id: String,
}

impl Answer for Done {
    const HAS_RESULT: bool = false;

    fn write(&self, _: &mut Xml) {}
}

impl Answer for CreatedTopic {
    fn write(&self, xml: &mut Xml) {
        xml.text("TopicArn", &self.topic_arn);
    }
}

impl Answer for Topics {
    fn write(&self, xml: &mut Xml) {
        xml.list("Topics", &self.topic_arns, |xml, arn| xml.text("TopicArn", arn));
        xml.text_if("NextToken", self.next_token.as_deref());
    }
}

impl Answer for Attributes {
    fn write(&self, xml: &mut Xml) {
        xml.map("Attributes", &self.attributes);
    }
}

impl Answer for Subscribed {
    fn write(&self, xml: &mut Xml) {
        xml.text("SubscriptionArn", &self.subscription_arn);
    }
}

impl Answer for Subscriptions {
    fn write(&self, xml: &mut Xml) {
        xml.list("Subscriptions", &self.subscriptions, |xml, one| {
            for (name, text) in [
                ("SubscriptionArn", one.subscription_arn.as_str()),
                ("Owner", &one.owner),
                ("Protocol", one.protocol),
                ("Endpoint", &one.endpoint),
                ("TopicArn", &one.topic_arn),
            ] {
                xml.text(name, text);
            }
        });
        xml.text_if("NextToken", self.next_token.as_deref());
    }
}

impl Answer for Published {
    fn write(&self, xml: &mut Xml) {
        xml.text("MessageId", &self.message_id);
    }
}
