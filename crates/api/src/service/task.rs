//! Tasks that apply mitigation actions to violations.

use picket_aws::error::ApiErrorCode;
use picket_aws::wire;
use picket_model::name::{BehaviorName, ProfileName};
use picket_model::violation::ViolationId;
use picket_store::detect_tasks::{
    DetectTask, Execution, ExecutionFilter, ExecutionKey, NewDetectTask, TaskKey, TaskScope, TaskTarget,
};
use picket_store::requests::Request;
use serde_json::json;

use super::mitigation::params_of;
use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, Caller};

/// Starts to apply mitigation actions to violations; the same request again, by its token, is the same.
///
/// # Errors
/// `TaskAlreadyExistsException` when another request took the id; `LimitExceededException` when 5 tasks are in progress;
/// `InvalidRequestException` for a target or an action that does not exist or does not fit.
pub async fn start(
    api: Api,
    _: Caller,
    input: wire::StartDetectMitigationActionsTask,
) -> Result<wire::StartedDetectTask, ApiError> {
    let target = target_of(input.target)?;
    let range = input.violation_event_occurrence_range;
    let range = range.map(|range| (range.start_time, range.end_time));
    if range.is_some_and(|(from, to)| to < from) {
        return Err(ApiError::invalid(
            "violationEventOccurrenceRange: endTime is before startTime, expected it after",
        ));
    }
    let described = described_target(&target);
    let names: Vec<&str> = input.actions.iter().map(|name| name.as_str()).collect();
    let scope = TaskScope {
        target,
        range,
        only_active: input.include_only_active_violations.unwrap_or_default(),
        with_suppressed: input.include_suppressed_alerts.unwrap_or_default(),
    };
    let parameters = json!({
        "target": described,
        "actions": names,
        "range": range.map(|(from, to)| [from.millis(), to.millis()]),
        "onlyActive": scope.only_active,
        "withSuppressed": scope.with_suppressed,
    });
    let new = NewDetectTask {
        id: input.task_id,
        scope,
        actions: input.actions,
        request: Request {
            token: input.client_request_token,
            parameters: parameters.to_string(),
        },
    };
    api.db.start_detect_task(&new, api.now()).await.map_err(|err| {
        let mut err = ApiError::from(err);
        if err.code == ApiErrorCode::ResourceAlreadyExistsException {
            err.code = ApiErrorCode::TaskAlreadyExistsException;
        }
        err
    })?;
    Ok(wire::StartedDetectTask {
        task_id: new.id.to_string(),
    })
}

/// Shows a task.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn describe(
    api: Api,
    _: Caller,
    input: wire::DescribeDetectMitigationActionsTask,
) -> Result<wire::DetectTaskDescription, ApiError> {
    let found = api.db.detect_task(&input.task_id).await?;
    let task = found.ok_or_else(|| ApiError::not_found("task", &input.task_id))?;
    Ok(wire::DetectTaskDescription {
        task_summary: summary(task)?,
    })
}

/// Lists the tasks that were started from one time to another, newest first.
///
/// # Errors
/// `InvalidRequestException` for a token of another list, or an end before the start.
pub async fn list(
    api: Api,
    _: Caller,
    input: wire::ListDetectMitigationActionsTasks,
) -> Result<wire::DetectTasks, ApiError> {
    let list = "ListDetectMitigationActionsTasks";
    let page: Page<TaskKey> = Page::of(list, input.next_token.as_deref(), input.max_results)?;
    if input.end_time < input.start_time {
        return Err(ApiError::invalid("endTime is before startTime, expected it after"));
    }
    let span = (input.start_time, input.end_time);
    let read = api.db.detect_tasks(span, page.after.as_ref(), page.n_read()).await?;
    let (tasks, next_token) = page.cut(read, DetectTask::key);
    Ok(wire::DetectTasks {
        tasks: tasks.into_iter().map(summary).collect::<Result<_, _>>()?,
        next_token,
    })
}

