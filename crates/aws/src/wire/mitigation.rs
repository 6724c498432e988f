//! Mitigation actions, and the tasks that apply them to violations.

use picket_model::name::{BehaviorName, DeviceName, MitigationActionName, ProfileName, TaskId};
use picket_model::time::Timestamp;
use picket_model::violation::ViolationId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::EpochSecs;
use super::constraint::{
    ACTION_NAME, ANY, BOOLEAN, CLIENT_REQUEST_TOKEN, DEVICE_NAME, NAME, PAGE_SIZE, ROLE_ARN, TAGS, TASK_ID, TIMESTAMP,
    TOKEN, VIOLATION_ID, text,
};
use super::tag::Tag;
use crate::shape::{Shape, member, operations, structures};

const ACTION_TYPE: Shape = Shape::Choice(&[
    "UPDATE_DEVICE_CERTIFICATE",
    "UPDATE_CA_CERTIFICATE",
    "ADD_THINGS_TO_THING_GROUP",
    "REPLACE_DEFAULT_POLICY_VERSION",
    "ENABLE_IOT_LOGGING",
    "PUBLISH_FINDING_TO_SNS",
]);
const LOG_LEVEL: Shape = Shape::Choice(&["DEBUG", "INFO", "ERROR", "WARN", "DISABLED"]);

/// Exactly one of the members is to be there, which the service functions check.
const ACTION_PARAMS: Shape = Shape::Structure(&[
    member!(Option<String>, body "updateDeviceCertificateParams", UPDATE_CERTIFICATE_PARAMS),
    member!(Option<String>, body "updateCACertificateParams", UPDATE_CERTIFICATE_PARAMS),
    member!(Option<String>, body "addThingsToThingGroupParams", Shape::Structure(&[
        member!(String, body "thingGroupNames", Shape::List { of: &NAME, len_min: 1, len_max: 10 }),
        member!(Option<bool>, body "overrideDynamicGroups", BOOLEAN),
    ])),
    member!(Option<String>, body "replaceDefaultPolicyVersionParams", Shape::Structure(&[
        member!(String, body "templateName", Shape::Choice(&["BLANK_POLICY"])),
    ])),
    member!(Option<String>, body "enableIoTLoggingParams", Shape::Structure(&[
        member!(String, body "roleArnForLogging", ROLE_ARN),
        member!(String, body "logLevel", LOG_LEVEL),
    ])),
    member!(Option<String>, body "publishFindingToSnsParams", Shape::Structure(&[
        member!(String, body "topicArn", text(0, 350, &ANY)),
    ])),
]);
const UPDATE_CERTIFICATE_PARAMS: Shape =
    Shape::Structure(&[member!(String, body "action", Shape::Choice(&["DEACTIVATE"]))]);

structures! {
    /// What a task is about: violations, or a profile with or without one of its behaviors.
    DetectTaskTarget, TASK_TARGET {
        violation_ids: Option<Vec<ViolationId>> =
            "violationIds" Shape::List { of: &VIOLATION_ID, len_min: 1, len_max: 25 },
        security_profile_name: Option<ProfileName> = "securityProfileName" NAME,
        behavior_name: Option<BehaviorName> = "behaviorName" NAME,
    }

    /// From when to when violations had events.
    ViolationEventOccurrenceRange, OCCURRENCE_RANGE {
        start_time: Timestamp = "startTime" TIMESTAMP,
        end_time: Timestamp = "endTime" TIMESTAMP,
    }
}

operations! {
    /// Creates a mitigation action.
    CreateMitigationAction: "POST" "/mitigationactions/actions/{actionName}" {
        action_name: MitigationActionName = path "actionName" ACTION_NAME,
        role_arn: String = body "roleArn" ROLE_ARN,
        action_params: Map<String, Value> = body "actionParams" ACTION_PARAMS,
        tags: Option<Vec<Tag>> = body "tags" TAGS,
    }

    /// Changes a mitigation action: what is given replaces, what is not given stays.
    UpdateMitigationAction: "PATCH" "/mitigationactions/actions/{actionName}" {
        action_name: MitigationActionName = path "actionName" ACTION_NAME,
        role_arn: Option<String> = body "roleArn" ROLE_ARN,
        action_params: Option<Map<String, Value>> = body "actionParams" ACTION_PARAMS,
    }

    /// Shows a mitigation action.
    DescribeMitigationAction: "GET" "/mitigationactions/actions/{actionName}" {
        action_name: MitigationActionName = path "actionName" ACTION_NAME,
    }

    /// Removes a mitigation action that no task is at.
    DeleteMitigationAction: "DELETE" "/mitigationactions/actions/{actionName}" {
        action_name: MitigationActionName = path "actionName" ACTION_NAME,
    }

    /// Lists mitigation actions.
    ListMitigationActions: "GET" "/mitigationactions/actions" {
        action_type: Option<String> = query "actionType" ACTION_TYPE,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
        next_token: Option<String> = query "nextToken" TOKEN,
    }

    /// Applies mitigation actions to violations; the same request again is the same.
    StartDetectMitigationActionsTask: "PUT" "/detect/mitigationactions/tasks/{taskId}" {
        task_id: TaskId = path "taskId" TASK_ID,
        target: DetectTaskTarget = body "target" TASK_TARGET,
        actions: Vec<MitigationActionName> = body "actions" Shape::List { of: &ACTION_NAME, len_min: 1, len_max: 5 },
        violation_event_occurrence_range: Option<ViolationEventOccurrenceRange> =
            body "violationEventOccurrenceRange" OCCURRENCE_RANGE,
        include_only_active_violations: Option<bool> = body "includeOnlyActiveViolations" BOOLEAN,
        include_suppressed_alerts: Option<bool> = body "includeSuppressedAlerts" BOOLEAN,
        client_request_token: String = body "clientRequestToken" CLIENT_REQUEST_TOKEN,
    }

    /// Shows a task.
    DescribeDetectMitigationActionsTask: "GET" "/detect/mitigationactions/tasks/{taskId}" {
        task_id: TaskId = path "taskId" TASK_ID,
    }

    /// Lists the tasks that were started from one time to another.
    ListDetectMitigationActionsTasks: "GET" "/detect/mitigationactions/tasks" {
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
        next_token: Option<String> = query "nextToken" TOKEN,
        start_time: Timestamp = query "startTime" TIMESTAMP,
        end_time: Timestamp = query "endTime" TIMESTAMP,
    }

    /// Lists what tasks have done, one action on one violation each.
    ListDetectMitigationActionsExecutions: "GET" "/detect/mitigationactions/executions" {
        task_id: Option<TaskId> = query "taskId" TASK_ID,
        violation_id: Option<ViolationId> = query "violationId" VIOLATION_ID,
        thing_name: Option<DeviceName> = query "thingName" DEVICE_NAME,
        start_time: Option<Timestamp> = query "startTime" TIMESTAMP,
        end_time: Option<Timestamp> = query "endTime" TIMESTAMP,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
        next_token: Option<String> = query "nextToken" TOKEN,
    }

    /// Stops a task: what it has not done yet is not done.
    CancelDetectMitigationActionsTask: "PUT" "/detect/mitigationactions/tasks/{taskId}/cancel" {
        task_id: TaskId = path "taskId" TASK_ID,
    }
}

