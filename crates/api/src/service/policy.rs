//! Policies and what they are attached to.

use std::error::Error as _;

use picket_aws::arn::{Arn, Resource};
use picket_aws::error::ApiErrorCode;
use picket_aws::wire;
use picket_model::name::{CertificateId, PolicyName};
use picket_policy::Document;
use picket_store::access::AccessScope;
use picket_store::registry::PolicyTarget;

use super::place::TargetPlace;
use super::tags;
use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

/// Characters of a document that are not white space: AWS's quota.
const N_DOCUMENT_CHARS_MAX: usize = 2048;

/// Creates a policy; its document is version 1, in force.
///
/// # Errors
/// `MalformedPolicyException` when the document is none; `ResourceAlreadyExistsException` when there is one of that name.
pub async fn create(api: Api, caller: Caller, input: wire::CreatePolicy) -> Result<wire::CreatedPolicy, ApiError> {
    check_document(&input.policy_document)?;
    let tags = tags::at_creation(input.tags)?;
    let arn = api.arn(&caller, Resource::Policy(input.policy_name.clone()));
    let created = api
        .db
        .create_policy(&input.policy_name, &input.policy_document, &tags, api.now())
        .await;
    let policy = created.map_err(|err| ApiError::from(err).about(&input.policy_name, arn.clone()))?;
    api.changed([AccessScope::Policy(policy.name.clone())]).await;
    Ok(wire::CreatedPolicy {
        policy_name: policy.name.to_string(),
        policy_arn: arn,
        policy_document: policy.document,
        policy_version_id: policy.default_version.to_string(),
    })
}

/// Shows a policy with the document in force.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn show(api: Api, caller: Caller, input: wire::GetPolicy) -> Result<wire::PolicyDescription, ApiError> {
    let found = api.db.policy(&input.policy_name).await?;
    let policy = found.ok_or_else(|| ApiError::not_found("policy", &input.policy_name))?;
    Ok(wire::PolicyDescription {
        policy_name: policy.name.to_string(),
        policy_arn: api.arn(&caller, Resource::Policy(policy.name)),
        policy_document: policy.document,
        default_version_id: policy.default_version.to_string(),
        creation_date: policy.created_at.into(),
        last_modified_date: policy.modified_at.into(),
        generation_id: policy.generation_id,
    })
}

/// Removes a policy that is attached to nothing.
///
/// # Errors
/// `ResourceNotFoundException`; `DeleteConflictException` while it is attached.
pub async fn delete(api: Api, _: Caller, input: wire::DeletePolicy) -> Result<wire::Done, ApiError> {
    api.db.delete_policy(&input.policy_name).await?;
    api.changed([AccessScope::Policy(input.policy_name)]).await;
    Ok(wire::Done {})
}

/// Lists policies by name.
///
/// # Errors
/// `InvalidRequestException` for a marker of another list.
pub async fn list(api: Api, caller: Caller, input: wire::ListPolicies) -> Result<wire::Policies, ApiError> {
    let page: Page<PolicyName> = Page::of("ListPolicies", input.marker.as_deref(), input.page_size)?;
    let is_ascending = input.ascending_order.unwrap_or(true);
    let read = api
        .db
        .policies(page.after.as_ref(), is_ascending, page.n_read())
        .await?;
    Ok(summaries(&api, &caller, &page, read))
}

/// Attaches a policy to a certificate or a group; once more changes nothing.
///
/// # Errors
/// `ResourceNotFoundException` for either; `LimitExceededException` when the target has all it may have.
pub async fn attach(api: Api, _: Caller, input: wire::AttachPolicy) -> Result<wire::Done, ApiError> {
    let target = target_of(&api, input.target)?;
    api.db.attach_policy(&input.policy_name, &target).await?;
    api.changed([scope_of(target)]).await;
    Ok(wire::Done {})
}

/// Detaches a policy; one that is not attached is detached already.
///
/// # Errors
/// `InvalidRequestException` when the target is of a kind that has no policies.
pub async fn detach(api: Api, _: Caller, input: wire::DetachPolicy) -> Result<wire::Done, ApiError> {
    let target = target_of(&api, input.target)?;
    if api.db.detach_policy(&input.policy_name, &target).await? {
        api.changed([scope_of(target)]).await;
    }
    Ok(wire::Done {})
}

/// Lists the policies of a certificate or a group.
///
/// # Errors
/// `ResourceNotFoundException` for the target.
pub async fn attached(api: Api, caller: Caller, input: wire::ListAttachedPolicies) -> Result<wire::Policies, ApiError> {
    let page: Page<PolicyName> = Page::of("ListAttachedPolicies", input.marker.as_deref(), input.page_size)?;
    let target = target_of(&api, input.target)?;
    let is_recursive = input.recursive.unwrap_or_default();
    let read = api
        .db
        .attached_policies(&target, is_recursive, page.after.as_ref(), page.n_read())
        .await?;
    Ok(summaries(&api, &caller, &page, read))
}

/// Lists what a policy is attached to: certificates by id, then groups by name.
///
/// # Errors
/// `ResourceNotFoundException` for the policy.
pub async fn targets(
    api: Api,
    caller: Caller,
    input: wire::ListTargetsForPolicy,
) -> Result<wire::PolicyTargets, ApiError> {
    let page: Page<TargetPlace> = Page::of("ListTargetsForPolicy", input.marker.as_deref(), input.page_size)?;
    let after = page.after.as_ref().map(|place| &place.0);
    let read = api
        .db
        .targets_of_policy(&input.policy_name, after, page.n_read())
        .await?;
    let (targets, next_marker) = page.cut(read, |target| TargetPlace(target.clone()));
    let arn = |target| match target {
        PolicyTarget::Certificate(id) => api.arn(&caller, Resource::Certificate(id)),
        PolicyTarget::Group(name) => api.arn(&caller, Resource::Group(name)),
    };
    Ok(wire::PolicyTargets {
        targets: targets.into_iter().map(arn).collect(),
        next_marker,
    })
}

