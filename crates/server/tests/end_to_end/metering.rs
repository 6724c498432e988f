//! What devices do, as subscribers are told of it and as the log holds it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::fleet::{Device, Fleet, Process, python};
use crate::link::{Link, report, report_topic};

const FLEET: &str = "
dimensions:
  Telemetry: {stringValues: ['temperature/#', 'devices/${iot:ClientId}/+']}
profiles:
  Broker:
    behaviors:
      - name: Messages
        metric: aws:num-messages-sent
        metricDimension: {dimensionName: Telemetry}
        criteria: {comparisonOperator: less-than-equals, value: {count: 1000}, durationSeconds: 300}
    targets: [all/things]
";

/// Listens with MQTT 5, says when it does, and goes when it has heard something.
const LISTENER: &str = r#"
import queue, sys
import paho.mqtt.client as mqtt
port, ca, certificate, key, thing, topic = sys.argv[1:]
heard, subscribed = queue.Queue(), queue.Queue()
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=thing, protocol=mqtt.MQTTv5)
client.tls_set(ca, certificate, key)
client.on_subscribe = lambda _client, _userdata, _id, codes, _properties: subscribed.put(codes)
client.on_message = lambda _client, _userdata, message: heard.put(message.payload)
client.connect("localhost", int(port))
client.loop_start()
client.subscribe(topic, 1)
subscribed.get(timeout=30)
print("listening", flush=True)
assert heard.get(timeout=30) == b"23.45"
client.disconnect()
client.loop_stop()
print("heard", flush=True)
"#;

/// What the log of a server that does not run holds of clients.
fn records(fleet: &Fleet) -> Vec<Value> {
    let text = fleet.cli(&["log", "clients", "--data", fleet.data().to_str().unwrap()]);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of<'a>(records: &'a [Value], record: &str, client_id: &str) -> Vec<&'a Value> {
    let is_it = |line: &&Value| line["record"] == record && (client_id.is_empty() || line["clientId"] == client_id);
    records.iter().filter(is_it).collect()
}

/// The sum of a number over all meters of a client.
fn sum(records: &[Value], client_id: &str, pointer: &str) -> u64 {
    let meters = of(records, "meter", client_id).into_iter();
    meters.filter_map(|line| line.pointer(pointer)?.as_u64()).sum()
}

fn publish(fleet: &Fleet, device: &Device, client_id: &str, options: &[&str]) -> Process {
    Process::start(fleet.mosquitto("mosquitto_pub", device, client_id, options))
}

/// One client listens, and one publishes in three names; somebody is told of all of it.
fn play(fleet: &Fleet) -> Process {
    let [watcher, pump, listener, _other] = ["watcher", "pump-7", "pump-8", "pump-9"].map(|thing| fleet.device(thing));
    let deny = r#"{"Version":"2012-10-17","Statement":
        {"Effect":"Deny","Action":"iot:Connect","Resource":"arn:aws:iot:us-east-1:*:client/forbidden"}}"#;
    fleet.policy("NotForbidden", deny);
    fleet.cli(&["policy", "attach", "NotForbidden", &pump.certificate_id]);
    let options = ["-t", "$aws/events/#", "-F", "%t %p", "-d"];
    let told = Process::start(fleet.mosquitto("mosquitto_sub", &watcher, "watcher", &options));
    told.says("$aws/events/subscriptions/subscribed/watcher ");
    let mut program = fleet.program(&python());
    program
        .args(["-c", LISTENER, &fleet.mqtt.port().to_string()])
        .arg(fleet.ca());
    program
        .arg(listener.certificate())
        .arg(listener.key())
        .args(["pump-8", "temperature/+"]);
    let mut listening = Process::start(program);
    listening.says("listening");
    publish(fleet, &pump, "pump-7", &["-t", "temperature/1", "-m", "23.45"]).ends();
    publish(fleet, &pump, "pump-7", &["-q", "1", "-t", "other", "-m", "12"]).ends();
    listening.says("heard");
    listening.ends();
    publish(fleet, &pump, "forbidden", &["-t", "t", "-m", "1"]).fails();
    publish(fleet, &pump, "pump-9", &["-q", "1", "-t", "t", "-m", "1"]).ends();
    told
}

