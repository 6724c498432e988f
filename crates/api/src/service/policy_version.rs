//! The versions of policies.

use picket_aws::arn::Resource;
use picket_aws::wire;
use picket_store::access::AccessScope;

use super::policy::check_document;
use crate::error::ApiError;
use crate::state::{Api, Caller};

/// Adds a version to a policy, in force at once with `setAsDefault`.
///
/// # Errors
/// `MalformedPolicyException` when the document is none; `ResourceNotFoundException` for the policy;
/// `VersionsLimitExceededException` when it has 5 versions.
pub async fn create(
    api: Api,
    caller: Caller,
    input: wire::CreatePolicyVersion,
) -> Result<wire::CreatedPolicyVersion, ApiError> {
    check_document(&input.policy_document)?;
    let is_default = input.set_as_default.unwrap_or_default();
    let created = api
        .db
        .create_policy_version(&input.policy_name, &input.policy_document, is_default, api.now())
        .await?;
    if created.is_default {
        api.changed([AccessScope::Policy(input.policy_name.clone())]).await;
    }
    Ok(wire::CreatedPolicyVersion {
        policy_arn: api.arn(&caller, Resource::Policy(input.policy_name)),
        policy_document: created.document,
        policy_version_id: created.version.to_string(),
        is_default_version: created.is_default,
    })
}

/// Shows a version.
///
/// # Errors
/// `ResourceNotFoundException` for the policy or the version.
pub async fn show(
    api: Api,
    caller: Caller,
    input: wire::GetPolicyVersion,
) -> Result<wire::PolicyVersionDescription, ApiError> {
    let policy = api.db.policy(&input.policy_name).await?;
    let policy = policy.ok_or_else(|| ApiError::not_found("policy", &input.policy_name))?;
    let number = number_of(&input.policy_version_id)?;
    let found = api.db.policy_version(&input.policy_name, number).await?;
    let version = found.ok_or_else(|| no_version(&input.policy_version_id))?;
    Ok(wire::PolicyVersionDescription {
        policy_name: input.policy_name.to_string(),
        policy_arn: api.arn(&caller, Resource::Policy(input.policy_name)),
        policy_document: version.document,
        policy_version_id: version.version.to_string(),
        is_default_version: version.is_default,
        creation_date: version.created_at.into(),
        last_modified_date: version.created_at.into(),
        generation_id: policy.generation_id,
    })
}

/// Lists all versions, the newest first.
///
/// # Errors
/// `ResourceNotFoundException` for the policy.
pub async fn list(api: Api, _: Caller, input: wire::ListPolicyVersions) -> Result<wire::PolicyVersions, ApiError> {
    let versions = api.db.policy_versions(&input.policy_name).await?;
    if versions.is_empty() {
        return Err(ApiError::not_found("policy", &input.policy_name));
    }
    let policy_versions = versions.into_iter().map(|version| wire::PolicyVersionSummary {
        version_id: version.version.to_string(),
        is_default_version: version.is_default,
        create_date: version.created_at.into(),
    });
    Ok(wire::PolicyVersions {
        policy_versions: policy_versions.collect(),
    })
}

/// Puts another version in force; live sessions notice before this returns.
///
/// # Errors
/// `ResourceNotFoundException` for the policy or the version.
pub async fn set_default(api: Api, _: Caller, input: wire::SetDefaultPolicyVersion) -> Result<wire::Done, ApiError> {
    let number = number_of(&input.policy_version_id)?;
    api.db
        .set_default_policy_version(&input.policy_name, number, api.now())
        .await?;
    api.changed([AccessScope::Policy(input.policy_name)]).await;
    Ok(wire::Done {})
}

/// Removes a version.
///
/// # Errors
/// `ResourceNotFoundException` for the policy or the version; `DeleteConflictException` while it is in force.
pub async fn delete(api: Api, _: Caller, input: wire::DeletePolicyVersion) -> Result<wire::Done, ApiError> {
    let number = number_of(&input.policy_version_id)?;
    api.db.delete_policy_version(&input.policy_name, number).await?;
    Ok(wire::Done {})
}

/// The number of a version. Digits that are too many for one are the number of none.
fn number_of(id: &str) -> Result<i64, ApiError> {
    id.parse().map_err(|_| no_version(id))
}

fn no_version(id: &str) -> ApiError {
    ApiError::not_found("policy version", id)
}
