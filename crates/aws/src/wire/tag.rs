//! Tags: names with texts that people give to resources.

use serde::{Deserialize, Serialize};

use super::constraint::{ARN, TAG_KEY, TAG_VALUE, TAGS, TOKEN, list};
use crate::arn::Arn;
use crate::shape::{operations, structures};

structures! {
    /// A tag of a resource; in answers with its value, empty when none was given.
    #[derive(Eq, Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    Tag, TAG {
        key: String = "Key" TAG_KEY,
        value: Option<String> = "Value" TAG_VALUE,
    }
}

operations! {
    /// Gives tags to a resource; a tag that it has gets the new value.
    TagResource: "POST" "/tags" {
        resource_arn: Arn = body "resourceArn" ARN,
        tags: Vec<Tag> = body "tags" TAGS,
    }

    /// Takes tags from a resource; one that it does not have is taken already.
    UntagResource: "POST" "/untag" {
        resource_arn: Arn = body "resourceArn" ARN,
        tag_keys: Vec<String> = body "tagKeys" list(&TAG_KEY),
    }

    /// Lists the tags of a resource.
    ListTagsForResource: "GET" "/tags" {
        resource_arn: Arn = query "resourceArn" ARN,
        next_token: Option<String> = query "nextToken" TOKEN,
    }
}

/// Answer of [`ListTagsForResource`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceTags {
    /// All of them, by key: there are so few that they are one page.
    pub tags: Vec<Tag>,
    /// Always absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}
