//! Policies and what they are attached to.

use std::error::Error as _;

use picket_aws::arn::{Arn, Resource};
use picket_aws::error::ApiErrorCode;
use picket_aws::wire;
use picket_model::name::PolicyName;
use picket_policy::Document;
use picket_store::access::AccessScope;
use picket_store::registry::PolicyTarget;

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

fn summaries(api: &ApiState, caller: &Caller, page: &Page<PolicyName>, read: Vec<PolicyName>) -> wire::Policies {
    let (names, next_marker) = page.cut(read, Clone::clone);
    let summary = |name: PolicyName| wire::PolicySummary {
        policy_name: name.to_string(),
        policy_arn: api.arn(caller, Resource::Policy(name)),
    };
    wire::Policies {
        policies: names.into_iter().map(summary).collect(),
        next_marker,
    }
}

fn check_document(document: &str) -> Result<(), ApiError> {
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

fn scope_of(target: PolicyTarget) -> AccessScope {
    match target {
        PolicyTarget::Certificate(id) => AccessScope::Certificate(id),
        PolicyTarget::Group(name) => AccessScope::Group(name),
    }
}
