//! Dimensions: sets of topics that narrow metrics which the broker measures.

use picket_model::name::DimensionName;
use serde::{Deserialize, Serialize};

use super::EpochSecs;
use super::constraint::{ANY, CLIENT_REQUEST_TOKEN, NAME, PAGE_SIZE, TAGS, TOKEN, text};
use super::tag::Tag;
use crate::shape::{Shape, operations};

const STRING_VALUES: Shape = Shape::List {
    of: &text(1, 256, &ANY),
    len_min: 1,
    len_max: 100,
};

operations! {
    /// Creates a dimension; the same request again is the same.
    CreateDimension: "POST" "/dimensions/{name}" {
        name: DimensionName = path "name" NAME,
        kind: String = body "type" Shape::Choice(&["TOPIC_FILTER"]),
        string_values: Vec<String> = body "stringValues" STRING_VALUES,
        tags: Option<Vec<Tag>> = body "tags" TAGS,
        client_request_token: String = body "clientRequestToken" CLIENT_REQUEST_TOKEN,
    }

    /// Changes the topic filters of a dimension.
    UpdateDimension: "PATCH" "/dimensions/{name}" {
        name: DimensionName = path "name" NAME,
        string_values: Vec<String> = body "stringValues" STRING_VALUES,
    }

    /// Shows a dimension.
    DescribeDimension: "GET" "/dimensions/{name}" {
        name: DimensionName = path "name" NAME,
    }

    /// Removes a dimension that no profile uses.
    DeleteDimension: "DELETE" "/dimensions/{name}" {
        name: DimensionName = path "name" NAME,
    }

    /// Lists dimensions.
    ListDimensions: "GET" "/dimensions" {
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
    }
}

/// Answer of [`CreateDimension`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedDimension {
    /// The name.
    pub name: String,
    /// The ARN.
    pub arn: String,
}

/// Answer of [`DescribeDimension`] and [`UpdateDimension`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DimensionDescription {
    /// The name.
    pub name: String,
    /// The ARN.
    pub arn: String,
    /// `TOPIC_FILTER`
    #[serde(rename = "type")]
    pub kind: String,
    /// The topic filters.
    pub string_values: Vec<String>,
    /// When it was created.
    pub creation_date: EpochSecs,
    /// When it was changed last.
    pub last_modified_date: EpochSecs,
}

/// Answer of [`ListDimensions`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dimensions {
    /// One page.
    pub dimension_names: Vec<String>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}
