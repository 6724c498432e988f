"""Walks custom metrics, dimensions, profiles, audits and mitigation with boto3: what is allowed, and each rule that is not."""

from datetime import datetime, timedelta, timezone

import boto3
from botocore.exceptions import ClientError

iot = boto3.client("iot")
ACCOUNT = "arn:aws:iot:eu-central-1:123456789012"
ROLE = "arn:aws:iam::123456789012:role/r"
NOW = datetime.now(timezone.utc)


def refused(code, status, part, operation, **members):
    """The call is refused with this error, status and text."""
    try:
        operation(**members)
    except ClientError as err:
        found = (err.response["Error"]["Code"], err.response["ResponseMetadata"]["HTTPStatusCode"])
        assert found == (code, status), (found, err)
        assert part in str(err), err
        return err.response
    raise AssertionError(f"{operation} was not refused: {members}")


def invalid(part, operation, **members):
    return refused("InvalidRequestException", 400, part, operation, **members)


def pages(operation, result, **members):
    return [item for page in iot.get_paginator(operation).paginate(**members) for item in page[result]]


def metrics():
    cpu = {"metricName": "cpu", "metricType": "number", "displayName": "CPU load"}
    created = iot.create_custom_metric(clientRequestToken="m1", **cpu)
    assert created == iot.create_custom_metric(clientRequestToken="m1", **cpu) | {"ResponseMetadata": created["ResponseMetadata"]}
    exists = refused("ResourceAlreadyExistsException", 409, "cpu", iot.create_custom_metric, clientRequestToken="m2", **cpu)
    assert exists["resourceArn"] == f"{ACCOUNT}:custommetric/cpu" and exists["resourceId"] == "cpu", exists
    invalid("other parameters", iot.create_custom_metric, metricName="ram", metricType="number", clientRequestToken="m1")
    invalid("pattern", iot.create_custom_metric, metricName="ram", metricType="number", clientRequestToken="m 1")
    own = "picket:silence-duration"
    invalid("measures itself", iot.create_custom_metric, metricName=own, metricType="number", clientRequestToken="m3")
    updated = iot.update_custom_metric(metricName="cpu", displayName="Processor")
    assert updated["displayName"] == "Processor" and updated["metricType"] == "number", updated
    assert updated["lastModifiedDate"] >= updated["creationDate"], updated
    iot.create_custom_metric(clientRequestToken="m1", **cpu)
    assert iot.describe_custom_metric(metricName="cpu")["displayName"] == "Processor"
    refused("ResourceNotFoundException", 404, "ram", iot.update_custom_metric, metricName="ram", displayName="x")
    invalid("128", iot.update_custom_metric, metricName="cpu", displayName="x" * 129)


def dimensions():
    admin = {"name": "admin", "type": "TOPIC_FILTER", "stringValues": ["admin/#", "${iot:ClientId}/up"]}
    created = iot.create_dimension(clientRequestToken="d1", **admin)
    assert created["arn"] == f"{ACCOUNT}:dimension/admin" and created["name"] == "admin", created
    iot.create_dimension(clientRequestToken="d1", **admin)
    refused("ResourceAlreadyExistsException", 409, "admin", iot.create_dimension, clientRequestToken="d2", **admin)
    invalid("other parameters", iot.create_dimension, clientRequestToken="d1", **admin | {"stringValues": ["x"]})
    invalid("other parameters", iot.create_dimension, clientRequestToken="d1", **admin | {"name": "other"})
    invalid("enum value set", iot.create_dimension, clientRequestToken="d3", **admin | {"type": "TOPIC"})
    invalid("stringValues.2.member", iot.create_dimension, clientRequestToken="d3", **admin | {"stringValues": ["a", "a/#/b"]})
    invalid("less than or equal to 256", iot.create_dimension, clientRequestToken="d3", **admin | {"stringValues": ["a" * 257]})
    described = iot.describe_dimension(name="admin")
    assert described["type"] == "TOPIC_FILTER" and described["stringValues"] == admin["stringValues"], described
    updated = iot.update_dimension(name="admin", stringValues=["admin/+"])
    assert updated["stringValues"] == ["admin/+"] and updated["arn"] == created["arn"], updated
    for n in range(9):
        iot.create_dimension(name=f"d-{n}", type="TOPIC_FILTER", stringValues=["x"], clientRequestToken=f"n{n}")
    refused("LimitExceededException", 410, "10", iot.create_dimension, clientRequestToken="d9", **admin | {"name": "eleventh"})
    assert pages("list_dimensions", "dimensionNames", PaginationConfig={"PageSize": 3}) == ["admin"] + [f"d-{n}" for n in range(9)]
    for n in range(9):
        iot.delete_dimension(name=f"d-{n}")
    iot.delete_dimension(name="never-was")
    refused("ResourceNotFoundException", 404, "d-1", iot.describe_dimension, name="d-1")
    refused("ResourceNotFoundException", 404, "d-1", iot.update_dimension, name="d-1", stringValues=["x"])


