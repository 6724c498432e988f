//! AWS's `Behavior` and `BehaviorCriteria`. Members that were not set are absent.

use serde::{Deserialize, Serialize};

use super::parse::{BadBehavior, inferred_type};
use super::{Behavior as Parsed, Criteria, Limit, Test};
use crate::value::wire::{MetricValue, written_count};

/// One rule as AWS writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Behavior {
    /// 1 to 128 bytes of `[a-zA-Z0-9:_-]`.
    pub name: String,
    /// One of AWS's metrics, or a custom one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Narrows a broker-side metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_dimension: Option<MetricDimension>,
    /// What is normal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub criteria: Option<BehaviorCriteria>,
    /// Nobody is alerted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppress_alerts: Option<bool>,
    /// Values go out over MQTT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export_metric: Option<bool>,
}

/// A dimension by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricDimension {
    /// 1 to 128 bytes of `[a-zA-Z0-9:_-]`.
    pub dimension_name: String,
    /// `IN` or `NOT_IN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
}

/// What is normal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BehaviorCriteria {
    /// For example `less-than`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison_operator: Option<String>,
    /// What a value is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<MetricValue>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<i64>,
    /// 1 to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_datapoints_to_alarm: Option<i64>,
    /// 1 to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_datapoints_to_clear: Option<i64>,
    /// A percentile of the fleet in place of a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistical_threshold: Option<StatisticalThreshold>,
    /// What was learned in place of a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ml_detection_config: Option<MachineLearningDetectionConfig>,
}

/// A percentile of the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatisticalThreshold {
    /// For example `p90`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistic: Option<String>,
}

/// What was learned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineLearningDetectionConfig {
    /// `LOW`, `MEDIUM` or `HIGH`.
    pub confidence_level: String,
}

/// Reads back what was accepted before: the type of a custom metric is taken from the criteria. What a client sends goes
/// through [`Parsed::parse`], which knows the types.
impl TryFrom<Behavior> for Parsed {
    type Error = BadBehavior;

    fn try_from(written: Behavior) -> Result<Self, BadBehavior> {
        let inferred = inferred_type(&written);
        Self::parse(written, &|_| Some(inferred))
    }
}

impl From<&Parsed> for Behavior {
    fn from(behavior: &Parsed) -> Self {
        Self {
            name: behavior.name.to_string(),
            metric: behavior.metric.as_ref().map(ToString::to_string),
            metric_dimension: behavior.dimension.as_ref().map(MetricDimension::from),
            criteria: behavior.criteria.as_ref().map(BehaviorCriteria::from),
            suppress_alerts: behavior.suppress_alerts,
            export_metric: behavior.export_metric,
        }
    }
}

impl From<&super::MetricDimension> for MetricDimension {
    fn from(dimension: &super::MetricDimension) -> Self {
        Self {
            dimension_name: dimension.name.to_string(),
            operator: dimension.operator.map(|operator| operator.as_str().to_owned()),
        }
    }
}

impl From<&Criteria> for BehaviorCriteria {
    fn from(criteria: &Criteria) -> Self {
        Self {
            comparison_operator: criteria.test.operator().map(str::to_owned),
            value: value_of(&criteria.test),
            duration_seconds: criteria.duration.map(|window| window.secs().into()),
            consecutive_datapoints_to_alarm: criteria.to_alarm.map(i64::from),
            consecutive_datapoints_to_clear: criteria.to_clear.map(i64::from),
            statistical_threshold: match criteria.test {
                Test::Percentile { statistic, .. } => Some(StatisticalThreshold {
                    statistic: Some(statistic.as_str().to_owned()),
                }),
                _ => None,
            },
            ml_detection_config: match criteria.test {
                Test::Learned { confidence } => Some(MachineLearningDetectionConfig {
                    confidence_level: confidence.as_str().to_owned(),
                }),
                _ => None,
            },
        }
    }
}

fn value_of(test: &Test) -> Option<MetricValue> {
    let none = MetricValue::default();
    Some(match test {
        Test::Threshold {
            limit: Limit::Count(count),
            ..
        } => MetricValue {
            count: Some(written_count(*count)),
            ..none
        },
        Test::Threshold {
            limit: Limit::Number(number),
            ..
        } => MetricValue {
            number: Some(*number),
            ..none
        },
        Test::Ports { ports, .. } => MetricValue {
            ports: Some(ports.iter().map(|port| i64::from(*port)).collect()),
            ..none
        },
        Test::Cidrs { cidrs, .. } => MetricValue {
            cidrs: Some(cidrs.iter().map(|cidr| cidr.text.clone()).collect()),
            ..none
        },
        Test::Numbers { numbers, .. } => MetricValue {
            numbers: Some(numbers.clone()),
            ..none
        },
        Test::Strings { strings, .. } => MetricValue {
            strings: Some(strings.clone()),
            ..none
        },
        Test::Percentile { .. } | Test::Learned { .. } => return None,
    })
}
