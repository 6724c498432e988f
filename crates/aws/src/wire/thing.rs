//! Things and their principals.

use std::collections::BTreeMap;

use picket_model::name::{ThingName, ThingTypeName};
use serde::{Deserialize, Serialize};

use super::EpochSecs;
use super::constraint::{ARN, ATTRIBUTE_NAME, ATTRIBUTE_VALUE, ATTRIBUTES, BOOLEAN, NAME, PAGE_SIZE, TOKEN, VERSION};
use crate::arn::Arn;
use crate::shape::{Shape, operations, structures};

structures! {
    /// Attributes to give to a thing or a group.
    AttributePayload, ATTRIBUTE_PAYLOAD {
        attributes: Option<BTreeMap<String, String>> = "attributes" ATTRIBUTES,
        merge: Option<bool> = "merge" BOOLEAN,
    }
}

/// Whether a certificate is for one thing alone.
const THING_PRINCIPAL_TYPE: Shape = Shape::Choice(&["EXCLUSIVE_THING", "NON_EXCLUSIVE_THING"]);

operations! {
    /// Registers a thing; the same again is the same.
    CreateThing: "POST" "/things/{thingName}" {
        thing_name: ThingName = path "thingName" NAME,
        thing_type_name: Option<ThingTypeName> = body "thingTypeName" NAME,
        attribute_payload: Option<AttributePayload> = body "attributePayload" ATTRIBUTE_PAYLOAD,
        billing_group_name: Option<String> = body "billingGroupName" NAME,
    }

    /// Changes a thing's type and attributes.
    UpdateThing: "PATCH" "/things/{thingName}" {
        thing_name: ThingName = path "thingName" NAME,
        thing_type_name: Option<ThingTypeName> = body "thingTypeName" NAME,
        attribute_payload: Option<AttributePayload> = body "attributePayload" ATTRIBUTE_PAYLOAD,
        expected_version: Option<i64> = body "expectedVersion" VERSION,
        remove_thing_type: Option<bool> = body "removeThingType" BOOLEAN,
    }

    /// Shows a thing.
    DescribeThing: "GET" "/things/{thingName}" {
        thing_name: ThingName = path "thingName" NAME,
    }

    /// Shows the connection of the client that is called as a thing.
    GetThingConnectivityData: "POST" "/things/{thingName}/connectivity-data" {
        thing_name: ThingName = path "thingName" NAME,
        include_socket_information: Option<bool> = body "includeSocketInformation" BOOLEAN,
    }

    /// Removes a thing; one that is not there is removed already.
    DeleteThing: "DELETE" "/things/{thingName}" {
        thing_name: ThingName = path "thingName" NAME,
        expected_version: Option<i64> = query "expectedVersion" VERSION,
    }

    /// Lists things.
    ListThings: "GET" "/things" {
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
        attribute_name: Option<String> = query "attributeName" ATTRIBUTE_NAME,
        attribute_value: Option<String> = query "attributeValue" ATTRIBUTE_VALUE,
        thing_type_name: Option<ThingTypeName> = query "thingTypeName" NAME,
        use_prefix_attribute_value: Option<bool> = query "usePrefixAttributeValue" BOOLEAN,
    }

    /// Lists the groups that a thing is in.
    ListThingGroupsForThing: "GET" "/things/{thingName}/thing-groups" {
        thing_name: ThingName = path "thingName" NAME,
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
    }

    /// Attaches a certificate to a thing.
    AttachThingPrincipal: "PUT" "/things/{thingName}/principals" {
        thing_name: ThingName = path "thingName" NAME,
        principal: Arn = header("x-amzn-principal") "principal" ARN,
        thing_principal_type: Option<String> = query "thingPrincipalType" THING_PRINCIPAL_TYPE,
    }

    /// Detaches a certificate from a thing.
    DetachThingPrincipal: "DELETE" "/things/{thingName}/principals" {
        thing_name: ThingName = path "thingName" NAME,
        principal: Arn = header("x-amzn-principal") "principal" ARN,
    }

    /// Lists the certificates of a thing.
    ListThingPrincipals: "GET" "/things/{thingName}/principals" {
        thing_name: ThingName = path "thingName" NAME,
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
    }

    /// Lists the certificates of a thing, with whether they are for it alone.
    ListThingPrincipalsV2: "GET" "/things/{thingName}/principals-v2" {
        thing_name: ThingName = path "thingName" NAME,
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
        thing_principal_type: Option<String> = query "thingPrincipalType" THING_PRINCIPAL_TYPE,
    }

    /// Lists the things of a certificate, with whether it is for them alone.
    ListPrincipalThingsV2: "GET" "/principals/things-v2" {
        principal: Arn = header("x-amzn-principal") "principal" ARN,
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
        thing_principal_type: Option<String> = query "thingPrincipalType" THING_PRINCIPAL_TYPE,
    }

    /// Lists the things of a certificate.
    ListPrincipalThings: "GET" "/principals/things" {
        principal: Arn = header("x-amzn-principal") "principal" ARN,
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
    }
}

