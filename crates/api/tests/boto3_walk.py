"""Walks every operation of this room with boto3, as people who come from AWS do."""

import json
from datetime import datetime, timedelta, timezone

import boto3
from botocore.exceptions import ClientError

iot = boto3.client("iot")
ACCOUNT = "arn:aws:iot:eu-central-1:123456789012"
ALLOW = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]})
DENY = ALLOW.replace("Allow", "Deny")


def refused(code, status, part, operation, **members):
    """The call is refused with this error, status and text."""
    try:
        operation(**members)
    except ClientError as err:
        found = (err.response["Error"]["Code"], err.response["ResponseMetadata"]["HTTPStatusCode"])
        assert found == (code, status), (found, err)
        assert part in err.response["message"] if "message" in err.response else part in str(err), err
        assert type(err).__name__ in (code, "ClientError"), type(err)
        assert err.response["ResponseMetadata"]["RequestId"]
        return err.response
    raise AssertionError(f"{operation} was not refused: {members}")


def pages(operation, result, **members):
    return [item for page in iot.get_paginator(operation).paginate(**members) for item in page[result]]


def things():
    created = iot.create_thing(thingName="pump:7", attributePayload={"attributes": {"site": "north", "n": "1"}})
    assert created["thingArn"] == f"{ACCOUNT}:thing/pump:7", created
    again = iot.create_thing(thingName="pump:7", attributePayload={"attributes": {"site": "north", "n": "1"}})
    assert again["thingId"] == created["thingId"]
    other = refused("ResourceAlreadyExistsException", 409, "pump:7", iot.create_thing, thingName="pump:7")
    assert other["resourceArn"] == created["thingArn"] and other["resourceId"] == created["thingId"], other
    described = iot.describe_thing(thingName="pump:7")
    assert described["defaultClientId"] == "pump:7" and described["version"] == 1, described
    assert described["attributes"] == {"site": "north", "n": "1"} and "thingTypeName" not in described

    iot.update_thing(thingName="pump:7", attributePayload={"attributes": {"n": "", "m": "2"}, "merge": True})
    assert iot.describe_thing(thingName="pump:7")["attributes"] == {"site": "north", "m": "2"}
    refused("VersionConflictException", 409, "version 2", iot.update_thing, thingName="pump:7", expectedVersion=1)
    for n in range(7):
        iot.create_thing(thingName=f"thing-{n}", attributePayload={"attributes": {"site": f"south{n % 2}"}})
    names = [thing["thingName"] for thing in pages("list_things", "things", PaginationConfig={"PageSize": 3})]
    assert names == ["pump:7"] + [f"thing-{n}" for n in range(7)], names
    south = pages("list_things", "things", attributeName="site", attributeValue="south1")
    assert [thing["thingName"] for thing in south] == ["thing-1", "thing-3", "thing-5"], south
    prefix = {"attributeName": "site", "attributeValue": "sou", "usePrefixAttributeValue": True}
    assert len(pages("list_things", "things", PaginationConfig={"PageSize": 2}, **prefix)) == 7

    refused("ResourceNotFoundException", 404, "thing nobody does not exist", iot.describe_thing, thingName="nobody")
    refused("InvalidRequestException", 400, "'thingName'", iot.describe_thing, thingName="a/b")
    refused("InvalidRequestException", 400, "less than or equal to 250", iot.list_things, maxResults=251)
    refused("InvalidRequestException", 400, "token", iot.list_things, nextToken="bm9uc2Vuc2U=")
    iot.delete_thing(thingName="thing-6")
    iot.delete_thing(thingName="thing-6")


