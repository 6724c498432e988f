//! Custom metrics, and values of metrics.

use std::time::Duration;

use picket_aws::arn::Resource;
use picket_aws::wire;
use picket_model::metric::{CustomMetricType, Metric};
use picket_model::name::MetricName;
use picket_model::value::wire::MetricValue;
use picket_store::custom_metrics::{CustomMetric, NewCustomMetric};
use picket_store::history::{ValueKey, ValueQuery};
use picket_store::requests::Request;
use serde_json::json;

use super::place::BehaviorPlace;
use super::rules::takes_dimension;
use super::tags;
use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

/// How old the values are that are listed: AWS keeps them for 14 days.
const LISTED_AGE_MAX: Duration = Duration::from_secs(14 * 86_400);

/// Elements of a page of training summaries, when the caller names no number, and at most.
const N_SUMMARIES: u32 = 10;

/// Creates a custom metric; the same request again, by its token, is the same.
///
/// # Errors
/// `ResourceAlreadyExistsException` when another request made one of that name, however similar; `InvalidRequestException`
/// when the token was used with other parameters; `LimitExceededException` when there are 100.
pub async fn create(
    api: Api,
    caller: Caller,
    input: wire::CreateCustomMetric,
) -> Result<wire::CreatedCustomMetric, ApiError> {
    let name = input.metric_name;
    if name.as_str().starts_with("aws:") {
        return Err(ApiError::invalid(format!(
            "metricName is {name}, expected one that does not begin with aws:"
        )));
    }
    if let Ok(Metric::Reporting(_)) = name.as_str().parse() {
        return Err(ApiError::invalid(format!(
            "metricName is {name}, which the server measures itself, expected another"
        )));
    }
    let kind: CustomMetricType = input
        .metric_type
        .parse()
        .map_err(|err| ApiError::invalid(format!("{err}")))?;
    let arn = api.arn(&caller, Resource::Metric(name.clone()));
    let parameters = json!({ "metricType": kind.as_str(), "displayName": input.display_name, "tags": input.tags });
    let tags = tags::at_creation(input.tags)?;
    let new = NewCustomMetric {
        name,
        kind,
        display_name: input.display_name,
        request: Request {
            token: input.client_request_token,
            parameters: parameters.to_string(),
        },
    };
    let created = api.db.create_custom_metric(&new, &tags, api.now()).await;
    created.map_err(|err| ApiError::from(err).about(&new.name, arn.clone()))?;
    Ok(wire::CreatedCustomMetric {
        metric_name: new.name.to_string(),
        metric_arn: arn,
    })
}

/// Changes what people call a custom metric.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn update(
    api: Api,
    caller: Caller,
    input: wire::UpdateCustomMetric,
) -> Result<wire::CustomMetricDescription, ApiError> {
    let display_name = Some(input.display_name.as_str());
    let update = api.db.update_custom_metric(&input.metric_name, display_name, api.now());
    Ok(described(&api, &caller, update.await?))
}

/// Shows a custom metric.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn describe(
    api: Api,
    caller: Caller,
    input: wire::DescribeCustomMetric,
) -> Result<wire::CustomMetricDescription, ApiError> {
    let found = api.db.custom_metric(&input.metric_name).await?;
    let metric = found.ok_or_else(|| ApiError::not_found("custom metric", &input.metric_name))?;
    Ok(described(&api, &caller, metric))
}

/// Removes a custom metric; one that is not there is removed already.
///
/// # Errors
/// `InvalidRequestException` while a profile judges or retains it.
pub async fn delete(api: Api, _: Caller, input: wire::DeleteCustomMetric) -> Result<wire::Done, ApiError> {
    api.db.delete_custom_metric(&input.metric_name).await?;
    Ok(wire::Done {})
}

/// Lists custom metrics by name.
///
/// # Errors
/// `InvalidRequestException` for a token of another list.
pub async fn list(api: Api, _: Caller, input: wire::ListCustomMetrics) -> Result<wire::CustomMetrics, ApiError> {
    let page: Page<MetricName> = Page::of("ListCustomMetrics", input.next_token.as_deref(), input.max_results)?;
    let names = api.db.custom_metrics().await?.into_iter().map(|metric| metric.name);
    let rest = names
        .filter(|name| page.after.as_ref().is_none_or(|after| after < name))
        .collect();
    let (names, next_token) = page.cut(rest, Clone::clone);
    Ok(wire::CustomMetrics {
        metric_names: names.iter().map(ToString::to_string).collect(),
        next_token,
    })
}

