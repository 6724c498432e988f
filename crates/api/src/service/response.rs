//! Responses, and what they or operators decided.

use std::collections::BTreeSet;

use picket_aws::wire::Done;
use picket_aws::wire::picket;
use picket_model::name::ThingGroupName;
use picket_store::decisions::{Cause, Decided, Decision, DecisionFilter, DecisionId, NewDecision, Release};
use picket_store::responses::{Quarantine, Response, Webhook};

use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

/// The group that mirrors an operator's quarantine, unless another one is named.
const GROUP_DEFAULT: &str = "IsolatedDevices";

/// Lists all responses.
///
/// # Errors
/// When they cannot be read.
pub async fn list(api: Api, _: Caller, _: picket::ListResponses) -> Result<picket::Responses, ApiError> {
    let responses = api.db.responses().await?;
    Ok(picket::Responses {
        responses: responses.into_iter().map(described).collect(),
    })
}

/// Says what is to be done when an alarm is raised from now on.
///
/// # Errors
/// `InvalidRequestException` when it would do nothing, or its group is not a root; `ResourceAlreadyExistsException`;
/// `LimitExceededException` when there are 100.
pub async fn create(
    api: Api,
    _: Caller,
    input: picket::CreateResponse,
) -> Result<picket::ResponseDescription, ApiError> {
    if input.quarantine.is_none() && input.webhook.is_none() {
        return Err(ApiError::invalid(
            "quarantine and webhook are absent, expected one of them at least",
        ));
    }
    if let Some(quarantine) = &input.quarantine {
        check_root(&api, &quarantine.thing_group_name).await?;
    }
    let url = input.webhook.map(|webhook| webhook.url.parse()).transpose();
    let url = url.map_err(|err| ApiError::invalid(format!("{err}")))?;
    let response = Response {
        name: input.response_name,
        profiles: input.security_profile_names.unwrap_or_default(),
        behaviors: input.behavior_names.unwrap_or_default(),
        quarantine: input.quarantine.map(|quarantine| Quarantine {
            group: quarantine.thing_group_name,
        }),
        webhook: url.map(|url| Webhook { url }),
        is_enabled: input.is_enabled.unwrap_or(true),
        created_at: api.now(),
    };
    let picket_warnings = warnings(&api, &response).await?;
    api.db.create_response(&response).await?;
    Ok(picket::ResponseDescription {
        picket_warnings,
        ..described(response)
    })
}

/// A response may be there before what it is about. A misspelled one waits for ever.
async fn warnings(api: &ApiState, response: &Response) -> Result<Vec<String>, ApiError> {
    let mut warnings = Vec::new();
    let mut behaviors = BTreeSet::new();
    for name in &response.profiles {
        match api.db.profile(name).await? {
            None => warnings.push(format!(
                "security profile {name} does not exist: nothing is done until it does"
            )),
            Some(profile) => behaviors.extend(profile.behaviors.into_iter().map(|behavior| behavior.name)),
        }
    }
    if !response.profiles.is_empty() && warnings.is_empty() {
        let missing = response.behaviors.iter().filter(|name| !behaviors.contains(*name));
        warnings
            .extend(missing.map(|name| {
                format!("its security profiles have no behavior {name}: nothing is done until one has it")
            }));
    }
    Ok(warnings)
}

/// Shows a response.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn describe(
    api: Api,
    _: Caller,
    input: picket::DescribeResponse,
) -> Result<picket::ResponseDescription, ApiError> {
    let found = api.db.response(&input.response_name).await?;
    found
        .map(described)
        .ok_or_else(|| ApiError::not_found("response", &input.response_name))
}

/// Removes a response; what it has decided stays in force.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn delete(api: Api, _: Caller, input: picket::DeleteResponse) -> Result<Done, ApiError> {
    if api.db.delete_response(&input.response_name).await? {
        Ok(Done {})
    } else {
        Err(ApiError::not_found("response", &input.response_name))
    }
}

/// Lists what was decided, newest first.
///
/// # Errors
/// `InvalidRequestException` for a token of another list.
pub async fn decisions(api: Api, _: Caller, input: picket::ListDecisions) -> Result<picket::Decisions, ApiError> {
    let page: Page<u64> = Page::of("ListDecisions", input.next_token.as_deref(), input.max_results)?;
    let before = page.after.map(DecisionId);
    let read = api
        .db
        .decisions(&DecisionFilter::default(), before, page.n_read())
        .await?;
    let (decisions, next_token) = page.cut(read, |decision| decision.id.0);
    Ok(picket::Decisions {
        decisions: decisions.iter().map(decision_described).collect(),
        next_token,
    })
}

