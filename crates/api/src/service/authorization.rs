//! What policies permit, asked without a device: by the code that answers the door.

use std::collections::BTreeSet;
use std::sync::Arc;

use picket_aws::arn::Resource;
use picket_aws::wire;
use picket_model::name::{CertificateId, PolicyName};
use picket_policy::{Action, Context, Decision, Document, PolicySet, Reach, Request};

use super::policy::{principal_of, summary};
use crate::access::{Permissions, Standing, parsed};
use crate::error::ApiError;
use crate::state::{Api, ApiState, Caller};

/// Lists the policies that have an effect on a certificate, a thing, or both, with their documents: those attached to the
/// certificate, and those of the thing's groups and of the groups above.
///
/// # Errors
/// `InvalidRequestException` when neither is named; `ResourceNotFoundException` for either.
pub async fn effective(
    api: Api,
    caller: Caller,
    input: wire::GetEffectivePolicies,
) -> Result<wire::EffectivePolicies, ApiError> {
    refuse_cognito(input.cognito_identity_pool_id.as_deref())?;
    if input.principal.is_none() && input.thing_name.is_none() {
        return Err(ApiError::invalid(
            "principal and thingName are absent, expected one of them",
        ));
    }
    let certificate = input.principal.map(|arn| principal_of(&api, arn)).transpose()?;
    let tables = api
        .db
        .access_around(certificate.as_ref(), input.thing_name.as_ref())
        .await?;
    let permissions = Permissions::of(tables.clone());
    let mut names: BTreeSet<&PolicyName> = BTreeSet::new();
    if let Some(id) = &certificate {
        let access = permissions.certificate(id);
        names.extend(&access.ok_or_else(|| ApiError::not_found("certificate", id))?.policies);
    }
    if let Some(thing) = &input.thing_name {
        if !permissions.is_thing(thing.as_str()) {
            return Err(ApiError::not_found("thing", thing));
        }
        names.extend(permissions.policies_of_thing(thing));
    }
    let policy = |(name, document): &(PolicyName, String)| wire::EffectivePolicy {
        policy_name: name.to_string(),
        policy_arn: api.arn(&caller, Resource::Policy(name.clone())),
        policy_document: document.clone(),
    };
    let effective = tables.policies.iter().filter(|(name, _)| names.contains(name));
    Ok(wire::EffectivePolicies {
        effective_policies: effective.map(policy).collect(),
    })
}

/// Says what the policies of a certificate would permit a client. Its status and a quarantine are not policies: they are
/// not asked.
///
/// # Errors
/// `InvalidRequestException` when a resource is none of its action, or there is no policy to ask;
/// `ResourceNotFoundException` for the certificate or a policy to add.
pub async fn test(api: Api, caller: Caller, input: wire::TestAuthorization) -> Result<wire::AuthResults, ApiError> {
    refuse_cognito(input.cognito_identity_pool_id.as_deref())?;
    let added = input.policy_names_to_add.unwrap_or_default();
    if input.principal.is_none() && added.is_empty() {
        return Err(ApiError::invalid(
            "principal and policyNamesToAdd are absent, expected one of them",
        ));
    }
    let certificate = input.principal.map(|arn| principal_of(&api, arn)).transpose()?;
    let permissions = Permissions::of(api.db.access_around(certificate.as_ref(), None).await?);
    let client_id = input.client_id.unwrap_or_default();
    let standing = standing(&permissions, certificate.as_ref(), &client_id)?;
    let mut policies: Vec<(PolicyName, Arc<Document>, Reach)> = standing
        .policies
        .into_iter()
        .map(|(name, document, reach)| (name.clone(), document, reach))
        .collect();
    for name in added {
        let text = api.db.policy_document(&name).await?;
        let text = text.ok_or_else(|| ApiError::not_found("policy", &name))?;
        policies.extend(parsed(&name, &text).map(|document| (name, document, Reach::Full)));
    }
    let skipped = input.policy_names_to_skip.unwrap_or_default();
    policies.retain(|(name, ..)| !skipped.contains(name));
    let context = Context {
        account_id: Some(api.account_id.as_str().into()),
        now: Some(api.now()),
        ..standing.context
    };
    let test = Test {
        set: PolicySet::new(
            policies
                .iter()
                .map(|(_, document, reach)| (Arc::clone(document), *reach))
                .collect(),
        ),
        policies,
        context,
    };
    let results = input.auth_infos.into_iter().enumerate();
    let results = results.map(|(at, info)| test.result(&api, &caller, at, info));
    Ok(wire::AuthResults {
        auth_results: results.collect::<Result<_, _>>()?,
    })
}

/// Policies to ask, by name too.
struct Test {
    policies: Vec<(PolicyName, Arc<Document>, Reach)>,
    set: PolicySet,
    context: Context,
}

