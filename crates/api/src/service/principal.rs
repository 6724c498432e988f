//! The principals of things: certificates.

use picket_aws::arn::{Arn, Resource};
use picket_aws::wire;
use picket_model::name::{CertificateId, ThingName};
use picket_store::access::AccessScope;
use picket_store::registry::PrincipalKind;

use super::thing;
use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

const EXCLUSIVE: &str = "EXCLUSIVE_THING";
const NON_EXCLUSIVE: &str = "NON_EXCLUSIVE_THING";

/// Attaches a certificate to a thing, exclusively or not; not when it is not said, or as it is when it is attached already.
///
/// # Errors
/// `ResourceNotFoundException` for either; `InvalidRequestException` when the principal is no certificate, or one for another
/// thing alone, or shall be for this thing alone and has others.
pub async fn attach(api: Api, _: Caller, input: wire::AttachThingPrincipal) -> Result<wire::Done, ApiError> {
    let id = certificate_of(&api, input.principal)?;
    let kind = kind_of(input.thing_principal_type.as_deref());
    api.db.attach_principal(&input.thing_name, &id, kind).await?;
    api.changed([AccessScope::Certificate(id), AccessScope::Thing(input.thing_name)])
        .await;
    Ok(wire::Done {})
}

/// Detaches a certificate from a thing; one that is not attached is detached already.
///
/// # Errors
/// `ResourceNotFoundException` for the thing.
pub async fn detach(api: Api, _: Caller, input: wire::DetachThingPrincipal) -> Result<wire::Done, ApiError> {
    let id = certificate_of(&api, input.principal)?;
    api.db.detach_principal(&input.thing_name, &id).await?;
    api.changed([AccessScope::Certificate(id), AccessScope::Thing(input.thing_name)])
        .await;
    Ok(wire::Done {})
}

/// Lists the certificates of a thing.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn of_thing(
    api: Api,
    caller: Caller,
    input: wire::ListThingPrincipals,
) -> Result<wire::Principals, ApiError> {
    let page = Page::of("ListThingPrincipals", input.next_token.as_deref(), input.max_results)?;
    let (read, next_token) = certificates(&api, &input.thing_name, None, &page).await?;
    let arn = |(id, _)| api.arn(&caller, Resource::Certificate(id));
    Ok(wire::Principals {
        principals: read.into_iter().map(arn).collect(),
        next_token,
    })
}

/// Lists the certificates of a thing, with whether they are for it alone.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn of_thing_with_kind(
    api: Api,
    caller: Caller,
    input: wire::ListThingPrincipalsV2,
) -> Result<wire::ThingPrincipals, ApiError> {
    let page = Page::of("ListThingPrincipalsV2", input.next_token.as_deref(), input.max_results)?;
    let only = kind_of(input.thing_principal_type.as_deref());
    let (read, next_token) = certificates(&api, &input.thing_name, only, &page).await?;
    let described = |(id, kind)| wire::ThingPrincipal {
        principal: api.arn(&caller, Resource::Certificate(id)),
        thing_principal_type: text_of(kind),
    };
    Ok(wire::ThingPrincipals {
        thing_principal_objects: read.into_iter().map(described).collect(),
        next_token,
    })
}

/// Lists the things of a certificate.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn things(api: Api, _: Caller, input: wire::ListPrincipalThings) -> Result<wire::ThingNames, ApiError> {
    let page = Page::of("ListPrincipalThings", input.next_token.as_deref(), input.max_results)?;
    let (read, next_token) = things_of(&api, input.principal, None, &page).await?;
    Ok(wire::ThingNames {
        things: read.into_iter().map(|(name, _)| name.to_string()).collect(),
        next_token,
    })
}

/// Lists the things of a certificate, with whether it is for them alone.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn things_with_kind(
    api: Api,
    _: Caller,
    input: wire::ListPrincipalThingsV2,
) -> Result<wire::PrincipalThings, ApiError> {
    let page = Page::of("ListPrincipalThingsV2", input.next_token.as_deref(), input.max_results)?;
    let only = kind_of(input.thing_principal_type.as_deref());
    let (read, next_token) = things_of(&api, input.principal, only, &page).await?;
    let described = |(name, kind): (ThingName, _)| wire::PrincipalThing {
        thing_name: name.to_string(),
        thing_principal_type: text_of(kind),
    };
    Ok(wire::PrincipalThings {
        principal_thing_objects: read.into_iter().map(described).collect(),
        next_token,
    })
}

type Listed<T> = (Vec<(T, PrincipalKind)>, Option<String>);

async fn certificates(
    api: &ApiState,
    name: &ThingName,
    only: Option<PrincipalKind>,
    page: &Page<CertificateId>,
) -> Result<Listed<CertificateId>, ApiError> {
    thing::existing(api, name).await?;
    let after = page.after.as_ref();
    let read = api.db.principals_of_thing(name, only, after, page.n_read()).await?;
    Ok(page.cut(read, |(id, _)| *id))
}

async fn things_of(
    api: &ApiState,
    principal: Arn,
    only: Option<PrincipalKind>,
    page: &Page<ThingName>,
) -> Result<Listed<ThingName>, ApiError> {
    let id = certificate_of(api, principal)?;
    if api.db.certificate(&id).await?.is_none() {
        return Err(ApiError::not_found("certificate", id));
    }
    let after = page.after.as_ref();
    let read = api.db.things_of_principal(&id, only, after, page.n_read()).await?;
    Ok(page.cut(read, |(name, _)| name.clone()))
}

fn kind_of(text: Option<&str>) -> Option<PrincipalKind> {
    text.map(|text| match text {
        EXCLUSIVE => PrincipalKind::Exclusive,
        _ => PrincipalKind::NonExclusive,
    })
}

fn text_of(kind: PrincipalKind) -> String {
    match kind {
        PrincipalKind::Exclusive => EXCLUSIVE,
        PrincipalKind::NonExclusive => NON_EXCLUSIVE,
    }
    .to_owned()
}

/// The certificate that a principal's ARN names: there are no other principals here.
fn certificate_of(api: &ApiState, principal: Arn) -> Result<CertificateId, ApiError> {
    match api.own(principal)? {
        Resource::Certificate(id) => Ok(id),
        other => Err(ApiError::invalid(format!(
            "principal is {other}, expected cert/<64 hex digits>"
        ))),
    }
}
