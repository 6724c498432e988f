//! Thing groups and membership.
//!
//! There are no dynamic groups: what is in them is found by a query over an index of the fleet, and there is no such index.

use std::collections::BTreeSet;

use picket_aws::arn::{Arn, Resource};
use picket_aws::wire;
use picket_model::name::{ThingGroupName, ThingName};
use picket_store::access::AccessScope;
use picket_store::registry::{Group, GroupFilter, GroupUpdate, NewGroup};

use super::{tags, thing};
use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

/// Creates a group.
///
/// # Errors
/// `ResourceAlreadyExistsException` when there is one of that name with other settings; `InvalidRequestException` when the
/// parent does not exist, there is no place below it, or there are too many attributes.
pub async fn create(
    api: Api,
    caller: Caller,
    input: wire::CreateThingGroup,
) -> Result<wire::CreatedThingGroup, ApiError> {
    let (description, attributes) = match input.thing_group_properties {
        None => (None, None),
        Some(properties) => (properties.thing_group_description, properties.attribute_payload),
    };
    let new = NewGroup {
        name: input.thing_group_name,
        parent: input.parent_group_name,
        description,
        attributes: attributes.and_then(|payload| payload.attributes).unwrap_or_default(),
    };
    let (n_found, n_max) = (new.attributes.len(), Group::N_ATTRIBUTES_MAX);
    if n_max < n_found {
        let reason = format!("attributePayload has {n_found} attributes, expected {n_max} at most");
        return Err(ApiError::invalid(reason));
    }
    let tags = tags::at_creation(input.tags)?;
    let arn = api.arn(&caller, Resource::Group(new.name.clone()));
    let group = match api.db.create_group(&new, &tags, api.now()).await {
        Ok(group) => group,
        Err(err) => {
            let id = api.db.group(&new.name).await?.map(|group| group.id).unwrap_or_default();
            return Err(ApiError::from(err).about(id, arn).missing_is_invalid());
        }
    };
    api.changed([AccessScope::Group(group.name.clone())]).await;
    Ok(wire::CreatedThingGroup {
        thing_group_name: group.name.to_string(),
        thing_group_arn: arn,
        thing_group_id: group.id,
    })
}

/// Changes what people say of a group.
///
/// # Errors
/// `ResourceNotFoundException`; `VersionConflictException` when the caller has seen another version; `InvalidRequestException`
/// when there would be too many attributes.
pub async fn update(api: Api, _: Caller, input: wire::UpdateThingGroup) -> Result<wire::UpdatedThingGroup, ApiError> {
    let properties = input.thing_group_properties;
    let update = GroupUpdate {
        description: properties.thing_group_description,
        attributes: thing::change_of(properties.attribute_payload),
        expected_version: input.expected_version,
    };
    let version = api.db.update_group(&input.thing_group_name, &update).await?;
    // Neither description nor attributes matter to a session.
    Ok(wire::UpdatedThingGroup { version })
}

/// Shows a group.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn describe(
    api: Api,
    caller: Caller,
    input: wire::DescribeThingGroup,
) -> Result<wire::ThingGroupDescription, ApiError> {
    let group = existing(&api, &input.thing_group_name).await?;
    let above = api.db.groups_above(&group.name).await?;
    let attributes = group.attributes;
    Ok(wire::ThingGroupDescription {
        thing_group_name: group.name.to_string(),
        thing_group_id: group.id,
        version: group.version,
        thing_group_properties: wire::DescribedProperties {
            thing_group_description: group.description,
            attribute_payload: (!attributes.is_empty()).then_some(wire::DescribedAttributes { attributes }),
        },
        thing_group_metadata: wire::ThingGroupMetadata {
            parent_group_name: group.parent.map(|parent| parent.to_string()),
            root_to_parent_thing_groups: above
                .into_iter()
                .map(|name| name_and_arn(&api, &caller, name))
                .collect(),
            creation_date: group.created_at.into(),
        },
        thing_group_arn: api.arn(&caller, Resource::Group(group.name)),
    })
}

