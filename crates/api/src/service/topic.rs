//! Topics, and what is said to them.

use std::collections::BTreeMap;

use picket_aws::error::ApiErrorCode;
use picket_aws::wire::Done;
use picket_aws::wire::sns;
use picket_model::name::TopicName;
use picket_model::sns::TopicArn;
use picket_store::StoreError;
use picket_store::topics::{Publication, Topic};
use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

/// Elements of a page.
pub(super) const PAGE_SIZE: u32 = 100;

/// Makes a topic; the same again is the same.
///
/// # Errors
/// `InvalidParameter` when there is one of that name with other attributes, or an attribute cannot be served;
/// `TopicLimitExceeded` when there are 1000.
pub async fn create(api: Api, caller: Caller, input: sns::CreateTopic) -> Result<sns::CreatedTopic, ApiError> {
    let attributes = input.attributes.unwrap_or_default();
    for (name, value) in &attributes {
        check_attribute(name, value)?;
    }
    let created = api.db.create_topic(&input.name, &attributes, api.now()).await;
    created.map_err(limit_as(ApiErrorCode::TopicLimitExceededException))?;
    Ok(sns::CreatedTopic {
        topic_arn: topic_arn(&api, &caller, input.name),
    })
}

/// Removes a topic with its subscriptions; one that is not there is removed already.
///
/// # Errors
/// `InvalidParameter` for an ARN of another account.
pub async fn delete(api: Api, _: Caller, input: sns::DeleteTopic) -> Result<Done, ApiError> {
    api.db.delete_topic(&own(&api, &input.topic_arn)?.name).await?;
    Ok(Done {})
}

/// Lists topics by name, 100 a page.
///
/// # Errors
/// `InvalidParameter` for a token of another list.
pub async fn list(api: Api, caller: Caller, input: sns::ListTopics) -> Result<sns::Topics, ApiError> {
    let page: Page<TopicName> = page("ListTopics", input.next_token.as_deref())?;
    let read = api.db.topics(page.after.as_ref(), page.n_read()).await?;
    let (names, next_token) = page.cut(read, Clone::clone);
    Ok(sns::Topics {
        topic_arns: names.into_iter().map(|name| topic_arn(&api, &caller, name)).collect(),
        next_token,
    })
}

/// Shows a topic.
///
/// # Errors
/// `NotFound`
pub async fn show(api: Api, _: Caller, input: sns::GetTopicAttributes) -> Result<sns::Attributes, ApiError> {
    let topic = existing(&api, &input.topic_arn).await?;
    let mut attributes = BTreeMap::from([("DisplayName".to_owned(), String::new())]);
    attributes.extend(topic.attributes);
    for (name, value) in [
        ("TopicArn", input.topic_arn.to_string()),
        ("Owner", api.account_id.clone()),
        ("SubscriptionsConfirmed", topic.n_confirmed.to_string()),
        ("SubscriptionsPending", topic.n_pending.to_string()),
        ("SubscriptionsDeleted", "0".to_owned()),
        ("SignatureVersion", "2".to_owned()),
    ] {
        attributes.insert(name.to_owned(), value);
    }
    Ok(sns::Attributes { attributes })
}

/// Says something of a topic.
///
/// # Errors
/// `NotFound`; `InvalidParameter` when an attribute cannot be served.
pub async fn describe(api: Api, _: Caller, input: sns::SetTopicAttributes) -> Result<Done, ApiError> {
    let value = input.attribute_value.unwrap_or_default();
    check_attribute(&input.attribute_name, &value)?;
    let name = &own(&api, &input.topic_arn)?.name;
    api.db.describe_topic(name, &input.attribute_name, &value).await?;
    Ok(Done {})
}