def behavior(metric="aws:all-bytes-out", operator="less-than", duration=300, dimension=None, **criteria):
    written = {"comparisonOperator": operator, "durationSeconds": duration, **criteria}
    if "value" not in criteria and "statisticalThreshold" not in criteria and "mlDetectionConfig" not in criteria:
        written["value"] = {"count": 1}
    made = {"name": "b", "metric": metric, "criteria": {key: value for key, value in written.items() if value is not None}}
    return made | ({"metricDimension": {"dimensionName": dimension}} if dimension else {})


SENT = "aws:num-messages-sent"
ADDRESS = "aws:source-ip-address"
PORTS = "aws:listening-tcp-ports"
LEARNED = {"operator": None, "duration": None, "mlDetectionConfig": {"confidenceLevel": "LOW"}}
MEDIAN = {"statisticalThreshold": {"statistic": "p50"}}
# Behaviors that break one rule each, and a part of what is said about it.
BROKEN = [
    (behavior("aws:made-up"), "none of AWS"),
    (behavior("ram"), "no custom metric of that name"),
    (behavior(operator="in-set"), "comparisonOperator"),
    (behavior(operator="is"), "enum value set"),
    (behavior(duration=None), "requires criteria's duration field to be set"),
    (behavior(duration=301), "durationSeconds 301 should be one of"),
    (behavior(PORTS, "in-port-set", value={"ports": [1]}), "does not allow criteria's duration"),
    (behavior(PORTS, "in-port-set", None, value={"ports": [65536]}), "65535"),
    (behavior(PORTS, "in-port-set", None, value={"ports": []}), "should not be empty"),
    (behavior(PORTS, "in-port-set", None, value={"cidrs": ["::/0"]}), "requires value.ports"),
    (behavior(ADDRESS, "in-cidr-set", None, value={"cidrs": ["host"]}), "pattern"),
    (behavior(ADDRESS, "in-cidr-set", None, value={"cidrs": ["1" * 44]}), "less than or equal to 43"),
    (behavior(value={"count": 1 << 63}), "whole number"),
    (behavior(value={"count": 1, "number": 1.5}), "2 members"),
    (behavior("cpu", duration=None, value={"count": 1}), "requires value.number"),
    (behavior(value={"count": 1}, **MEDIAN), "exactly one of"),
    (behavior(statisticalThreshold={"statistic": "p95"}), "pattern"),
    (behavior(duration=None, **MEDIAN), "requires criteria's duration"),
    (behavior(PORTS, "in-port-set", **MEDIAN), "does not support statisticalThreshold"),
    (behavior(PORTS, **LEARNED), "does not support mlDetectionConfig"),
    (behavior(**LEARNED | {"duration": 300}), "allows neither"),
    (behavior(**LEARNED | {"mlDetectionConfig": {"confidenceLevel": "SURE"}}), "enum value set"),
    (behavior(dimension="admin"), "does not support metricDimension"),
    (behavior("cpu", duration=None, dimension="admin", value={"number": 0.5}), "does not support metricDimension"),
    (behavior(SENT, dimension="nobody"), "dimension nobody does not exist"),
    (behavior(consecutiveDatapointsToAlarm=11), "consecutiveDatapointsToAlarm 11 should be in range[1,10]"),
    (behavior() | {"name": "b c"}, "pattern"),
]


