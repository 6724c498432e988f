//! The data plane, called by boto3, with devices of Eclipse's library at the other end.

use crate::fleet::{Fleet, Process, python};

/// Two devices: one listens, in MQTT 5; one leaves a will.
const SCRIPT: &str = r##"
import base64, json, queue, sys, time
import boto3, botocore.exceptions
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
port, ca, certificate, key, endpoint = sys.argv[1:]
port = int(port)
data = boto3.client("iot-data", config=boto3.session.Config(retries={"max_attempts": 0}))
iot = boto3.client("iot")

class Device:
    def __init__(self, name, filters, will=None, session_secs=0):
        self.heard, self.gone, connected, subscribed = queue.Queue(), queue.Queue(), queue.Queue(), queue.Queue()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=5, reconnect_on_failure=False)
        self.client.tls_set(ca, certificate, key)
        if will:
            self.client.will_set(*will)
        self.client.on_connect = lambda _c, _u, _f, reason, _p: connected.put(reason)
        self.client.on_subscribe = lambda _c, _u, _i, codes, _p: subscribed.put(codes)
        self.client.on_message = lambda _c, _u, message: self.heard.put(message)
        self.client.on_disconnect = lambda _c, _u, _f, reason, _p: self.gone.put(reason)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = session_secs
        self.client.connect("localhost", port, keepalive=60, clean_start=True, properties=properties)
        self.client.loop_start()
        assert connected.get(timeout=30) == 0
        if filters:
            self.client.subscribe(filters)
            assert [code.value for code in subscribed.get(timeout=30)] == [qos for _, qos in filters]

    def hears(self):
        return self.heard.get(timeout=30)

