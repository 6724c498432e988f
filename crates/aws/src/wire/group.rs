//! Thing groups and membership.

use std::collections::BTreeMap;

use picket_model::name::{ThingGroupName, ThingName};
use serde::{Deserialize, Serialize};

use super::EpochSecs;
use super::constraint::{ANY, ARN, BOOLEAN, NAME, PAGE_SIZE, TAGS, TEXT, TOKEN, VERSION, description, list, text};
use super::tag::Tag;
use super::thing::{ATTRIBUTE_PAYLOAD, AttributePayload};
use crate::arn::Arn;
use crate::shape::{operations, structures};

structures! {
    /// What people say of a group.
    ThingGroupProperties, THING_GROUP_PROPERTIES {
        thing_group_description: Option<String> = "thingGroupDescription" description(2028),
        attribute_payload: Option<AttributePayload> = "attributePayload" ATTRIBUTE_PAYLOAD,
    }
}

operations! {
    /// Creates a group; the same again is the same.
    CreateThingGroup: "POST" "/thing-groups/{thingGroupName}" {
        thing_group_name: ThingGroupName = path "thingGroupName" NAME,
        parent_group_name: Option<ThingGroupName> = body "parentGroupName" NAME,
        thing_group_properties: Option<ThingGroupProperties> = body "thingGroupProperties" THING_GROUP_PROPERTIES,
        tags: Option<Vec<Tag>> = body "tags" TAGS,
    }

    /// Changes what people say of a group.
    UpdateThingGroup: "PATCH" "/thing-groups/{thingGroupName}" {
        thing_group_name: ThingGroupName = path "thingGroupName" NAME,
        thing_group_properties: ThingGroupProperties = body "thingGroupProperties" THING_GROUP_PROPERTIES,
        expected_version: Option<i64> = body "expectedVersion" VERSION,
    }

    /// Shows a group.
    DescribeThingGroup: "GET" "/thing-groups/{thingGroupName}" {
        thing_group_name: ThingGroupName = path "thingGroupName" NAME,
    }

    /// Removes a group; one that is not there is removed already.
    DeleteThingGroup: "DELETE" "/thing-groups/{thingGroupName}" {
        thing_group_name: ThingGroupName = path "thingGroupName" NAME,
        expected_version: Option<i64> = query "expectedVersion" VERSION,
    }

    /// Lists groups.
    ListThingGroups: "GET" "/thing-groups" {
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
        parent_group: Option<ThingGroupName> = query "parentGroup" NAME,
        name_prefix_filter: Option<String> = query "namePrefixFilter" NAME,
        recursive: Option<bool> = query "recursive" BOOLEAN,
    }

    /// Puts a thing into a group.
    AddThingToThingGroup: "PUT" "/thing-groups/addThingToThingGroup" {
        thing_group_name: Option<ThingGroupName> = body "thingGroupName" NAME,
        thing_group_arn: Option<Arn> = body "thingGroupArn" ARN,
        thing_name: Option<ThingName> = body "thingName" NAME,
        thing_arn: Option<Arn> = body "thingArn" ARN,
        override_dynamic_groups: Option<bool> = body "overrideDynamicGroups" BOOLEAN,
    }

    /// Takes a thing out of a group.
    RemoveThingFromThingGroup: "PUT" "/thing-groups/removeThingFromThingGroup" {
        thing_group_name: Option<ThingGroupName> = body "thingGroupName" NAME,
        thing_group_arn: Option<Arn> = body "thingGroupArn" ARN,
        thing_name: Option<ThingName> = body "thingName" NAME,
        thing_arn: Option<Arn> = body "thingArn" ARN,
    }

    /// Takes a thing out of some groups and puts it into others, at once.
    UpdateThingGroupsForThing: "PUT" "/thing-groups/updateThingGroupsForThing" {
        thing_name: Option<ThingName> = body "thingName" NAME,
        thing_groups_to_add: Option<Vec<ThingGroupName>> = body "thingGroupsToAdd" list(&NAME),
        thing_groups_to_remove: Option<Vec<ThingGroupName>> = body "thingGroupsToRemove" list(&NAME),
        override_dynamic_groups: Option<bool> = body "overrideDynamicGroups" BOOLEAN,
    }

    /// Creates a group of the things that a query finds: refused.
    CreateDynamicThingGroup: "POST" "/dynamic-thing-groups/{thingGroupName}" {
        thing_group_name: ThingGroupName = path "thingGroupName" NAME,
        thing_group_properties: Option<ThingGroupProperties> = body "thingGroupProperties" THING_GROUP_PROPERTIES,
        index_name: Option<String> = body "indexName" NAME,
        query_string: String = body "queryString" text(1, usize::MAX, &ANY),
        query_version: Option<String> = body "queryVersion" TEXT,
        tags: Option<Vec<Tag>> = body "tags" TAGS,
    }

    /// Changes a group of the things that a query finds: refused.
    UpdateDynamicThingGroup: "PATCH" "/dynamic-thing-groups/{thingGroupName}" {
        thing_group_name: ThingGroupName = path "thingGroupName" NAME,
        thing_group_properties: ThingGroupProperties = body "thingGroupProperties" THING_GROUP_PROPERTIES,
        expected_version: Option<i64> = body "expectedVersion" VERSION,
        index_name: Option<String> = body "indexName" NAME,
        query_string: Option<String> = body "queryString" text(1, usize::MAX, &ANY),
        query_version: Option<String> = body "queryVersion" TEXT,
    }

    /// Removes a group of the things that a query finds: refused.
    DeleteDynamicThingGroup: "DELETE" "/dynamic-thing-groups/{thingGroupName}" {
        thing_group_name: ThingGroupName = path "thingGroupName" NAME,
        expected_version: Option<i64> = query "expectedVersion" VERSION,
    }

    /// Lists the things of a group.
    ListThingsInThingGroup: "GET" "/thing-groups/{thingGroupName}/things" {
        thing_group_name: ThingGroupName = path "thingGroupName" NAME,
        recursive: Option<bool> = query "recursive" BOOLEAN,
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
    }
}