/// Removes a group; one that is not there is removed already.
///
/// # Errors
/// `InvalidRequestException` while there are groups below it, `VersionConflictException` when the caller has seen another
/// version.
pub async fn delete(api: Api, _: Caller, input: wire::DeleteThingGroup) -> Result<wire::Done, ApiError> {
    if api
        .db
        .delete_group(&input.thing_group_name, input.expected_version)
        .await?
    {
        // Its things are out of it, all at once.
        api.changed([AccessScope::All]).await;
    }
    Ok(wire::Done {})
}

/// Lists groups: those directly below `parentGroup`, with `recursive` all below it; without a parent all there are, with
/// `recursive` false only the roots.
///
/// # Errors
/// `ResourceNotFoundException` for the parent.
pub async fn list(api: Api, caller: Caller, input: wire::ListThingGroups) -> Result<wire::ThingGroups, ApiError> {
    let page = Page::of("ListThingGroups", input.next_token.as_deref(), input.max_results)?;
    let filter = GroupFilter {
        parent: input.parent_group,
        name_prefix: input.name_prefix_filter,
        is_recursive: input.recursive,
    };
    let read = api.db.groups(&filter, page.after.as_ref(), page.n_read()).await?;
    let (names, next_token) = page.cut(read, Clone::clone);
    Ok(wire::ThingGroups {
        thing_groups: names
            .into_iter()
            .map(|name| name_and_arn(&api, &caller, name))
            .collect(),
        next_token,
    })
}

/// Puts a thing into a group; once more changes nothing.
///
/// # Errors
/// `ResourceNotFoundException` for either; `InvalidRequestException` when the thing is in another group of the hierarchy, or
/// in 10 groups.
pub async fn add_thing(api: Api, _: Caller, input: wire::AddThingToThingGroup) -> Result<wire::Done, ApiError> {
    let group = group_of(&api, input.thing_group_name, input.thing_group_arn)?;
    let thing = thing_of(&api, input.thing_name, input.thing_arn)?;
    if api.db.add_to_group(&thing, &group).await? {
        api.changed([AccessScope::Thing(thing)]).await;
    }
    Ok(wire::Done {})
}

/// Takes a thing out of a group; one that is not in it is out already.
///
/// # Errors
/// `ResourceNotFoundException` for either.
pub async fn remove_thing(api: Api, _: Caller, input: wire::RemoveThingFromThingGroup) -> Result<wire::Done, ApiError> {
    let group = group_of(&api, input.thing_group_name, input.thing_group_arn)?;
    let thing = thing_of(&api, input.thing_name, input.thing_arn)?;
    if api.db.remove_from_group(&thing, &group).await? {
        api.changed([AccessScope::Thing(thing)]).await;
    }
    Ok(wire::Done {})
}

/// Takes a thing out of some groups and puts it into others, all or nothing.
///
/// # Errors
/// `ResourceNotFoundException` for the thing or a group; `InvalidRequestException` when a group is to be left and joined, or the
/// thing would be in two groups of a hierarchy, or in more than 10.
pub async fn change_groups_of_thing(
    api: Api,
    _: Caller,
    input: wire::UpdateThingGroupsForThing,
) -> Result<wire::Done, ApiError> {
    let Some(thing) = input.thing_name else {
        return Err(ApiError::invalid("thingName is absent, expected the name of a thing"));
    };
    let add = BTreeSet::from_iter(input.thing_groups_to_add.unwrap_or_default());
    let remove = BTreeSet::from_iter(input.thing_groups_to_remove.unwrap_or_default());
    if let Some(group) = add.intersection(&remove).next() {
        let reason = format!("thingGroupsToAdd and thingGroupsToRemove both have {group}, expected it in one of them");
        return Err(ApiError::invalid(reason));
    }
    if api.db.change_groups(&thing, &add, &remove).await? {
        api.changed([AccessScope::Thing(thing)]).await;
    }
    Ok(wire::Done {})
}

