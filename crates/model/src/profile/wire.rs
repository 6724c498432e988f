//! The judging configuration as the database holds it, one JSON body per revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{BadJudgingConfig, JudgedProfile, JudgingConfig, RetainedMetric};
use crate::behavior::{Behavior, MetricDimension, wire};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Config {
    revision: u64,
    profiles: Vec<Profile>,
    custom_metrics: BTreeMap<String, String>,
    // Absent where it was written before there were dimensions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    dimensions: BTreeMap<String, Vec<String>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    strict_aws_timing: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    name: String,
    behaviors: Vec<wire::Behavior>,
    targets: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retained: Vec<Retained>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    export_topic: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Retained {
    metric: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dimension: Option<wire::MetricDimension>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_exported: bool,
}

impl From<&JudgingConfig> for Config {
    fn from(config: &JudgingConfig) -> Self {
        let profile = |profile: &JudgedProfile| Profile {
            name: profile.name.to_string(),
            behaviors: profile.behaviors.iter().map(|behavior| (&**behavior).into()).collect(),
            targets: profile.targets.iter().map(ToString::to_string).collect(),
            retained: profile.retained.iter().map(Retained::from).collect(),
            export_topic: profile.export_topic.clone(),
        };
        let custom_metric = |(name, kind): (&crate::name::MetricName, &crate::metric::CustomMetricType)| {
            (name.to_string(), kind.as_str().to_owned())
        };
        Self {
            revision: config.revision,
            profiles: config.profiles.iter().map(|one| profile(one)).collect(),
            custom_metrics: config.custom_metrics.iter().map(custom_metric).collect(),
            dimensions: config
                .dimensions
                .iter()
                .map(|(name, filters)| (name.to_string(), filters.clone()))
                .collect(),
            strict_aws_timing: config.strict_aws_timing,
        }
    }
}

impl TryFrom<Config> for JudgingConfig {
    type Error = BadJudgingConfig;

    fn try_from(written: Config) -> Result<Self, BadJudgingConfig> {
        let custom_metrics = written
            .custom_metrics
            .into_iter()
            .map(|(name, kind)| Ok((name.parse().map_err(bad)?, kind.parse().map_err(bad)?)))
            .collect::<Result<_, BadJudgingConfig>>()?;
        let dimensions = written
            .dimensions
            .into_iter()
            .map(|(name, filters)| Ok((name.parse().map_err(bad)?, filters)))
            .collect::<Result<_, BadJudgingConfig>>()?;
        Ok(Self {
            revision: written.revision,
            profiles: written
                .profiles
                .into_iter()
                .map(|profile| profile.try_into().map(Arc::new))
                .collect::<Result<_, _>>()?,
            custom_metrics,
            dimensions,
            strict_aws_timing: written.strict_aws_timing,
        })
    }
}

impl TryFrom<Profile> for JudgedProfile {
    type Error = BadJudgingConfig;

    fn try_from(written: Profile) -> Result<Self, BadJudgingConfig> {
        let behaviors = written
            .behaviors
            .into_iter()
            .map(|behavior| Behavior::try_from(behavior).map(Arc::new));
        Ok(Self {
            name: written.name.parse().map_err(bad)?,
            behaviors: behaviors.collect::<Result<_, _>>().map_err(bad)?,
            targets: written
                .targets
                .iter()
                .map(|target| target.parse())
                .collect::<Result<_, _>>()
                .map_err(bad)?,
            retained: written
                .retained
                .into_iter()
                .map(TryFrom::try_from)
                .collect::<Result<_, _>>()?,
            export_topic: written.export_topic,
        })
    }
}

impl From<&RetainedMetric> for Retained {
    fn from(retained: &RetainedMetric) -> Self {
        Self {
            metric: retained.metric.to_string(),
            dimension: retained.dimension.as_ref().map(wire::MetricDimension::from),
            is_exported: retained.is_exported,
        }
    }
}

impl TryFrom<Retained> for RetainedMetric {
    type Error = BadJudgingConfig;

    fn try_from(written: Retained) -> Result<Self, BadJudgingConfig> {
        let dimension = |written: wire::MetricDimension| MetricDimension::try_from(written);
        Ok(Self {
            metric: written.metric.parse().map_err(bad)?,
            dimension: written.dimension.map(dimension).transpose()?,
            is_exported: written.is_exported,
        })
    }
}

impl TryFrom<wire::MetricDimension> for MetricDimension {
    type Error = BadJudgingConfig;

    fn try_from(written: wire::MetricDimension) -> Result<Self, BadJudgingConfig> {
        Ok(Self {
            name: written.dimension_name.parse().map_err(bad)?,
            operator: written.operator.map(|word| word.parse()).transpose().map_err(bad)?,
        })
    }
}

fn bad(error: impl std::error::Error + Send + Sync + 'static) -> BadJudgingConfig {
    BadJudgingConfig::Content(Box::new(error))
}
