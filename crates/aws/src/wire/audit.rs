//! Audits: what their operations take, so that a client that is wrong learns it today. No audit runs yet.

use std::collections::BTreeMap;

use picket_model::name::TaskId;
use picket_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::constraint::{
    ACTION_NAME, ANY, BOOLEAN, CERTIFICATE_ID, CLIENT_REQUEST_TOKEN, PAGE_SIZE, POLICY_NAME, ROLE_ARN, TAGS, TASK_ID,
    TIMESTAMP, TOKEN, description, list, text,
};
use crate::shape::{Pattern, Shape, member, operations};

/// The checks there are, as AWS names them on the wire.
pub const AUDIT_CHECKS: [&str; 17] = [
    "AUTHENTICATED_COGNITO_ROLE_OVERLY_PERMISSIVE_CHECK",
    "CA_CERTIFICATE_EXPIRING_CHECK",
    "CA_CERTIFICATE_KEY_QUALITY_CHECK",
    "CONFLICTING_CLIENT_IDS_CHECK",
    "DEVICE_CERTIFICATE_AGE_CHECK",
    "DEVICE_CERTIFICATE_EXPIRING_CHECK",
    "DEVICE_CERTIFICATE_KEY_QUALITY_CHECK",
    "DEVICE_CERTIFICATE_SHARED_CHECK",
    "INTERMEDIATE_CA_REVOKED_FOR_ACTIVE_DEVICE_CERTIFICATES_CHECK",
    "IOT_POLICY_OVERLY_PERMISSIVE_CHECK",
    "IOT_POLICY_POTENTIAL_MISCONFIGURATION_CHECK",
    "IOT_ROLE_ALIAS_ALLOWS_ACCESS_TO_UNUSED_SERVICES_CHECK",
    "IOT_ROLE_ALIAS_OVERLY_PERMISSIVE_CHECK",
    "LOGGING_DISABLED_CHECK",
    "REVOKED_CA_CERTIFICATE_STILL_ACTIVE_CHECK",
    "REVOKED_DEVICE_CERTIFICATE_STILL_ACTIVE_CHECK",
    "UNAUTHENTICATED_COGNITO_ROLE_OVERLY_PERMISSIVE_CHECK",
];