def rules():
    for broken, part in BROKEN:
        invalid(part, iot.create_security_profile, securityProfileName="broken", behaviors=[broken])
    # A range comes before what goes together, and before what exists.
    for member in ["consecutiveDatapointsToAlarm", "consecutiveDatapointsToClear"]:
        for run in [11, 100000]:
            bare = [{"name": "b", "criteria": {member: run}}]
            text = f"{member} {run} should be in range[1,10]"
            invalid(text, iot.create_security_profile, securityProfileName="broken", behaviors=bare)
            invalid(text, iot.update_security_profile, securityProfileName="nobody", behaviors=bare)
            checked = iot.validate_security_profile_behaviors(behaviors=bare)
            assert not checked["valid"] and text in checked["validationErrors"][0]["errorMessage"], checked
    # What AWS's own example shows: no error, but an answer.
    many = behavior(consecutiveDatapointsToAlarm=100000) | {"name": "Authorization"}
    wrong = iot.validate_security_profile_behaviors(behaviors=[many, behavior(SENT, dimension="nobody"), behavior()])
    text = "Behavior Authorization is malformed. consecutiveDatapointsToAlarm 100000 should be in range[1,10]"
    assert not wrong["valid"] and wrong["validationErrors"][0]["errorMessage"] == text, wrong
    valid = iot.validate_security_profile_behaviors(behaviors=[behavior()])
    assert valid["valid"] and valid["validationErrors"] == [], valid
    invalid("has this name", iot.create_security_profile, securityProfileName="broken", behaviors=[behavior(), behavior()])
    ports = {"ports": list(range(1001))}
    invalid("at most 1000", iot.create_security_profile, securityProfileName="broken", behaviors=[behavior(PORTS, "in-port-set", None, value=ports)])
    hundred = [behavior() | {"name": f"b{n}"} for n in range(101)]
    invalid("less than or equal to 100", iot.create_security_profile, securityProfileName="broken", behaviors=hundred)
    for extra, part in [
        ({"alertTargets": {"MAIL": {"alertTargetArn": "x", "roleArn": ROLE}}}, "enum value set"),
        ({"alertTargets": {"SNS": {"alertTargetArn": "x", "roleArn": "x" * 2049}}}, "2048"),
        ({"additionalMetricsToRetain": ["nobody"]}, "no custom metric"),
        ({"additionalMetricsToRetainV2": [{"metric": "aws:nothing"}]}, "none of AWS"),
        ({"additionalMetricsToRetainV2": [{"metric": SENT, "metricDimension": {"dimensionName": "nobody"}}]}, "nobody"),
        ({"additionalMetricsToRetainV2": [{"metric": "cpu", "metricDimension": {"dimensionName": "admin"}}]}, "support"),
        ({"additionalMetricsToRetainV2": [{"metric": "cpu", "exportMetric": True}]}, "metricsExportConfig"),
        ({"metricsExportConfig": {"mqttTopic": "x" * 513, "roleArn": ROLE}}, "512"),
        ({"metricsExportConfig": {"mqttTopic": "$aws/things/a", "roleArn": ROLE}}, "does not begin with $"),
        ({"behaviors": [behavior() | {"exportMetric": True}]}, "metricsExportConfig"),
    ]:
        invalid(part, iot.create_security_profile, securityProfileName="broken", **extra)


