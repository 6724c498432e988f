//! What policies permit, asked without a device.

use picket_model::name::{PolicyName, ThingName};
use serde::{Deserialize, Serialize};

use super::PolicySummary;
use super::constraint::{ANY, ARN, NAME, POLICY_NAME, text};
use crate::arn::Arn;
use crate::shape::{Shape, operations, structures};

structures! {
    /// An action on resources.
    AuthInfo, AUTH_INFO {
        action_type: Option<String> = "actionType" ACTION_TYPE,
        resources: Vec<String> = "resources" RESOURCES,
    }
}

const ACTION_TYPE: Shape = Shape::Choice(&["PUBLISH", "SUBSCRIBE", "RECEIVE", "CONNECT"]);
const RESOURCES: Shape = Shape::List {
    of: &text(0, 2048, &ANY),
    len_min: 0,
    len_max: usize::MAX,
};
const AUTH_INFOS: Shape = Shape::List {
    of: &AUTH_INFO,
    len_min: 1,
    len_max: 10,
};
const POLICY_NAMES: Shape = Shape::List {
    of: &POLICY_NAME,
    len_min: 0,
    len_max: usize::MAX,
};
/// The model bounds neither; no id of either kind is longer.
const ID: Shape = text(0, 2048, &ANY);

operations! {
    /// Lists the policies that have an effect on a certificate, a thing, or both, with their documents.
    GetEffectivePolicies: "POST" "/effective-policies" {
        principal: Option<Arn> = body "principal" ARN,
        cognito_identity_pool_id: Option<String> = body "cognitoIdentityPoolId" ID,
        thing_name: Option<ThingName> = query "thingName" NAME,
    }

    /// Says what the policies of a certificate would permit.
    TestAuthorization: "POST" "/test-authorization" {
        principal: Option<Arn> = body "principal" ARN,
        cognito_identity_pool_id: Option<String> = body "cognitoIdentityPoolId" ID,
        auth_infos: Vec<AuthInfo> = body "authInfos" AUTH_INFOS,
        client_id: Option<String> = query "clientId" ID,
        policy_names_to_add: Option<Vec<PolicyName>> = body "policyNamesToAdd" POLICY_NAMES,
        policy_names_to_skip: Option<Vec<PolicyName>> = body "policyNamesToSkip" POLICY_NAMES,
    }
}

/// Answer of [`GetEffectivePolicies`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectivePolicies {
    /// By name.
    pub effective_policies: Vec<EffectivePolicy>,
}

/// A policy that has an effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectivePolicy {
    /// The name.
    pub policy_name: String,
    /// The ARN.
    pub policy_arn: String,
    /// The document in force, as it was written.
    pub policy_document: String,
}

/// Answer of [`TestAuthorization`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthResults {
    /// One for each question, in their order.
    pub auth_results: Vec<AuthResult>,
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthResult {
    /// The question.
    pub auth_info: AskedAuthInfo,
    /// What allows it.
    pub allowed: DecidingPolicies,
    /// What does not.
    pub denied: Denied,
    /// `ALLOWED`, `EXPLICIT_DENY` or `IMPLICIT_DENY`.
    pub auth_decision: String,
    /// What the policies ask for and what is not known, by its name in policies.
    pub missing_context_values: Vec<String>,
}

/// The question, as it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AskedAuthInfo {
    /// The action.
    pub action_type: String,
    /// The resources.
    pub resources: Vec<String>,
}

/// Policies that answer alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecidingPolicies {
    /// By name.
    pub policies: Vec<PolicySummary>,
}

/// Policies that do not allow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Denied {
    /// Those that say nothing of it.
    pub implicit_deny: DecidingPolicies,
    /// Those that deny it.
    pub explicit_deny: DecidingPolicies,
}
