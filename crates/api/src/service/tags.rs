//! Tags of resources.

use picket_aws::arn::{Arn, Resource};
use picket_aws::wire;
use picket_store::registry::{Tagged, TaggedKind, Tags};

use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

/// The tags that a resource is created with.
///
/// # Errors
/// `InvalidRequestException` when they break a rule of tags.
pub(super) fn at_creation(tags: Option<Vec<wire::Tag>>) -> Result<Tags, ApiError> {
    let pairs = tags.unwrap_or_default().into_iter();
    Tags::new(pairs.map(|tag| (tag.key, tag.value.unwrap_or_default())))
        .map_err(|err| ApiError::invalid(err.to_string()))
}

/// Gives tags to a resource; a tag that it has gets the new value.
///
/// # Errors
/// `ResourceNotFoundException`; `InvalidRequestException` when the resource is of a kind that has no tags, or the tags break a
/// rule of tags; `LimitExceededException` when it would have more than 50.
pub async fn tag(api: Api, _: Caller, input: wire::TagResource) -> Result<wire::Done, ApiError> {
    let resource = tagged(&api, input.resource_arn)?;
    let tags = at_creation(Some(input.tags))?;
    api.db.tag(&resource, &tags).await?;
    Ok(wire::Done {})
}

/// Takes tags from a resource; one that it does not have is taken already.
///
/// # Errors
/// `ResourceNotFoundException`; `InvalidRequestException` when the resource is of a kind that has no tags.
pub async fn untag(api: Api, _: Caller, input: wire::UntagResource) -> Result<wire::Done, ApiError> {
    let resource = tagged(&api, input.resource_arn)?;
    api.db.untag(&resource, &input.tag_keys).await?;
    Ok(wire::Done {})
}

/// Lists the tags of a resource, all on one page.
///
/// # Errors
/// `ResourceNotFoundException`; `InvalidRequestException` when the resource is of a kind that has no tags.
pub async fn list(api: Api, _: Caller, input: wire::ListTagsForResource) -> Result<wire::ResourceTags, ApiError> {
    let resource = tagged(&api, input.resource_arn)?;
    // There are never two pages, so no token is one of this list.
    let token = input.next_token.as_deref();
    let page: Page<String> = Page::of("ListTagsForResource", token, u32::try_from(Tags::N_MAX).ok())?;
    let tags = api.db.tags(&resource).await?.into_iter();
    let tags = tags
        .map(|(key, value)| wire::Tag {
            key,
            value: Some(value),
        })
        .collect();
    let (tags, next_token) = page.cut(tags, |tag| tag.key.clone());
    Ok(wire::ResourceTags { tags, next_token })
}

/// The resource that an ARN names, if it is of a kind that can have tags.
fn tagged(api: &ApiState, arn: Arn) -> Result<Tagged, ApiError> {
    let (kind, name) = match api.own(arn)? {
        Resource::Group(name) => (TaggedKind::Group, name.to_string()),
        Resource::ThingType(name) => (TaggedKind::ThingType, name.to_string()),
        Resource::Policy(name) => (TaggedKind::Policy, name.to_string()),
        Resource::Profile(name) => (TaggedKind::Profile, name.to_string()),
        Resource::Metric(name) => (TaggedKind::Metric, name.to_string()),
        Resource::Dimension(name) => (TaggedKind::Dimension, name.to_string()),
        Resource::MitigationAction(name) => (TaggedKind::MitigationAction, name.to_string()),
        Resource::CaCertificate(id) => (TaggedKind::CaCertificate, id.to_string()),
        other => {
            let reason = format!("resourceArn is {other}, expected a resource that can have tags");
            return Err(ApiError::invalid(reason));
        }
    };
    Ok(Tagged { kind, name })
}