/// Lists the values of a metric of one device, newest first, of the last two weeks.
///
/// # Errors
/// `ResourceNotFoundException` for a custom metric or a dimension that does not exist; `InvalidRequestException` for an end
/// before the start, a metric that is none, or a dimension where none can be.
pub async fn values(api: Api, _: Caller, input: wire::ListMetricValues) -> Result<wire::MetricValues, ApiError> {
    let page: Page<ValueKey> = Page::of("ListMetricValues", input.next_token.as_deref(), input.max_results)?;
    if input.end_time < input.start_time {
        return Err(ApiError::invalid("endTime is before startTime, expected it after"));
    }
    let metric: Metric = input
        .metric_name
        .parse()
        .map_err(|err| ApiError::invalid(format!("metricName: {err}")))?;
    if let Metric::Custom(name) = &metric
        && api.db.custom_metric(name).await?.is_none()
    {
        return Err(ApiError::not_found("custom metric", name));
    }
    match &input.dimension_name {
        Some(_) if !takes_dimension(&metric) => {
            return Err(ApiError::invalid(format!(
                "dimensionName is given, but metric {metric} does not support dimensions"
            )));
        }
        Some(name) if api.db.dimension(name).await?.is_none() => {
            return Err(ApiError::not_found("dimension", name));
        }
        None if input.dimension_value_operator.is_some() => {
            return Err(ApiError::invalid(
                "dimensionValueOperator is given without dimensionName, expected both",
            ));
        }
        _ => {}
    }
    let is_inside = input.dimension_value_operator.as_deref() != Some("NOT_IN");
    let now = api.now();
    let query = ValueQuery {
        device: input.thing_name,
        metric,
        dimension: input.dimension_name.map(|name| (name, is_inside)),
        from: input.start_time.max(now.minus(LISTED_AGE_MAX)),
        until: input.end_time.min(now),
        after: page.after,
        n_max: usize::try_from(page.n_read()).unwrap_or(usize::MAX),
    };
    let read = api.history.values(&query).await?;
    let (values, next_token) = page.cut(read, |(key, _)| *key);
    let datum = |(key, value): (ValueKey, _)| wire::MetricDatum {
        timestamp: key.at.into(),
        value: MetricValue::from(&value),
    };
    Ok(wire::MetricValues {
        metric_datum_list: values.into_iter().map(datum).collect(),
        next_token,
    })
}

/// Says how far the learning of each behavior's baseline is: nothing is learned yet.
///
/// # Errors
/// `ResourceNotFoundException` for the profile.
pub async fn training(
    api: Api,
    _: Caller,
    input: wire::GetBehaviorModelTrainingSummaries,
) -> Result<wire::BehaviorModelTrainingSummaries, ApiError> {
    let list = "GetBehaviorModelTrainingSummaries";
    let n = Some(input.max_results.unwrap_or(N_SUMMARIES));
    let page: Page<BehaviorPlace> = Page::of(list, input.next_token.as_deref(), n)?;
    let profile = input.security_profile_name.as_ref();
    if let Some(name) = profile
        && api.db.profile(name).await?.is_none()
    {
        return Err(ApiError::not_found("security profile", name));
    }
    let after = page.after.as_ref().map(|place| &place.0);
    let read = api.db.learned_behaviors(profile, after, page.n_read()).await?;
    let (places, next_token) = page.cut(read, |place| BehaviorPlace(place.clone()));
    let summaries = places
        .into_iter()
        .map(|(profile, behavior)| wire::BehaviorModelTrainingSummary {
            security_profile_name: profile.to_string(),
            behavior_name: behavior.to_string(),
            model_status: "PENDING_BUILD".to_owned(),
            datapoints_collection_percentage: 0.0,
        });
    Ok(wire::BehaviorModelTrainingSummaries {
        summaries: summaries.collect(),
        next_token,
    })
}

fn described(api: &ApiState, caller: &Caller, metric: CustomMetric) -> wire::CustomMetricDescription {
    wire::CustomMetricDescription {
        metric_name: metric.name.to_string(),
        metric_arn: api.arn(caller, Resource::Metric(metric.name)),
        metric_type: metric.kind.as_str().to_owned(),
        display_name: metric.display_name,
        creation_date: metric.created_at.into(),
        last_modified_date: metric.modified_at.into(),
    }
}