/// Ends one quarantine; the device stays out while there are others.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn undo(api: Api, caller: Caller, input: picket::UndoDecision) -> Result<picket::Released, ApiError> {
    let id = u64::try_from(input.decision_id).map_err(ApiError::internal)?;
    let decided = api
        .db
        .release(&Release::Decision(DecisionId(id)), &who(&caller), api.now())
        .await?;
    Ok(released(&api, decided).await)
}

/// Cuts a device off; live sessions are gone before this returns.
///
/// # Errors
/// `InvalidRequestException` when the group is not a root.
pub async fn quarantine(
    api: Api,
    caller: Caller,
    input: picket::QuarantineThing,
) -> Result<picket::DecisionDescription, ApiError> {
    let group = match input.thing_group_name {
        Some(group) => group,
        None => GROUP_DEFAULT.parse().map_err(ApiError::internal)?,
    };
    check_root(&api, &group).await?;
    let new = NewDecision {
        thing: input.thing_name,
        cause: Cause::Operator,
        group: Some(group),
        at: api.now(),
        by: who(&caller),
    };
    let decided = api.db.quarantine(&new).await?;
    let decided = decided.ok_or_else(|| ApiError::internal("an operator's quarantine met an earlier one"))?;
    let decision = decided.decisions.first().map(decision_described);
    api.changed(decided.scopes).await;
    decision.ok_or_else(|| ApiError::internal("a quarantine without a decision"))
}

/// Ends every quarantine of a device; it may come in before this returns.
///
/// # Errors
/// When it cannot be written.
pub async fn release(api: Api, caller: Caller, input: picket::ReleaseThing) -> Result<picket::Released, ApiError> {
    let decided = api
        .db
        .release(&Release::Thing(input.thing_name), &who(&caller), api.now())
        .await?;
    Ok(released(&api, decided).await)
}

async fn released(api: &ApiState, decided: Decided) -> picket::Released {
    api.changed(decided.scopes).await;
    picket::Released {
        n_released: decided.decisions.len(),
    }
}

/// A thing is in one group of a tree only, so the quarantine group must not be of a tree that things are in for other
/// reasons.
async fn check_root(api: &ApiState, name: &ThingGroupName) -> Result<(), ApiError> {
    match api.db.group(name).await? {
        Some(group) if group.parent.is_some() => {
            let reason =
                format!("thing group {name} has a parent, expected a root: quarantine needs a group of its own");
            Err(ApiError::invalid(reason))
        }
        _ => Ok(()),
    }
}

fn who(caller: &Caller) -> String {
    format!("access key {}", caller.access_key_id)
}

fn described(response: Response) -> picket::ResponseDescription {
    picket::ResponseDescription {
        response_name: response.name.to_string(),
        security_profile_names: response.profiles.iter().map(ToString::to_string).collect(),
        behavior_names: response.behaviors.iter().map(ToString::to_string).collect(),
        quarantine: response.quarantine.map(|quarantine| picket::QuarantineDescription {
            thing_group_name: quarantine.group.to_string(),
        }),
        webhook: response.webhook.map(|webhook| picket::WebhookDescription {
            url: webhook.url.as_str().to_owned(),
        }),
        is_enabled: response.is_enabled,
        picket_warnings: Vec::new(),
    }
}

pub(super) fn decision_described(decision: &Decision) -> picket::DecisionDescription {
    let (violation_id, response_name) = match &decision.cause {
        Cause::Response { violation, response } => (Some(violation.to_string()), Some(response.to_string())),
        Cause::Operator => (None, None),
    };
    picket::DecisionDescription {
        decision_id: decision.id.0.to_string(),
        thing_name: decision.thing.to_string(),
        violation_id,
        response_name,
        thing_group_name: decision.group.as_ref().map(ToString::to_string),
        mirror_failure: decision.mirror_failure.clone(),
        decided_at: decision.decided_at.into(),
        decided_by: decision.decided_by.clone(),
        released_at: decision.released.as_ref().map(|(at, _)| (*at).into()),
        released_by: decision.released.as_ref().map(|(_, by)| by.clone()),
    }
}
