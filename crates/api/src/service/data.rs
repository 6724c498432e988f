//! The data plane: messages and connections, which live where devices arrive.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use picket_aws::error::ApiErrorCode;
use picket_aws::wire::{Done, data as wire};
use picket_model::name::{DeviceName, ThingName};
use serde_json::{Map, Value};

use crate::broker::{Connection, NotPublished, Outbound, Properties, Retained};
use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, Caller};

/// Publishes a message. Who receives it is up to the receivers' policies; the holder of an access key may publish
/// everywhere but on topics that begin with `$`.
///
/// # Errors
/// `InvalidRequestException` when there can be no such message; `ThrottlingException` when there is no room for it.
pub async fn publish(api: Api, _: Caller, input: wire::Publish) -> Result<wire::Published, ApiError> {
    let user = input.user_properties.map(user_properties).transpose()?;
    let message = Outbound {
        topic: input.topic,
        payload: input.payload.map(|payload| payload.0).unwrap_or_default(),
        is_at_least_once: input.qos == Some(1),
        retain: input.retain.unwrap_or_default(),
        properties: Properties {
            content_type: input.content_type,
            response_topic: input.response_topic,
            correlation_data: input.correlation_data.map(|data| data.0),
            expiry_secs: input.message_expiry,
            is_utf8: input.payload_format_indicator.as_deref() == Some("UTF8_DATA"),
            user: user.unwrap_or_default(),
        },
    };
    if message.properties.is_utf8 && std::str::from_utf8(&message.payload).is_err() {
        return Err(ApiError::invalid(
            "payload is not UTF-8, expected it to be as payloadFormatIndicator is UTF8_DATA",
        ));
    }
    match api.broker.publish(message) {
        Ok(()) => Ok(wire::Published {
            message: "OK".to_owned(),
        }),
        Err(NotPublished::Refused(why)) => Err(ApiError::invalid(why)),
        Err(err @ NotPublished::NoRoom) => Err(ApiError::new(ApiErrorCode::ThrottlingException, err.to_string())),
    }
}

/// Shows the message that is kept for a topic.
///
/// # Errors
/// `ResourceNotFoundException` when there is none.
pub async fn retained(api: Api, _: Caller, input: wire::GetRetainedMessage) -> Result<wire::RetainedMessage, ApiError> {
    let kept = api.broker.retained(&input.topic);
    let kept = kept.ok_or_else(|| ApiError::not_found("retained message of topic", &input.topic))?;
    Ok(wire::RetainedMessage {
        user_properties: (!kept.user_properties.is_empty()).then(|| user_properties_text(&kept)),
        payload: STANDARD.encode(&kept.payload),
        qos: kept.qos,
        last_modified_time: kept.at.millis(),
        topic: kept.topic,
    })
}

/// Lists the topics that a message is kept for.
///
/// # Errors
/// `InvalidRequestException` for a token of another list.
pub async fn list_retained(
    api: Api,
    _: Caller,
    input: wire::ListRetainedMessages,
) -> Result<wire::RetainedTopics, ApiError> {
    let page: Page<String> = Page::of("ListRetainedMessages", input.next_token.as_deref(), input.max_results)?;
    let n_read = usize::try_from(page.n_read()).unwrap_or(usize::MAX);
    let read = api.broker.retained_after(page.after.as_deref(), n_read);
    let (kept, next_token) = page.cut(read, |kept| kept.topic.clone());
    let topic = |kept: Retained| wire::RetainedTopic {
        payload_size: kept.payload.len(),
        qos: kept.qos,
        last_modified_time: kept.at.millis(),
        topic: kept.topic,
    };
    Ok(wire::RetainedTopics {
        retained_topics: kept.into_iter().map(topic).collect(),
        next_token,
    })
}

/// Shows a client's connection: the one that it has, or the last that it had.
///
/// # Errors
/// `ResourceNotFoundException` when nothing is known of it.
pub async fn connection(api: Api, _: Caller, input: wire::GetConnection) -> Result<wire::Connection, ApiError> {
    let found = api.broker.connection(&input.client_id);
    let found = found.ok_or_else(|| no_connection(&input.client_id))?;
    let thing = match input.client_id.as_str().parse::<ThingName>() {
        Ok(name) => {
            let is_attached = api.db.principals_of_thing(&name, None, None, u32::MAX).await?;
            let is_ours = is_attached.iter().any(|(id, _)| *id == found.certificate);
            is_ours.then_some(name)
        }
        Err(_) => None,
    };
    let with_sockets = input.include_socket_information.unwrap_or_default();
    Ok(described(input.client_id, thing, &found, with_sockets))
}