#[test]
fn what_clients_do_is_told_to_subscribers_and_kept_in_the_log() {
    let mut fleet = Fleet::start("");
    let file = fleet.path("fleet.yaml");
    std::fs::write(&file, FLEET).unwrap();
    fleet.cli(&["apply", "-f", file.to_str().unwrap()]);
    let told = play(&fleet);
    for (kind, client_id, words) in [
        ("subscriptions/subscribed", "pump-8", r#""topics":["temperature/+"]"#),
        ("presence/connected", "pump-7", r#""versionNumber":1"#),
        (
            "presence/disconnected",
            "pump-7",
            r#""disconnectReason":"CLIENT_INITIATED_DISCONNECT","versionNumber":1"#,
        ),
        (
            "presence/connect_failed",
            "forbidden",
            r#""connectFailureReason":"AUTHORIZATION_FAILED""#,
        ),
        ("presence/disconnected", "pump-9", r#""clientInitiatedDisconnect":true"#),
    ] {
        told.says(&format!(
            "$aws/events/{kind}/{client_id} {{\"clientId\":\"{client_id}\",\"timestamp\":"
        ));
        told.says(words);
    }
    fleet.stop();
    let found = records(&fleet);
    for (client_id, pointer, expected) in [
        ("pump-7", "/sent/nMessages", 2),
        ("pump-7", "/sent/sumBytes", 7),
        ("pump-7", "/dimensions/Telemetry/inside/sent/sumBytes", 5),
        ("pump-7", "/dimensions/Telemetry/outside/sent/sumBytes", 2),
        ("pump-7", "/nAuthorizationFailures", 0),
        ("pump-8", "/nReceived", 1),
        ("pump-8", "/dimensions/Telemetry/inside/nReceived", 1),
        ("forbidden", "/nRefusedAttempts", 1),
        ("forbidden", "/nAuthorizationFailures", 1),
        ("pump-9", "/sent/nMessages", 1),
    ] {
        assert_eq!(sum(&found, client_id, pointer), expected, "{client_id} {pointer}");
    }
    // Only a thing's own certificate is as good as the thing; a name that is no thing's is anybody's.
    for (client_id, is_genuine) in [("pump-7", true), ("pump-9", false), ("forbidden", true)] {
        let mut meters = of(&found, "meter", client_id).into_iter();
        assert!(meters.all(|line| line["isGenuine"] == is_genuine), "{client_id}");
    }
    check_connections(&found);
    let replayed = fleet.cli(&["log", "replay", "--data", fleet.data().to_str().unwrap()]);
    assert_eq!(replayed, "", "nothing was wrong");
}

fn check_connections(found: &[Value]) {
    let connections = |record, client_id| -> BTreeSet<u64> {
        let lines = of(found, record, client_id).into_iter();
        lines.map(|line| line["connection"].as_u64().unwrap()).collect()
    };
    for (client_id, n) in [("pump-7", 2), ("pump-8", 1), ("pump-9", 1), ("forbidden", 0)] {
        let begun = connections("connected", client_id);
        assert_eq!(begun.len(), n, "{client_id}");
        assert_eq!(begun, connections("disconnected", client_id), "{client_id}");
    }
    // It was the server that went.
    assert_eq!(connections("connected", "watcher").len(), 1);
    assert!(connections("disconnected", "watcher").is_empty());
}

#[test]
fn after_a_kill_every_partition_is_told_that_its_connections_are_gone() {
    let mut fleet = Fleet::start("partitions = 2\n");
    let device = fleet.device("pump-7");
    let link = Link::of(&fleet, &device);
    // Comings are written at once, beside the reports.
    for n in 0..50 {
        link.publish(&report_topic("pump-7"), report(n, 0, &[22]).to_string())
            .unwrap();
    }
    fleet.kill();
    fleet.serve();
    let again = Link::of(&fleet, &device);
    fleet.stop();
    drop((link, again));
    let found = records(&fleet);
    let mut places: BTreeMap<u64, Vec<(u64, &str)>> = BTreeMap::new();
    for line in &found {
        let at = (line["seq"].as_u64().unwrap(), line["record"].as_str().unwrap());
        places.entry(line["partition"].as_u64().unwrap()).or_default().push(at);
    }
    let own = of(&found, "connected", "pump-7");
    assert_eq!(own.len(), 2, "{found:?}");
    assert!(own[0]["connection"].as_u64() < own[1]["connection"].as_u64());
    let partition = own[0]["partition"].as_u64().unwrap();
    let order: Vec<&str> = places[&partition]
        .iter()
        .map(|(_, record)| *record)
        .filter(|it| *it != "meter")
        .collect();
    assert_eq!(order, ["connected", "sessionsEnded", "connected"]);
    let n_sent = sum(&found, "pump-7", "/sent/nMessages");
    assert!(
        n_sent <= 50,
        "{n_sent} messages, at most those of the last second are missing"
    );
}
