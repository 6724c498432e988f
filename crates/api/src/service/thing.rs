//! Things.

use picket_aws::arn::Resource;
use picket_aws::wire;
use picket_model::name::ThingName;
use picket_store::access::AccessScope;
use picket_store::registry::{AttributeFilter, Attributes, Change, NewThing, Thing, ThingFilter, ThingUpdate};

use super::group;
use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

/// Registers a thing.
///
/// # Errors
/// `ResourceAlreadyExistsException` when there is one of that name with other settings; `ResourceNotFoundException` for its type;
/// `InvalidRequestException` when its type is out of use, there are too many attributes, or a billing group is named: Picket
/// bills nobody.
pub async fn create(api: Api, caller: Caller, input: wire::CreateThing) -> Result<wire::CreatedThing, ApiError> {
    if let Some(name) = input.billing_group_name {
        let reason = format!("billingGroupName is {name}, expected none: there are no billing groups here");
        return Err(ApiError::invalid(reason));
    }
    let attributes = input
        .attribute_payload
        .and_then(|payload| payload.attributes)
        .unwrap_or_default();
    let new = NewThing {
        name: input.thing_name,
        type_name: input.thing_type_name,
        attributes,
    };
    let arn = api.arn(&caller, Resource::Thing(new.name.clone()));
    let thing = match api.db.create_thing(&new, api.now()).await {
        Ok(thing) => thing,
        Err(err) => {
            let id = api.db.thing(&new.name).await?.map(|thing| thing.id).unwrap_or_default();
            return Err(ApiError::from(err).about(id, arn));
        }
    };
    api.changed([AccessScope::Thing(thing.name.clone())]).await;
    Ok(wire::CreatedThing {
        thing_name: thing.name.to_string(),
        thing_arn: arn,
        thing_id: thing.id,
    })
}

/// Changes a thing's type and attributes.
///
/// # Errors
/// `ResourceNotFoundException` for the thing or its new type; `VersionConflictException` when the caller has seen another
/// version; `InvalidRequestException` when the new type is out of use, or there would be too many attributes.
pub async fn update(api: Api, _: Caller, input: wire::UpdateThing) -> Result<wire::Done, ApiError> {
    let type_name = match (input.thing_type_name, input.remove_thing_type.unwrap_or_default()) {
        (Some(_), true) => {
            return Err(ApiError::invalid(
                "thingTypeName and removeThingType are both given, expected one of them",
            ));
        }
        (Some(name), false) => Change::Set(name),
        (None, true) => Change::Remove,
        (None, false) => Change::Keep,
    };
    let update = ThingUpdate {
        type_name,
        attributes: change_of(input.attribute_payload),
        expected_version: input.expected_version,
    };
    api.db.update_thing(&input.thing_name, &update).await?;
    api.changed([AccessScope::Thing(input.thing_name)]).await;
    Ok(wire::Done {})
}

/// Shows a thing.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn describe(
    api: Api,
    caller: Caller,
    input: wire::DescribeThing,
) -> Result<wire::ThingDescription, ApiError> {
    let thing = existing(&api, &input.thing_name).await?;
    Ok(wire::ThingDescription {
        default_client_id: thing.name.to_string(),
        thing_name: thing.name.to_string(),
        thing_id: thing.id,
        thing_arn: api.arn(&caller, Resource::Thing(thing.name)),
        thing_type_name: thing.type_name.map(|name| name.to_string()),
        attributes: thing.attributes,
        version: thing.version,
    })
}

/// Removes a thing; one that is not there is removed already.
///
/// # Errors
/// `InvalidRequestException` while a principal is attached, `VersionConflictException` when the caller has seen another
/// version.
pub async fn delete(api: Api, _: Caller, input: wire::DeleteThing) -> Result<wire::Done, ApiError> {
    if api.db.delete_thing(&input.thing_name, input.expected_version).await? {
        api.changed([AccessScope::Thing(input.thing_name)]).await;
    }
    Ok(wire::Done {})
}

/// Lists things.
///
/// # Errors
/// `InvalidRequestException` for a token of another list, or an attribute's text without its name.
pub async fn list(api: Api, caller: Caller, input: wire::ListThings) -> Result<wire::Things, ApiError> {
    let page: Page<ThingName> = Page::of("ListThings", input.next_token.as_deref(), input.max_results)?;
    if input.attribute_name.is_none() && input.attribute_value.is_some() {
        return Err(ApiError::invalid(
            "attributeValue is given without attributeName, expected both or none",
        ));
    }
    let is_prefix = input.use_prefix_attribute_value.unwrap_or_default();
    let filter = ThingFilter {
        type_name: input.thing_type_name,
        attribute: input.attribute_name.map(|name| AttributeFilter {
            name,
            value: input.attribute_value,
            is_prefix,
        }),
    };
    let read = api.db.things(&filter, page.after.as_ref(), page.n_read()).await?;
    let (things, next_token) = page.cut(read, |thing| thing.name.clone());
    let summary = |thing: Thing| wire::ThingAttribute {
        thing_name: thing.name.to_string(),
        thing_type_name: thing.type_name.map(|name| name.to_string()),
        thing_arn: api.arn(&caller, Resource::Thing(thing.name)),
        attributes: thing.attributes,
        version: thing.version,
    };
    Ok(wire::Things {
        things: things.into_iter().map(summary).collect(),
        next_token,
    })
}

/// Lists the groups that a thing is in.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn groups(
    api: Api,
    caller: Caller,
    input: wire::ListThingGroupsForThing,
) -> Result<wire::ThingGroups, ApiError> {
    let page = Page::of(
        "ListThingGroupsForThing",
        input.next_token.as_deref(),
        input.max_results,
    )?;
    existing(&api, &input.thing_name).await?;
    let read = api
        .db
        .groups_of_thing(&input.thing_name, page.after.as_ref(), page.n_read())
        .await?;
    let (names, next_token) = page.cut(read, Clone::clone);
    let thing_groups = names
        .into_iter()
        .map(|name| group::name_and_arn(&api, &caller, name))
        .collect();
    Ok(wire::ThingGroups {
        thing_groups,
        next_token,
    })
}

pub(super) async fn existing(api: &ApiState, name: &ThingName) -> Result<Thing, ApiError> {
    api.db
        .thing(name)
        .await?
        .ok_or_else(|| ApiError::not_found("thing", name))
}

/// What an attribute payload does to attributes that there are.
pub(super) fn change_of(payload: Option<wire::AttributePayload>) -> Change<Attributes> {
    let Some(payload) = payload else {
        return Change::Keep;
    };
    let attributes = payload.attributes.unwrap_or_default();
    if payload.merge.unwrap_or_default() {
        Change::Merge(attributes)
    } else {
        Change::Set(attributes)
    }
}