def certificates():
    keys = iot.create_keys_and_certificate(setAsActive=True)
    certificate = keys["certificateId"]
    assert keys["certificateArn"] == f"{ACCOUNT}:cert/{certificate}" and len(certificate) == 64
    assert "PRIVATE KEY" in keys["keyPair"]["PrivateKey"] and "PUBLIC KEY" in keys["keyPair"]["PublicKey"]
    described = iot.describe_certificate(certificateId=certificate)["certificateDescription"]
    assert described["status"] == "ACTIVE" and described["certificatePem"] == keys["certificatePem"], described
    assert described["ownedBy"] == "123456789012" and described["customerVersion"] == 1, described
    now = datetime.now(timezone.utc)
    assert abs(described["creationDate"] - now) < timedelta(minutes=5), described
    assert described["validity"]["notBefore"] < now < described["validity"]["notAfter"], described
    inactive = iot.create_keys_and_certificate()["certificateId"]
    ids = [item["certificateId"] for item in pages("list_certificates", "certificates", PaginationConfig={"PageSize": 1})]
    assert sorted(ids) == sorted([certificate, inactive]), ids

    pem = keys["certificatePem"]
    exists = refused("ResourceAlreadyExistsException", 409, certificate, iot.register_certificate_without_ca, certificatePem=pem)
    assert exists["resourceId"] == certificate, exists
    refused("CertificateValidationException", 400, "", iot.register_certificate_without_ca, certificatePem="no PEM")
    wrong = {"certificateId": certificate, "newStatus": "PENDING_TRANSFER"}
    refused("InvalidRequestException", 400, "expected ACTIVE, INACTIVE or REVOKED", iot.update_certificate, **wrong)
    refused("CertificateStateException", 406, "ACTIVE", iot.delete_certificate, certificateId=certificate)

    arn = keys["certificateArn"]
    iot.attach_thing_principal(thingName="pump:7", principal=arn)
    iot.attach_thing_principal(thingName="pump:7", principal=arn.replace("eu-central-1", "us-west-2"))
    assert pages("list_thing_principals", "principals", thingName="pump:7") == [arn]
    assert pages("list_principal_things", "things", principal=arn) == ["pump:7"]
    exclusive = {"thingName": "thing-1", "principal": arn, "thingPrincipalType": "EXCLUSIVE_THING"}
    refused("InvalidRequestException", 400, "exclusive", iot.attach_thing_principal, **exclusive)
    other_account = arn.replace("123456789012", "210987654321")
    refused("InvalidRequestException", 400, "account", iot.attach_thing_principal, thingName="pump:7", principal=other_account)
    refused("InvalidRequestException", 400, "still used", iot.delete_thing, thingName="pump:7")
    iot.update_certificate(certificateId=certificate, newStatus="INACTIVE")
    refused("DeleteConflictException", 409, "thing pump:7", iot.delete_certificate, certificateId=certificate)
    iot.detach_thing_principal(thingName="pump:7", principal=arn)
    iot.delete_certificate(certificateId=certificate)
    refused("ResourceNotFoundException", 404, certificate, iot.describe_certificate, certificateId=certificate)
    iot.register_certificate_without_ca(certificatePem=pem, status="ACTIVE")
    described = iot.describe_certificate(certificateId=certificate)["certificateDescription"]
    assert described["certificateMode"] == "SNI_ONLY" and described["status"] == "ACTIVE", described
    return arn


def groups():
    root = iot.create_thing_group(thingGroupName="Root", thingGroupProperties={"thingGroupDescription": "all of them"})
    assert root["thingGroupArn"] == f"{ACCOUNT}:thinggroup/Root"
    iot.create_thing_group(thingGroupName="Child", parentGroupName="Root")
    iot.create_thing_group(thingGroupName="Sibling", parentGroupName="Root")
    refused("ResourceAlreadyExistsException", 409, "Child", iot.create_thing_group, thingGroupName="Child")
    lost = {"thingGroupName": "Lost", "parentGroupName": "nobody"}
    refused("InvalidRequestException", 400, "nobody", iot.create_thing_group, **lost)
    child = iot.describe_thing_group(thingGroupName="Child")
    assert child["thingGroupMetadata"]["parentGroupName"] == "Root", child
    above = child["thingGroupMetadata"]["rootToParentThingGroups"]
    assert above == [{"groupName": "Root", "groupArn": root["thingGroupArn"]}], above
    assert child["thingGroupProperties"] == {} and child["version"] == 1, child

    iot.add_thing_to_thing_group(thingGroupName="Child", thingName="pump:7")
    by_arn = {"thingGroupArn": f"{ACCOUNT}:thinggroup/Child", "thingArn": f"{ACCOUNT}:thing/thing-1"}
    iot.add_thing_to_thing_group(**by_arn)
    second = {"thingGroupName": "Sibling", "thingName": "pump:7"}
    refused("InvalidRequestException", 400, "same hierarchy", iot.add_thing_to_thing_group, **second)
    refused("InvalidRequestException", 400, "absent", iot.add_thing_to_thing_group, thingName="pump:7")
    refused("ResourceNotFoundException", 404, "nobody", iot.add_thing_to_thing_group, thingName="nobody", thingGroupName="Root")
    assert pages("list_things_in_thing_group", "things", thingGroupName="Root") == []
    inside = pages("list_things_in_thing_group", "things", thingGroupName="Root", recursive=True)
    assert inside == ["pump:7", "thing-1"], inside
    of_thing = pages("list_thing_groups_for_thing", "thingGroups", thingName="pump:7")
    assert [group["groupName"] for group in of_thing] == ["Child"], of_thing
    listed = [group["groupName"] for group in pages("list_thing_groups", "thingGroups", parentGroup="Root")]
    assert listed == ["Child", "Sibling"], listed
    listed = pages("list_thing_groups", "thingGroups", namePrefixFilter="Si")
    assert [group["groupName"] for group in listed] == ["Sibling"], listed
    iot.remove_thing_from_thing_group(**by_arn)
    iot.remove_thing_from_thing_group(**by_arn)
    refused("InvalidRequestException", 400, "still used", iot.delete_thing_group, thingGroupName="Root")
    iot.delete_thing_group(thingGroupName="Sibling")