/// Attaches a policy to a certificate; once more changes nothing.
///
/// # Errors
/// As [`attach`].
pub async fn attach_principal(
    api: Api,
    caller: Caller,
    input: wire::AttachPrincipalPolicy,
) -> Result<wire::Done, ApiError> {
    principal_of(&api, input.principal.clone())?;
    let (policy_name, target) = (input.policy_name, input.principal);
    attach(api, caller, wire::AttachPolicy { policy_name, target }).await
}

/// Detaches a policy from a certificate; one that is not attached is detached already.
///
/// # Errors
/// `ResourceNotFoundException` for either.
pub async fn detach_principal(
    api: Api,
    caller: Caller,
    input: wire::DetachPrincipalPolicy,
) -> Result<wire::Done, ApiError> {
    let id = principal_of(&api, input.principal.clone())?;
    if api.db.policy(&input.policy_name).await?.is_none() {
        return Err(ApiError::not_found("policy", &input.policy_name));
    }
    if api.db.certificate(&id).await?.is_none() {
        return Err(ApiError::not_found("certificate", id));
    }
    let (policy_name, target) = (input.policy_name, input.principal);
    detach(api, caller, wire::DetachPolicy { policy_name, target }).await
}

/// Lists the policies of a certificate.
///
/// # Errors
/// `ResourceNotFoundException` for the certificate.
pub async fn of_principal(
    api: Api,
    caller: Caller,
    input: wire::ListPrincipalPolicies,
) -> Result<wire::Policies, ApiError> {
    let page: Page<PolicyName> = Page::of("ListPrincipalPolicies", input.marker.as_deref(), input.page_size)?;
    let id = principal_of(&api, input.principal)?;
    let is_ascending = input.ascending_order.unwrap_or(true);
    let read = api
        .db
        .policies_of_certificate(&id, is_ascending, page.after.as_ref(), page.n_read())
        .await?;
    Ok(summaries(&api, &caller, &page, read))
}

/// Lists the certificates that a policy is attached to.
///
/// # Errors
/// `ResourceNotFoundException` for the policy.
pub async fn principals(
    api: Api,
    caller: Caller,
    input: wire::ListPolicyPrincipals,
) -> Result<wire::PolicyPrincipals, ApiError> {
    let page: Page<CertificateId> = Page::of("ListPolicyPrincipals", input.marker.as_deref(), input.page_size)?;
    let is_ascending = input.ascending_order.unwrap_or(true);
    let read = api
        .db
        .certificates_of_policy(&input.policy_name, is_ascending, page.after.as_ref(), page.n_read())
        .await?;
    let (ids, next_marker) = page.cut(read, |id| *id);
    let arn = |id| api.arn(&caller, Resource::Certificate(id));
    Ok(wire::PolicyPrincipals {
        principals: ids.into_iter().map(arn).collect(),
        next_marker,
    })
}

fn summaries(api: &ApiState, caller: &Caller, page: &Page<PolicyName>, read: Vec<PolicyName>) -> wire::Policies {
    let (names, next_marker) = page.cut(read, Clone::clone);
    wire::Policies {
        policies: names.into_iter().map(|name| summary(api, caller, name)).collect(),
        next_marker,
    }
}

pub(super) fn summary(api: &ApiState, caller: &Caller, name: PolicyName) -> wire::PolicySummary {
    wire::PolicySummary {
        policy_name: name.to_string(),
        policy_arn: api.arn(caller, Resource::Policy(name)),
    }
}

/// Whether a policy can be made of the text.
///
/// # Errors
/// `MalformedPolicyException`
pub(super) fn check_document(document: &str) -> Result<(), ApiError> {
    let malformed = |message: String| ApiError::new(ApiErrorCode::MalformedPolicyException, message);
    let n_chars = document.chars().filter(|c| !c.is_whitespace()).count();
    if N_DOCUMENT_CHARS_MAX < n_chars {
        let limit = format!("expected {N_DOCUMENT_CHARS_MAX} at most");
        return Err(malformed(format!(
            "policyDocument has {n_chars} characters besides white space, {limit}"
        )));
    }
    document.parse::<Document>().map(|_| ()).map_err(|err| {
        // Where the document is not of the shape, only the cause says what is wrong; it quotes nothing but the document.
        let cause = err.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        malformed(format!("{err}{cause}").chars().take(1000).collect())
    })
}

fn target_of(api: &ApiState, target: Arn) -> Result<PolicyTarget, ApiError> {
    match api.own(target)? {
        Resource::Certificate(id) => Ok(PolicyTarget::Certificate(id)),
        Resource::Group(name) => Ok(PolicyTarget::Group(name)),
        other => Err(ApiError::invalid(format!(
            "target is {other}, expected cert/<64 hex digits> or thinggroup/<name>"
        ))),
    }
}

/// The certificate that a principal is.
///
/// # Errors
/// `InvalidRequestException` when it is something else.
pub(super) fn principal_of(api: &ApiState, principal: Arn) -> Result<CertificateId, ApiError> {
    match api.own(principal)? {
        Resource::Certificate(id) => Ok(id),
        other => Err(ApiError::invalid(format!(
            "principal is {other}, expected cert/<64 hex digits>"
        ))),
    }
}

fn scope_of(target: PolicyTarget) -> AccessScope {
    match target {
        PolicyTarget::Certificate(id) => AccessScope::Certificate(id),
        PolicyTarget::Group(name) => AccessScope::Group(name),
    }
}
