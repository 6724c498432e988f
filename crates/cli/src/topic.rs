//! `picket topic`.

use picket_aws::call::Call;
use picket_model::name::TopicName;
use serde_json::json;

use crate::client::Paging;
use crate::desk::{self, Desk};
use crate::failure::Failure;
use crate::field::text;
use crate::output::{Column, description, table};

/// What to do with topics, which alerts of profiles go to.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Create a topic; the same again is the same
    Create {
        /// The topic's name
        topic: TopicName,
    },
    /// List all topics
    List,
    /// Show a topic, and who is subscribed to it
    Show {
        /// The topic's name
        topic: TopicName,
    },
    /// Tell an endpoint what goes to a topic; an http or https URL is asked first whether it wants that
    Subscribe {
        /// The topic's name
        topic: TopicName,
        /// An http or https URL, or what the protocol calls an endpoint
        subscriber: String,
        /// `http`, `https`, `email`, ... [default: the URL's]
        #[arg(long, value_name = "PROTOCOL")]
        protocol: Option<String>,
        /// Send messages as they were published, without SNS's envelope
        #[arg(long)]
        raw: bool,
    },
    /// End a subscription
    Unsubscribe {
        /// The subscription's ARN, as `show` says it
        subscription: String,
    },
    /// Say something to whoever is subscribed
    Publish {
        /// The topic's name
        topic: TopicName,
        /// What to say
        message: String,
        /// What it is about
        #[arg(long, value_name = "TEXT")]
        subject: Option<String>,
    },
    /// Remove a topic with its subscriptions
    Delete {
        /// The topic's name
        topic: TopicName,
    },
}

const COLUMNS: [Column; 1] = [("TOPIC", |item| text(item, "TopicArn"))];

const LINES: [Column; 3] = [
    ("topic", |answer| text(&answer["Attributes"], "TopicArn")),
    ("display name", |answer| text(&answer["Attributes"], "DisplayName")),
    ("messages go to", |answer| {
        let [confirmed, pending] =
            ["Confirmed", "Pending"].map(|state| text(&answer["Attributes"], &format!("Subscriptions{state}")));
        format!("{confirmed} subscribers, {pending} have not confirmed")
    }),
];

const SUBSCRIPTION_COLUMNS: [Column; 3] = [
    ("PROTOCOL", |item| text(item, "Protocol")),
    ("ENDPOINT", |item| text(item, "Endpoint")),
    ("SUBSCRIPTION", |item| text(item, "SubscriptionArn")),
];

impl Verb {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Create { topic } => {
                let call = Call::form("CreateTopic").parameter("Name", topic.as_str());
                let answer = desk.client.call(&call).await?;
                let arn = desk::required(&answer, "TopicArn")?;
                desk.output.done(&answer, &format!("topic {arn} is there"))
            }
            Self::List => {
                let call = Call::form("ListTopics");
                desk.list(call, Paging::Form, "Topics", &COLUMNS).await
            }
            Self::Show { topic } => show(desk, &topic).await,
            Self::Subscribe {
                topic,
                subscriber,
                protocol,
                raw,
            } => subscribe(desk, &topic, &subscriber, protocol.as_deref(), raw).await,
            Self::Unsubscribe { subscription } => {
                let call = Call::form("Unsubscribe").parameter("SubscriptionArn", &subscription);
                desk.act(call, &format!("ended subscription {subscription}")).await
            }
            Self::Publish {
                topic,
                message,
                subject,
            } => {
                let arn = arn_of(desk, &topic).await?;
                let mut call = Call::form("Publish")
                    .parameter("TopicArn", &arn)
                    .parameter("Message", &message);
                if let Some(subject) = &subject {
                    call = call.parameter("Subject", subject);
                }
                desk.act(call, &format!("published to topic {topic}")).await
            }
            Self::Delete { topic } => {
                let arn = arn_of(desk, &topic).await?;
                let call = Call::form("DeleteTopic").parameter("TopicArn", &arn);
                desk.act(call, &format!("deleted topic {topic}")).await
            }
        }
    }
}

async fn show(desk: &Desk, topic: &TopicName) -> Result<(), Failure> {
    let arn = arn_of(desk, topic).await?;
    let about = |operation| Call::form(operation).parameter("TopicArn", &arn);
    let mut answer = desk.client.call(&about("GetTopicAttributes")).await?;
    let call = about("ListSubscriptionsByTopic");
    let listed = desk.client.list(&call, Paging::Form, "Subscriptions").await?;
    let subscriptions = listed["Subscriptions"].as_array().cloned().unwrap_or_default();
    answer["Subscriptions"] = json!(subscriptions);
    if desk.output.is_json() {
        return desk.output.json(&answer);
    }
    let mut shown = description(&answer, &LINES);
    if !subscriptions.is_empty() {
        shown += "\n";
        shown += &table(&subscriptions, &SUBSCRIPTION_COLUMNS);
    }
    desk.output.text(&shown)
}

async fn subscribe(
    desk: &Desk,
    topic: &TopicName,
    subscriber: &str,
    protocol: Option<&str>,
    is_raw: bool,
) -> Result<(), Failure> {
    let protocol = protocol.or_else(|| match subscriber.split_once("://") {
        Some((scheme @ ("http" | "https"), _)) => Some(scheme),
        _ => None,
    });
    let protocol = protocol.ok_or_else(|| Failure::Unexpected {
        what: "the subscriber".to_owned(),
        found: subscriber.to_owned(),
        expected: "an http or https URL, or --protocol",
    })?;
    let arn = arn_of(desk, topic).await?;
    let mut call = Call::form("Subscribe")
        .parameter("TopicArn", &arn)
        .parameter("Protocol", protocol)
        .parameter("Endpoint", subscriber);
    if is_raw {
        call = call
            .parameter("Attributes.entry.1.key", "RawMessageDelivery")
            .parameter("Attributes.entry.1.value", "true");
    }
    let answer = desk.client.call(&call).await?;
    let talk = match text(&answer, "SubscriptionArn").as_str() {
        "pending confirmation" => format!("{subscriber} is asked whether it wants what goes to topic {topic}"),
        _ => format!("{subscriber} is subscribed to topic {topic}"),
    };
    desk.output.done(&answer, &talk)
}

/// The topic's ARN, in the region that this key signs for.
async fn arn_of(desk: &Desk, topic: &TopicName) -> Result<String, Failure> {
    let answer = desk.client.call(&Call::get(&["picket", "v1", "endpoint"])).await?;
    let account_id = desk::required(&answer, "accountId")?;
    Ok(format!("arn:aws:sns:{}:{account_id}:{topic}", desk.client.region()))
}