/// Ends a client's connection; it may connect again.
///
/// # Errors
/// `ResourceNotFoundException` when it has none.
pub async fn disconnect(api: Api, _: Caller, input: wire::DeleteConnection) -> Result<Done, ApiError> {
    let with_will = !input.prevent_will_message.unwrap_or_default();
    let ends_session = input.clean_session.unwrap_or_default();
    if api.broker.dismiss(&input.client_id, with_will, ends_session).await {
        Ok(Done {})
    } else {
        Err(no_connection(&input.client_id))
    }
}

/// Lists what a client has subscribed to.
///
/// # Errors
/// `ResourceNotFoundException` when it has no session; `InvalidRequestException` for a token of another list.
pub async fn subscriptions(
    api: Api,
    _: Caller,
    input: wire::ListSubscriptions,
) -> Result<wire::Subscriptions, ApiError> {
    let page: Page<String> = Page::of("ListSubscriptions", input.next_token.as_deref(), input.max_results)?;
    let all = api.broker.subscriptions(&input.client_id);
    let all = all.ok_or_else(|| no_connection(&input.client_id))?.into_iter();
    let rest = all.filter(|(filter, _)| page.after.as_ref().is_none_or(|after| after < filter));
    let (read, next_token) = page.cut(rest.collect(), |(filter, _)| filter.clone());
    let subscription = |(topic_filter, qos)| wire::Subscription { topic_filter, qos };
    Ok(wire::Subscriptions {
        subscriptions: read.into_iter().map(subscription).collect(),
        next_token,
    })
}

fn no_connection(client_id: &DeviceName) -> ApiError {
    ApiError::not_found("connection of client", client_id)
}

fn described(
    client_id: DeviceName,
    thing: Option<ThingName>,
    found: &Connection,
    with_sockets: bool,
) -> wire::Connection {
    let sockets = with_sockets.then_some((found.source, found.target));
    wire::Connection {
        connected: found.ended.is_none(),
        thing_name: thing.map(|name| name.to_string()),
        clean_session: found.is_clean,
        source_ip: sockets.map(|(source, _)| source.ip().to_string()),
        source_port: sockets.map(|(source, _)| source.port()),
        target_ip: sockets.map(|(_, target)| target.ip().to_string()),
        target_port: sockets.map(|(_, target)| target.port()),
        keep_alive_duration: found.keep_alive.as_secs(),
        connected_since: found.ended.is_none().then(|| found.connected_at.millis()),
        disconnected_since: found.ended.map(|(at, _)| at.millis()),
        disconnect_reason: found.ended.map(|(_, why)| why.to_string()),
        session_expiry: found.session_expiry.as_secs(),
        client_id: client_id.to_string(),
    }
}

/// Reads `[{"name":"value"}, ...]`. A client that was given the JSON as a text has encoded it once more.
fn user_properties(given: Value) -> Result<Vec<(String, String)>, ApiError> {
    let bad = || {
        ApiError::invalid(
            "userProperties is not a JSON list of objects whose values are strings, expected one such as [{\"name\":\"value\"}]",
        )
    };
    let given = match given {
        Value::String(text) => serde_json::from_str(&text).map_err(|_| bad())?,
        given => given,
    };
    let objects: Vec<Map<String, Value>> = serde_json::from_value(given).map_err(|_| bad())?;
    let members = objects.into_iter().flatten();
    members
        .map(|(name, value)| match value {
            Value::String(value) if text_fits(&name) && text_fits(&value) => Ok((name, value)),
            _ => Err(bad()),
        })
        .collect()
}

/// What MQTT carries as one text.
fn text_fits(text: &str) -> bool {
    text.len() <= usize::from(u16::MAX) && !text.contains('\0')
}

fn user_properties_text(kept: &Retained) -> String {
    let objects = kept.user_properties.iter().map(|(name, value)| {
        let member = (name.clone(), Value::from(value.as_str()));
        Value::Object(Map::from_iter([member]))
    });
    STANDARD.encode(Value::from_iter(objects).to_string())
}
