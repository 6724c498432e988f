//! Policies and what they are attached to.

use picket_model::name::PolicyName;
use serde::{Deserialize, Serialize};

use super::EpochSecs;
use super::constraint::{ARN, BOOLEAN, MARKER, PAGE_SIZE, POLICY_DOCUMENT, POLICY_NAME, POLICY_VERSION_ID, TAGS};
use super::tag::Tag;
use crate::arn::Arn;
use crate::shape::operations;

operations! {
    /// Creates a policy; its document is version 1, in force.
    CreatePolicy: "POST" "/policies/{policyName}" {
        policy_name: PolicyName = path "policyName" POLICY_NAME,
        policy_document: String = body "policyDocument" POLICY_DOCUMENT,
        tags: Option<Vec<Tag>> = body "tags" TAGS,
    }

    /// Shows a policy with the document in force.
    GetPolicy: "GET" "/policies/{policyName}" {
        policy_name: PolicyName = path "policyName" POLICY_NAME,
    }

    /// Removes a policy that is attached to nothing.
    DeletePolicy: "DELETE" "/policies/{policyName}" {
        policy_name: PolicyName = path "policyName" POLICY_NAME,
    }

    /// Lists policies.
    ListPolicies: "GET" "/policies" {
        marker: Option<String> = query "marker" MARKER,
        page_size: Option<u32> = query "pageSize" PAGE_SIZE,
        ascending_order: Option<bool> = query("isAscendingOrder") "ascendingOrder" BOOLEAN,
    }

    /// Adds a version to a policy.
    CreatePolicyVersion: "POST" "/policies/{policyName}/version" {
        policy_name: PolicyName = path "policyName" POLICY_NAME,
        policy_document: String = body "policyDocument" POLICY_DOCUMENT,
        set_as_default: Option<bool> = query "setAsDefault" BOOLEAN,
    }

    /// Shows a version of a policy.
    GetPolicyVersion: "GET" "/policies/{policyName}/version/{policyVersionId}" {
        policy_name: PolicyName = path "policyName" POLICY_NAME,
        policy_version_id: String = path "policyVersionId" POLICY_VERSION_ID,
    }

    /// Removes a version of a policy that is not in force.
    DeletePolicyVersion: "DELETE" "/policies/{policyName}/version/{policyVersionId}" {
        policy_name: PolicyName = path "policyName" POLICY_NAME,
        policy_version_id: String = path "policyVersionId" POLICY_VERSION_ID,
    }

    /// Lists the versions of a policy, all of them.
    ListPolicyVersions: "GET" "/policies/{policyName}/version" {
        policy_name: PolicyName = path "policyName" POLICY_NAME,
    }

    /// Puts another version of a policy in force.
    SetDefaultPolicyVersion: "PATCH" "/policies/{policyName}/version/{policyVersionId}" {
        policy_name: PolicyName = path "policyName" POLICY_NAME,
        policy_version_id: String = path "policyVersionId" POLICY_VERSION_ID,
    }

    /// Lists what a policy is attached to.
    ListTargetsForPolicy: "POST" "/policy-targets/{policyName}" {
        policy_name: PolicyName = path "policyName" POLICY_NAME,
        marker: Option<String> = query "marker" MARKER,
        page_size: Option<u32> = query "pageSize" PAGE_SIZE,
    }

    /// Attaches a policy to a certificate, as it was done before [`AttachPolicy`].
    AttachPrincipalPolicy: "PUT" "/principal-policies/{policyName}" {
        policy_name: PolicyName = path "policyName" POLICY_NAME,
        principal: Arn = header("x-amzn-iot-principal") "principal" ARN,
    }

    /// Detaches a policy from a certificate, as it was done before [`DetachPolicy`].
    DetachPrincipalPolicy: "DELETE" "/principal-policies/{policyName}" {
        policy_name: PolicyName = path "policyName" POLICY_NAME,
        principal: Arn = header("x-amzn-iot-principal") "principal" ARN,
    }

    /// Lists the policies of a certificate, as it was done before [`ListAttachedPolicies`].
    ListPrincipalPolicies: "GET" "/principal-policies" {
        principal: Arn = header("x-amzn-iot-principal") "principal" ARN,
        marker: Option<String> = query "marker" MARKER,
        page_size: Option<u32> = query "pageSize" PAGE_SIZE,
        ascending_order: Option<bool> = query("isAscendingOrder") "ascendingOrder" BOOLEAN,
    }

    /// Lists the certificates of a policy, as it was done before [`ListTargetsForPolicy`].
    ListPolicyPrincipals: "GET" "/policy-principals" {
        policy_name: PolicyName = header("x-amzn-iot-policy") "policyName" POLICY_NAME,
        marker: Option<String> = query "marker" MARKER,
        page_size: Option<u32> = query "pageSize" PAGE_SIZE,
        ascending_order: Option<bool> = query("isAscendingOrder") "ascendingOrder" BOOLEAN,
    }

    /// Attaches a policy to a certificate or a group.
    AttachPolicy: "PUT" "/target-policies/{policyName}" {
        policy_name: PolicyName = path "policyName" POLICY_NAME,
        target: Arn = body "target" ARN,
    }

    /// Detaches a policy.
    DetachPolicy: "POST" "/target-policies/{policyName}" {
        policy_name: PolicyName = path "policyName" POLICY_NAME,
        target: Arn = body "target" ARN,
    }

    /// Lists the policies of a certificate or a group.
    ListAttachedPolicies: "POST" "/attached-policies/{target}" {
        target: Arn = path "target" ARN,
        recursive: Option<bool> = query "recursive" BOOLEAN,
        marker: Option<String> = query "marker" MARKER,
        page_size: Option<u32> = query "pageSize" PAGE_SIZE,
    }
}