def refused(status, code, call, *words, **arguments):
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        found = (error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"])
        assert found == (status, code), error
        assert type(error).__name__ in (code, "ClientError"), type(error)
        for word in words:
            assert word in str(error), error
    else:
        raise AssertionError(f"{arguments} was not refused")

# What is published is delivered as any message is, with all that MQTT 5 adds.
listener = Device("pump-1", [("t/#", 1), ("$share/g/u", 0)], session_secs=600)
data.publish(topic="t/a/ü b", qos=1, payload=b"\x00\xff raw", contentType="application/x-raw", responseTopic="t/answers",
    messageExpiry=600, payloadFormatIndicator="UNSPECIFIED_BYTES",
    userProperties=[{"deviceName": "alpha"}, {"deviceName": "beta", "n": "45"}],
    correlationData=base64.b64encode(b"\x00\x01").decode())
message = listener.hears()
assert (message.topic, message.payload, message.qos, message.retain) == ("t/a/ü b", b"\x00\xff raw", 1, False)
added = message.properties
assert (added.ContentType, added.ResponseTopic, added.CorrelationData) == ("application/x-raw", "t/answers", b"\x00\x01")
assert added.UserProperty == [("deviceName", "alpha"), ("deviceName", "beta"), ("n", "45")], added.UserProperty
assert 590 <= added.MessageExpiryInterval <= 600
data.publish(topic="t/b", payload="text", payloadFormatIndicator="UTF8_DATA", userProperties=json.dumps([{"k": "v"}]))
message = listener.hears()
assert (message.topic, message.payload, message.qos) == ("t/b", b"text", 0)
assert message.properties.PayloadFormatIndicator == 1 and message.properties.UserProperty == [("k", "v")]
data.publish(topic="t/empty", qos=0)
assert listener.hears().payload == b""
data.publish(topic="u", qos=1, payload=b"shared")
message = listener.hears()
assert (message.payload, message.qos) == (b"shared", 0)
largest = bytes(range(256)) * 512
data.publish(topic="t/large", qos=1, payload=largest)
assert listener.hears().payload == largest

for arguments, words in [
    (dict(topic="t/+", payload=b""), ["wildcard"]), (dict(topic="a/" * 8, payload=b""), ["slashes"]),
    (dict(topic="x" * 257, payload=b""), ["257 bytes"]), (dict(topic="t\0", payload=b""), ["NUL"]),
    (dict(topic="$aws/things/pump-1/defender/metrics/json", payload=b"{}"), ["does not begin with $"]),
    (dict(topic="$SYS/x", payload=b""), ["does not begin with $"]),
    (dict(topic="t", responseTopic="#"), ["responseTopic"]), (dict(topic="t", payload=largest + b"x"), ["payload", "131072"]),
    (dict(topic="t", qos=2), ["qos"]), (dict(topic="t", messageExpiry=0), ["messageExpiry"]),
    (dict(topic="t", messageExpiry=604801), ["messageExpiry"]), (dict(topic="t", correlationData="*"), ["correlationData", "base64"]),
    (dict(topic="t", userProperties={"k": "v"}), ["userProperties"]), (dict(topic="t", userProperties=[{"k": 1}]), ["userProperties"]),
    (dict(topic="t", payload=b"\xff", payloadFormatIndicator="UTF8_DATA"), ["UTF-8"]),
    (dict(topic="t", payloadFormatIndicator="OTHER"), ["payloadFormatIndicator"]),
]:
    refused(400, "InvalidRequestException", data.publish, *words, **arguments)

# What is kept is found, listed in pages, delivered to who subscribes, and removed by nothing in its place.
before = time.time() * 1000 - 5000
for at in range(5):
    data.publish(topic=f"kept/{at}", qos=at % 2, retain=True, payload=bytes(at + 1), userProperties=[{"at": str(at)}])
kept = data.get_retained_message(topic="kept/3")
assert (kept["topic"], kept["payload"], kept["qos"]) == ("kept/3", bytes(4), 1)
assert before <= kept["lastModifiedTime"] <= time.time() * 1000 + 5000 and json.loads(kept["userProperties"]) == [{"at": "3"}]
first = data.list_retained_messages(maxResults=2)
data.publish(topic="kept/0", retain=True)
data.publish(topic="kept/11", retain=True, payload=b"x")
pages = data.get_paginator("list_retained_messages").paginate(PaginationConfig={"PageSize": 2})
listed = [(topic["topic"], topic["payloadSize"], topic["qos"]) for page in pages for topic in page["retainedTopics"]]
assert listed == [("kept/1", 2, 1), ("kept/11", 1, 0), ("kept/2", 3, 0), ("kept/3", 4, 1), ("kept/4", 5, 0)], listed
second = data.list_retained_messages(maxResults=2, nextToken=first["nextToken"])
assert [topic["topic"] for topic in second["retainedTopics"]] == ["kept/11", "kept/2"]
refused(404, "ResourceNotFoundException", data.get_retained_message, topic="kept/0")
refused(400, "InvalidRequestException", data.list_retained_messages, maxResults=201)
late = Device("pump-2", [("kept/4", 1)])
message = late.hears()
assert (message.payload, message.retain) == (bytes(5), True)

# Connections and what they subscribed to.
connection = data.get_connection(clientId="pump-1", includeSocketInformation=True)
del connection["ResponseMetadata"]
since = connection.pop("connectedSince")
assert before - 60000 <= since <= time.time() * 1000 + 5000
assert connection.pop("sourcePort") not in (0, port)
assert connection == dict(connected=True, thingName="pump-1", cleanSession=True, sourceIp="127.0.0.1", targetIp="127.0.0.1",
    targetPort=port, keepAliveDuration=60, sessionExpiry=600, clientId="pump-1"), connection
assert "sourceIp" not in data.get_connection(clientId="pump-1")
assert "thingName" not in data.get_connection(clientId="pump-2")
page = data.list_subscriptions(clientId="pump-1", maxResults=1)
assert page["subscriptions"] == [dict(topicFilter="$share/g/u", qos=0)]
refused(400, "InvalidRequestException", data.list_retained_messages, nextToken=page["nextToken"])
page = data.list_subscriptions(clientId="pump-1", maxResults=1, nextToken=page["nextToken"])
assert page["subscriptions"] == [dict(topicFilter="t/#", qos=1)] and "nextToken" not in page
for call in (data.get_connection, data.list_subscriptions, data.delete_connection):
    refused(404, "ResourceNotFoundException", call, clientId="nobody")
    refused(400, "InvalidRequestException", call, clientId="$x")

# The same by the thing's name, with the time as the control plane has it.
device = iot.get_thing_connectivity_data(thingName="pump-1", includeSocketInformation=True)
del device["ResponseMetadata"]
assert round(device.pop("timestamp").timestamp() * 1000) == since
assert device.pop("sourcePort") not in (0, port)
assert device == dict(thingName="pump-1", connected=True, cleanSession=True, sourceIp="127.0.0.1", targetIp="127.0.0.1",
    targetPort=port, keepAliveDuration=60, sessionExpiry=600, clientId="pump-1"), device
assert not {"sourceIp", "sourcePort", "targetIp", "targetPort"} & set(iot.get_thing_connectivity_data(thingName="pump-1"))
iot.create_thing(thingName="never")
never = iot.get_thing_connectivity_data(thingName="never", includeSocketInformation=True)
del never["ResponseMetadata"]
assert never == dict(thingName="never", connected=False), never
# A client that is no thing is none here.
refused(404, "ResourceNotFoundException", iot.get_thing_connectivity_data, "pump-2", thingName="pump-2")
refused(400, "InvalidRequestException", iot.get_thing_connectivity_data, "thingName", thingName="a/b")

# Sent away: with its will or without it, with its session or without it.
data.delete_connection(clientId="pump-1")
assert listener.gone.get(timeout=30).value == 0x98
gone = data.get_connection(clientId="pump-1")
assert (gone["connected"], gone["disconnectReason"]) == (False, "API_INITIATED_DISCONNECT"), gone
assert since <= gone["disconnectedSince"] and "connectedSince" not in gone
device = iot.get_thing_connectivity_data(thingName="pump-1")
assert (device["connected"], device["disconnectReason"]) == (False, "API_INITIATED_DISCONNECT"), device
assert round(device["timestamp"].timestamp() * 1000) == gone["disconnectedSince"], device
assert len(data.list_subscriptions(clientId="pump-1")["subscriptions"]) == 2
refused(404, "ResourceNotFoundException", data.delete_connection, clientId="pump-1")
data.delete_connection(clientId="pump-1", cleanSession=True)
refused(404, "ResourceNotFoundException", data.list_subscriptions, clientId="pump-1")
watcher = Device("pump-3", [("wills/#", 1)])
for at, prevented in enumerate([True, False]):
    leaver = Device("pump-4", [], will=(f"wills/{at}", b"gone", 1), session_secs=600)
    data.delete_connection(clientId="pump-4", preventWillMessage=prevented, cleanSession=True)
    leaver.gone.get(timeout=30)
assert watcher.hears().topic == "wills/1"
refused(404, "ResourceNotFoundException", data.list_subscriptions, clientId="pump-4")
watcher.client.disconnect()
watcher.gone.get(timeout=30)
while (left := data.get_connection(clientId="pump-3"))["connected"]:
    pass
assert left["disconnectReason"] == "CLIENT_INITIATED_DISCONNECT", left

# Each service is reached by its own signature only, and presigned requests are as good as others.
import urllib.error, urllib.request
presigned = data.generate_presigned_url("get_retained_message", Params=dict(topic="kept/3"), ExpiresIn=60)
assert base64.b64decode(json.load(urllib.request.urlopen(presigned))["payload"]) == bytes(4)
wrong = boto3.client("iot").generate_presigned_url("describe_thing", Params=dict(thingName="pump-1")).replace("/things/", "/retainedMessage/")
try:
    urllib.request.urlopen(wrong)
    raise AssertionError("a request signed for another path was answered")
except urllib.error.HTTPError as error:
    assert error.code == 403, error
print("all went well")
"##;

#[test]
fn boto3_publishes_and_finds_connections() {
    let fleet = Fleet::start("");
    let device = fleet.device("pump-1");
    let mut program = fleet.program(&python());
    program.args(["-c", SCRIPT, &fleet.mqtt.port().to_string()]);
    program.arg(fleet.ca()).arg(device.certificate()).arg(device.key());
    program.arg(format!("http://{}", fleet.api));
    let mut client = Process::start(program);
    client.says("all went well");
    client.ends();
}
