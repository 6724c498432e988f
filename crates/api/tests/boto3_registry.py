"""Thing types, groups, principals, tags and settings with boto3: shapes, rules between members, and pages."""

import re
from datetime import datetime, timedelta, timezone

import boto3
from botocore.exceptions import ClientError

iot = boto3.client("iot")
ACCOUNT = "arn:aws:iot:eu-central-1:123456789012"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def refused(code, part, operation, **members):
    """The call is refused with this error and text."""
    try:
        operation(**members)
    except ClientError as err:
        assert err.response["Error"]["Code"] == code and part in err.response["message"], err
        assert type(err).__name__ == code, type(err)
        return err.response
    raise AssertionError(f"{operation} was not refused: {members}")


def pages(operation, result, size=2, **members):
    found = [page[result] for page in iot.get_paginator(operation).paginate(PaginationConfig={"PageSize": size}, **members)]
    assert all(len(page) <= size for page in found) and all(found[:-1]), found
    return [item for page in found for item in page]


def said(answer):
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


def thing_types():
    properties = {"thingTypeDescription": "light bulb type", "searchableAttributes": ["wattage", "model"]}
    created = said(iot.create_thing_type(thingTypeName="LightBulb", thingTypeProperties=properties))
    assert UUID.fullmatch(created["thingTypeId"]), created
    assert created == {
        "thingTypeName": "LightBulb",
        "thingTypeArn": f"{ACCOUNT}:thingtype/LightBulb",
        "thingTypeId": created["thingTypeId"],
    }
    assert said(iot.create_thing_type(thingTypeName="LightBulb", thingTypeProperties=properties)) == created
    other = refused("ResourceAlreadyExistsException", "LightBulb", iot.create_thing_type, thingTypeName="LightBulb")
    assert (other["resourceId"], other["resourceArn"]) == (created["thingTypeId"], created["thingTypeArn"]), other
    described = said(iot.describe_thing_type(thingTypeName="LightBulb"))
    created_at = described["thingTypeMetadata"].pop("creationDate")
    assert abs(datetime.now(timezone.utc) - created_at) < timedelta(minutes=5)
    assert described == {
        **created,
        "thingTypeProperties": {"thingTypeDescription": "light bulb type", "searchableAttributes": ["model", "wattage"]},
        "thingTypeMetadata": {"deprecated": False},
    }, described
    four = {"searchableAttributes": ["a", "b", "c", "d"]}
    refused("InvalidRequestException", "expected 3 at most", iot.create_thing_type, thingTypeName="Four", thingTypeProperties=four)
    refused("InvalidRequestException", "expected 3 at most", iot.update_thing_type, thingTypeName="LightBulb", thingTypeProperties=four)
    mqtt5 = {"propagatingAttributes": [{"userPropertyKey": "iot:ThingName", "connectionAttribute": "iot:ClientId"}]}
    iot.update_thing_type(thingTypeName="LightBulb", thingTypeProperties={"mqtt5Configuration": mqtt5})
    found = iot.describe_thing_type(thingTypeName="LightBulb")["thingTypeProperties"]
    assert found == {**described["thingTypeProperties"], "mqtt5Configuration": mqtt5}, found
    bad = {"mqtt5Configuration": {"propagatingAttributes": [{"userPropertyKey": "no space"}]}}
    place = "thingTypeProperties.mqtt5Configuration.propagatingAttributes.1.member.userPropertyKey"
    refused("InvalidRequestException", place, iot.update_thing_type, thingTypeName="LightBulb", thingTypeProperties=bad)
    refused("ResourceNotFoundException", "Nobody", iot.update_thing_type, thingTypeName="Nobody")
    refused("ResourceNotFoundException", "Nobody", iot.describe_thing_type, thingTypeName="Nobody")

    for n in range(4):
        iot.create_thing_type(thingTypeName=f"Type{n}")
    listed = pages("list_thing_types", "thingTypes")
    assert [found["thingTypeName"] for found in listed] == ["LightBulb", "Type0", "Type1", "Type2", "Type3"], listed
    assert listed[0]["thingTypeArn"] == created["thingTypeArn"] and listed[1]["thingTypeProperties"] == {}, listed
    assert [found["thingTypeName"] for found in pages("list_thing_types", "thingTypes", thingTypeName="Type2")] == ["Type2"]
    assert pages("list_thing_types", "thingTypes", thingTypeName="Type") == []
    token = iot.list_thing_types(maxResults=1)["nextToken"]
    refused("InvalidRequestException", "token", iot.list_things, nextToken=token)
    iot.create_thing_type(thingTypeName="Medium")
    assert iot.list_thing_types(maxResults=1, nextToken=token)["thingTypes"][0]["thingTypeName"] == "Medium"


