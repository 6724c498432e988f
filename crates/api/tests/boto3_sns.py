"""The operations of SNS, with AWS's own client and nothing but its documented answers."""

import json
import urllib.error
import urllib.parse
import urllib.request
from os import environ

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

sns = boto3.client("sns", config=Config(parameter_validation=False))
ACCOUNT = "arn:aws:sns:eu-central-1:123456789012"
TOPIC = f"{ACCOUNT}:BadIoTDevices"


def refused(code, status, call, **arguments):
    """The call is refused with this code; says the message."""
    try:
        call(**arguments)
    except ClientError as error:
        found = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        assert found == (code, status), (found, arguments, error)
        assert error.response["Error"]["Type"] == "Sender", error.response
        return error.response["Error"]["Message"]
    raise AssertionError(f"{call.__name__} {arguments} was not refused")


def visit(**parameters):
    """What a browser without any key gets."""
    query = urllib.parse.urlencode(parameters)
    try:
        with urllib.request.urlopen(f"{environ['AWS_ENDPOINT_URL']}/?{query}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def topics():
    attributes = {"DisplayName": "bad <devices> & more"}
    for _ in range(2):
        made = sns.create_topic(Name="BadIoTDevices", Attributes=attributes, Tags=[{"Key": "k", "Value": "v"}])
        assert made["TopicArn"] == TOPIC, made
        assert made["ResponseMetadata"]["RequestId"], made
    message = refused("InvalidParameter", 400, sns.create_topic, Name="BadIoTDevices", Attributes={"DisplayName": "x"})
    assert "exists already" in message, message
    for name in ["", "a" * 257, "a b", "a.fifo", "ü"]:
        refused("InvalidParameter", 400, sns.create_topic, Name=name)
    refused("InvalidParameter", 400, sns.create_topic)
    for attributes in [{"FifoTopic": "true"}, {"SignatureVersion": "1"}, {"Colour": "red"}]:
        refused("InvalidParameter", 400, sns.create_topic, Name="other", Attributes=attributes)
    refused("InvalidParameter", 400, sns.create_topic, Name="other", Tags=[{"Value": "v"}])

    found = sns.get_topic_attributes(TopicArn=TOPIC)["Attributes"]
    assert found["TopicArn"] == TOPIC and found["Owner"] == "123456789012", found
    assert found["DisplayName"] == "bad <devices> & more", found
    assert (found["SubscriptionsConfirmed"], found["SubscriptionsPending"]) == ("0", "0"), found
    sns.set_topic_attributes(TopicArn=TOPIC, AttributeName="DisplayName", AttributeValue="bad devices")
    assert sns.get_topic_attributes(TopicArn=TOPIC)["Attributes"]["DisplayName"] == "bad devices"
    refused("NotFound", 404, sns.get_topic_attributes, TopicArn=f"{ACCOUNT}:Nothing")
    for arn in ["", "x", f"{ACCOUNT}:", TOPIC.replace("123456789012", "210987654321"), TOPIC.replace("sns", "iot")]:
        refused("InvalidParameter", 400, sns.get_topic_attributes, TopicArn=arn)

    names = [f"t{nth:03}" for nth in range(150)]
    for name in names:
        sns.create_topic(Name=name)
    first = sns.list_topics()
    assert len(first["Topics"]) == 100, first
    # A page is right whatever comes and goes between it and the one before.
    sns.create_topic(Name="A-is-before")
    sns.delete_topic(TopicArn=f"{ACCOUNT}:t149")
    rest = sns.list_topics(NextToken=first["NextToken"])
    listed = [topic["TopicArn"].rsplit(":", 1)[1] for topic in first["Topics"] + rest["Topics"]]
    assert listed == ["BadIoTDevices", *names[:-1]], listed
    assert "NextToken" not in rest, rest
    refused("InvalidParameter", 400, sns.list_subscriptions, NextToken=first["NextToken"])
    refused("InvalidParameter", 400, sns.list_topics, NextToken="x")
    for name in [*names, "A-is-before"]:
        sns.delete_topic(TopicArn=f"{ACCOUNT}:{name}")
    assert [topic["TopicArn"] for topic in sns.list_topics()["Topics"]] == [TOPIC]


def subscriptions():
    url = "http://127.0.0.1:9/alerts?a=b&c=<d>"
    asked = sns.subscribe(TopicArn=TOPIC, Protocol="http", Endpoint=url)
    assert asked["SubscriptionArn"] == "pending confirmation", asked
    again = sns.subscribe(TopicArn=TOPIC, Protocol="http", Endpoint=url, ReturnSubscriptionArn=True)["SubscriptionArn"]
    assert again.startswith(f"{TOPIC}:"), again
    listed = sns.list_subscriptions_by_topic(TopicArn=TOPIC)["Subscriptions"]
    expected = {
        "SubscriptionArn": "PendingConfirmation",
        "Owner": "123456789012",
        "Protocol": "http",
        "Endpoint": url,
        "TopicArn": TOPIC,
    }
    assert listed == [expected], listed
    refused("InvalidParameter", 400, sns.confirm_subscription, TopicArn=TOPIC, Token="0" * 64)
    refused("NotFound", 404, sns.confirm_subscription, TopicArn=f"{ACCOUNT}:Nothing", Token="0" * 64)
    shown = sns.get_subscription_attributes(SubscriptionArn=again)["Attributes"]
    assert (shown["PendingConfirmation"], shown["RawMessageDelivery"]) == ("true", "false"), shown
    sns.set_subscription_attributes(
        SubscriptionArn=again, AttributeName="RawMessageDelivery", AttributeValue="true"
    )
    shown = sns.get_subscription_attributes(SubscriptionArn=again)["Attributes"]
    assert shown["RawMessageDelivery"] == "true", shown

    queue = "arn:aws:sqs:eu-central-1:123456789012:queue"
    arn = sns.subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint=queue)["SubscriptionArn"]
    assert arn.startswith(f"{TOPIC}:"), "nobody has to be asked"
    assert sns.subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint=queue)["SubscriptionArn"] == arn
    mail = sns.subscribe(TopicArn=TOPIC, Protocol="email", Endpoint="ops@example.com")
    assert mail["SubscriptionArn"] == "pending confirmation", mail
    counts = sns.get_topic_attributes(TopicArn=TOPIC)["Attributes"]
    assert (counts["SubscriptionsConfirmed"], counts["SubscriptionsPending"]) == ("1", "2"), counts

    for protocol, endpoint in [
        ("http", "https://example.com"),
        ("https", "http://example.com"),
        ("http", "http://"),
        ("http", ""),
        ("http", None),
        ("http", "http://example.com/ x"),
        ("email", "nobody"),
        ("sms", "x"),
        ("sqs", "queue"),
        ("pigeon", "x"),
        ("", "x"),
    ]:
        endpoint = {} if endpoint is None else {"Endpoint": endpoint}
        refused("InvalidParameter", 400, sns.subscribe, TopicArn=TOPIC, Protocol=protocol, **endpoint)
    for attributes in [
        {"FilterPolicy": json.dumps({"site": ["north"]})},
        {"RedrivePolicy": "{\"deadLetterTargetArn\":\"x\"}"},
        {"RawMessageDelivery": "perhaps"},
        {"Colour": "red"},
    ]:
        refused(
            "InvalidParameter",
            400,
            sns.subscribe,
            TopicArn=TOPIC,
            Protocol="http",
            Endpoint="http://127.0.0.1:9/other",
            Attributes=attributes,
        )
    refused("NotFound", 404, sns.subscribe, TopicArn=f"{ACCOUNT}:Nothing", Protocol="http", Endpoint=url)
    refused("NotFound", 404, sns.list_subscriptions_by_topic, TopicArn=f"{ACCOUNT}:Nothing")

    for nth in range(120):
        sns.subscribe(TopicArn=TOPIC, Protocol="sms", Endpoint=f"+49151{nth:06}")
    pages = list(sns.get_paginator("list_subscriptions").paginate())
    assert [len(page["Subscriptions"]) for page in pages] == [100, 23]
    of_topic = list(sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=TOPIC))
    assert sum(len(page["Subscriptions"]) for page in of_topic) == 123

    sns.unsubscribe(SubscriptionArn=again)
    sns.unsubscribe(SubscriptionArn=again)
    refused("NotFound", 404, sns.get_subscription_attributes, SubscriptionArn=again)
    refused("InvalidParameter", 400, sns.unsubscribe, SubscriptionArn="PendingConfirmation")
    return arn


