//! Dimensions.

use picket_aws::arn::Resource;
use picket_aws::wire;
use picket_model::name::DimensionName;
use picket_store::dimensions::{Dimension, NewDimension};
use picket_store::requests::Request;
use serde_json::json;

use super::tags;
use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

/// Creates a dimension; the same request again, by its token, is the same.
///
/// # Errors
/// `ResourceAlreadyExistsException` when another request made one of that name, however similar; `InvalidRequestException`
/// when the token was used with other parameters, or a value is no topic filter; `LimitExceededException` when there are 10.
pub async fn create(
    api: Api,
    caller: Caller,
    input: wire::CreateDimension,
) -> Result<wire::CreatedDimension, ApiError> {
    check_filters(&input.string_values)?;
    let arn = api.arn(&caller, Resource::Dimension(input.name.clone()));
    let parameters = json!({ "type": input.kind, "stringValues": input.string_values, "tags": input.tags });
    let tags = tags::at_creation(input.tags)?;
    let new = NewDimension {
        name: input.name,
        filters: input.string_values,
        request: Request {
            token: input.client_request_token,
            parameters: parameters.to_string(),
        },
    };
    let created = api.db.create_dimension(&new, &tags, api.now()).await;
    created.map_err(|err| ApiError::from(err).about(&new.name, arn.clone()))?;
    Ok(wire::CreatedDimension {
        name: new.name.to_string(),
        arn,
    })
}

/// Changes the topic filters of a dimension.
///
/// # Errors
/// `ResourceNotFoundException`; `InvalidRequestException` when a value is no topic filter.
pub async fn update(
    api: Api,
    caller: Caller,
    input: wire::UpdateDimension,
) -> Result<wire::DimensionDescription, ApiError> {
    check_filters(&input.string_values)?;
    let update = api.db.update_dimension(&input.name, &input.string_values, api.now());
    Ok(described(&api, &caller, update.await?))
}

/// Shows a dimension.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn describe(
    api: Api,
    caller: Caller,
    input: wire::DescribeDimension,
) -> Result<wire::DimensionDescription, ApiError> {
    let found = api.db.dimension(&input.name).await?;
    let dimension = found.ok_or_else(|| ApiError::not_found("dimension", &input.name))?;
    Ok(described(&api, &caller, dimension))
}

/// Removes a dimension; one that is not there is removed already.
///
/// # Errors
/// `InvalidRequestException` while a profile uses it.
pub async fn delete(api: Api, _: Caller, input: wire::DeleteDimension) -> Result<wire::Done, ApiError> {
    api.db.delete_dimension(&input.name).await?;
    Ok(wire::Done {})
}

/// Lists dimensions by name.
///
/// # Errors
/// `InvalidRequestException` for a token of another list.
pub async fn list(api: Api, _: Caller, input: wire::ListDimensions) -> Result<wire::Dimensions, ApiError> {
    let page: Page<DimensionName> = Page::of("ListDimensions", input.next_token.as_deref(), input.max_results)?;
    let names = api.db.dimensions().await?.into_iter().map(|dimension| dimension.name);
    let rest = names
        .filter(|name| page.after.as_ref().is_none_or(|after| after < name))
        .collect();
    let (names, next_token) = page.cut(rest, Clone::clone);
    Ok(wire::Dimensions {
        dimension_names: names.iter().map(ToString::to_string).collect(),
        next_token,
    })
}

fn described(api: &ApiState, caller: &Caller, dimension: Dimension) -> wire::DimensionDescription {
    wire::DimensionDescription {
        name: dimension.name.to_string(),
        arn: api.arn(caller, Resource::Dimension(dimension.name)),
        kind: "TOPIC_FILTER".to_owned(),
        string_values: dimension.filters,
        creation_date: dimension.created_at.into(),
        last_modified_date: dimension.modified_at.into(),
    }
}

/// A value that can match no topic is a mistake that nobody would ever see.
fn check_filters(filters: &[String]) -> Result<(), ApiError> {
    match filters.iter().position(|filter| !is_topic_filter(filter)) {
        None => Ok(()),
        Some(at) => Err(ApiError::invalid(format!(
            "stringValues.{}.member is {:?}, expected an MQTT topic filter: + stands for a whole level, # for all levels at \
             the end",
            at + 1,
            filters[at]
        ))),
    }
}

fn is_topic_filter(text: &str) -> bool {
    let n_levels = text.split('/').count();
    let levels = text.split('/').enumerate();
    let mut fits = levels.map(|(nth, level)| match level {
        "+" => true,
        "#" => nth + 1 == n_levels,
        level => !level.contains(['+', '#', '\0']),
    });
    fits.all(|fits| fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_filters_are_told_from_what_matches_nothing() {
        for (text, expected) in [
            ("admin/#", true),
            ("#", true),
            ("+", true),
            ("a/+/c", true),
            ("devices/${iot:ClientId}/up", true),
            ("/", true),
            ("a#", false),
            ("#/a", false),
            ("a/b+", false),
            ("a\0", false),
        ] {
            assert_eq!(is_topic_filter(text), expected, "{text}");
        }
    }
}