def things():
    many = {"attributes": {f"a{n}": str(n) for n in range(4)}}
    refused("InvalidRequestException", "expected 3 at most", iot.create_thing, thingName="lamp", attributePayload=many)
    created = said(iot.create_thing(thingName="lamp", thingTypeName="LightBulb", attributePayload=many))
    assert created["thingArn"] == f"{ACCOUNT}:thing/lamp" and UUID.fullmatch(created["thingId"]), created
    described = said(iot.describe_thing(thingName="lamp"))
    assert described == {
        "defaultClientId": "lamp",
        "thingName": "lamp",
        "thingId": created["thingId"],
        "thingArn": created["thingArn"],
        "thingTypeName": "LightBulb",
        "attributes": many["attributes"],
        "version": 1,
    }, described
    refused("ResourceNotFoundException", "Nobody", iot.create_thing, thingName="x", thingTypeName="Nobody")
    refused("ResourceNotFoundException", "Nobody", iot.update_thing, thingName="lamp", thingTypeName="Nobody")
    refused("InvalidRequestException", "billing", iot.create_thing, thingName="x", billingGroupName="b")
    refused("ResourceNotFoundException", "x", iot.describe_thing, thingName="x")
    both = {"thingName": "lamp", "thingTypeName": "Type0", "removeThingType": True}
    refused("InvalidRequestException", "both given", iot.update_thing, **both)
    refused("InvalidRequestException", "without a type", iot.update_thing, thingName="lamp", removeThingType=True)
    iot.update_thing(thingName="lamp", thingTypeName="Type0", attributePayload={"attributes": {"a0": "", "b": "1"}, "merge": True})
    lamp = iot.describe_thing(thingName="lamp")
    assert lamp["attributes"] == {"a1": "1", "a2": "2", "a3": "3", "b": "1"} and lamp["thingTypeName"] == "Type0", lamp
    iot.update_thing(thingName="lamp", removeThingType=True, attributePayload={"attributes": {"b": "2"}}, expectedVersion=2)
    lamp = iot.describe_thing(thingName="lamp")
    assert lamp["attributes"] == {"b": "2"} and "thingTypeName" not in lamp and lamp["version"] == 3, lamp

    for n in range(4):
        attributes = {"site": f"north{n % 2}", "n": str(n)}
        iot.create_thing(thingName=f"bulb-{n}", thingTypeName="LightBulb" if n else "Type1", attributePayload={"attributes": attributes})
    for filters, expected in (
        ({"thingTypeName": "LightBulb"}, [1, 2, 3]),
        ({"thingTypeName": "Nobody"}, []),
        ({"attributeName": "site"}, [0, 1, 2, 3]),
        ({"attributeName": "site", "attributeValue": "north1"}, [1, 3]),
        ({"attributeName": "site", "attributeValue": "north"}, []),
        ({"attributeName": "site", "attributeValue": "north", "usePrefixAttributeValue": True}, [0, 1, 2, 3]),
        ({"attributeName": "site", "attributeValue": "north0", "thingTypeName": "LightBulb"}, [2]),
    ):
        found = pages("list_things", "things", **filters)
        assert [thing["thingName"] for thing in found] == [f"bulb-{n}" for n in expected], (filters, found)
    refused("InvalidRequestException", "attributeName", iot.list_things, attributeValue="north0")


def deprecation():
    refused("InvalidRequestException", "not deprecated", iot.delete_thing_type, thingTypeName="LightBulb")
    iot.deprecate_thing_type(thingTypeName="LightBulb")
    metadata = iot.describe_thing_type(thingTypeName="LightBulb")["thingTypeMetadata"]
    assert metadata["deprecated"] and metadata["deprecationDate"] >= metadata["creationDate"], metadata
    refused("InvalidRequestException", "deprecated", iot.create_thing, thingName="late", thingTypeName="LightBulb")
    refused("InvalidRequestException", "deprecated", iot.update_thing, thingName="lamp", thingTypeName="LightBulb")
    iot.update_thing(thingName="bulb-1", attributePayload={"attributes": {"a": "1"}})
    refused("InvalidRequestException", "5 minutes", iot.delete_thing_type, thingTypeName="LightBulb")
    iot.deprecate_thing_type(thingTypeName="LightBulb", undoDeprecate=True)
    assert iot.describe_thing_type(thingTypeName="LightBulb")["thingTypeMetadata"]["deprecated"] is False
    iot.create_thing(thingName="late", thingTypeName="LightBulb")
    for operation in (iot.deprecate_thing_type, iot.delete_thing_type):
        refused("ResourceNotFoundException", "Nobody", operation, thingTypeName="Nobody")


