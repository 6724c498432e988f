"""Policies: versions, attachments, and what they would permit, with boto3."""

import json

import boto3
from botocore.exceptions import ClientError

iot = boto3.client("iot")
ACCOUNT = "arn:aws:iot:eu-central-1:123456789012"


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def statement(effect, action, resource, **more):
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


ALLOW = document(statement("Allow", "iot:*", "*"))
DENY = document(statement("Deny", "iot:*", "*"))


def refused(code, status, part, operation, **members):
    """The call is refused with this error, status and text."""
    try:
        operation(**members)
    except ClientError as err:
        found = (err.response["Error"]["Code"], err.response["ResponseMetadata"]["HTTPStatusCode"])
        assert found == (code, status), (found, err)
        assert part in str(err), err
        return
    raise AssertionError(f"{operation} was not refused: {members}")


def pages(operation, result, **members):
    return [item for page in iot.get_paginator(operation).paginate(**members) for item in page[result]]


def names(policies):
    return [policy["policyName"] for policy in policies]


def versions():
    iot.create_policy(policyName="Versions", policyDocument=DENY)
    second = iot.create_policy_version(policyName="Versions", policyDocument=ALLOW)
    assert second["policyVersionId"] == "2" and second["isDefaultVersion"] is False, second
    assert second["policyArn"] == f"{ACCOUNT}:policy/Versions" and second["policyDocument"] == ALLOW, second
    assert iot.get_policy(policyName="Versions")["defaultVersionId"] == "1"
    third = iot.create_policy_version(policyName="Versions", policyDocument=ALLOW, setAsDefault=True)
    assert third["isDefaultVersion"] is True
    policy = iot.get_policy(policyName="Versions")
    assert (policy["defaultVersionId"], policy["policyDocument"]) == ("3", ALLOW), policy
    shown = iot.get_policy_version(policyName="Versions", policyVersionId="1")
    assert (shown["policyDocument"], shown["isDefaultVersion"]) == (DENY, False), shown
    assert shown["generationId"] == policy["generationId"] and shown["policyName"] == "Versions", shown
    for _ in range(2):
        iot.create_policy_version(policyName="Versions", policyDocument=DENY)
    listed = iot.list_policy_versions(policyName="Versions")["policyVersions"]
    found = [(version["versionId"], version["isDefaultVersion"]) for version in listed]
    assert found == [("5", False), ("4", False), ("3", True), ("2", False), ("1", False)], found
    one_more = {"policyName": "Versions", "policyDocument": DENY}
    refused("VersionsLimitExceededException", 409, "more than 5", iot.create_policy_version, **one_more)
    refused("DeleteConflictException", 409, "default", iot.delete_policy_version, policyName="Versions", policyVersionId="3")
    refused("DeleteConflictException", 409, "versions", iot.delete_policy, policyName="Versions")
    iot.delete_policy_version(policyName="Versions", policyVersionId="5")
    # A number is never given twice.
    assert iot.create_policy_version(**one_more)["policyVersionId"] == "6"
    iot.set_default_policy_version(policyName="Versions", policyVersionId="1")
    assert iot.get_policy(policyName="Versions")["policyDocument"] == DENY
    for lost in ("5", "99999999999999999999"):
        which = {"policyName": "Versions", "policyVersionId": lost}
        for operation in (iot.get_policy_version, iot.set_default_policy_version, iot.delete_policy_version):
            refused("ResourceNotFoundException", 404, lost, operation, **which)
    for operation in (iot.list_policy_versions, iot.get_policy):
        refused("ResourceNotFoundException", 404, "nobody", operation, policyName="nobody")
    refused("ResourceNotFoundException", 404, "nobody", iot.create_policy_version, policyName="nobody", policyDocument=DENY)
    refused("MalformedPolicyException", 400, "", iot.create_policy_version, policyName="Versions", policyDocument="[]")
    refused("InvalidRequestException", 400, "[0-9]+", iot.get_policy_version, policyName="Versions", policyVersionId="v1")
    for version in ("2", "3", "4", "6"):
        iot.delete_policy_version(policyName="Versions", policyVersionId=version)
    iot.delete_policy(policyName="Versions")
    iot.create_policy(policyName="Versions", policyDocument=DENY)
    assert iot.create_policy_version(**one_more)["policyVersionId"] == "2"