def policies(certificate):
    created = iot.create_policy(policyName="Allow+All", policyDocument=ALLOW)
    assert created["policyVersionId"] == "1" and created["policyArn"] == f"{ACCOUNT}:policy/Allow+All", created
    refused("ResourceAlreadyExistsException", 409, "Allow+All", iot.create_policy, policyName="Allow+All", policyDocument=ALLOW)
    refused("MalformedPolicyException", 400, "", iot.create_policy, policyName="Bad", policyDocument="{}")
    refused("MalformedPolicyException", 400, "2048", iot.create_policy, policyName="Bad", policyDocument=ALLOW + "x" * 2048)
    policy = iot.get_policy(policyName="Allow+All")
    assert policy["policyDocument"] == ALLOW and policy["defaultVersionId"] == "1" and len(policy["generationId"]) == 64
    iot.create_policy(policyName="DenyAll", policyDocument=DENY)
    root = f"{ACCOUNT}:thinggroup/Root"
    iot.attach_policy(policyName="Allow+All", target=certificate)
    iot.attach_policy(policyName="Allow+All", target=certificate)
    iot.attach_policy(policyName="DenyAll", target=root)
    names = lambda found: [policy["policyName"] for policy in found]
    assert names(iot.list_attached_policies(target=certificate)["policies"]) == ["Allow+All"]
    child = f"{ACCOUNT}:thinggroup/Child"
    assert names(iot.list_attached_policies(target=child)["policies"]) == []
    assert names(iot.list_attached_policies(target=child, recursive=True)["policies"]) == ["DenyAll"]
    refused("DeleteConflictException", 409, "certificate", iot.delete_policy, policyName="Allow+All")
    refused("ResourceNotFoundException", 404, "nobody", iot.attach_policy, policyName="nobody", target=root)
    refused("InvalidRequestException", 400, "thing/a", iot.attach_policy, policyName="DenyAll", target=f"{ACCOUNT}:thing/a")
    iot.create_policy(policyName="Second", policyDocument=DENY)
    iot.create_policy(policyName="Third", policyDocument=DENY)
    iot.attach_policy(policyName="Second", target=root)
    refused("LimitExceededException", 410, "more than 2", iot.attach_policy, policyName="Third", target=root)
    assert names(pages("list_policies", "policies", PaginationConfig={"PageSize": 2})) == ["Allow+All", "DenyAll", "Second", "Third"]
    descending = pages("list_policies", "policies", ascendingOrder=False, PaginationConfig={"PageSize": 3})
    assert names(descending) == ["Third", "Second", "DenyAll", "Allow+All"], descending
    for policy in ("DenyAll", "Second"):
        iot.detach_policy(policyName=policy, target=root)
    for policy in ("DenyAll", "Second", "Third"):
        iot.delete_policy(policyName=policy)
    refused("ResourceNotFoundException", 404, "Third", iot.get_policy, policyName="Third")


def bytes_out(operator="less-than-equals", **more):
    criteria = {"comparisonOperator": operator, "value": {"count": 200}, "durationSeconds": 300, **more}
    return {"name": "bytes-out", "metric": "aws:all-bytes-out", "criteria": criteria}