def groups():
    created = said(iot.create_thing_group(thingGroupName="HalogenBulbs"))
    assert created["thingGroupArn"] == f"{ACCOUNT}:thinggroup/HalogenBulbs" and UUID.fullmatch(created["thingGroupId"])
    described = said(iot.describe_thing_group(thingGroupName="HalogenBulbs"))
    assert set(described["thingGroupMetadata"]) == {"creationDate"} and described["thingGroupProperties"] == {}, described
    properties = {
        "thingGroupDescription": "Halogen bulb group",
        "attributePayload": {"attributes": {"Manufacturer": "AnyCompany", "wattage": "60"}},
    }
    assert said(iot.update_thing_group(thingGroupName="HalogenBulbs", thingGroupProperties=properties)) == {"version": 2}
    merged = {"attributePayload": {"attributes": {"wattage": "", "volt": "12"}, "merge": True}}
    updated = iot.update_thing_group(thingGroupName="HalogenBulbs", thingGroupProperties=merged, expectedVersion=2)
    assert updated["version"] == 3, updated
    found = iot.describe_thing_group(thingGroupName="HalogenBulbs")
    properties["attributePayload"]["attributes"] = {"Manufacturer": "AnyCompany", "volt": "12"}
    assert found["thingGroupProperties"] == properties and found["version"] == 3, found
    stale = {"thingGroupName": "HalogenBulbs", "thingGroupProperties": {}, "expectedVersion": 2}
    refused("VersionConflictException", "version 3", iot.update_thing_group, **stale)
    refused("ResourceNotFoundException", "Nobody", iot.update_thing_group, thingGroupName="Nobody", thingGroupProperties={})

    parent = {}
    for depth in range(1, 8):
        iot.create_thing_group(thingGroupName=f"level{depth}", **parent)
        parent = {"parentGroupName": f"level{depth}"}
    refused("InvalidRequestException", "level 8", iot.create_thing_group, thingGroupName="level8", **parent)
    metadata = iot.describe_thing_group(thingGroupName="level3")["thingGroupMetadata"]
    assert metadata["parentGroupName"] == "level2", metadata
    assert [group["groupName"] for group in metadata["rootToParentThingGroups"]] == ["level1", "level2"], metadata
    for n in range(100):
        iot.create_thing_group(thingGroupName=f"child{n:02}", parentGroupName="HalogenBulbs")
    refused("InvalidRequestException", "100", iot.create_thing_group, thingGroupName="child100", parentGroupName="HalogenBulbs")
    names = lambda **filters: [group["groupName"] for group in pages("list_thing_groups", "thingGroups", size=250, **filters)]
    assert names(recursive=False) == ["HalogenBulbs", "level1"]
    assert names(parentGroup="level1") == ["level2"]
    assert names(parentGroup="level5", recursive=True) == ["level6", "level7"]
    assert names(namePrefixFilter="child9") == [f"child9{n}" for n in range(10)]
    assert len(names()) == 108

    update = iot.update_thing_groups_for_thing
    update(thingName="lamp", thingGroupsToAdd=["child00", "level3"])
    update(thingName="lamp", thingGroupsToAdd=["child01"], thingGroupsToRemove=["child00"])
    of_lamp = lambda: [group["groupName"] for group in pages("list_thing_groups_for_thing", "thingGroups", thingName="lamp")]
    assert of_lamp() == ["child01", "level3"], of_lamp()
    refused("InvalidRequestException", "same hierarchy", update, thingName="lamp", thingGroupsToAdd=["level7", "child02"])
    refused("ResourceNotFoundException", "Nobody", update, thingName="lamp", thingGroupsToAdd=["Nobody"], thingGroupsToRemove=["level3"])
    refused("ResourceNotFoundException", "nobody", update, thingName="nobody", thingGroupsToAdd=["level3"])
    refused("InvalidRequestException", "both have level3", update, thingName="lamp", thingGroupsToAdd=["level3"], thingGroupsToRemove=["level3"])
    refused("InvalidRequestException", "thingName", update, thingGroupsToAdd=["level3"])
    refused("InvalidRequestException", "thingGroupsToAdd.1.member", update, thingName="lamp", thingGroupsToAdd=["a/b"])
    assert of_lamp() == ["child01", "level3"], of_lamp()

    no_index = "fleet indexing"
    refused("InvalidRequestException", no_index, iot.create_dynamic_thing_group, thingGroupName="d", queryString="attributes.a:1")
    refused("InvalidRequestException", no_index, iot.update_dynamic_thing_group, thingGroupName="d", thingGroupProperties={})
    refused("InvalidRequestException", no_index, iot.delete_dynamic_thing_group, thingGroupName="d")


