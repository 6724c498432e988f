//! Who is subscribed to topics.

use std::collections::BTreeMap;

use picket_aws::error::ApiErrorCode;
use picket_aws::wire::{Done, sns};
use picket_model::name::TopicName;
use picket_model::sns::{SubscriptionArn, SubscriptionId, SubscriptionProtocol as Protocol, TopicArn};
use picket_store::responses::WebhookUrl;
use picket_store::topics::{Confirmation, NewSubscription, Subscription};

use super::topic::{existing, limit_as, own, page, topic_arn};
use crate::error::ApiError;
use crate::keys::random;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

const RAW: &str = "RawMessageDelivery";

/// Subscribes an endpoint to a topic. A URL is asked whether it wants that, and hears nothing before it has said yes; an
/// address by mail waits as well, everybody else is subscribed at once.
///
/// # Errors
/// `NotFound` for the topic; `InvalidParameter` for an endpoint that is none of its protocol, or is subscribed with other
/// attributes, and for attributes that are not served; `SubscriptionLimitExceeded` when there are 1000.
pub async fn create(api: Api, _: Caller, input: sns::Subscribe) -> Result<sns::Subscribed, ApiError> {
    let mut is_raw = false;
    for (name, value) in input.attributes.unwrap_or_default() {
        is_raw |= raw_of(&name, &value)?;
    }
    let endpoint = input.endpoint.unwrap_or_default();
    check_endpoint(input.protocol, &endpoint)?;
    let topic = own(&api, &input.topic_arn)?.clone();
    let new = NewSubscription {
        id: SubscriptionId::from_random(random().map_err(ApiError::internal)?),
        topic: topic.clone(),
        protocol: input.protocol,
        endpoint,
        is_raw,
        token: picket_aws::percent::hex(&random::<32>().map_err(ApiError::internal)?),
        is_confirmed: !waits(input.protocol),
    };
    let subscribed = api.db.subscribe(&new, api.now()).await;
    let found = subscribed.map_err(limit_as(ApiErrorCode::SubscriptionLimitExceededException))?;
    let arn = SubscriptionArn { topic, id: found.id };
    let is_told = found.confirmed_at.is_some() || input.return_subscription_arn == Some(true);
    Ok(sns::Subscribed {
        subscription_arn: if is_told {
            arn.to_string()
        } else {
            "pending confirmation".to_owned()
        },
    })
}

/// Says that a subscription is wanted, by the token that its endpoint was sent; once more changes nothing.
///
/// # Errors
/// `NotFound` for the topic; `InvalidParameter` for a token that none waits for.
pub async fn confirm(api: Api, _: Caller, input: sns::ConfirmSubscription) -> Result<sns::Subscribed, ApiError> {
    let guarded = input.authenticate_on_unsubscribe.as_deref();
    let confirmation = Confirmation {
        topic: &own(&api, &input.topic_arn)?.name,
        token: &input.token,
        is_guarded: guarded.is_some_and(|flag| flag.eq_ignore_ascii_case("true")),
    };
    let found = api.db.confirm_subscription(&confirmation, api.now()).await?;
    let arn = SubscriptionArn {
        topic: input.topic_arn,
        id: found.id,
    };
    Ok(sns::Subscribed {
        subscription_arn: arn.to_string(),
    })
}

/// Lists all subscriptions, 100 a page.
///
/// # Errors
/// `InvalidParameter` for a token of another list.
pub async fn list(api: Api, caller: Caller, input: sns::ListSubscriptions) -> Result<sns::Subscriptions, ApiError> {
    let page = page("ListSubscriptions", input.next_token.as_deref())?;
    listed(&api, &caller, None, &page).await
}

/// Lists the subscriptions to a topic, 100 a page.
///
/// # Errors
/// `NotFound` for the topic; `InvalidParameter` for a token of another list.
pub async fn list_of_topic(
    api: Api,
    caller: Caller,
    input: sns::ListSubscriptionsByTopic,
) -> Result<sns::Subscriptions, ApiError> {
    let topic = existing(&api, &input.topic_arn).await?.name;
    let page = page("ListSubscriptionsByTopic", input.next_token.as_deref())?;
    listed(&api, &caller, Some(&topic), &page).await
}

/// Shows a subscription.
///
/// # Errors
/// `NotFound`
pub async fn show(api: Api, _: Caller, input: sns::GetSubscriptionAttributes) -> Result<sns::Attributes, ApiError> {
    let arn = input.subscription_arn;
    let found = found(&api, &arn).await?;
    let attributes = [
        ("SubscriptionArn", arn.to_string()),
        ("TopicArn", arn.topic.to_string()),
        ("Owner", api.account_id.clone()),
        ("Protocol", found.protocol.as_str().to_owned()),
        ("Endpoint", found.endpoint),
        ("PendingConfirmation", found.confirmed_at.is_none().to_string()),
        ("ConfirmationWasAuthenticated", found.is_guarded.to_string()),
        (RAW, found.is_raw.to_string()),
    ];
    Ok(sns::Attributes {
        attributes: BTreeMap::from(attributes.map(|(name, value)| (name.to_owned(), value))),
    })
}

