//! Thing types.
//!
//! `mqtt5Configuration` is stored and answered as it was given, and nothing else: Picket adds no user properties to the
//! messages of a thing.

use std::collections::BTreeSet;

use picket_aws::arn::Resource;
use picket_aws::wire;
use picket_model::name::ThingTypeName;
use picket_store::registry::{ThingType, ThingTypeProperties, ThingTypeUpdate};
use serde_json::Value;

use super::tags;
use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

/// Creates a thing type; the same again is the same.
///
/// # Errors
/// `ResourceAlreadyExistsException` when there is one of that name with other properties; `InvalidRequestException` when there
/// are more than three searchable attributes.
pub async fn create(
    api: Api,
    caller: Caller,
    input: wire::CreateThingType,
) -> Result<wire::CreatedThingType, ApiError> {
    let given = update_of(input.thing_type_properties)?;
    let properties = ThingTypeProperties {
        description: given.description,
        searchable_attributes: given.searchable_attributes.unwrap_or_default(),
        mqtt5_configuration: given.mqtt5_configuration,
    };
    let (name, tags) = (input.thing_type_name, tags::at_creation(input.tags)?);
    let arn = api.arn(&caller, Resource::ThingType(name.clone()));
    let created = match api.db.create_thing_type(&name, &properties, &tags, api.now()).await {
        Ok(created) => created,
        Err(err) => {
            let found = api.db.thing_type(&name).await?;
            let id = found.map(|found| found.id()).unwrap_or_default();
            return Err(ApiError::from(err).about(id, arn));
        }
    };
    Ok(wire::CreatedThingType {
        thing_type_name: name.to_string(),
        thing_type_arn: arn,
        thing_type_id: created.id(),
    })
}

/// Changes the properties of a thing type that are given. Those that are not stay as they are.
///
/// # Errors
/// `ResourceNotFoundException`; `InvalidRequestException` when there are more than three searchable attributes.
pub async fn update(api: Api, _: Caller, input: wire::UpdateThingType) -> Result<wire::Done, ApiError> {
    let update = update_of(input.thing_type_properties)?;
    api.db.update_thing_type(&input.thing_type_name, &update).await?;
    Ok(wire::Done {})
}

/// Shows a thing type.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn describe(
    api: Api,
    caller: Caller,
    input: wire::DescribeThingType,
) -> Result<wire::ThingTypeDescription, ApiError> {
    let found = api.db.thing_type(&input.thing_type_name).await?;
    let found = found.ok_or_else(|| ApiError::not_found("thing type", &input.thing_type_name))?;
    let thing_type_id = found.id();
    let definition = definition(&api, &caller, found)?;
    Ok(wire::ThingTypeDescription {
        thing_type_name: definition.thing_type_name,
        thing_type_id,
        thing_type_arn: definition.thing_type_arn,
        thing_type_properties: definition.thing_type_properties,
        thing_type_metadata: definition.thing_type_metadata,
    })
}

/// Takes a thing type out of use, or into use again. Things that have it keep it.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn deprecate(api: Api, _: Caller, input: wire::DeprecateThingType) -> Result<wire::Done, ApiError> {
    let at = if input.undo_deprecate.unwrap_or_default() {
        None
    } else {
        Some(api.now())
    };
    api.db.deprecate_thing_type(&input.thing_type_name, at).await?;
    Ok(wire::Done {})
}

/// Removes a thing type.
///
/// # Errors
/// `ResourceNotFoundException`; `InvalidRequestException` when it has not been out of use for five minutes, or while things
/// have it.
pub async fn delete(api: Api, _: Caller, input: wire::DeleteThingType) -> Result<wire::Done, ApiError> {
    api.db.delete_thing_type(&input.thing_type_name, api.now()).await?;
    Ok(wire::Done {})
}

/// Lists thing types; with a name, only the one of that name.
///
/// # Errors
/// `InvalidRequestException` for a token of another list.
pub async fn list(api: Api, caller: Caller, input: wire::ListThingTypes) -> Result<wire::ThingTypes, ApiError> {
    let page: Page<ThingTypeName> = Page::of("ListThingTypes", input.next_token.as_deref(), input.max_results)?;
    let only = input.thing_type_name.as_ref();
    let read = api.db.thing_types(only, page.after.as_ref(), page.n_read()).await?;
    let (types, next_token) = page.cut(read, |found| found.name.clone());
    let types = types.into_iter().map(|found| definition(&api, &caller, found));
    Ok(wire::ThingTypes {
        thing_types: types.collect::<Result<_, _>>()?,
        next_token,
    })
}

fn update_of(properties: Option<wire::ThingTypeProperties>) -> Result<ThingTypeUpdate, ApiError> {
    let Some(properties) = properties else {
        return Ok(ThingTypeUpdate::default());
    };
    let searchable: Option<BTreeSet<_>> = properties
        .searchable_attributes
        .map(|names| names.into_iter().collect());
    let (n_found, n_max) = (
        searchable.as_ref().map_or(0, BTreeSet::len),
        ThingType::N_SEARCHABLE_MAX,
    );
    if n_max < n_found {
        let reason = format!("searchableAttributes has {n_found} attributes, expected {n_max} at most");
        return Err(ApiError::invalid(reason));
    }
    Ok(ThingTypeUpdate {
        description: properties.thing_type_description,
        searchable_attributes: searchable,
        mqtt5_configuration: properties.mqtt5_configuration.map(|json| json.to_string()),
    })
}

fn definition(api: &ApiState, caller: &Caller, found: ThingType) -> Result<wire::ThingTypeDefinition, ApiError> {
    let properties = found.properties;
    let mqtt5 = properties
        .mqtt5_configuration
        .as_deref()
        .map(serde_json::from_str::<Value>);
    Ok(wire::ThingTypeDefinition {
        thing_type_name: found.name.to_string(),
        thing_type_arn: api.arn(caller, Resource::ThingType(found.name)),
        thing_type_properties: wire::DescribedThingTypeProperties {
            thing_type_description: properties.description,
            searchable_attributes: properties.searchable_attributes.into_iter().collect(),
            mqtt5_configuration: mqtt5.transpose().map_err(ApiError::internal)?,
        },
        thing_type_metadata: wire::ThingTypeMetadata {
            deprecated: found.deprecated_at.is_some(),
            deprecation_date: found.deprecated_at.map(Into::into),
            creation_date: found.created_at.into(),
        },
    })
}