def profiles():
    export = {"mqttTopic": "metrics", "roleArn": ROLE}
    retained = [{"metric": SENT, "metricDimension": {"dimensionName": "admin", "operator": "NOT_IN"}, "exportMetric": True}]
    iot.create_security_profile(
        securityProfileName="p",
        behaviors=[behavior("cpu", duration=None, value={"number": 0.5})],
        additionalMetricsToRetain=["aws:all-bytes-in"],
        additionalMetricsToRetainV2=retained,
        metricsExportConfig=export,
    )
    described = iot.describe_security_profile(securityProfileName="p")
    assert described["metricsExportConfig"] == export and described["additionalMetricsToRetainV2"] == retained, described
    assert described["additionalMetricsToRetain"] == ["aws:all-bytes-in"], described
    names = lambda **by: [profile["name"] for profile in pages("list_security_profiles", "securityProfileIdentifiers", **by)]
    assert names(dimensionName="admin") == ["p"] and names(metricName="cpu") == ["p"] and names(metricName="ram") == []
    invalid("both given", iot.list_security_profiles, dimensionName="admin", metricName="cpu")
    invalid("still used by security profile p", iot.delete_dimension, name="admin")
    invalid("still used by security profile p", iot.delete_custom_metric, metricName="cpu")
    invalid("metricsExportConfig", iot.update_security_profile, securityProfileName="p", deleteMetricsExportConfig=True)
    for flag, member, value in [
        ("deleteBehaviors", "behaviors", []),
        ("deleteAlertTargets", "alertTargets", {}),
        ("deleteAdditionalMetricsToRetain", "additionalMetricsToRetain", []),
        ("deleteAdditionalMetricsToRetain", "additionalMetricsToRetainV2", []),
        ("deleteMetricsExportConfig", "metricsExportConfig", export),
    ]:
        invalid("both given", iot.update_security_profile, securityProfileName="p", **{flag: True, member: value})
    cleared = {"deleteMetricsExportConfig": True, "deleteAdditionalMetricsToRetain": True, "deleteBehaviors": True}
    updated = iot.update_security_profile(securityProfileName="p", expectedVersion=1, **cleared)
    assert updated["version"] == 2 and updated["behaviors"] == [], updated
    assert not {"metricsExportConfig", "additionalMetricsToRetain", "additionalMetricsToRetainV2"} & set(updated), updated
    refused("VersionConflictException", 409, "version 2", iot.delete_security_profile, securityProfileName="p", expectedVersion=1)
    iot.delete_security_profile(securityProfileName="p", expectedVersion=2)
    iot.delete_dimension(name="admin")


def learning():
    for n in range(3):
        behaviors = [behavior(**LEARNED) | {"name": f"b{m}"} for m in range(7)] + [behavior()]
        iot.create_security_profile(securityProfileName=f"learns-{n}", behaviors=behaviors)
    summaries = pages("get_behavior_model_training_summaries", "summaries")
    places = [(one["securityProfileName"], one["behaviorName"]) for one in summaries]
    assert places == [(f"learns-{n}", f"b{m}") for n in range(3) for m in range(7)], places
    assert {(one["modelStatus"], one["datapointsCollectionPercentage"]) for one in summaries} == {("PENDING_BUILD", 0.0)}
    assert len(iot.get_behavior_model_training_summaries()["summaries"]) == 10
    assert len(pages("get_behavior_model_training_summaries", "summaries", securityProfileName="learns-1")) == 7
    refused("ResourceNotFoundException", 404, "nobody", iot.get_behavior_model_training_summaries, securityProfileName="nobody")
    invalid("less than or equal to 10", iot.get_behavior_model_training_summaries, maxResults=11)
    for n in range(3):
        iot.delete_security_profile(securityProfileName=f"learns-{n}")


def values():
    span = {"startTime": NOW - timedelta(days=1), "endTime": NOW}
    asked = {"thingName": "a thing", "metricName": SENT, **span}
    assert pages("list_metric_values", "metricDatumList", **asked) == []
    assert pages("list_metric_values", "metricDatumList", **asked | {"metricName": "cpu"}) == []
    refused("ResourceNotFoundException", 404, "ram", iot.list_metric_values, **asked | {"metricName": "ram"})
    invalid("none of AWS", iot.list_metric_values, **asked | {"metricName": "aws:nothing"})
    invalid("before startTime", iot.list_metric_values, **asked | {"startTime": NOW, "endTime": span["startTime"]})
    refused("ResourceNotFoundException", 404, "nobody", iot.list_metric_values, **asked, dimensionName="nobody")
    invalid("without dimensionName", iot.list_metric_values, **asked, dimensionValueOperator="IN")
    invalid("does not support", iot.list_metric_values, **asked | {"metricName": "cpu"}, dimensionName="nobody")
    invalid("250", iot.list_metric_values, **asked, maxResults=251)