def attachments():
    certificates = sorted(iot.create_keys_and_certificate(setAsActive=True)["certificateArn"] for _ in range(3))
    iot.create_thing_group(thingGroupName="Pumps")
    iot.create_policy(policyName="Shared", policyDocument=ALLOW)
    group = f"{ACCOUNT}:thinggroup/Pumps"
    iot.attach_policy(policyName="Shared", target=group)
    for certificate in certificates:
        iot.attach_principal_policy(policyName="Shared", principal=certificate)
    targets = pages("list_targets_for_policy", "targets", policyName="Shared", PaginationConfig={"PageSize": 3})
    assert targets == certificates + [group], targets
    by_policy = {"policyName": "Shared", "PaginationConfig": {"PageSize": 2}}
    assert pages("list_policy_principals", "principals", **by_policy) == certificates
    descending = pages("list_policy_principals", "principals", ascendingOrder=False, **by_policy)
    assert descending == certificates[::-1], descending
    first = certificates[0]
    for n in range(9):
        iot.create_policy(policyName=f"P{n}", policyDocument=ALLOW)
        iot.attach_principal_policy(policyName=f"P{n}", principal=first)
    refused("LimitExceededException", 410, "more than 10", iot.attach_principal_policy, policyName="Versions", principal=first)
    by_principal = {"principal": first, "PaginationConfig": {"PageSize": 4}}
    expected = [f"P{n}" for n in range(9)] + ["Shared"]
    assert names(pages("list_principal_policies", "policies", **by_principal)) == expected
    assert names(pages("list_principal_policies", "policies", ascendingOrder=False, **by_principal)) == expected[::-1]
    for n in range(9):
        iot.detach_principal_policy(policyName=f"P{n}", principal=first)
        iot.delete_policy(policyName=f"P{n}")
    refused("InvalidRequestException", 400, "thinggroup", iot.attach_principal_policy, policyName="Shared", principal=group)
    lost = {"policyName": "nobody", "principal": first}
    for operation in (iot.attach_principal_policy, iot.detach_principal_policy):
        refused("ResourceNotFoundException", 404, "nobody", operation, **lost)
    nobody = f"{ACCOUNT}:cert/{'0' * 64}"
    refused("ResourceNotFoundException", 404, "0" * 64, iot.list_principal_policies, principal=nobody)
    refused("ResourceNotFoundException", 404, "nobody", iot.list_policy_principals, policyName="nobody")
    refused("ResourceNotFoundException", 404, "nobody", iot.list_targets_for_policy, policyName="nobody")
    marker = iot.list_policy_principals(policyName="Shared", pageSize=1)["nextMarker"]
    other_list = {"policyName": "Shared", "marker": marker}
    refused("InvalidRequestException", 400, "token", iot.list_targets_for_policy, **other_list)
    for certificate in certificates:
        iot.detach_principal_policy(policyName="Shared", principal=certificate)
    assert pages("list_targets_for_policy", "targets", policyName="Shared") == [group]