/// Answer of [`CreatePolicy`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedPolicy {
    /// The name.
    pub policy_name: String,
    /// The ARN.
    pub policy_arn: String,
    /// As it was written.
    pub policy_document: String,
    /// `1`.
    pub policy_version_id: String,
}

/// Answer of [`GetPolicy`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyDescription {
    /// The name.
    pub policy_name: String,
    /// The ARN.
    pub policy_arn: String,
    /// The document in force, as it was written.
    pub policy_document: String,
    /// Which version that is.
    pub default_version_id: String,
    /// When it was created.
    pub creation_date: EpochSecs,
    /// When the version in force was changed last.
    pub last_modified_date: EpochSecs,
    /// Another one if it is deleted and created again.
    pub generation_id: String,
}

/// Answer of [`CreatePolicyVersion`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedPolicyVersion {
    /// The policy's ARN.
    pub policy_arn: String,
    /// As it was written.
    pub policy_document: String,
    /// Its number.
    pub policy_version_id: String,
    /// Whether it is in force.
    pub is_default_version: bool,
}

/// Answer of [`GetPolicyVersion`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyVersionDescription {
    /// The policy's ARN.
    pub policy_arn: String,
    /// The policy.
    pub policy_name: String,
    /// As it was written.
    pub policy_document: String,
    /// Its number.
    pub policy_version_id: String,
    /// Whether it is in force.
    pub is_default_version: bool,
    /// When it was created.
    pub creation_date: EpochSecs,
    /// The same: a version does not change.
    pub last_modified_date: EpochSecs,
    /// That of the policy.
    pub generation_id: String,
}

/// Answer of [`ListPolicyVersions`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyVersions {
    /// The newest first.
    pub policy_versions: Vec<PolicyVersionSummary>,
}

/// A version in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyVersionSummary {
    /// Its number.
    pub version_id: String,
    /// Whether it is in force.
    pub is_default_version: bool,
    /// When it was created.
    pub create_date: EpochSecs,
}

/// Answer of [`ListTargetsForPolicy`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTargets {
    /// ARNs of certificates and groups, one page.
    pub targets: Vec<String>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
}

/// Answer of [`ListPolicyPrincipals`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyPrincipals {
    /// ARNs of certificates, one page.
    pub principals: Vec<String>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
}

/// Answer of [`ListPolicies`] and [`ListAttachedPolicies`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policies {
    /// One page.
    pub policies: Vec<PolicySummary>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
}

/// A policy in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicySummary {
    /// The name.
    pub policy_name: String,
    /// The ARN.
    pub policy_arn: String,
}