def audits():
    configuration = iot.describe_account_audit_configuration()
    checks = configuration["auditCheckConfigurations"]
    assert len(checks) == 17 and all(check == {"enabled": False} for check in checks.values()), checks
    assert "DEVICE_CERTIFICATE_SHARED_CHECK" in checks and "roleArn" not in configuration, configuration
    span = {"startTime": NOW - timedelta(days=1), "endTime": NOW}
    task, finding = {"taskId": "a" * 32}, {"findingId": "f"}
    audit = {"scheduledAuditName": "s"}
    suppressed = {"checkName": "C", "resourceIdentifier": {"account": "123456789012"}}
    mitigation = {"target": {"auditTaskId": "a"}, "auditCheckToActionsMapping": {"C": ["a"]}, "clientRequestToken": "t"}
    for operation, members in {
        "update_account_audit_configuration": {"roleArn": ROLE, "auditCheckConfigurations": {"C": {"enabled": True}}},
        "delete_account_audit_configuration": {"deleteScheduledAudits": True},
        "create_scheduled_audit": {**audit, "frequency": "MONTHLY", "dayOfMonth": "LAST", "targetCheckNames": ["C"]},
        "update_scheduled_audit": {**audit, "dayOfWeek": "MON"},
        "describe_scheduled_audit": audit,
        "delete_scheduled_audit": audit,
        "list_scheduled_audits": {},
        "start_on_demand_audit_task": {"targetCheckNames": ["LOGGING_DISABLED_CHECK"]},
        "describe_audit_task": task,
        "list_audit_tasks": {**span, "taskStatus": "COMPLETED"},
        "cancel_audit_task": task,
        "list_audit_findings": {**span, "resourceIdentifier": {"clientId": "c"}},
        "describe_audit_finding": finding,
        "list_related_resources_for_audit_finding": finding,
        "create_audit_suppression": {**suppressed, "expirationDate": NOW, "clientRequestToken": "t"},
        "update_audit_suppression": suppressed,
        "describe_audit_suppression": suppressed,
        "delete_audit_suppression": suppressed,
        "list_audit_suppressions": {"ascendingOrder": True},
        "start_audit_mitigation_actions_task": {"taskId": "t", **mitigation},
        "describe_audit_mitigation_actions_task": {"taskId": "t"},
        "list_audit_mitigation_actions_tasks": span,
        "list_audit_mitigation_actions_executions": {"taskId": "t", **finding},
        "cancel_audit_mitigation_actions_task": {"taskId": "t"},
    }.items():
        invalid("audits are not available in this version", getattr(iot, operation), **members)
    late = {**audit, "frequency": "MONTHLY", "dayOfMonth": "32", "targetCheckNames": ["C"]}
    invalid("pattern", iot.create_scheduled_audit, **late)
    invalid("'resourceIdentifier.account'", iot.list_audit_suppressions, resourceIdentifier={"account": "x" * 12})


PARAMS = {
    "UPDATE_DEVICE_CERTIFICATE": {"updateDeviceCertificateParams": {"action": "DEACTIVATE"}},
    "UPDATE_CA_CERTIFICATE": {"updateCACertificateParams": {"action": "DEACTIVATE"}},
    "ADD_THINGS_TO_THING_GROUP": {"addThingsToThingGroupParams": {"thingGroupNames": ["Q"], "overrideDynamicGroups": True}},
    "REPLACE_DEFAULT_POLICY_VERSION": {"replaceDefaultPolicyVersionParams": {"templateName": "BLANK_POLICY"}},
    "ENABLE_IOT_LOGGING": {"enableIoTLoggingParams": {"roleArnForLogging": ROLE, "logLevel": "WARN"}},
    "PUBLISH_FINDING_TO_SNS": {"publishFindingToSnsParams": {"topicArn": "arn:aws:sns:eu-central-1:123456789012:t"}},
}