/// Refuses to create a dynamic group.
///
/// # Errors
/// `InvalidRequestException`, always.
pub async fn create_dynamic(_: Api, _: Caller, _: wire::CreateDynamicThingGroup) -> Result<wire::Done, ApiError> {
    Err(no_dynamic_groups())
}

/// Refuses to change a dynamic group.
///
/// # Errors
/// `InvalidRequestException`, always.
pub async fn update_dynamic(_: Api, _: Caller, _: wire::UpdateDynamicThingGroup) -> Result<wire::Done, ApiError> {
    Err(no_dynamic_groups())
}

/// Refuses to remove a dynamic group.
///
/// # Errors
/// `InvalidRequestException`, always.
pub async fn delete_dynamic(_: Api, _: Caller, _: wire::DeleteDynamicThingGroup) -> Result<wire::Done, ApiError> {
    Err(no_dynamic_groups())
}

fn no_dynamic_groups() -> ApiError {
    ApiError::invalid("there are no dynamic thing groups here, as they need fleet indexing: use a thing group")
}

/// Lists the things of a group.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn things(api: Api, _: Caller, input: wire::ListThingsInThingGroup) -> Result<wire::ThingNames, ApiError> {
    let page: Page<ThingName> = Page::of("ListThingsInThingGroup", input.next_token.as_deref(), input.max_results)?;
    let group = existing(&api, &input.thing_group_name).await?.name;
    let is_recursive = input.recursive.unwrap_or_default();
    let read = api
        .db
        .things_of_group(&group, is_recursive, page.after.as_ref(), page.n_read())
        .await?;
    let (names, next_token) = page.cut(read, Clone::clone);
    Ok(wire::ThingNames {
        things: names.iter().map(ToString::to_string).collect(),
        next_token,
    })
}

pub(super) fn name_and_arn(api: &ApiState, caller: &Caller, name: ThingGroupName) -> wire::GroupNameAndArn {
    wire::GroupNameAndArn {
        group_name: name.to_string(),
        group_arn: api.arn(caller, Resource::Group(name)),
    }
}

/// A group by its name, its ARN, or both.
fn group_of(api: &ApiState, name: Option<ThingGroupName>, arn: Option<Arn>) -> Result<ThingGroupName, ApiError> {
    let by_arn = match arn.map(|arn| api.own(arn)).transpose()? {
        None => None,
        Some(Resource::Group(name)) => Some(name),
        Some(other) => {
            return Err(ApiError::invalid(format!(
                "thingGroupArn is {other}, expected thinggroup/<name>"
            )));
        }
    };
    one_of("thingGroupName", name, "thingGroupArn", by_arn)
}

fn thing_of(api: &ApiState, name: Option<ThingName>, arn: Option<Arn>) -> Result<ThingName, ApiError> {
    let by_arn = match arn.map(|arn| api.own(arn)).transpose()? {
        None => None,
        Some(Resource::Thing(name)) => Some(name),
        Some(other) => return Err(ApiError::invalid(format!("thingArn is {other}, expected thing/<name>"))),
    };
    one_of("thingName", name, "thingArn", by_arn)
}

fn one_of<T: PartialEq + std::fmt::Display>(
    name_member: &str,
    by_name: Option<T>,
    arn_member: &str,
    by_arn: Option<T>,
) -> Result<T, ApiError> {
    match (by_name, by_arn) {
        (Some(name), Some(other)) if name != other => {
            let reason = format!("{name_member} is {name} and {arn_member} names {other}, expected the same");
            Err(ApiError::invalid(reason))
        }
        (Some(name), _) | (None, Some(name)) => Ok(name),
        (None, None) => Err(ApiError::invalid(format!(
            "{name_member} and {arn_member} are absent, expected one of them"
        ))),
    }
}

async fn existing(api: &ApiState, name: &ThingGroupName) -> Result<Group, ApiError> {
    api.db
        .group(name)
        .await?
        .ok_or_else(|| ApiError::not_found("thing group", name))
}
