//! The rules of security profiles that are about more than one value.

use std::collections::{BTreeMap, BTreeSet};

use picket_model::behavior::{Behavior, Test, wire};
use picket_model::metric::{CustomMetricType, Metric};
use picket_model::name::{DimensionName, MetricName, ProfileName};
use picket_model::profile::lint::{Surroundings, lint_all};
use picket_model::profile::{Behaviors, Target};
use picket_model::topic::is_reserved;
use picket_store::registry::ThingFilter;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::state::ApiState;

/// Members of a profile that judging does not read; they are stored and shown as they were written.
pub(super) const ALERT_TARGETS: &str = "alertTargets";
pub(super) const METRICS_TO_RETAIN: &str = "additionalMetricsToRetain";
pub(super) const METRICS_TO_RETAIN_V2: &str = "additionalMetricsToRetainV2";
pub(super) const EXPORT_CONFIG: &str = "metricsExportConfig";

/// The most characters of a message about a behavior.
const MESSAGE_LEN_MAX: usize = 2048;

/// What profiles can refer to.
pub(super) struct Known {
    metrics: BTreeMap<MetricName, CustomMetricType>,
    dimensions: BTreeSet<DimensionName>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Retained {
    metric: String,
    metric_dimension: Option<wire::MetricDimension>,
    export_metric: Option<bool>,
}

impl Known {
    pub(super) async fn read(api: &ApiState) -> Result<Self, ApiError> {
        let metrics = api.db.custom_metrics().await?.into_iter();
        let dimensions = api.db.dimensions().await?.into_iter();
        Ok(Self {
            metrics: metrics.map(|metric| (metric.name, metric.kind)).collect(),
            dimensions: dimensions.map(|dimension| dimension.name).collect(),
        })
    }

    /// The behaviors, or all that is wrong with them.
    pub(super) fn behaviors(&self, written: Vec<wire::Behavior>) -> Result<Behaviors, Vec<String>> {
        let parsed = Behaviors::parse(written, &|name| self.metrics.get(name).copied());
        let behaviors =
            parsed.map_err(|broken| broken.iter().map(|bad| shortened(&bad.to_string())).collect::<Vec<_>>())?;
        let missing: Vec<String> = behaviors
            .as_slice()
            .iter()
            .filter_map(|behavior| {
                let dimension = &behavior.dimension.as_ref()?.name;
                let is_known = self.dimensions.contains(dimension);
                (!is_known).then(|| malformed(behavior, format_args!("dimension {dimension} does not exist")))
            })
            .collect();
        if missing.is_empty() {
            Ok(behaviors)
        } else {
            Err(missing)
        }
    }

    /// Checks the metrics that a profile retains beside those that it judges, and that it says where exported values go.
    pub(super) fn check_extras(&self, behaviors: &[Behavior], extras: &Map<String, Value>) -> Result<(), ApiError> {
        let exports = extras.contains_key(EXPORT_CONFIG);
        if let Some(topic) = extras
            .get(EXPORT_CONFIG)
            .and_then(|config| config["mqttTopic"].as_str())
        {
            check_export_topic(topic)?;
        }
        if let Some(behavior) = behaviors.iter().find(|behavior| behavior.export_metric == Some(true))
            && !exports
        {
            let reason = "exportMetric is true, expected the security profile to have metricsExportConfig";
            return Err(ApiError::invalid(malformed(behavior, format_args!("{reason}"))));
        }
        for name in members(extras, METRICS_TO_RETAIN) {
            let name = name.as_str().unwrap_or_default();
            self.metric(METRICS_TO_RETAIN, name)?;
        }
        for written in members(extras, METRICS_TO_RETAIN_V2) {
            let retained: Retained = serde_json::from_value(written.clone()).map_err(ApiError::internal)?;
            let metric = self.metric(METRICS_TO_RETAIN_V2, &retained.metric)?;
            if retained.export_metric == Some(true) && !exports {
                return Err(ApiError::invalid(format!(
                    "{METRICS_TO_RETAIN_V2}: exportMetric of {metric} is true, expected the security profile to have \
                     metricsExportConfig"
                )));
            }
            if let Some(dimension) = retained.metric_dimension {
                self.check_dimension(&metric, &dimension.dimension_name)
                    .map_err(|reason| ApiError::invalid(format!("{METRICS_TO_RETAIN_V2}: {reason}")))?;
            }
        }
        Ok(())
    }

    fn metric(&self, member: &str, name: &str) -> Result<Metric, ApiError> {
        let reason = match name.parse::<Metric>() {
            Ok(Metric::Custom(name)) if !self.metrics.contains_key(&name) => {
                format!("metric {name} is none of AWS's and no custom metric of that name exists")
            }
            Ok(metric) => return Ok(metric),
            Err(err) => err.to_string(),
        };
        Err(ApiError::invalid(format!("{member}: {reason}")))
    }