def actions():
    for kind, params in PARAMS.items():
        created = iot.create_mitigation_action(actionName=kind.lower(), roleArn=ROLE, actionParams=params)
        assert created["actionArn"] == f"{ACCOUNT}:mitigationaction/{kind.lower()}", created
        described = iot.describe_mitigation_action(actionName=kind.lower())
        assert described["actionType"] == kind and described["actionParams"] == params, described
        assert described["actionId"] == created["actionId"] and described["roleArn"] == ROLE, described
        listed = pages("list_mitigation_actions", "actionIdentifiers", actionType=kind)
        assert [one["actionName"] for one in listed] == [kind.lower()], listed
    listed = pages("list_mitigation_actions", "actionIdentifiers", PaginationConfig={"PageSize": 2})
    assert [one["actionName"] for one in listed] == sorted(kind.lower() for kind in PARAMS), listed
    taken = {"actionName": "enable_iot_logging", "roleArn": ROLE, "actionParams": PARAMS["ENABLE_IOT_LOGGING"]}
    exists = refused("ResourceAlreadyExistsException", 409, "enable_iot_logging", iot.create_mitigation_action, **taken)
    assert exists["resourceId"] == "enable_iot_logging", exists
    off = {"enableIoTLoggingParams": {"roleArnForLogging": ROLE, "logLevel": "DISABLED"}}
    two = PARAMS["UPDATE_CA_CERTIFICATE"] | PARAMS["UPDATE_DEVICE_CERTIFICATE"]
    for params, part in [
        ({}, "0 members"),
        (two, "2 members"),
        (off, "DISABLED"),
        ({"addThingsToThingGroupParams": {"thingGroupNames": ["a b"]}}, "pattern"),
        ({"addThingsToThingGroupParams": {"thingGroupNames": ["g"] * 11}}, "less than or equal to 10"),
        ({"replaceDefaultPolicyVersionParams": {"templateName": "FULL"}}, "enum value set"),
        ({"publishFindingToSnsParams": {"topicArn": "x" * 351}}, "350"),
    ]:
        invalid(part, iot.create_mitigation_action, actionName="bad", roleArn=ROLE, actionParams=params)
        invalid(part, iot.update_mitigation_action, actionName="enable_iot_logging", actionParams=params)
    invalid("pattern", iot.create_mitigation_action, actionName="a:b", roleArn=ROLE, actionParams=PARAMS["UPDATE_CA_CERTIFICATE"])
    louder = {"enableIoTLoggingParams": {"roleArnForLogging": ROLE, "logLevel": "DEBUG"}}
    iot.update_mitigation_action(actionName="enable_iot_logging", actionParams=louder)
    assert iot.describe_mitigation_action(actionName="enable_iot_logging")["actionParams"] == louder
    refused("ResourceNotFoundException", 404, "nobody", iot.describe_mitigation_action, actionName="nobody")
    refused("ResourceNotFoundException", 404, "nobody", iot.update_mitigation_action, actionName="nobody", roleArn=ROLE)
    iot.delete_mitigation_action(actionName="publish_finding_to_sns")
    iot.delete_mitigation_action(actionName="publish_finding_to_sns")
    tagged = {"actionName": "tagged", "roleArn": ROLE, "actionParams": louder, "tags": [{"Key": "team", "Value": "red"}]}
    arn = iot.create_mitigation_action(**tagged)["actionArn"]
    iot.tag_resource(resourceArn=arn, tags=[{"Key": "floor", "Value": "2"}])
    listed = {tag["Key"]: tag["Value"] for tag in iot.list_tags_for_resource(resourceArn=arn)["tags"]}
    assert listed == {"team": "red", "floor": "2"}, listed
    invalid("twice", iot.create_mitigation_action, **tagged | {"tags": tagged["tags"] * 2})
    iot.delete_mitigation_action(actionName="tagged")
    refused("ResourceNotFoundException", 404, "tagged", iot.list_tags_for_resource, resourceArn=arn)
    for n in range(95):
        iot.create_mitigation_action(actionName=f"a-{n}", roleArn=ROLE, actionParams=off_to_on(n))
    many = {"actionName": "one-too-many", "roleArn": ROLE, "actionParams": louder}
    refused("LimitExceededException", 410, "100", iot.create_mitigation_action, **many)


def off_to_on(n):
    return {"enableIoTLoggingParams": {"roleArnForLogging": ROLE, "logLevel": ["DEBUG", "INFO"][n % 2]}}