/// Lists what tasks have done, in the order in which they did it.
///
/// # Errors
/// `InvalidRequestException` for a token of another list, or an end before the start.
pub async fn executions(
    api: Api,
    _: Caller,
    input: wire::ListDetectMitigationActionsExecutions,
) -> Result<wire::DetectExecutions, ApiError> {
    let list = "ListDetectMitigationActionsExecutions";
    let page: Page<ExecutionKey> = Page::of(list, input.next_token.as_deref(), input.max_results)?;
    if input.start_time.zip(input.end_time).is_some_and(|(from, to)| to < from) {
        return Err(ApiError::invalid("endTime is before startTime, expected it after"));
    }
    let filter = ExecutionFilter {
        task: input.task_id,
        violation: input.violation_id,
        thing: input.thing_name,
        from: input.start_time,
        to: input.end_time,
    };
    let read = api
        .db
        .detect_executions(&filter, page.after.as_ref(), page.n_read())
        .await?;
    let (executions, next_token) = page.cut(read, Execution::key);
    Ok(wire::DetectExecutions {
        actions_executions: executions.into_iter().map(execution).collect(),
        next_token,
    })
}

/// Stops a task: what it has not done yet is not done, what it has done stays.
///
/// # Errors
/// `ResourceNotFoundException`; `InvalidRequestException` when it ended before.
pub async fn cancel(
    api: Api,
    _: Caller,
    input: wire::CancelDetectMitigationActionsTask,
) -> Result<wire::Done, ApiError> {
    api.db.cancel_detect_task(&input.task_id, api.now()).await?;
    Ok(wire::Done {})
}

fn target_of(target: wire::DetectTaskTarget) -> Result<TaskTarget, ApiError> {
    match (target.violation_ids, target.security_profile_name, target.behavior_name) {
        (Some(ids), None, None) => Ok(TaskTarget::Violations(ids)),
        (None, Some(profile), behavior) => Ok(TaskTarget::Profile { profile, behavior }),
        (None, None, Some(_)) => Err(ApiError::invalid(
            "target has behaviorName without securityProfileName, expected both",
        )),
        _ => Err(ApiError::invalid(
            "target needs either violationIds or securityProfileName, expected exactly one of them",
        )),
    }
}

fn described_target(target: &TaskTarget) -> wire::DetectTaskTargetDescription {
    let none = wire::DetectTaskTargetDescription::default();
    match target {
        TaskTarget::Violations(ids) => wire::DetectTaskTargetDescription {
            violation_ids: Some(ids.iter().map(ViolationId::to_string).collect()),
            ..none
        },
        TaskTarget::Profile { profile, behavior } => wire::DetectTaskTargetDescription {
            security_profile_name: Some(ProfileName::to_string(profile)),
            behavior_name: behavior.as_ref().map(BehaviorName::to_string),
            ..none
        },
    }
}

fn summary(task: DetectTask) -> Result<wire::DetectTaskSummary, ApiError> {
    let range = task.scope.range.map(|(from, to)| wire::OccurrenceRangeDescription {
        start_time: from.into(),
        end_time: to.into(),
    });
    let mut actions_definition = Vec::with_capacity(task.actions.len());
    for action in task.actions {
        actions_definition.push(wire::MitigationActionDefinition {
            name: action.name.to_string(),
            id: action.id,
            action_params: params_of(&action.definition)?,
            role_arn: action.definition.role_arn,
        });
    }
    Ok(wire::DetectTaskSummary {
        task_id: task.id.to_string(),
        task_status: task.status.as_str().to_owned(),
        task_start_time: task.started_at.into(),
        task_end_time: task.ended_at.map(Into::into),
        target: described_target(&task.scope.target),
        violation_event_occurrence_range: range,
        only_active_violations_included: task.scope.only_active,
        suppressed_alerts_included: task.scope.with_suppressed,
        actions_definition,
        task_statistics: wire::DetectTaskStatistics {
            actions_executed: task.n_executed,
            actions_skipped: task.n_skipped,
            actions_failed: task.n_failed,
        },
    })
}

fn execution(execution: Execution) -> wire::DetectExecution {
    let (error_code, message) = execution.failure.unzip();
    wire::DetectExecution {
        task_id: execution.task.to_string(),
        violation_id: execution.violation.to_string(),
        action_name: execution.action.to_string(),
        thing_name: execution.thing.to_string(),
        // An action is one transaction: it has no duration.
        execution_start_date: execution.at.into(),
        execution_end_date: execution.at.into(),
        status: execution.status.as_str().to_owned(),
        error_code,
        message,
    }
}