/// Answer of [`CreateThingGroup`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedThingGroup {
    /// The name.
    pub thing_group_name: String,
    /// The ARN.
    pub thing_group_arn: String,
    /// Another one if it is deleted and created again.
    pub thing_group_id: String,
}

/// Answer of [`UpdateThingGroup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdatedThingGroup {
    /// Its version now.
    pub version: i64,
}

/// A group by name and ARN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupNameAndArn {
    /// The name.
    pub group_name: String,
    /// The ARN.
    pub group_arn: String,
}

/// Answer of [`ListThingGroups`] and [`super::ListThingGroupsForThing`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingGroups {
    /// One page.
    pub thing_groups: Vec<GroupNameAndArn>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// Answer of [`DescribeThingGroup`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingGroupDescription {
    /// The name.
    pub thing_group_name: String,
    /// Another one if it is deleted and created again.
    pub thing_group_id: String,
    /// The ARN.
    pub thing_group_arn: String,
    /// 1 at first.
    pub version: i64,
    /// What people say of it.
    pub thing_group_properties: DescribedProperties,
    /// Its place and age.
    pub thing_group_metadata: ThingGroupMetadata,
}

/// What people say of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribedProperties {
    /// A description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thing_group_description: Option<String>,
    /// Attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribute_payload: Option<DescribedAttributes>,
}

/// A group's attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribedAttributes {
    /// By name.
    pub attributes: BTreeMap<String, String>,
}

/// A group's place and age.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingGroupMetadata {
    /// The group above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_group_name: Option<String>,
    /// All groups above it, the root first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub root_to_parent_thing_groups: Vec<GroupNameAndArn>,
    /// When it was created.
    pub creation_date: EpochSecs,
}
