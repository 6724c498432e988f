"""Requests signed by botocore in every way it has, and what becomes of them when they are changed or mixed."""

import json
import os
import random
import urllib.error
import urllib.request

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.exceptions

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
KEY = botocore.credentials.Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
iot = boto3.client("iot")


def answer(url, method="GET", headers=None, body=None):
    """Status, name of the error, body."""
    request = urllib.request.Request(url, method=method, headers=headers or {}, data=body)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, None, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, error.headers["x-amzn-errortype"], json.load(error)


def presigned(auth, method="GET", path="/things", body=b"", headers=None, service="iot", key=KEY, **more):
    """What botocore makes of a request: its URL and its headers."""
    request = botocore.awsrequest.AWSRequest(method, ENDPOINT + path, data=body, headers=headers or {})
    auth(key, service, "eu-central-1", **more).add_auth(request)
    return request.url, dict(request.headers.items())


IN_QUERY, IN_HEADER = botocore.auth.SigV4QueryAuth, botocore.auth.SigV4Auth

# Clients of boto3.
iot.create_thing(thingName="a:b")
url = iot.generate_presigned_url("describe_thing", Params={"thingName": "a:b"}, ExpiresIn=60)
status, _, found = answer(url)
assert (status, found["thingName"]) == (200, "a:b"), found
url = iot.generate_presigned_url("list_things", Params={"maxResults": 1, "attributeName": "x:y"})
assert answer(url)[0] == 200
assert answer(url, method="POST")[:2] == (403, "InvalidSignatureException")
retained = boto3.client("iot-data").generate_presigned_url("list_retained_messages")
assert answer(retained)[2] == {"retainedTopics": []}

# A request with a body.
url, headers = presigned(IN_QUERY, "POST", "/things/c", headers={"content-type": "application/json"})
assert answer(url, "POST", headers)[0] == 200
assert answer(url, "POST", headers, b'{"thingTypeName":"other"}')[:2] == (403, "InvalidSignatureException")

# How long, and for whom.
for more, expected in [
    ({"expires": 604800}, 200),
    ({"expires": 604801}, "IncompleteSignatureException"),
    ({"expires": 0}, "IncompleteSignatureException"),
    ({"service": "iotdata"}, "UnknownOperationException"),
    ({"service": "s3"}, "InvalidSignatureException"),
    ({"key": botocore.credentials.Credentials(KEY.access_key, "wrong")}, "InvalidSignatureException"),
    ({"key": botocore.credentials.Credentials("AKIDNOBODY", "x")}, "UnrecognizedClientException"),
    ({"key": botocore.credentials.Credentials(KEY.access_key, KEY.secret_key, "token")}, "UnrecognizedClientException"),
]:
    url, headers = presigned(IN_QUERY, **more)
    found = answer(url, headers=headers)
    assert expected in found[:2], (more, found)

# Both forms at once, each of them right.
url, _ = presigned(IN_QUERY)
_, headers = presigned(IN_HEADER)
assert answer(url)[0] == 200 and answer(ENDPOINT + "/things", headers=headers)[0] == 200
assert answer(url, headers=headers)[:2] == (403, "IncompleteSignatureException")

# A session's credentials, said so that the client knows.
session = boto3.client(
    "iot", aws_access_key_id=KEY.access_key, aws_secret_access_key=KEY.secret_key, aws_session_token="token"
)
try:
    session.list_things()
except botocore.exceptions.ClientError as error:
    assert error.response["Error"]["Code"] == "UnrecognizedClientException", error
    assert "session tokens are not supported" in str(error)
else:
    raise AssertionError("a session token was taken")

# Every character behind the host, one at a time, made another: nothing of it is answered.
url = iot.generate_presigned_url("list_things", Params={"maxResults": 1, "thingTypeName": "pump"})
start = len(ENDPOINT) + 1
dice = random.Random(1)
for at in range(start, len(url)):
    if url[at] not in "&?=":
        other = dice.choice([char for char in "0123456789abcdefghXYZ" if char != url[at]])
        changed = url[:at] + other + url[at + 1 :]
        status, code, _ = answer(changed)
        assert status == 403, (changed, status, code)
