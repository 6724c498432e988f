//! Thing types.

use picket_model::name::ThingTypeName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EpochSecs;
use super::constraint::{ATTRIBUTE_NAME, BOOLEAN, NAME, PAGE_SIZE, TAGS, TOKEN, description, list, text};
use super::tag::Tag;
use crate::shape::{Pattern, Shape, member, operations, structures};

structures! {
    /// What people say of a thing type, and what its things have.
    ThingTypeProperties, THING_TYPE_PROPERTIES {
        thing_type_description: Option<String> = "thingTypeDescription" description(2028),
        searchable_attributes: Option<Vec<String>> = "searchableAttributes" list(&ATTRIBUTE_NAME),
        mqtt5_configuration: Option<Value> = "mqtt5Configuration" MQTT5_CONFIGURATION,
    }
}

const MQTT5_CONFIGURATION: Shape =
    Shape::Structure(&[member!(Option<String>, body "propagatingAttributes", list(&PROPAGATING_ATTRIBUTE))]);
const PROPAGATING_ATTRIBUTE: Shape = Shape::Structure(&[
    member!(Option<String>, body "userPropertyKey", text(0, 128, &USER_PROPERTY)),
    member!(Option<String>, body "thingAttribute", ATTRIBUTE_NAME),
    member!(Option<String>, body "connectionAttribute", text(0, 128, &CONNECTION_ATTRIBUTE)),
]);
const USER_PROPERTY: Pattern = Pattern {
    expression: "[a-zA-Z0-9:$.]+",
    fits: |text| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ":$.".contains(c)),
};
const CONNECTION_ATTRIBUTE: Pattern = Pattern {
    expression: "[a-zA-Z0-9:.]+",
    fits: |text| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ":.".contains(c)),
};

operations! {
    /// Creates a thing type; the same again is the same.
    CreateThingType: "POST" "/thing-types/{thingTypeName}" {
        thing_type_name: ThingTypeName = path "thingTypeName" NAME,
        thing_type_properties: Option<ThingTypeProperties> = body "thingTypeProperties" THING_TYPE_PROPERTIES,
        tags: Option<Vec<Tag>> = body "tags" TAGS,
    }

    /// Changes the properties of a thing type that are given.
    UpdateThingType: "PATCH" "/thing-types/{thingTypeName}" {
        thing_type_name: ThingTypeName = path "thingTypeName" NAME,
        thing_type_properties: Option<ThingTypeProperties> = body "thingTypeProperties" THING_TYPE_PROPERTIES,
    }

    /// Shows a thing type.
    DescribeThingType: "GET" "/thing-types/{thingTypeName}" {
        thing_type_name: ThingTypeName = path "thingTypeName" NAME,
    }

    /// Takes a thing type out of use, or into use again.
    DeprecateThingType: "POST" "/thing-types/{thingTypeName}/deprecate" {
        thing_type_name: ThingTypeName = path "thingTypeName" NAME,
        undo_deprecate: Option<bool> = body "undoDeprecate" BOOLEAN,
    }

    /// Removes a thing type that is out of use.
    DeleteThingType: "DELETE" "/thing-types/{thingTypeName}" {
        thing_type_name: ThingTypeName = path "thingTypeName" NAME,
    }

    /// Lists thing types.
    ListThingTypes: "GET" "/thing-types" {
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
        thing_type_name: Option<ThingTypeName> = query "thingTypeName" NAME,
    }
}

/// Answer of [`CreateThingType`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedThingType {
    /// The name.
    pub thing_type_name: String,
    /// The ARN.
    pub thing_type_arn: String,
    /// Another one if it is deleted and created again.
    pub thing_type_id: String,
}

/// Answer of [`DescribeThingType`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingTypeDescription {
    /// The name.
    pub thing_type_name: String,
    /// Another one if it is deleted and created again.
    pub thing_type_id: String,
    /// The ARN.
    pub thing_type_arn: String,
    /// What people say of it, and what its things have.
    pub thing_type_properties: DescribedThingTypeProperties,
    /// Its age, and whether it is in use.
    pub thing_type_metadata: ThingTypeMetadata,
}

/// What people say of a thing type, and what its things have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribedThingTypeProperties {
    /// A description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thing_type_description: Option<String>,
    /// Names of attributes, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub searchable_attributes: Vec<String>,
    /// What AWS would add to the MQTT 5 messages of its things, as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt5_configuration: Option<Value>,
}

/// A thing type's age, and whether it is in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingTypeMetadata {
    /// Whether no more things can have it.
    pub deprecated: bool,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecation_date: Option<EpochSecs>,
    /// When it was created.
    pub creation_date: EpochSecs,
}

/// Answer of [`ListThingTypes`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingTypes {
    /// One page.
    pub thing_types: Vec<ThingTypeDefinition>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A thing type in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingTypeDefinition {
    /// The name.
    pub thing_type_name: String,
    /// The ARN.
    pub thing_type_arn: String,
    /// What people say of it, and what its things have.
    pub thing_type_properties: DescribedThingTypeProperties,
    /// Its age, and whether it is in use.
    pub thing_type_metadata: ThingTypeMetadata,
}