impl Test {
    /// The answer to one question: of several resources, the worst counts.
    fn result(
        &self,
        api: &ApiState,
        caller: &Caller,
        at: usize,
        info: wire::AuthInfo,
    ) -> Result<wire::AuthResult, ApiError> {
        let member = format!("authInfos.{}.member", at + 1);
        let kind = info.action_type.unwrap_or_default();
        let action = action_of(&kind).ok_or_else(|| {
            ApiError::invalid(format!(
                "{member}.actionType is absent, expected PUBLISH, SUBSCRIBE, RECEIVE or CONNECT"
            ))
        })?;
        if info.resources.is_empty() {
            return Err(ApiError::invalid(format!(
                "{member}.resources is empty, expected an ARN"
            )));
        }
        let mut total = Decision::Allow;
        let [mut allow, mut implicit, mut explicit] = [const { BTreeSet::new() }; 3];
        for resource in &info.resources {
            let name = name_of(api, action, resource).map_err(|rule| ApiError::invalid(format!("{member}: {rule}")))?;
            let request = Request { action, name };
            total = worse(total, self.set.decide(&self.context, request));
            for ((policy, ..), answer) in self.policies.iter().zip(self.set.answers(&self.context, request)) {
                match answer {
                    Decision::Allow => allow.insert(policy),
                    Decision::ImplicitDeny => implicit.insert(policy),
                    Decision::ExplicitDeny => explicit.insert(policy),
                };
            }
        }
        let missing: BTreeSet<String> = self
            .policies
            .iter()
            .flat_map(|(_, document, _)| document.missing(&self.context, action))
            .collect();
        let deciding = |names: BTreeSet<&PolicyName>| wire::DecidingPolicies {
            policies: names
                .into_iter()
                .map(|name| summary(api, caller, name.clone()))
                .collect(),
        };
        Ok(wire::AuthResult {
            auth_info: wire::AskedAuthInfo {
                action_type: kind,
                resources: info.resources,
            },
            allowed: deciding(allow),
            denied: wire::Denied {
                implicit_deny: deciding(implicit),
                explicit_deny: deciding(explicit),
            },
            auth_decision: match total {
                Decision::Allow => "ALLOWED",
                Decision::ExplicitDeny => "EXPLICIT_DENY",
                Decision::ImplicitDeny => "IMPLICIT_DENY",
            }
            .to_owned(),
            missing_context_values: missing.into_iter().collect(),
        })
    }
}

/// What a client with the certificate counts as; of one without, nothing is known but its id.
fn standing<'a>(
    permissions: &'a Permissions,
    certificate: Option<&CertificateId>,
    client_id: &str,
) -> Result<Standing<'a>, ApiError> {
    let Some(id) = certificate else {
        return Ok(Standing {
            policies: Vec::new(),
            context: Context {
                client_id: client_id.into(),
                ..Context::default()
            },
            things: Vec::new(),
        });
    };
    let access = permissions
        .certificate(id)
        .ok_or_else(|| ApiError::not_found("certificate", id))?;
    Ok(permissions.standing(access, client_id))
}

fn action_of(kind: &str) -> Option<Action> {
    match kind {
        "CONNECT" => Some(Action::Connect),
        "PUBLISH" => Some(Action::Publish),
        "RECEIVE" => Some(Action::Receive),
        "SUBSCRIBE" => Some(Action::Subscribe),
        _ => None,
    }
}

/// What follows the resource's type in its ARN, compared as it is written.
fn name_of<'a>(api: &ApiState, action: Action, arn: &'a str) -> Result<&'a str, String> {
    let wanted = action.resource_prefix();
    let mut parts = arn.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (scheme, _, service, _, account, rest) = (next(), next(), next(), next(), next(), next());
    match rest.strip_prefix(wanted) {
        Some(name) if (scheme, service) == ("arn", "iot") && account == api.account_id => Ok(name),
        _ => Err(format!(
            "resource is {:?}, expected arn:aws:iot:<region>:{}:{wanted}<name>",
            arn.chars().take(200).collect::<String>(),
            api.account_id
        )),
    }
}

fn worse(left: Decision, right: Decision) -> Decision {
    match (left, right) {
        (Decision::ExplicitDeny, _) | (_, Decision::ExplicitDeny) => Decision::ExplicitDeny,
        (Decision::ImplicitDeny, _) | (_, Decision::ImplicitDeny) => Decision::ImplicitDeny,
        (Decision::Allow, Decision::Allow) => Decision::Allow,
    }
}

fn refuse_cognito(id: Option<&str>) -> Result<(), ApiError> {
    match id {
        None => Ok(()),
        Some(_) => Err(ApiError::invalid(
            "cognitoIdentityPoolId is given, but Picket has no Cognito identities: name a certificate as principal",
        )),
    }
}