def messages():
    said = sns.publish(TopicArn=TOPIC, Message="a test", Subject="Test")
    other = sns.publish(
        TargetArn=TOPIC,
        Message=json.dumps({"default": "x", "http": "y"}),
        MessageStructure="json",
        MessageAttributes={"site": {"DataType": "String", "StringValue": "north"}},
    )
    assert len(said["MessageId"]) == 36 and said["MessageId"] != other["MessageId"], (said, other)
    sns.publish(TopicArn=TOPIC, Message="x" * (256 << 10))
    for arguments in [
        {"Message": ""},
        {"Message": "x" * ((256 << 10) + 1)},
        {"Message": "ü" * (129 << 10)},
        {"Message": "nul \0"},
        {"Message": "x", "Subject": "x" * 101},
        {"Message": "x", "Subject": "two\nlines"},
        {"Message": "x", "MessageStructure": "xml"},
        {"Message": "x", "MessageStructure": "json"},
        {"Message": "{}", "MessageStructure": "json"},
        {"Message": "{\"default\":1}", "MessageStructure": "json"},
        {"Message": "x", "MessageAttributes": {"a b": {"DataType": "String", "StringValue": "v"}}},
        {"Message": "x", "MessageAttributes": {"a": {"DataType": "Colour", "StringValue": "v"}}},
        {"Message": "x", "MessageAttributes": {"a": {"DataType": "String"}}},
        {"Message": "x", "TargetArn": TOPIC},
        {"Message": "x", "MessageDeduplicationId": "x"},
        {"Message": "x", "PhoneNumber": "+491511234567"},
    ]:
        refused("InvalidParameter", 400, sns.publish, TopicArn=TOPIC, **arguments)
    refused("InvalidParameter", 400, sns.publish, Message="x")
    refused("NotFound", 404, sns.publish, TopicArn=f"{ACCOUNT}:Nothing", Message="x")


