//! The data plane: messages and connections. Names, places and constraints are those of the service model of AWS IoT's
//! data plane (2015-05-28).

use picket_model::name::DeviceName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::constraint::{ANY, BOOLEAN, text};
use crate::shape::{Blob, Pattern, Shape, operations};

const TOPIC: Shape = text(0, 65_535, &ANY);
const QOS: Shape = Shape::Integer { min: 0, max: 1 };
/// Of AWS's broker, not of the model: a week.
const EXPIRY_SECS: Shape = Shape::Integer { min: 1, max: 604_800 };
const PAYLOAD: Shape = Shape::Blob {
    size_bytes_max: 128 << 10,
};
const CLIENT_ID: Shape = text(
    1,
    128,
    &Pattern {
        expression: "^[^$].*",
        fits: |text| !text.starts_with('$') && !text.is_empty(),
    },
);
const PAGE_SIZE: Shape = Shape::Integer { min: 1, max: 200 };
const TOKEN: Shape = text(0, 4096, &ANY);

operations! {
    /// Publishes a message.
    Publish: "POST" "/topics/{topic}" {
        topic: String = path "topic" TOPIC,
        qos: Option<u32> = query "qos" QOS,
        retain: Option<bool> = query "retain" BOOLEAN,
        payload: Option<Blob> = payload "payload" PAYLOAD,
        user_properties: Option<Value> = header("x-amz-mqtt5-user-properties") "userProperties" Shape::EncodedJson,
        payload_format_indicator: Option<String> = header("x-amz-mqtt5-payload-format-indicator")
            "payloadFormatIndicator" Shape::Choice(&["UNSPECIFIED_BYTES", "UTF8_DATA"]),
        content_type: Option<String> = query "contentType" text(0, 65_535, &ANY),
        response_topic: Option<String> = query "responseTopic" TOPIC,
        correlation_data: Option<Blob> = header("x-amz-mqtt5-correlation-data") "correlationData" CORRELATION,
        message_expiry: Option<u32> = query "messageExpiry" EXPIRY_SECS,
    }

    /// Shows the message that is kept for a topic.
    GetRetainedMessage: "GET" "/retainedMessage/{topic}" {
        topic: String = path "topic" TOPIC,
    }

    /// Lists the topics that a message is kept for.
    ListRetainedMessages: "GET" "/retainedMessage" {
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
    }

    /// Shows a client's connection.
    GetConnection: "GET" "/connections/{clientId}" {
        client_id: DeviceName = path "clientId" CLIENT_ID,
        include_socket_information: Option<bool> = query "includeSocketInformation" BOOLEAN,
    }

    /// Ends a client's connection.
    DeleteConnection: "DELETE" "/connections/{clientId}" {
        client_id: DeviceName = path "clientId" CLIENT_ID,
        clean_session: Option<bool> = query "cleanSession" BOOLEAN,
        prevent_will_message: Option<bool> = query "preventWillMessage" BOOLEAN,
    }

    /// Lists what a client has subscribed to.
    ListSubscriptions: "GET" "/connections/{clientId}/subscriptions" {
        client_id: DeviceName = path "clientId" CLIENT_ID,
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
    }
}

/// Base64 of what MQTT 5 carries with its length in two bytes.
const CORRELATION: Shape = Shape::Blob { size_bytes_max: 65_535 };

/// A message that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetainedMessage {
    /// Its topic.
    pub topic: String,
    /// Base64.
    pub payload: String,
    /// 0 or 1.
    pub qos: u8,
    /// Milliseconds since the epoch.
    pub last_modified_time: i64,
    /// Base64 of a JSON list of objects with one member each; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_properties: Option<String>,
}

/// A page of topics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetainedTopics {
    /// In the order of the topics.
    pub retained_topics: Vec<RetainedTopic>,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A topic that a message is kept for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetainedTopic {
    /// The topic.
    pub topic: String,
    /// Bytes.
    pub payload_size: usize,
    /// 0 or 1.
    pub qos: u8,
    /// Milliseconds since the epoch.
    pub last_modified_time: i64,
}

/// A client's connection. Its members are AWS's; `vpcEndpointId` never is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Whether it is there.
    pub connected: bool,
    /// The thing that the client id names, if its certificate is attached to that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thing_name: Option<String>,
    /// Whether the client began with a new session.
    pub clean_session: bool,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    /// The same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// The server's address that it reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ip: Option<String>,
    /// The same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<u16>,
    /// Seconds.
    pub keep_alive_duration: u64,
    /// Milliseconds since the epoch; absent when the connection is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected_since: Option<i64>,
    /// Milliseconds since the epoch; absent while it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnected_since: Option<i64>,
    /// Absent while it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnect_reason: Option<String>,
    /// Seconds that the session outlives the connection.
    pub session_expiry: u64,
    /// Whose it is.
    pub client_id: String,
}

/// A page of subscriptions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscriptions {
    /// In the order of the filters.
    pub subscriptions: Vec<Subscription>,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// As the client wrote it.
    pub topic_filter: String,
    /// 0 or 1.
    pub qos: u8,
}

/// What is said of a message that was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// `OK`.
    pub message: String,
}
