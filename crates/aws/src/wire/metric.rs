//! Custom metrics.

use picket_model::name::MetricName;
use serde::{Deserialize, Serialize};

use super::EpochSecs;
use super::constraint::{NAME, PAGE_SIZE, TAGS, TOKEN, description, text};
use crate::shape::{Pattern, Shape, operations};

const METRIC_TYPE: Shape = Shape::Choice(&["string-list", "ip-address-list", "number-list", "number"]);
const CLIENT_REQUEST_TOKEN: Shape = text(
    1,
    64,
    &Pattern {
        expression: "^[a-zA-Z0-9-_]+$",
        fits: |text| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)),
    },
);

operations! {
    /// Creates a custom metric; the same again is the same.
    CreateCustomMetric: "POST" "/custom-metric/{metricName}" {
        metric_name: MetricName = path "metricName" NAME,
        display_name: Option<String> = body "displayName" description(128),
        metric_type: String = body "metricType" METRIC_TYPE,
        tags: Option<Vec<serde_json::Value>> = body "tags" TAGS,
        client_request_token: String = body "clientRequestToken" CLIENT_REQUEST_TOKEN,
    }

    /// Shows a custom metric.
    DescribeCustomMetric: "GET" "/custom-metric/{metricName}" {
        metric_name: MetricName = path "metricName" NAME,
    }

    /// Removes a custom metric that no profile uses.
    DeleteCustomMetric: "DELETE" "/custom-metric/{metricName}" {
        metric_name: MetricName = path "metricName" NAME,
    }

    /// Lists custom metrics.
    ListCustomMetrics: "GET" "/custom-metrics" {
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
    }
}

/// Answer of [`CreateCustomMetric`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedCustomMetric {
    /// The name.
    pub metric_name: String,
    /// The ARN.
    pub metric_arn: String,
}

/// Answer of [`DescribeCustomMetric`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomMetricDescription {
    /// The name.
    pub metric_name: String,
    /// The ARN.
    pub metric_arn: String,
    /// What a value is.
    pub metric_type: String,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// When it was created.
    pub creation_date: EpochSecs,
    /// When it was changed last.
    pub last_modified_date: EpochSecs,
}

/// Answer of [`ListCustomMetrics`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomMetrics {
    /// One page.
    pub metric_names: Vec<String>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}