def tasks():
    """Nothing runs tasks here, so they stay in progress."""
    iot.create_security_profile(securityProfileName="p", behaviors=[behavior()])
    action, target = "add_things_to_thing_group", {"securityProfileName": "p", "behaviorName": "b"}
    span = {"startTime": NOW - timedelta(days=1), "endTime": NOW.replace(microsecond=678000)}
    first = {
        "taskId": "t-0",
        "target": target,
        "actions": [action],
        "violationEventOccurrenceRange": span,
        "includeOnlyActiveViolations": True,
        "includeSuppressedAlerts": True,
        "clientRequestToken": "k0",
    }
    assert iot.start_detect_mitigation_actions_task(**first)["taskId"] == "t-0"
    iot.start_detect_mitigation_actions_task(**first)
    start = iot.start_detect_mitigation_actions_task
    refused("TaskAlreadyExistsException", 400, "t-0", start, **first | {"clientRequestToken": "k1"})
    invalid("other parameters", start, **first | {"includeSuppressedAlerts": False})
    invalid("other parameters", start, **first | {"taskId": "t-1"})
    summary = iot.describe_detect_mitigation_actions_task(taskId="t-0")["taskSummary"]
    assert summary["taskStatus"] == "IN_PROGRESS" and "taskEndTime" not in summary, summary
    assert summary["target"] == target and summary["onlyActiveViolationsIncluded"], summary
    assert summary["violationEventOccurrenceRange"]["endTime"] == span["endTime"], summary
    assert summary["suppressedAlertsIncluded"] and set(summary["taskStatistics"].values()) == {0}, summary
    definition = summary["actionsDefinition"]
    assert definition[0]["name"] == action and definition[0]["actionParams"] == PARAMS["ADD_THINGS_TO_THING_GROUP"], definition
    invalid("still used by task t-0", iot.delete_mitigation_action, actionName=action)

    new = {"taskId": "t-9", "clientRequestToken": "k9", "target": {"securityProfileName": "p"}, "actions": [action]}
    for change, part in [
        ({"target": {}}, "exactly one"),
        ({"target": {"violationIds": ["0" * 32], **target}}, "exactly one"),
        ({"target": {"behaviorName": "b"}}, "without securityProfileName"),
        ({"target": {"securityProfileName": "nobody"}}, "nobody does not exist"),
        ({"target": {"securityProfileName": "p", "behaviorName": "nobody"}}, "behavior nobody"),
        ({"target": {"violationIds": ["0" * 32]}}, "does not exist"),
        ({"target": {"violationIds": ["0" * 32] * 26}}, "less than or equal to 25"),
        ({"actions": ["nobody"]}, "nobody does not exist"),
        ({"actions": ["enable_iot_logging"]}, "ENABLE_IOT_LOGGING, expected ADD_THINGS_TO_THING_GROUP"),
        ({"actions": [action] * 6}, "less than or equal to 5"),
        ({"taskId": "a:b"}, "pattern"),
        ({"violationEventOccurrenceRange": {"startTime": NOW, "endTime": NOW - timedelta(days=1)}}, "before startTime"),
    ]:
        invalid(part, start, **new | change)
    for n in range(1, 5):
        start(**new | {"taskId": f"t-{n}", "clientRequestToken": f"k{n}"})
    refused("LimitExceededException", 410, "5", start, **new)
    soon = {"startTime": NOW - timedelta(minutes=1), "endTime": NOW + timedelta(minutes=10)}
    listed = pages("list_detect_mitigation_actions_tasks", "tasks", PaginationConfig={"PageSize": 2}, **soon)
    assert [task["taskId"] for task in listed] == [f"t-{n}" for n in (4, 3, 2, 1, 0)], listed
    past = {"startTime": NOW - timedelta(days=2), "endTime": NOW - timedelta(days=1)}
    assert pages("list_detect_mitigation_actions_tasks", "tasks", **past) == []
    backwards = {"startTime": NOW, "endTime": NOW - timedelta(days=1)}
    invalid("before startTime", iot.list_detect_mitigation_actions_tasks, **backwards)
    iot.cancel_detect_mitigation_actions_task(taskId="t-4")
    canceled = iot.describe_detect_mitigation_actions_task(taskId="t-4")["taskSummary"]
    assert canceled["taskStatus"] == "CANCELED" and canceled["taskEndTime"] >= canceled["taskStartTime"], canceled
    invalid("CANCELED, expected IN_PROGRESS", iot.cancel_detect_mitigation_actions_task, taskId="t-4")
    refused("ResourceNotFoundException", 404, "t-9", iot.cancel_detect_mitigation_actions_task, taskId="t-9")
    refused("ResourceNotFoundException", 404, "t-9", iot.describe_detect_mitigation_actions_task, taskId="t-9")
    start(**new)
    for by in [{"taskId": "t-0"}, {"violationId": "0" * 32}, {"thingName": "a thing"}, soon, {}]:
        assert pages("list_detect_mitigation_actions_executions", "actionsExecutions", **by) == []
    invalid("before startTime", iot.list_detect_mitigation_actions_executions, **backwards)


metrics()
dimensions()
rules()
profiles()
learning()
values()
audits()
actions()
tasks()