def strangers(subscription):
    status, body = visit(Action="ConfirmSubscription", TopicArn=TOPIC, Token="0" * 64)
    assert status == 400 and "<Code>InvalidParameter</Code>" in body, (status, body)
    status, body = visit(Action="Unsubscribe", SubscriptionArn=subscription)
    assert status == 200 and "<UnsubscribeResponse" in body, (status, body)
    refused("NotFound", 404, sns.get_subscription_attributes, SubscriptionArn=subscription)
    for action in ["Publish", "ListTopics", "DeleteTopic", "", "ConfirmSubscriptio"]:
        status, body = visit(Action=action, TopicArn=TOPIC, Message="x")
        assert status == 403 and "<Code>MissingAuthenticationToken</Code>" in body, (action, status, body)
    with urllib.request.urlopen(f"{environ['AWS_ENDPOINT_URL']}/SimpleNotificationService-known.pem") as answer:
        assert answer.read() == b"the certificate"

    stranger = boto3.client("sns", aws_access_key_id="AKIASTRANGER00000000", aws_secret_access_key="wrong")
    refused("InvalidClientTokenId", 403, stranger.list_topics)
    key = environ["AWS_ACCESS_KEY_ID"]
    impostor = boto3.client("sns", aws_access_key_id=key, aws_secret_access_key="wrong")
    refused("SignatureDoesNotMatch", 403, impostor.list_topics)
    message = refused("InvalidAction", 400, sns.list_phone_numbers_opted_out)
    assert "Subscribe" in message, message


topics()
arn = subscriptions()
messages()
strangers(arn)
sns.delete_topic(TopicArn=TOPIC)
sns.delete_topic(TopicArn=TOPIC)
assert sns.list_subscriptions()["Subscriptions"] == []
assert sns.list_topics()["Topics"] == []