/// Answer of [`CreateMitigationAction`] and [`UpdateMitigationAction`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WrittenMitigationAction {
    /// The ARN.
    pub action_arn: String,
    /// In the form of a UUID: another one if it is deleted and created again.
    pub action_id: String,
}

/// Answer of [`DescribeMitigationAction`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MitigationActionDescription {
    /// The name.
    pub action_name: String,
    /// Which of `actionParams` is there.
    pub action_type: String,
    /// The ARN.
    pub action_arn: String,
    /// In the form of a UUID.
    pub action_id: String,
    /// A role that AWS would need; stored, and not used.
    pub role_arn: String,
    /// What it does.
    pub action_params: Map<String, Value>,
    /// When it was created.
    pub creation_date: EpochSecs,
    /// When it was changed last.
    pub last_modified_date: EpochSecs,
}

/// Answer of [`ListMitigationActions`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MitigationActions {
    /// One page.
    pub action_identifiers: Vec<MitigationActionIdentifier>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A mitigation action in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MitigationActionIdentifier {
    /// The name.
    pub action_name: String,
    /// The ARN.
    pub action_arn: String,
    /// When it was created.
    pub creation_date: EpochSecs,
}

/// Answer of [`StartDetectMitigationActionsTask`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartedDetectTask {
    /// The id that the caller chose.
    pub task_id: String,
}

/// Answer of [`DescribeDetectMitigationActionsTask`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetectTaskDescription {
    /// The task.
    pub task_summary: DetectTaskSummary,
}

/// Answer of [`ListDetectMitigationActionsTasks`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetectTasks {
    /// One page.
    pub tasks: Vec<DetectTaskSummary>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetectTaskSummary {
    /// The id that the caller chose.
    pub task_id: String,
    /// `IN_PROGRESS`, `SUCCESSFUL`, `FAILED` or `CANCELED`.
    pub task_status: String,
    /// When it was started.
    pub task_start_time: EpochSecs,
    /// When it ended; absent while it is in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_end_time: Option<EpochSecs>,
    /// What it is about.
    pub target: DetectTaskTargetDescription,
    /// Only violations that had an event then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub violation_event_occurrence_range: Option<OccurrenceRangeDescription>,
    /// Only violations that are in alarm.
    pub only_active_violations_included: bool,
    /// Also violations of behaviors that suppress alerts.
    pub suppressed_alerts_included: bool,
    /// The actions as they were when the task was started.
    pub actions_definition: Vec<MitigationActionDefinition>,
    /// What it has done.
    pub task_statistics: DetectTaskStatistics,
}

/// What a task is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetectTaskTargetDescription {
    /// Violations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub violation_ids: Option<Vec<String>>,
    /// A profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_profile_name: Option<String>,
    /// One of its behaviors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior_name: Option<String>,
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OccurrenceRangeDescription {
    /// From when.
    pub start_time: EpochSecs,
    /// To when.
    pub end_time: EpochSecs,
}

/// An action as a task applies it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MitigationActionDefinition {
    /// The name.
    pub name: String,
    /// In the form of a UUID.
    pub id: String,
    /// A role that AWS would need.
    pub role_arn: String,
    /// What it does.
    pub action_params: Map<String, Value>,
}

/// How many actions a task has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetectTaskStatistics {
    /// Done.
    pub actions_executed: u64,
    /// Not tried, because an action before them failed on the same violation.
    pub actions_skipped: u64,
    /// Tried in vain.
    pub actions_failed: u64,
}

/// Answer of [`ListDetectMitigationActionsExecutions`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetectExecutions {
    /// One page.
    pub actions_executions: Vec<DetectExecution>,
    /// Where the next page goes on; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// An action of a task on a violation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetectExecution {
    /// The task.
    pub task_id: String,
    /// The violation.
    pub violation_id: String,
    /// The action.
    pub action_name: String,
    /// The device.
    pub thing_name: String,
    /// When it began.
    pub execution_start_date: EpochSecs,
    /// When it ended.
    pub execution_end_date: EpochSecs,
    /// `SUCCESSFUL`, `FAILED` or `SKIPPED`.
    pub status: String,
    /// The kind of failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// What went wrong, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