/// Says how a subscription is delivered to.
///
/// # Errors
/// `NotFound`; `InvalidParameter` for attributes that are not served.
pub async fn describe(api: Api, _: Caller, input: sns::SetSubscriptionAttributes) -> Result<Done, ApiError> {
    let value = input.attribute_value.unwrap_or_default();
    let is_raw = raw_of(&input.attribute_name, &value)?;
    let id = found(&api, &input.subscription_arn).await?.id;
    if input.attribute_name == RAW {
        api.db.deliver_raw(id, is_raw).await?;
    }
    Ok(Done {})
}

/// Ends a subscription; one that is not there has ended already.
///
/// # Errors
/// `InvalidParameter` for an ARN of another account.
pub async fn delete(api: Api, _: Caller, input: sns::Unsubscribe) -> Result<Done, ApiError> {
    own(&api, &input.subscription_arn.topic)?;
    api.db.unsubscribe(input.subscription_arn.id).await?;
    Ok(Done {})
}

/// The same, asked for by somebody who only knows the subscription: by its UnsubscribeURL.
///
/// # Errors
/// `AuthorizationError` when whoever confirmed it wanted a signature for that; `InvalidParameter`
pub async fn delete_unsigned(api: Api, caller: Caller, input: sns::Unsubscribe) -> Result<Done, ApiError> {
    match api.db.subscription(input.subscription_arn.id).await? {
        None => Ok(Done {}),
        Some(found) if found.is_guarded => Err(ApiError::new(
            ApiErrorCode::UnauthorizedException,
            "subscription was confirmed with AuthenticateOnUnsubscribe, expected a signed request",
        )),
        Some(_) => delete(api, caller, input).await,
    }
}

async fn listed(
    api: &ApiState,
    caller: &Caller,
    topic: Option<&TopicName>,
    page: &Page<SubscriptionId>,
) -> Result<sns::Subscriptions, ApiError> {
    let read = api.db.subscriptions(topic, page.after, page.n_read()).await?;
    let (found, next_token) = page.cut(read, |one| one.id);
    Ok(sns::Subscriptions {
        subscriptions: found.into_iter().map(|one| summary(api, caller, one)).collect(),
        next_token,
    })
}

fn summary(api: &ApiState, caller: &Caller, one: Subscription) -> sns::SubscriptionSummary {
    let topic_arn = topic_arn(api, caller, one.topic);
    sns::SubscriptionSummary {
        subscription_arn: match one.confirmed_at {
            Some(_) => format!("{topic_arn}:{}", one.id),
            None => "PendingConfirmation".to_owned(),
        },
        owner: api.account_id.clone(),
        protocol: one.protocol.as_str(),
        endpoint: one.endpoint,
        topic_arn,
    }
}

async fn found(api: &ApiState, arn: &SubscriptionArn) -> Result<Subscription, ApiError> {
    let topic: &TopicArn = own(api, &arn.topic)?;
    let found = api.db.subscription(arn.id).await?;
    found
        .filter(|found| found.topic == topic.name)
        .ok_or_else(|| ApiError::not_found("subscription", arn))
}

/// Whether somebody at the endpoint has to say yes.
const fn waits(protocol: Protocol) -> bool {
    matches!(
        protocol,
        Protocol::Http | Protocol::Https | Protocol::Email | Protocol::EmailJson
    )
}

/// An operator's key is needed to come here, so an operator decides whom this server talks to: a receiver beside the server,
/// on loopback, is as good as any.
fn check_endpoint(protocol: Protocol, endpoint: &str) -> Result<(), ApiError> {
    let bad = |expected: &str| {
        let reason = format!(
            "Endpoint is {endpoint:?}, expected {expected} since Protocol is {}",
            protocol.as_str()
        );
        Err(ApiError::invalid(reason))
    };
    let is_url = endpoint.parse::<WebhookUrl>().is_ok();
    match protocol {
        Protocol::Http if !is_url || !endpoint.starts_with("http://") => bad("a URL that begins with http://"),
        Protocol::Https if !is_url || !endpoint.starts_with("https://") => bad("a URL that begins with https://"),
        Protocol::Email | Protocol::EmailJson if !endpoint.contains('@') => bad("an address with an @"),
        Protocol::Sms if !endpoint.bytes().any(|byte| byte.is_ascii_digit()) => bad("a telephone number"),
        Protocol::Sqs | Protocol::Application | Protocol::Lambda | Protocol::Firehose
            if !endpoint.starts_with("arn:") =>
        {
            bad("an ARN")
        }
        _ => Ok(()),
    }
}

/// What an attribute says about raw delivery. No other attribute is served: a filter that is not applied, or a queue for dead
/// letters that stays empty, would be promised and not be kept.
fn raw_of(name: &str, value: &str) -> Result<bool, ApiError> {
    match (name, value.to_ascii_lowercase().as_str()) {
        (RAW, "true") => Ok(true),
        (RAW, "false" | "") => Ok(false),
        (RAW, _) => Err(ApiError::invalid(format!("{RAW} is {value:?}, expected true or false"))),
        (_, "" | "{}") => Ok(false),
        _ => Err(ApiError::invalid(format!(
            "{name} is given, expected none: subscriptions here are served without it"
        ))),
    }
}