def authorization():
    keys = iot.create_keys_and_certificate(setAsActive=True)["certificateArn"]
    iot.create_thing(thingName="pump-1", attributePayload={"attributes": {"site": "north"}})
    iot.create_thing(thingName="pump-2")
    iot.create_thing_group(thingGroupName="Site")
    iot.create_thing_group(thingGroupName="Site-North", parentGroupName="Site")
    iot.add_thing_to_thing_group(thingGroupName="Site-North", thingName="pump-1")
    own = "${iot:Connection.Thing.ThingName}"
    device = document(
        statement("Allow", "iot:Connect", f"{ACCOUNT}:client/{own}"),
        statement("Allow", "iot:Publish", f"{ACCOUNT}:topic/${{iot:Connection.Thing.Attributes[site]}}/{own}"),
        statement("Allow", "iot:Subscribe", f"{ACCOUNT}:topicfilter/${{iot:ClientId}}/+"),
        statement(
            "Allow", "iot:Receive", f"{ACCOUNT}:topic/news",
            Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}, "DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}},
        ),
    )
    iot.create_policy(policyName="Device", policyDocument=device)
    iot.create_policy(policyName="NoSecrets", policyDocument=document(statement("Deny", "iot:*", f"{ACCOUNT}:topic/secret")))
    iot.create_policy(policyName="SiteNews", policyDocument=document(statement("Allow", "iot:Publish", f"{ACCOUNT}:topic/site")))
    iot.attach_policy(policyName="Device", target=keys)
    iot.attach_policy(policyName="NoSecrets", target=keys)
    iot.attach_policy(policyName="SiteNews", target=f"{ACCOUNT}:thinggroup/Site")

    effective = iot.get_effective_policies(principal=keys)["effectivePolicies"]
    assert names(effective) == ["Device", "NoSecrets"] and effective[0]["policyDocument"] == device, effective
    assert effective[0]["policyArn"] == f"{ACCOUNT}:policy/Device", effective
    assert names(iot.get_effective_policies(thingName="pump-1")["effectivePolicies"]) == ["SiteNews"]
    assert names(iot.get_effective_policies(thingName="pump-2")["effectivePolicies"]) == []
    both = iot.get_effective_policies(principal=keys, thingName="pump-1")["effectivePolicies"]
    assert names(both) == ["Device", "NoSecrets", "SiteNews"], both
    refused("InvalidRequestException", 400, "principal", iot.get_effective_policies)
    refused("InvalidRequestException", 400, "Cognito", iot.get_effective_policies, cognitoIdentityPoolId="x")
    refused("ResourceNotFoundException", 404, "nobody", iot.get_effective_policies, thingName="nobody")
    nobody = f"{ACCOUNT}:cert/{'0' * 64}"
    refused("ResourceNotFoundException", 404, "0" * 64, iot.get_effective_policies, principal=nobody)

    def ask(action, *resources, **more):
        info = [{"actionType": action, "resources": [f"{ACCOUNT}:{resource}" for resource in resources]}]
        more = {"principal": keys, **more}
        (result,) = iot.test_authorization(authInfos=info, **more)["authResults"]
        assert result["authInfo"] == info[0], result
        return result

    def decision(action, *resources, **more):
        return ask(action, *resources, **more)["authDecision"]

    # Attached to no thing: nothing that needs one.
    unattached = ask("CONNECT", "client/pump-1", clientId="pump-1")
    assert unattached["authDecision"] == "IMPLICIT_DENY", unattached
    assert unattached["missingContextValues"] == ["iot:Connection.Thing.ThingName"], unattached
    iot.attach_thing_principal(thingName="pump-1", principal=keys)
    connect = ask("CONNECT", "client/pump-1", clientId="pump-1")
    assert connect["authDecision"] == "ALLOWED" and connect["missingContextValues"] == [], connect
    assert names(connect["allowed"]["policies"]) == ["Device"], connect
    assert names(connect["denied"]["implicitDeny"]["policies"]) == ["NoSecrets", "SiteNews"], connect
    for expected, action, *resources in (
        ("ALLOWED", "PUBLISH", "topic/north/pump-1"),
        ("IMPLICIT_DENY", "PUBLISH", "topic/south/pump-1"),
        ("ALLOWED", "PUBLISH", "topic/site"),
        ("IMPLICIT_DENY", "PUBLISH", "topic/site", "topic/other"),
        ("EXPLICIT_DENY", "PUBLISH", "topic/site", "topic/secret"),
        ("ALLOWED", "SUBSCRIBE", "topicfilter/pump-1/+"),
        ("IMPLICIT_DENY", "SUBSCRIBE", "topicfilter/#"),
        ("IMPLICIT_DENY", "RECEIVE", "topic/news"),
        ("IMPLICIT_DENY", "CONNECT", "client/pump-2"),
    ):
        found = decision(action, *resources, clientId="pump-1")
        assert found == expected, (action, resources, found)
    iot.update_thing(thingName="pump-1", attributePayload={"attributes": {"site": "south"}})
    assert decision("PUBLISH", "topic/south/pump-1", clientId="pump-1") == "ALLOWED"
    # What is not told is named.
    assert ask("RECEIVE", "topic/news", clientId="pump-1")["missingContextValues"] == ["aws:SourceIp"]
    unnamed = ask("SUBSCRIBE", "topicfilter/pump-1/+")
    assert unnamed["authDecision"] == "IMPLICIT_DENY" and "iot:ClientId" in unnamed["missingContextValues"], unnamed
    # Policies on trial, and without.
    iot.create_policy(policyName="Trial", policyDocument=ALLOW)
    trial = {"clientId": "pump-1", "policyNamesToAdd": ["Trial"]}
    assert decision("PUBLISH", "topic/other", **trial) == "ALLOWED"
    assert decision("PUBLISH", "topic/secret", **trial) == "EXPLICIT_DENY"
    assert decision("PUBLISH", "topic/secret", policyNamesToSkip=["NoSecrets"], **trial) == "ALLOWED"
    results = iot.test_authorization(
        authInfos=[{"actionType": "CONNECT", "resources": [f"{ACCOUNT}:client/x"]}] * 2, policyNamesToAdd=["Trial"]
    )["authResults"]
    assert [result["authDecision"] for result in results] == ["ALLOWED"] * 2, results
    good = {"actionType": "CONNECT", "resources": [f"{ACCOUNT}:client/x"]}
    refused("InvalidRequestException", 400, "policyNamesToAdd", iot.test_authorization, authInfos=[good])
    refused("ResourceNotFoundException", 404, "nobody", iot.test_authorization, authInfos=[good], policyNamesToAdd=["nobody"])
    for wrong in (
        {"actionType": "PUBLISH", "resources": [f"{ACCOUNT}:client/x"]},
        {"actionType": "CONNECT", "resources": ["*"]},
        {"actionType": "CONNECT", "resources": []},
        {"actionType": "CONNECT", "resources": [f"{ACCOUNT}:client/x".replace("123456789012", "210987654321")]},
        {"resources": [f"{ACCOUNT}:client/x"]},
        {"actionType": "DANCE", "resources": [f"{ACCOUNT}:client/x"]},
    ):
        refused("InvalidRequestException", 400, "authInfos.1.member", iot.test_authorization, principal=keys, authInfos=[wrong])
    refused("InvalidRequestException", 400, "less than or equal to 10", iot.test_authorization, principal=keys, authInfos=[good] * 11)


versions()
attachments()
authorization()
