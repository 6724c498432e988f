//! The libraries with which devices are written: AWS's three and Eclipse's.

use serde_json::json;

use crate::fleet::{Fleet, Process, eventually, python};
use crate::link::{report, report_topic};

/// Connects, listens to the answers, publishes a report that is acknowledged, and waits for its answer; then says so.
/// A report that is no report is answered, too.
const SCRIPT: &str = r#"
import json, queue, sys
library, port, ca, certificate, key, thing, topic, report = sys.argv[1:]
port, answers = int(port), queue.Queue()

def aws_iot_python_sdk():
    from AWSIoTPythonSDK.MQTTLib import AWSIoTMQTTClient
    client = AWSIoTMQTTClient(thing)
    client.configureEndpoint("localhost", port)
    client.configureCredentials(ca, key, certificate)
    client.configureMQTTOperationTimeout(30)
    assert client.connect()
    hear = lambda _client, _userdata, message: answers.put((message.topic, message.payload))
    for kind in ("accepted", "rejected"):
        assert client.subscribe(f"{topic}/{kind}", 1, hear)
    def publish(payload):
        assert client.publish(topic, payload, 1)
    return publish, client.disconnect

def awscrt_mqtt3():
    from awscrt.mqtt import QoS
    from awsiot import mqtt_connection_builder
    client = mqtt_connection_builder.mtls_from_path(
        endpoint="localhost", port=port, cert_filepath=certificate, pri_key_filepath=key, ca_filepath=ca,
        client_id=thing, clean_session=True)
    client.connect().result(30)
    hear = lambda topic, payload, **_: answers.put((topic, payload))
    for kind in ("accepted", "rejected"):
        granted, _ = client.subscribe(f"{topic}/{kind}", QoS.AT_LEAST_ONCE, hear)
        assert granted.result(30)["qos"] == QoS.AT_LEAST_ONCE
    def publish(payload):
        client.publish(topic, payload, QoS.AT_LEAST_ONCE)[0].result(30)
    return publish, lambda: client.disconnect().result(30)

def awscrt_mqtt5():
    from awscrt import mqtt5
    from awsiot import mqtt5_client_builder
    connected, stopped = queue.Queue(), queue.Queue()
    def hear(data):
        answers.put((data.publish_packet.topic, data.publish_packet.payload))
    client = mqtt5_client_builder.mtls_from_path(
        endpoint="localhost", port=port, cert_filepath=certificate, pri_key_filepath=key, ca_filepath=ca,
        client_id=thing, on_publish_received=hear, on_lifecycle_connection_success=connected.put,
        on_lifecycle_stopped=stopped.put)
    client.start()
    connected.get(timeout=30)
    filters = [mqtt5.Subscription(f"{topic}/{kind}", mqtt5.QoS.AT_LEAST_ONCE) for kind in ("accepted", "rejected")]
    granted = client.subscribe(mqtt5.SubscribePacket(subscriptions=filters)).result(30)
    assert granted.reason_codes == [mqtt5.SubackReasonCode.GRANTED_QOS_1] * 2, granted
    def publish(payload):
        packet = mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS.AT_LEAST_ONCE)
        acknowledged = client.publish(packet).result(30).puback
        assert acknowledged.reason_code == mqtt5.PubackReasonCode.SUCCESS, acknowledged
    def disconnect():
        client.stop()
        stopped.get(timeout=30)
    return publish, disconnect

def paho(version):
    import paho.mqtt.client as mqtt
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=thing, protocol=version)
    client.tls_set(ca, certificate, key)
    subscribed = queue.Queue()
    client.on_subscribe = lambda _client, _userdata, _id, codes, _properties: subscribed.put(codes)
    client.on_message = lambda _client, _userdata, message: answers.put((message.topic, message.payload))
    client.connect("localhost", port)
    client.loop_start()
    client.subscribe([(f"{topic}/{kind}", 1) for kind in ("accepted", "rejected")])
    assert [code.value for code in subscribed.get(timeout=30)] == [1, 1]
    def publish(payload):
        sent = client.publish(topic, payload, qos=1)
        sent.wait_for_publish(30)
        assert sent.is_published()
    return publish, client.disconnect

publish, disconnect = {
    "AWSIoTPythonSDK": aws_iot_python_sdk, "awscrt MQTT 3.1.1": awscrt_mqtt3, "awscrt MQTT 5": awscrt_mqtt5,
    "paho MQTT 3.1.1": lambda: paho(4), "paho MQTT 5": lambda: paho(5),
}[library]()
for payload, kind, status in ((report, "accepted", "ACCEPTED"), ("no report", "rejected", "REJECTED")):
    publish(payload)
    heard, answer = answers.get(timeout=30)
    assert heard == f"{topic}/{kind}", (heard, answer)
    assert json.loads(answer)["status"] == status, answer
disconnect()
print("all went well")
"#;

#[test]
fn reports_of_every_library_are_taken_and_answered() {
    let fleet = Fleet::start("");
    fleet.profile(
        "Story",
        &json!([{
            "name": "Ports",
            "metric": "aws:listening-tcp-ports",
            "criteria": { "comparisonOperator": "in-port-set", "value": { "ports": [22] } },
        }]),
    );
    for (at, library) in [
        "AWSIoTPythonSDK",
        "awscrt MQTT 3.1.1",
        "awscrt MQTT 5",
        "paho MQTT 3.1.1",
        "paho MQTT 5",
    ]
    .iter()
    .enumerate()
    {
        let thing = format!("pump-{at}");
        let device = fleet.device(&thing);
        let mut program = fleet.program(&python());
        program.args(["-c", SCRIPT, library, &fleet.mqtt.port().to_string()]);
        program.arg(fleet.ca()).arg(device.certificate()).arg(device.key());
        program.args([&thing, &report_topic(&thing), &report(1, 0, &[22, 4444]).to_string()]);
        let mut client = Process::start(program);
        client.says("all went well");
        client.ends();
        eventually(&format!("{library}: the report is judged"), || {
            fleet.is_in_alarm(&thing, "Ports").then_some(())
        });
    }
}