/// Answer of [`CreateThing`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedThing {
    /// The name.
    pub thing_name: String,
    /// The ARN.
    pub thing_arn: String,
    /// Another one if it is deleted and created again.
    pub thing_id: String,
}

/// Answer of [`DescribeThing`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingDescription {
    /// The client id that it is expected to use: its name.
    pub default_client_id: String,
    /// The name.
    pub thing_name: String,
    /// Another one if it is deleted and created again.
    pub thing_id: String,
    /// The ARN.
    pub thing_arn: String,
    /// The type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thing_type_name: Option<String>,
    /// The attributes.
    pub attributes: BTreeMap<String, String>,
    /// 1 at first.
    pub version: i64,
}

/// Answer of [`GetThingConnectivityData`]; of a device that was never there only the first two members. Members are AWS's;
/// `vpcEndpointId` never is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingConnectivity {
    /// The thing.
    pub thing_name: String,
    /// Whether it is there.
    pub connected: bool,
    /// When it came, or when it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<EpochSecs>,
    /// Why it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnect_reason: Option<String>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive_duration: Option<u64>,
    /// Whether it began with a new session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clean_session: Option<bool>,
    /// Seconds that the session outlives the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_expiry: Option<u64>,
    /// As what it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// Answer of [`ListThings`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Things {
    /// One page.
    pub things: Vec<ThingAttribute>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A thing in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingAttribute {
    /// The name.
    pub thing_name: String,
    /// The type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thing_type_name: Option<String>,
    /// The ARN.
    pub thing_arn: String,
    /// The attributes.
    pub attributes: BTreeMap<String, String>,
    /// 1 at first.
    pub version: i64,
}

/// Answer of [`ListPrincipalThings`] and [`super::ListThingsInThingGroup`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingNames {
    /// One page.
    pub things: Vec<String>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// Answer of [`ListThingPrincipals`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principals {
    /// One page, ARNs.
    pub principals: Vec<String>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// Answer of [`ListThingPrincipalsV2`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingPrincipals {
    /// One page.
    pub thing_principal_objects: Vec<ThingPrincipal>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A certificate of a thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingPrincipal {
    /// The ARN.
    pub principal: String,
    /// `EXCLUSIVE_THING` when it is for this thing alone, else `NON_EXCLUSIVE_THING`.
    pub thing_principal_type: String,
}

/// Answer of [`ListPrincipalThingsV2`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrincipalThings {
    /// One page.
    pub principal_thing_objects: Vec<PrincipalThing>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A thing of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrincipalThing {
    /// The name.
    pub thing_name: String,
    /// `EXCLUSIVE_THING` when the certificate is for this thing alone, else `NON_EXCLUSIVE_THING`.
    pub thing_principal_type: String,
}