/// Says something to whoever is subscribed to a topic. What is answered is durable, and is delivered whatever crashes.
///
/// # Errors
/// `NotFound`; `InvalidParameter`
pub async fn publish(api: Api, _: Caller, input: sns::Publish) -> Result<sns::Published, ApiError> {
    if input.phone_number.is_some() {
        return Err(ApiError::invalid(
            "PhoneNumber is given, expected TopicArn: no text messages are sent from here",
        ));
    }
    if input.message_deduplication_id.is_some() {
        return Err(ApiError::invalid(
            "MessageDeduplicationId is given, expected none: topics here are standard topics",
        ));
    }
    let topic = match (input.topic_arn, input.target_arn) {
        (Some(topic), None) | (None, Some(topic)) => topic,
        _ => {
            return Err(ApiError::invalid(
                "TopicArn and TargetArn are both given, or none is, expected one of them",
            ));
        }
    };
    let is_structured = input.message_structure.is_some();
    if is_structured {
        check_structure(&input.message)?;
    }
    let attributes = input.message_attributes.map(envelope_attributes).transpose()?;
    let size_bytes = input.message.len() + attributes.as_ref().map_or(0, String::len);
    if sns::MESSAGE_BYTES_MAX < size_bytes {
        return Err(ApiError::invalid(format!(
            "Message and MessageAttributes have {size_bytes} bytes, expected at most {}",
            sns::MESSAGE_BYTES_MAX
        )));
    }
    let publication = Publication {
        topic: own(&api, &topic)?.clone(),
        subject: input.subject,
        body: input.message,
        is_structured,
        attributes,
    };
    let message_id = api.db.publish(&publication, api.now()).await?;
    Ok(sns::Published { message_id })
}

/// The ARN of a topic, for this caller.
pub(super) fn topic_arn(api: &ApiState, caller: &Caller, name: TopicName) -> String {
    let arn = TopicArn {
        region: caller.region.clone(),
        account: api.account_id.clone(),
        name,
    };
    arn.to_string()
}

/// The same ARN, if it names something here.
pub(super) fn own<'a>(api: &ApiState, arn: &'a TopicArn) -> Result<&'a TopicArn, ApiError> {
    if arn.account == api.account_id {
        Ok(arn)
    } else {
        let reason = format!("ARN is {arn}, expected one of account {}", api.account_id);
        Err(ApiError::invalid(reason))
    }
}

pub(super) async fn existing(api: &ApiState, arn: &TopicArn) -> Result<Topic, ApiError> {
    let name = &own(api, arn)?.name;
    api.db
        .topic(name)
        .await?
        .ok_or_else(|| ApiError::not_found("topic", name))
}

/// A page of 100. An empty token asks for the first, as clients write it that always send one.
pub(super) fn page<K: std::str::FromStr>(list: &'static str, token: Option<&str>) -> Result<Page<K>, ApiError> {
    Page::of(list, token.filter(|token| !token.is_empty()), Some(PAGE_SIZE))
}

/// Refuses what would be promised and not be kept. Everything else about a topic is stored and shown, and does nothing.
fn check_attribute(name: &str, value: &str) -> Result<(), ApiError> {
    let expected = match (name, value) {
        ("FifoTopic" | "ContentBasedDeduplication", "true") => "false: topics here are standard topics",
        ("SignatureVersion", value) if value != "2" => "2: messages are signed with SHA-256",
        ("KmsMasterKeyId", value) if !value.is_empty() => "none: the server's disk is what has to be encrypted",
        ("DisplayName", value) if 100 < value.chars().count() => "at most 100 characters",
        _ => return Ok(()),
    };
    Err(ApiError::invalid(format!("{name} is {value:?}, expected {expected}")))
}

/// A structured message is a JSON object of texts, one of which is for everybody.
fn check_structure(message: &str) -> Result<(), ApiError> {
    let texts: BTreeMap<String, Value> = serde_json::from_str(message)
        .map_err(|err| ApiError::invalid(format!("Message is no JSON object, expected one of texts: {err}")))?;
    match texts.get("default") {
        Some(Value::String(_)) => Ok(()),
        Some(_) => Err(ApiError::invalid("Message has a default that is no text, expected one")),
        None => Err(ApiError::invalid(
            "Message has no default, expected a text for every protocol",
        )),
    }
}

/// Attributes as the envelope carries them.
fn envelope_attributes(attributes: Map<String, Value>) -> Result<String, ApiError> {
    let mut written = Map::new();
    for (name, attribute) in attributes {
        let kind = attribute["DataType"].as_str().unwrap_or_default();
        let member = if kind.starts_with("Binary") {
            "BinaryValue"
        } else {
            "StringValue"
        };
        let Some(value) = attribute[member].as_str() else {
            return Err(ApiError::invalid(format!(
                "MessageAttributes.{name} has no {member}, expected one since its DataType is {kind}"
            )));
        };
        written.insert(name, json!({ "Type": kind, "Value": value }));
    }
    Ok(Value::Object(written).to_string())
}

/// What a full store means to clients of SNS.
pub(super) fn limit_as(code: ApiErrorCode) -> impl Fn(StoreError) -> ApiError {
    move |err| match err {
        StoreError::Limit { .. } => ApiError::new(code, err.to_string()),
        err => err.into(),
    }
}