    fn check_dimension(&self, metric: &Metric, name: &str) -> Result<(), String> {
        if !takes_dimension(metric) {
            return Err(format!("metric {metric} does not support metricDimension"));
        }
        let is_known = name
            .parse()
            .is_ok_and(|name| self.dimensions.contains::<DimensionName>(&name));
        if is_known {
            Ok(())
        } else {
            Err(format!("dimension {name} does not exist"))
        }
    }
}

/// Refuses topics that values cannot go out on: those that are none, and those that the server keeps for itself, except
/// where rules of AWS would take messages in.
fn check_export_topic(topic: &str) -> Result<(), ApiError> {
    const LEN_BYTES_MAX: usize = 256;
    const N_SLASHES_MAX: usize = 7;
    let is_of_rule = topic
        .strip_prefix("$aws/rules/")
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    let expected = if topic.contains(['+', '#', '\0']) {
        "a topic without wildcards: + and # are for those who subscribe"
    } else if LEN_BYTES_MAX < topic.len() || N_SLASHES_MAX < topic.matches('/').count() {
        "at most 256 bytes and 7 slashes: nobody can subscribe to more"
    } else if is_reserved(topic) && !is_of_rule {
        "one that does not begin with $, or $aws/rules/<rule>"
    } else {
        return Ok(());
    };
    let found: String = topic.chars().take(80).collect();
    Err(ApiError::invalid(format!(
        "{EXPORT_CONFIG}.mqttTopic is {found:?}, expected {expected}"
    )))
}

/// Whether a dimension may narrow the metric.
pub(super) fn takes_dimension(metric: &Metric) -> bool {
    matches!(metric, Metric::Broker(metric) if metric.takes_dimension())
}

/// Refuses runs of datapoints that are out of their range. To be called before all else, as a constraint of one value is:
/// it is in no table because checking behaviors answers it with 200.
pub(super) fn check_runs(written: &[wire::Behavior]) -> Result<(), ApiError> {
    let broken: Vec<String> = written
        .iter()
        .filter_map(|behavior| Behavior::runs(behavior).err())
        .map(|bad| shortened(&bad.to_string()))
        .collect();
    if broken.is_empty() {
        Ok(())
    } else {
        Err(refusal(&broken))
    }
}

/// The behaviors are refused because of all this.
pub(super) fn refusal(broken: &[String]) -> ApiError {
    ApiError::invalid(broken.join("; "))
}

/// What is accepted, and may still not be what was meant. `profile` is where the behaviors are stored, if they are: then
/// it is attached to something, maybe.
pub(super) async fn warnings(
    api: &ApiState,
    behaviors: &[Behavior],
    profile: Option<&ProfileName>,
) -> Result<Vec<String>, ApiError> {
    let has_percentile = behaviors.iter().any(|behavior| {
        let test = behavior.criteria.as_ref().map(|criteria| &criteria.test);
        matches!(test, Some(Test::Percentile { .. }))
    });
    let around = Surroundings {
        n_devices: match profile {
            Some(profile) if has_percentile => n_devices(api, profile).await?,
            _ => None,
        },
        server_addresses: api.endpoint_names.iter().filter_map(|name| name.parse().ok()).collect(),
        ..Surroundings::default()
    };
    let not_judged = behaviors.iter().filter_map(|behavior| {
        let reason = behavior.not_judged()?;
        Some(format!("Behavior {}: {reason}", behavior.name))
    });
    Ok(lint_all(behaviors, &around).into_iter().chain(not_judged).collect())
}

/// How many registered things the profile's targets hold, counted as far as it matters; `None` when it is attached to
/// nothing, or to things that nobody registered.
async fn n_devices(api: &ApiState, profile: &ProfileName) -> Result<Option<u64>, ApiError> {
    const N_TARGETS_MAX: u32 = 250;
    const N_THINGS_MAX: u32 = 10;
    let mut things = BTreeSet::new();
    let targets = api.db.targets_of_profile(profile, None, N_TARGETS_MAX).await?;
    for target in &targets {
        if Surroundings::N_DEVICES_FEW <= things.len() as u64 {
            break;
        }
        things.extend(match target {
            Target::AllThings | Target::RegisteredThings => {
                let few = api.db.things(&ThingFilter::default(), None, N_THINGS_MAX).await?;
                few.into_iter().map(|thing| thing.name).collect()
            }
            Target::Group(group) => api.db.things_of_group(group, true, None, N_THINGS_MAX).await?,
            Target::UnregisteredThings => return Ok(None),
        });
    }
    Ok((!targets.is_empty()).then_some(things.len() as u64))
}

fn members<'a>(extras: &'a Map<String, Value>, member: &str) -> impl Iterator<Item = &'a Value> {
    extras.get(member).and_then(Value::as_array).into_iter().flatten()
}

fn malformed(behavior: &Behavior, reason: std::fmt::Arguments<'_>) -> String {
    shortened(&format!("Behavior {} is malformed. {reason}", behavior.name))
}

fn shortened(message: &str) -> String {
    message.chars().take(MESSAGE_LEN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_out_where_somebody_can_subscribe() {
        for (topic, expected) in [
            ("fleet/metrics", None),
            ("a/b/c/d/e/f/g/h", None),
            ("$aws/rules/Metrics", None),
            ("$aws/rules/Metrics/fleet", None),
            ("$aws/rules/", Some("does not begin with $")),
            ("$aws/rules//x", Some("does not begin with $")),
            (
                "$aws/things/pump-7/defender/metrics/json",
                Some("does not begin with $"),
            ),
            ("$SYS/x", Some("does not begin with $")),
            ("fleet/+", Some("without wildcards")),
            ("fleet/#", Some("without wildcards")),
            ("a/b/c/d/e/f/g/h/i", Some("7 slashes")),
            (&"x".repeat(257), Some("256 bytes")),
        ] {
            match (check_export_topic(topic), expected) {
                (Ok(()), None) => {}
                (Err(error), Some(part)) => {
                    let error = format!("{error:?}");
                    assert!(error.contains(part), "{topic}: {error}");
                }
                (found, expected) => panic!("{topic}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