def principals():
    shared, alone = (iot.create_keys_and_certificate()["certificateArn"] for _ in range(2))
    attach = iot.attach_thing_principal
    attach(thingName="lamp", principal=shared)
    attach(thingName="late", principal=shared, thingPrincipalType="NON_EXCLUSIVE_THING")
    attach(thingName="lamp", principal=alone, thingPrincipalType="EXCLUSIVE_THING")
    attach(thingName="lamp", principal=alone)
    refused("InvalidRequestException", "exclusive", attach, thingName="late", principal=alone)
    refused("InvalidRequestException", "exclusive", attach, thingName="lamp", principal=shared, thingPrincipalType="EXCLUSIVE_THING")
    refused("InvalidRequestException", "enum value set", attach, thingName="lamp", principal=shared, thingPrincipalType="MINE")
    found = pages("list_thing_principals_v2", "thingPrincipalObjects", size=1, thingName="lamp")
    expected = [
        {"principal": alone, "thingPrincipalType": "EXCLUSIVE_THING"},
        {"principal": shared, "thingPrincipalType": "NON_EXCLUSIVE_THING"},
    ]
    by_principal = lambda item: item["principal"]
    assert sorted(found, key=by_principal) == sorted(expected, key=by_principal), found
    assert sorted(pages("list_thing_principals", "principals", thingName="lamp")) == sorted([shared, alone])
    only = {"thingName": "lamp", "thingPrincipalType": "EXCLUSIVE_THING"}
    assert pages("list_thing_principals_v2", "thingPrincipalObjects", **only) == expected[:1]
    found = pages("list_principal_things_v2", "principalThingObjects", size=1, principal=shared)
    assert found == [{"thingName": name, "thingPrincipalType": "NON_EXCLUSIVE_THING"} for name in ("lamp", "late")], found
    only = {"principal": shared, "thingPrincipalType": "EXCLUSIVE_THING"}
    assert pages("list_principal_things_v2", "principalThingObjects", **only) == []
    refused("ResourceNotFoundException", "nobody", iot.list_thing_principals_v2, thingName="nobody")
    nobody = f"{ACCOUNT}:cert/{'0' * 64}"
    refused("ResourceNotFoundException", "0" * 64, iot.list_principal_things_v2, principal=nobody)
    attach(thingName="lamp", principal=alone, thingPrincipalType="NON_EXCLUSIVE_THING")
    attach(thingName="late", principal=alone)


