//! Custom metrics.

use picket_aws::arn::Resource;
use picket_aws::wire;
use picket_model::metric::CustomMetricType;
use picket_model::name::MetricName;

use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, Caller};

/// Creates a custom metric; the same again is the same.
///
/// # Errors
/// `ResourceAlreadyExistsException` when there is one of that name with other settings; `LimitExceededException` when there
/// are 100.
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
    let kind: CustomMetricType = input
        .metric_type
        .parse()
        .map_err(|err| ApiError::invalid(format!("{err}")))?;
    let arn = api.arn(&caller, Resource::Metric(name.clone()));
    let created = api
        .db
        .create_custom_metric(&name, kind, input.display_name.as_deref(), api.now())
        .await;
    if let Err(err) = created {
        let err = ApiError::from(err).about(&name, arn.clone());
        let found = api.db.custom_metric(&name).await?;
        if found.is_none_or(|found| (found.kind, found.display_name) != (kind, input.display_name)) {
            return Err(err);
        }
    }
    Ok(wire::CreatedCustomMetric {
        metric_name: name.to_string(),
        metric_arn: arn,
    })
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
    Ok(wire::CustomMetricDescription {
        metric_name: metric.name.to_string(),
        metric_arn: api.arn(&caller, Resource::Metric(metric.name)),
        metric_type: metric.kind.as_str().to_owned(),
        display_name: metric.display_name,
        creation_date: metric.created_at.into(),
        last_modified_date: metric.modified_at.into(),
    })
}

/// Removes a custom metric; one that is not there is removed already.
///
/// # Errors
/// `InvalidRequestException` while a profile judges it.
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
