//! Custom metrics, and values of metrics.

use picket_model::name::{DeviceName, DimensionName, MetricName, ProfileName};
use picket_model::time::Timestamp;
use picket_model::value::wire::MetricValue;
use serde::{Deserialize, Serialize};

use super::EpochSecs;
use super::constraint::{
    ANY, CLIENT_REQUEST_TOKEN, DEVICE_NAME, DIMENSION_OPERATOR, NAME, PAGE_SIZE, TAGS, TIMESTAMP, TOKEN, description,
    text,
};
use super::tag::Tag;
use crate::shape::{Shape, operations};

const METRIC_TYPE: Shape = Shape::Choice(&["string-list", "ip-address-list", "number-list", "number"]);
operations! {
    /// Creates a custom metric; the same again is the same.
    CreateCustomMetric: "POST" "/custom-metric/{metricName}" {
        metric_name: MetricName = path "metricName" NAME,
        display_name: Option<String> = body "displayName" description(128),
        metric_type: String = body "metricType" METRIC_TYPE,
        tags: Option<Vec<Tag>> = body "tags" TAGS,
        client_request_token: String = body "clientRequestToken" CLIENT_REQUEST_TOKEN,
    }

    /// Changes what people call a custom metric.
    UpdateCustomMetric: "PATCH" "/custom-metric/{metricName}" {
        metric_name: MetricName = path "metricName" NAME,
        display_name: String = body "displayName" description(128),
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

    /// Lists the values of a metric of one device from one time to another.
    ListMetricValues: "GET" "/metric-values" {
        thing_name: DeviceName = query "thingName" DEVICE_NAME,
        metric_name: String = query "metricName" text(0, 1024, &ANY),
        dimension_name: Option<DimensionName> = query "dimensionName" NAME,
        dimension_value_operator: Option<String> = query "dimensionValueOperator" DIMENSION_OPERATOR,
        start_time: Timestamp = query "startTime" TIMESTAMP,
        end_time: Timestamp = query "endTime" TIMESTAMP,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
        next_token: Option<String> = query "nextToken" TOKEN,
    }

    /// Says how far the learning of each behavior's baseline is.
    GetBehaviorModelTrainingSummaries: "GET" "/behavior-model-training/summaries" {
        security_profile_name: Option<ProfileName> = query "securityProfileName" NAME,
        max_results: Option<u32> = query "maxResults" Shape::Integer { min: 1, max: 10 },
        next_token: Option<String> = query "nextToken" TOKEN,
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

/// Answer of [`DescribeCustomMetric`] and [`UpdateCustomMetric`].
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

/// Answer of [`ListMetricValues`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricValues {
    /// One page.
    pub metric_datum_list: Vec<MetricDatum>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A value of a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricDatum {
    /// When it was measured.
    pub timestamp: EpochSecs,
    /// What was measured.
    pub value: MetricValue,
}

/// Answer of [`GetBehaviorModelTrainingSummaries`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BehaviorModelTrainingSummaries {
    /// One page.
    pub summaries: Vec<BehaviorModelTrainingSummary>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// How far the learning of a behavior's baseline is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BehaviorModelTrainingSummary {
    /// The profile.
    pub security_profile_name: String,
    /// The rule.
    pub behavior_name: String,
    /// `PENDING_BUILD`, `ACTIVE` or `EXPIRED`.
    pub model_status: String,
    /// How much of what the first baseline needs is there: 0 to 100.
    pub datapoints_collection_percentage: f64,
}
