//! Policies and what they are attached to.

use picket_model::name::PolicyName;
use serde::{Deserialize, Serialize};

use super::EpochSecs;
use super::constraint::{ARN, BOOLEAN, MARKER, PAGE_SIZE, POLICY_DOCUMENT, POLICY_NAME, TAGS};
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
