//! What a profile collects without judging it, and where values go out: the part of its extras that judging reads.

use picket_model::behavior::MetricDimension;
use picket_model::profile::RetainedMetric;
use serde::Deserialize;

use crate::StoreError;

/// What a profile collects, and where values go out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Collected {
    /// Metrics that are collected without being judged, each of the two lists in its order.
    pub(crate) retained: Vec<RetainedMetric>,
    /// The topic that values go out on.
    pub(crate) export_topic: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Extras {
    additional_metrics_to_retain: Vec<String>,
    additional_metrics_to_retain_v2: Vec<Metric>,
    metrics_export_config: Option<ExportConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    metric: String,
    metric_dimension: Option<Dimension>,
    #[serde(default)]
    export_metric: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dimension {
    dimension_name: String,
    operator: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExportConfig {
    mqtt_topic: String,
}

impl Collected {
    /// Of a profile's extras.
    pub(crate) fn of(extras: &str) -> Result<Self, StoreError> {
        let bad = |err: Box<dyn std::error::Error + Send + Sync>| StoreError::corrupt("metrics to retain", extras, err);
        let written: Extras = serde_json::from_str(extras).map_err(|err| bad(err.into()))?;
        let plain = |metric| Metric {
            metric,
            metric_dimension: None,
            export_metric: None,
        };
        let metrics = written.additional_metrics_to_retain.into_iter().map(plain);
        let retained = metrics
            .chain(written.additional_metrics_to_retain_v2)
            .map(RetainedMetric::try_from);
        Ok(Self {
            retained: retained.collect::<Result<_, _>>().map_err(bad)?,
            export_topic: written.metrics_export_config.map(|config| config.mqtt_topic),
        })
    }
}

impl TryFrom<Metric> for RetainedMetric {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn try_from(written: Metric) -> Result<Self, Self::Error> {
        let dimension = |written: Dimension| {
            let operator = written.operator.map(|word| word.parse());
            Ok::<_, Self::Error>(MetricDimension {
                name: written.dimension_name.parse()?,
                operator: operator.transpose()?,
            })
        };
        Ok(Self {
            metric: written.metric.parse()?,
            dimension: written.metric_dimension.map(dimension).transpose()?,
            is_exported: written.export_metric == Some(true),
        })
    }
}