const CHECK_NAME: Shape = text(0, 1024, &ANY);
const CHECK_NAMES: Shape = list(&CHECK_NAME);
const CHECKS: Shape = Shape::Map {
    key: &CHECK_NAME,
    value: &Shape::Structure(&[
        member!(Option<bool>, body "enabled", BOOLEAN),
        member!(Option<String>, body "configuration", Shape::Map {
            key: &Shape::Choice(&["CERT_AGE_THRESHOLD_IN_DAYS", "CERT_EXPIRATION_THRESHOLD_IN_DAYS"]),
            value: &text(1, 64, &ANY),
        }),
    ]),
};
const NOTIFICATION_TARGETS: Shape = Shape::Map {
    key: &Shape::Choice(&["SNS"]),
    value: &Shape::Structure(&[
        member!(Option<String>, body "targetArn", text(0, 2048, &ANY)),
        member!(Option<String>, body "roleArn", ROLE_ARN),
        member!(Option<bool>, body "enabled", BOOLEAN),
    ]),
};
const FREQUENCY: Shape = Shape::Choice(&["DAILY", "WEEKLY", "BIWEEKLY", "MONTHLY"]);
const DAY_OF_WEEK: Shape = Shape::Choice(&["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]);
const DAY_OF_MONTH: Shape = text(
    0,
    4,
    &Pattern {
        expression: "^([1-9]|[12][0-9]|3[01])$|^LAST$",
        fits: |text| {
            let day = text.parse::<u8>().is_ok_and(|day| (1..=31).contains(&day));
            text == "LAST" || (day && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0'))
        },
    },
);
const AUDIT_TASK_ID: Shape = text(
    1,
    40,
    &Pattern {
        expression: "[a-zA-Z0-9\\-]+",
        fits: |text| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
    },
);
const TASK_TYPE: Shape = Shape::Choice(&["ON_DEMAND_AUDIT_TASK", "SCHEDULED_AUDIT_TASK"]);
const TASK_STATUS: Shape = Shape::Choice(&["IN_PROGRESS", "COMPLETED", "FAILED", "CANCELED"]);
const EXECUTION_STATUS: Shape =
    Shape::Choice(&["IN_PROGRESS", "COMPLETED", "FAILED", "CANCELED", "SKIPPED", "PENDING"]);
const DIGITS: Pattern = Pattern {
    expression: "[0-9]+",
    fits: |text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()),
};
const RESOURCE_IDENTIFIER: Shape = Shape::Structure(&[
    member!(Option<String>, body "deviceCertificateId", CERTIFICATE_ID),
    member!(Option<String>, body "caCertificateId", CERTIFICATE_ID),
    member!(Option<String>, body "cognitoIdentityPoolId", CHECK_NAME),
    member!(Option<String>, body "clientId", CHECK_NAME),
    member!(Option<String>, body "policyVersionIdentifier", Shape::Structure(&[
        member!(Option<String>, body "policyName", POLICY_NAME),
        member!(Option<String>, body "policyVersionId", text(0, 19, &DIGITS)),
    ])),
    member!(Option<String>, body "account", text(12, 12, &DIGITS)),
    member!(Option<String>, body "iamRoleArn", ROLE_ARN),
    member!(Option<String>, body "roleAliasArn", text(1, 2048, &ANY)),
    member!(Option<String>, body "issuerCertificateIdentifier", Shape::Structure(&[
        member!(Option<String>, body "issuerCertificateSubject", description(1000)),
        member!(Option<String>, body "issuerId", text(0, 64, &Pattern {
            expression: "(0x)?[a-fA-F0-9]+",
            fits: |text| {
                let digits = text.strip_prefix("0x").unwrap_or(text);
                !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit())
            },
        })),
        member!(Option<String>, body "issuerCertificateSerialNumber", text(0, 20, &Pattern {
            expression: "[a-fA-F0-9:]+",
            fits: |text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'),
        })),
    ])),
    member!(Option<String>, body "deviceCertificateArn", text(0, 2048, &ANY)),
]);
const ACTION_NAMES: Shape = Shape::List {
    of: &ACTION_NAME,
    len_min: 1,
    len_max: 5,
};
const MITIGATION_TARGET: Shape = Shape::Structure(&[
    member!(Option<String>, body "auditTaskId", AUDIT_TASK_ID),
    member!(Option<String>, body "findingIds", Shape::List { of: &TASK_ID, len_min: 1, len_max: 25 }),
    member!(Option<String>, body "auditCheckToReasonCodeFilter", Shape::Map {
        key: &CHECK_NAME,
        value: &Shape::List { of: &CHECK_NAME, len_min: 1, len_max: 25 },
    }),
]);

operations! {
    /// Chooses which checks there are in audits.
    UpdateAccountAuditConfiguration: "PATCH" "/audit/configuration" {
        role_arn: Option<String> = body "roleArn" ROLE_ARN,
        targets: Option<Map<String, Value>> = body "auditNotificationTargetConfigurations" NOTIFICATION_TARGETS,
        checks: Option<Map<String, Value>> = body "auditCheckConfigurations" CHECKS,
    }

    /// Says which checks there are in audits.
    DescribeAccountAuditConfiguration: "GET" "/audit/configuration" {}

    /// Ends all audits.
    DeleteAccountAuditConfiguration: "DELETE" "/audit/configuration" {
        delete_scheduled_audits: Option<bool> = query "deleteScheduledAudits" BOOLEAN,
    }

    /// Has an audit run again and again.
    CreateScheduledAudit: "POST" "/audit/scheduledaudits/{scheduledAuditName}" {
        frequency: String = body "frequency" FREQUENCY,
        day_of_month: Option<String> = body "dayOfMonth" DAY_OF_MONTH,
        day_of_week: Option<String> = body "dayOfWeek" DAY_OF_WEEK,
        target_check_names: Vec<String> = body "targetCheckNames" CHECK_NAMES,
        scheduled_audit_name: String = path "scheduledAuditName" TASK_ID,
        tags: Option<Vec<Value>> = body "tags" TAGS,
    }

    /// Changes when an audit runs, and what it checks.
    UpdateScheduledAudit: "PATCH" "/audit/scheduledaudits/{scheduledAuditName}" {
        frequency: Option<String> = body "frequency" FREQUENCY,
        day_of_month: Option<String> = body "dayOfMonth" DAY_OF_MONTH,
        day_of_week: Option<String> = body "dayOfWeek" DAY_OF_WEEK,
        target_check_names: Option<Vec<String>> = body "targetCheckNames" CHECK_NAMES,
        scheduled_audit_name: String = path "scheduledAuditName" TASK_ID,
    }

    /// Shows when an audit runs.
    DescribeScheduledAudit: "GET" "/audit/scheduledaudits/{scheduledAuditName}" {
        scheduled_audit_name: String = path "scheduledAuditName" TASK_ID,
    }

    /// Lets an audit run no more.
    DeleteScheduledAudit: "DELETE" "/audit/scheduledaudits/{scheduledAuditName}" {
        scheduled_audit_name: String = path "scheduledAuditName" TASK_ID,
    }

    /// Lists the audits that run again and again.
    ListScheduledAudits: "GET" "/audit/scheduledaudits" {
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
    }

    /// Runs an audit now.
    StartOnDemandAuditTask: "POST" "/audit/tasks" {
        target_check_names: Vec<String> = body "targetCheckNames" CHECK_NAMES,
    }

    /// Shows an audit.
    DescribeAuditTask: "GET" "/audit/tasks/{taskId}" {
        task_id: String = path "taskId" AUDIT_TASK_ID,
    }

    /// Lists audits.
    ListAuditTasks: "GET" "/audit/tasks" {
        start_time: Timestamp = query "startTime" TIMESTAMP,
        end_time: Timestamp = query "endTime" TIMESTAMP,
        task_type: Option<String> = query "taskType" TASK_TYPE,
        task_status: Option<String> = query "taskStatus" TASK_STATUS,
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
    }

    /// Ends an audit before its time.
    CancelAuditTask: "PUT" "/audit/tasks/{taskId}/cancel" {
        task_id: String = path "taskId" AUDIT_TASK_ID,
    }

    /// Lists what audits found.
    ListAuditFindings: "POST" "/audit/findings" {
        task_id: Option<String> = body "taskId" AUDIT_TASK_ID,
        check_name: Option<String> = body "checkName" CHECK_NAME,
        resource_identifier: Option<Value> = body "resourceIdentifier" RESOURCE_IDENTIFIER,
        max_results: Option<u32> = body "maxResults" PAGE_SIZE,
        next_token: Option<String> = body "nextToken" TOKEN,
        start_time: Option<Timestamp> = body "startTime" TIMESTAMP,
        end_time: Option<Timestamp> = body "endTime" TIMESTAMP,
        list_suppressed_findings: Option<bool> = body "listSuppressedFindings" BOOLEAN,
    }

    /// Shows what an audit found.
    DescribeAuditFinding: "GET" "/audit/findings/{findingId}" {
        finding_id: String = path "findingId" TASK_ID,
    }

    /// Lists what has to do with what an audit found.
    ListRelatedResourcesForAuditFinding: "GET" "/audit/relatedResources" {
        finding_id: String = query "findingId" TASK_ID,
        next_token: Option<String> = query "nextToken" TOKEN,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
    }

    /// Lets a finding not count.
    CreateAuditSuppression: "POST" "/audit/suppressions/create" {
        check_name: String = body "checkName" CHECK_NAME,
        resource_identifier: Value = body "resourceIdentifier" RESOURCE_IDENTIFIER,
        expiration_date: Option<Timestamp> = body "expirationDate" TIMESTAMP,
        suppress_indefinitely: Option<bool> = body "suppressIndefinitely" BOOLEAN,
        description: Option<String> = body "description" description(1000),
        client_request_token: String = body "clientRequestToken" CLIENT_REQUEST_TOKEN,
    }

    /// Changes for how long a finding does not count.
    UpdateAuditSuppression: "PATCH" "/audit/suppressions/update" {
        check_name: String = body "checkName" CHECK_NAME,
        resource_identifier: Value = body "resourceIdentifier" RESOURCE_IDENTIFIER,
        expiration_date: Option<Timestamp> = body "expirationDate" TIMESTAMP,
        suppress_indefinitely: Option<bool> = body "suppressIndefinitely" BOOLEAN,
        description: Option<String> = body "description" description(1000),
    }

    /// Shows why a finding does not count.
    DescribeAuditSuppression: "POST" "/audit/suppressions/describe" {
        check_name: String = body "checkName" CHECK_NAME,
        resource_identifier: Value = body "resourceIdentifier" RESOURCE_IDENTIFIER,
    }

    /// Lets a finding count again.
    DeleteAuditSuppression: "POST" "/audit/suppressions/delete" {
        check_name: String = body "checkName" CHECK_NAME,
        resource_identifier: Value = body "resourceIdentifier" RESOURCE_IDENTIFIER,
    }

    /// Lists the findings that do not count.
    ListAuditSuppressions: "POST" "/audit/suppressions/list" {
        check_name: Option<String> = body "checkName" CHECK_NAME,
        resource_identifier: Option<Value> = body "resourceIdentifier" RESOURCE_IDENTIFIER,
        ascending_order: Option<bool> = body "ascendingOrder" BOOLEAN,
        next_token: Option<String> = body "nextToken" TOKEN,
        max_results: Option<u32> = body "maxResults" PAGE_SIZE,
    }

    /// Does something about findings.
    StartAuditMitigationActionsTask: "POST" "/audit/mitigationactions/tasks/{taskId}" {
        task_id: TaskId = path "taskId" TASK_ID,
        target: Value = body "target" MITIGATION_TARGET,
        actions: Map<String, Value> = body "auditCheckToActionsMapping" Shape::Map { key: &CHECK_NAME, value: &ACTION_NAMES },
        client_request_token: String = body "clientRequestToken" CLIENT_REQUEST_TOKEN,
    }

    /// Shows what is done about findings.
    DescribeAuditMitigationActionsTask: "GET" "/audit/mitigationactions/tasks/{taskId}" {
        task_id: TaskId = path "taskId" TASK_ID,
    }

    /// Lists what was done about findings.
    ListAuditMitigationActionsTasks: "GET" "/audit/mitigationactions/tasks" {
        audit_task_id: Option<String> = query "auditTaskId" AUDIT_TASK_ID,
        finding_id: Option<String> = query "findingId" TASK_ID,
        task_status: Option<String> = query "taskStatus" TASK_STATUS,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
        next_token: Option<String> = query "nextToken" TOKEN,
        start_time: Timestamp = query "startTime" TIMESTAMP,
        end_time: Timestamp = query "endTime" TIMESTAMP,
    }

    /// Lists each thing that was done about a finding.
    ListAuditMitigationActionsExecutions: "GET" "/audit/mitigationactions/executions" {
        task_id: TaskId = query "taskId" TASK_ID,
        action_status: Option<String> = query "actionStatus" EXECUTION_STATUS,
        finding_id: String = query "findingId" TASK_ID,
        max_results: Option<u32> = query "maxResults" PAGE_SIZE,
        next_token: Option<String> = query "nextToken" TOKEN,
    }

    /// Stops doing something about findings.
    CancelAuditMitigationActionsTask: "PUT" "/audit/mitigationactions/tasks/{taskId}/cancel" {
        task_id: TaskId = path "taskId" TASK_ID,
    }
}

/// Answer of [`DescribeAccountAuditConfiguration`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountAuditConfiguration {
    /// Who is told of audits.
    pub audit_notification_target_configurations: Map<String, Value>,
    /// Every check, and whether it is in audits.
    pub audit_check_configurations: BTreeMap<String, AuditCheckConfiguration>,
}

/// Whether a check is in audits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditCheckConfiguration {
    /// Whether it is.
    pub enabled: bool,
}