def profiles():
    created = iot.create_security_profile(
        securityProfileName="fleet:1",
        securityProfileDescription="what is normal",
        behaviors=[bytes_out()],
        alertTargets={"SNS": {"alertTargetArn": "arn:aws:sns:x:123456789012:t", "roleArn": "arn:aws:iam::123456789012:role/r"}},
        additionalMetricsToRetainV2=[{"metric": "aws:num-listening-tcp-ports"}],
    )
    assert created["securityProfileArn"] == f"{ACCOUNT}:securityprofile/fleet:1", created
    described = iot.describe_security_profile(securityProfileName="fleet:1")
    assert described["behaviors"] == [bytes_out()] and described["version"] == 1, described
    assert described["creationDate"] == described["lastModifiedDate"], described
    assert described["alertTargets"]["SNS"]["alertTargetArn"] == "arn:aws:sns:x:123456789012:t", described
    refused("ResourceAlreadyExistsException", 409, "fleet:1", iot.create_security_profile, securityProfileName="fleet:1")

    updated = iot.update_security_profile(
        securityProfileName="fleet:1", expectedVersion=1, behaviors=[bytes_out("greater-than")], deleteAlertTargets=True
    )
    assert updated["version"] == 2 and "alertTargets" not in updated, updated
    assert updated["additionalMetricsToRetainV2"] == [{"metric": "aws:num-listening-tcp-ports"}], updated
    stale = {"securityProfileName": "fleet:1", "expectedVersion": 1, "behaviors": []}
    refused("VersionConflictException", 409, "version 2", iot.update_security_profile, **stale)
    both = {"securityProfileName": "fleet:1", "deleteBehaviors": True, "behaviors": [bytes_out()]}
    refused("InvalidRequestException", 400, "both given", iot.update_security_profile, **both)
    bad = bytes_out(consecutiveDatapointsToAlarm=10)
    bad["criteria"]["durationSeconds"] = 301
    refused("InvalidRequestException", 400, "Behavior bytes-out is malformed", iot.create_security_profile, securityProfileName="bad", behaviors=[bad])
    wrong = iot.validate_security_profile_behaviors(behaviors=[bad])
    assert not wrong["valid"] and "Behavior bytes-out is malformed" in wrong["validationErrors"][0]["errorMessage"], wrong
    assert iot.validate_security_profile_behaviors(behaviors=[bytes_out("greater-than")])["valid"]
    exporting = dict(bytes_out(), exportMetric=True)
    refused("InvalidRequestException", 400, "metricsExportConfig", iot.create_security_profile, securityProfileName="bad", behaviors=[exporting])

    everything = f"{ACCOUNT}:all/things"
    child = f"{ACCOUNT}:thinggroup/Child"
    for target in (everything, child, child):
        iot.attach_security_profile(securityProfileName="fleet:1", securityProfileTargetArn=target)
    targets = pages("list_targets_for_security_profile", "securityProfileTargets", securityProfileName="fleet:1", PaginationConfig={"PageSize": 1})
    assert [target["arn"] for target in targets] == [everything, child], targets
    root = {"securityProfileTargetArn": f"{ACCOUNT}:thinggroup/Root"}
    assert pages("list_security_profiles_for_target", "securityProfileTargetMappings", **root) == []
    mappings = pages("list_security_profiles_for_target", "securityProfileTargetMappings", recursive=True, **root)
    assert mappings[0]["securityProfileIdentifier"]["name"] == "fleet:1" and mappings[0]["target"]["arn"] == child, mappings
    nowhere = {"securityProfileName": "fleet:1", "securityProfileTargetArn": f"{ACCOUNT}:thinggroup/nobody"}
    refused("ResourceNotFoundException", 404, "nobody", iot.attach_security_profile, **nowhere)
    refused("InvalidRequestException", 400, "thing/a", iot.attach_security_profile, securityProfileName="fleet:1", securityProfileTargetArn=f"{ACCOUNT}:thing/a")
    for n in range(4):
        iot.create_security_profile(securityProfileName=f"more-{n}")
        iot.attach_security_profile(securityProfileName=f"more-{n}", securityProfileTargetArn=everything)
    iot.create_security_profile(securityProfileName="one-too-many")
    sixth = {"securityProfileName": "one-too-many", "securityProfileTargetArn": everything}
    refused("LimitExceededException", 410, "5", iot.attach_security_profile, **sixth)
    iot.detach_security_profile(securityProfileName="fleet:1", securityProfileTargetArn=child)
    listed = [profile["name"] for profile in pages("list_security_profiles", "securityProfileIdentifiers", PaginationConfig={"PageSize": 2})]
    assert listed == ["fleet:1", "more-0", "more-1", "more-2", "more-3", "one-too-many"], listed
    for name in listed[1:] + ["never-was"]:
        iot.delete_security_profile(securityProfileName=name)


