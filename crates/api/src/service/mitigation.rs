//! Mitigation actions.

use picket_aws::arn::Resource;
use picket_aws::wire;
use picket_model::name::MitigationActionName;
use picket_store::mitigation_actions::{ActionDefinition, ActionKind, ActionUpdate, MitigationAction};
use serde_json::{Map, Value};

use super::tags;
use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

/// Creates a mitigation action.
///
/// # Errors
/// `InvalidRequestException` unless it has exactly one member in `actionParams`, for logging that is to be turned off, and
/// for tags that break a rule of tags;
/// `ResourceAlreadyExistsException`; `LimitExceededException` when there are 100.
pub async fn create(
    api: Api,
    caller: Caller,
    input: wire::CreateMitigationAction,
) -> Result<wire::WrittenMitigationAction, ApiError> {
    let (kind, params) = checked(input.action_params)?;
    let definition = ActionDefinition {
        kind,
        role_arn: input.role_arn,
        params,
    };
    let tags = tags::at_creation(input.tags)?;
    let arn = api.arn(&caller, Resource::MitigationAction(input.action_name.clone()));
    let created = api
        .db
        .create_mitigation_action(&input.action_name, &definition, &tags, api.now())
        .await;
    let action = created.map_err(|err| ApiError::from(err).about(&input.action_name, arn))?;
    Ok(written(&api, &caller, action))
}

/// Changes a mitigation action, perhaps into one of another type. Tasks that run go on with what it was.
///
/// # Errors
/// `ResourceNotFoundException`; `InvalidRequestException` as for [`create`].
pub async fn update(
    api: Api,
    caller: Caller,
    input: wire::UpdateMitigationAction,
) -> Result<wire::WrittenMitigationAction, ApiError> {
    let update = ActionUpdate {
        role_arn: input.role_arn,
        params: input.action_params.map(checked).transpose()?,
    };
    let action = api
        .db
        .update_mitigation_action(&input.action_name, &update, api.now())
        .await?;
    Ok(written(&api, &caller, action))
}

/// Shows a mitigation action.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn describe(
    api: Api,
    caller: Caller,
    input: wire::DescribeMitigationAction,
) -> Result<wire::MitigationActionDescription, ApiError> {
    let found = api.db.mitigation_action(&input.action_name).await?;
    let action = found.ok_or_else(|| ApiError::not_found("mitigation action", &input.action_name))?;
    Ok(wire::MitigationActionDescription {
        action_name: action.name.to_string(),
        action_type: action.definition.kind.as_str().to_owned(),
        action_arn: api.arn(&caller, Resource::MitigationAction(action.name)),
        action_id: action.id,
        action_params: params_of(&action.definition)?,
        role_arn: action.definition.role_arn,
        creation_date: action.created_at.into(),
        last_modified_date: action.modified_at.into(),
    })
}

/// Removes a mitigation action; one that is not there is removed already.
///
/// # Errors
/// `InvalidRequestException` while a task applies it.
pub async fn delete(api: Api, _: Caller, input: wire::DeleteMitigationAction) -> Result<wire::Done, ApiError> {
    api.db.delete_mitigation_action(&input.action_name).await?;
    Ok(wire::Done {})
}

/// Lists mitigation actions by name.
///
/// # Errors
/// `InvalidRequestException` for a token of another list.
pub async fn list(
    api: Api,
    caller: Caller,
    input: wire::ListMitigationActions,
) -> Result<wire::MitigationActions, ApiError> {
    let page: Page<MitigationActionName> =
        Page::of("ListMitigationActions", input.next_token.as_deref(), input.max_results)?;
    let is_wanted = |action: &MitigationAction| {
        let kind = action.definition.kind.as_str();
        page.after.as_ref().is_none_or(|after| *after < action.name)
            && input.action_type.as_deref().is_none_or(|wanted| wanted == kind)
    };
    let rest = api.db.mitigation_actions().await?.into_iter().filter(is_wanted);
    let (actions, next_token) = page.cut(rest.collect(), |action| action.name.clone());
    let identifier = |action: MitigationAction| wire::MitigationActionIdentifier {
        action_name: action.name.to_string(),
        creation_date: action.created_at.into(),
        action_arn: api.arn(&caller, Resource::MitigationAction(action.name)),
    };
    Ok(wire::MitigationActions {
        action_identifiers: actions.into_iter().map(identifier).collect(),
        next_token,
    })
}

/// The `actionParams` of an action as they were written.
pub(super) fn params_of(definition: &ActionDefinition) -> Result<Map<String, Value>, ApiError> {
    serde_json::from_str(&definition.params).map_err(ApiError::internal)
}

/// The type of an action with these parameters.
fn checked(params: Map<String, Value>) -> Result<(ActionKind, String), ApiError> {
    let mut members = params.keys();
    let (Some(member), None) = (members.next(), members.next()) else {
        let known = ActionKind::ALL.map(ActionKind::member).join(", ");
        return Err(ApiError::invalid(format!(
            "actionParams has {} members, expected exactly one of {known}",
            params.len()
        )));
    };
    let kind = ActionKind::ALL.into_iter().find(|kind| kind.member() == member);
    let kind = kind.ok_or_else(|| ApiError::internal("an action of no type passed its table"))?;
    if kind == ActionKind::EnableIotLogging && params[member]["logLevel"] == "DISABLED" {
        return Err(ApiError::invalid(
            "enableIoTLoggingParams.logLevel is DISABLED, expected DEBUG, INFO, ERROR or WARN: the action turns logging on",
        ));
    }
    Ok((kind, Value::Object(params).to_string()))
}

fn written(api: &ApiState, caller: &Caller, action: MitigationAction) -> wire::WrittenMitigationAction {
    wire::WrittenMitigationAction {
        action_arn: api.arn(caller, Resource::MitigationAction(action.name)),
        action_id: action.id,
    }
}