def tags():
    tag = lambda *pairs: [{"Key": key, "Value": value} for key, value in pairs]
    first = tag(("Assembly", "Fact1NW"), ("MyTag", "777"))
    document = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}'
    arns = [
        iot.create_thing_group(thingGroupName="tagged", tags=first)["thingGroupArn"],
        iot.create_thing_type(thingTypeName="tagged", tags=first)["thingTypeArn"],
        iot.create_policy(policyName="tagged", policyDocument=document, tags=first)["policyArn"],
        iot.create_security_profile(securityProfileName="tagged", tags=first)["securityProfileArn"],
        iot.create_custom_metric(metricName="tagged", metricType="number", tags=first)["metricArn"],
        iot.create_dimension(name="tagged", type="TOPIC_FILTER", stringValues=["a"], tags=first)["arn"],
    ]
    for arn in arns:
        assert said(iot.list_tags_for_resource(resourceArn=arn)) == {"tags": first}, arn
        iot.tag_resource(resourceArn=arn, tags=tag(("MyTag", "778"), ("Zone", "")) + [{"Key": "none"}])
        iot.untag_resource(resourceArn=arn, tagKeys=["Assembly", "never"])
        found = iot.list_tags_for_resource(resourceArn=arn)["tags"]
        assert found == tag(("MyTag", "778"), ("Zone", ""), ("none", "")), found
        for operation, members in (
            (iot.tag_resource, {"tags": first}),
            (iot.untag_resource, {"tagKeys": ["a"]}),
            (iot.list_tags_for_resource, {}),
        ):
            refused("ResourceNotFoundException", "nobody", operation, resourceArn=arn.replace("/tagged", "/nobody"), **members)
    group = arns[0]
    assert iot.list_tags_for_resource(resourceArn=group.replace("eu-central-1", "us-west-2"))["tags"]
    for tags, part in (
        (tag(("a", "1"), ("a", "2")), "twice"),
        (tag(("aws:a", "1")), "aws:"),
        (tag(("a\tb", "1")), "'tags.1.member.Key'"),
        (tag(("", "1")), "'tags.1.member.Key'"),
        (tag(("a", "x" * 257)), "'tags.1.member.Value'"),
    ):
        if tags[0]["Key"]:
            refused("InvalidRequestException", part, iot.tag_resource, resourceArn=group, tags=tags)
            refused("InvalidRequestException", part, iot.create_thing_group, thingGroupName="untagged", tags=tags)
    many = tag(*((f"k{n}", "") for n in range(51)))
    refused("InvalidRequestException", "50 at most", iot.create_thing_group, thingGroupName="untagged", tags=many)
    refused("ResourceNotFoundException", "untagged", iot.describe_thing_group, thingGroupName="untagged")
    refused("LimitExceededException", "50", iot.tag_resource, resourceArn=group, tags=many[:48])
    for arn in (f"{ACCOUNT}:thing/lamp", group.replace("123456789012", "210987654321"), "tagged"):
        refused("InvalidRequestException", "expected", iot.list_tags_for_resource, resourceArn=arn)
    refused("InvalidRequestException", "token", iot.list_tags_for_resource, resourceArn=group, nextToken="bm8=")
    iot.delete_thing_group(thingGroupName="tagged")
    iot.create_thing_group(thingGroupName="tagged")
    assert iot.list_tags_for_resource(resourceArn=group)["tags"] == []


def settings():
    described = said(iot.describe_event_configurations())
    assert set(described) == {"eventConfigurations"} and len(described["eventConfigurations"]) == 11, described
    assert all(value == {"Enabled": False} for value in described["eventConfigurations"].values()), described
    iot.update_event_configurations(eventConfigurations={"CA_CERTIFICATE": {"Enabled": True}, "JOB": {}})
    iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": True}})
    described = iot.describe_event_configurations()
    enabled = [name for name, value in described["eventConfigurations"].items() if value["Enabled"]]
    assert sorted(enabled) == ["CA_CERTIFICATE", "THING"], described
    assert described["creationDate"] <= described["lastModifiedDate"], described
    wrong = {"eventConfigurations": {"WEATHER": {"Enabled": True}}}
    refused("InvalidRequestException", "enum value set", iot.update_event_configurations, **wrong)

    refused("NotConfiguredException", "never set", iot.get_v2_logging_options)
    role = "arn:aws:iam::094249569039:role/service-role/iotLoggingRole"
    iot.set_v2_logging_options(roleArn=role, defaultLogLevel="ERROR")
    expected = {"roleArn": role, "defaultLogLevel": "ERROR", "disableAllLogs": False}
    assert said(iot.get_v2_logging_options()) == expected
    events = [{"eventType": "Connect", "logLevel": "INFO", "logDestination": "/aws/iot"}]
    iot.set_v2_logging_options(disableAllLogs=True, eventConfigurations=events)
    expected["disableAllLogs"] = True
    assert said(iot.get_v2_logging_options(verbose=False)) == expected
    assert said(iot.get_v2_logging_options(verbose=True)) == {**expected, "eventConfigurations": events}
    refused("InvalidRequestException", "enum value set", iot.set_v2_logging_options, defaultLogLevel="LOUD")
    bad = [{"eventType": "Connect", "logDestination": "a b"}]
    refused("InvalidRequestException", "'eventConfigurations.1.member.logDestination'", iot.set_v2_logging_options, eventConfigurations=bad)
    assert said(iot.get_logging_options()) == {"logLevel": "DISABLED"}
    iot.set_logging_options(loggingOptionsPayload={"roleArn": role, "logLevel": "ERROR"})
    assert said(iot.get_logging_options()) == {"roleArn": role, "logLevel": "ERROR"}
    iot.set_logging_options(loggingOptionsPayload={"roleArn": role})
    assert said(iot.get_logging_options()) == {"roleArn": role, "logLevel": "ERROR"}
    loud = {"roleArn": role, "logLevel": "LOUD"}
    refused("InvalidRequestException", "'logLevel'", iot.set_logging_options, loggingOptionsPayload=loud)


thing_types()
things()
deprecation()
groups()
principals()
tags()
settings()