def metrics():
    created = iot.create_custom_metric(metricName="cpu", metricType="number", displayName="CPU load", clientRequestToken="a")
    assert created["metricArn"] == f"{ACCOUNT}:custommetric/cpu", created
    iot.create_custom_metric(metricName="cpu", metricType="number", displayName="CPU load", clientRequestToken="a")
    other = {"metricName": "cpu", "metricType": "number-list", "clientRequestToken": "c"}
    refused("ResourceAlreadyExistsException", 409, "cpu", iot.create_custom_metric, **other)
    reserved = {"metricName": "aws:cpu", "metricType": "number", "clientRequestToken": "d"}
    refused("InvalidRequestException", 400, "aws:", iot.create_custom_metric, **reserved)
    assert iot.describe_custom_metric(metricName="cpu")["displayName"] == "CPU load"
    behavior = {"name": "hot", "metric": "cpu", "criteria": {"comparisonOperator": "less-than", "value": {"number": 0.9}}}
    iot.create_security_profile(securityProfileName="cpu", behaviors=[behavior])
    assert [profile["name"] for profile in pages("list_security_profiles", "securityProfileIdentifiers", metricName="cpu")] == ["cpu"]
    refused("InvalidRequestException", 400, "still used", iot.delete_custom_metric, metricName="cpu")
    iot.delete_security_profile(securityProfileName="cpu")
    assert pages("list_custom_metrics", "metricNames") == ["cpu"]
    iot.delete_custom_metric(metricName="cpu")
    refused("ResourceNotFoundException", 404, "cpu", iot.describe_custom_metric, metricName="cpu")


def violations():
    now = datetime.now(timezone.utc)
    assert pages("list_active_violations", "activeViolations", thingName="a thing / with signs") == []
    filters = {"behaviorCriteriaType": "STATIC", "listSuppressedAlerts": False, "verificationState": "UNKNOWN"}
    assert pages("list_active_violations", "activeViolations", securityProfileName="fleet:1", **filters) == []
    span = {"startTime": now - timedelta(days=1), "endTime": now}
    assert pages("list_violation_events", "violationEvents", **span) == []
    refused("InvalidRequestException", 400, "before startTime", iot.list_violation_events, startTime=now, endTime=span["startTime"])
    verdict = {"violationId": "0" * 32, "verificationState": "FALSE_POSITIVE"}
    refused("InvalidRequestException", 400, "0" * 32, iot.put_verification_state_on_violation, **verdict)
    verdict["verificationState"] = "MAYBE"
    refused("InvalidRequestException", 400, "enum value set", iot.put_verification_state_on_violation, **verdict)


def endpoint():
    assert iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"] == "picket.test"
    assert iot.describe_endpoint()["endpointAddress"] == "picket.test"
    refused("InvalidRequestException", 400, "iot:Jobs", iot.describe_endpoint, endpointType="iot:Jobs")


def strangers():
    wrong = boto3.client("iot", aws_secret_access_key="wrong", aws_access_key_id=iot._request_signer._credentials.access_key)
    refused("InvalidSignatureException", 403, "does not match", wrong.list_things)
    unknown = boto3.client("iot", aws_access_key_id="AKIAUNKNOWNUNKNOWN22", aws_secret_access_key="wrong")
    refused("UnrecognizedClientException", 403, "unknown or disabled", unknown.list_things)
    session = boto3.client("iot", aws_access_key_id="AKIA", aws_secret_access_key="wrong", aws_session_token="token")
    refused("UnrecognizedClientException", 403, "session tokens", session.list_things)
    refused("UnknownOperationException", 404, "no operation", iot.list_billing_groups)


things()
certificate = certificates()
groups()
policies(certificate)
profiles()
metrics()
violations()
endpoint()
strangers()
