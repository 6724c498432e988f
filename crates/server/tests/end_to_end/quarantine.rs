//! What is done about a violation: the device is out within a second, people are told, and an operator can undo it.

use std::collections::BTreeSet;
use std::process::Command;

use picket_mqtt::client::ConnectError;
use serde_json::{Value, json};

use crate::fleet::{Device, Fleet, Process, eventually, python};
use crate::link::{Link, report, report_topic};

fn story(fleet: &Fleet) -> (Process, Device) {
    fleet.profile(
        "Story",
        &json!([{
            "name": "Ports",
            "metric": "aws:listening-tcp-ports",
            "criteria": { "comparisonOperator": "in-port-set", "value": { "ports": [22] } },
        }]),
    );
    let (receiver, address) = fleet.webhook();
    fleet.cli(&[
        "response",
        "create",
        "Isolate",
        "--quarantine",
        "--webhook",
        &format!("http://{address}/alerts"),
    ]);
    (receiver, fleet.device("Thing03"))
}

/// The bodies that the receiver has printed.
fn alerts(receiver: &Process) -> Vec<Value> {
    receiver
        .said()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn is_refused(fleet: &Fleet, device: &Device, client_id: &str) -> bool {
    matches!(
        Link::connect(fleet, device, client_id),
        Err(ConnectError::Refused { code: 5 })
    )
}

#[test]
fn a_compromised_device_is_cut_off_people_are_told_and_an_operator_undoes_it() {
    let mut fleet = Fleet::start("");
    let (receiver, device) = story(&fleet);
    let mut link = Link::of(&fleet, &device);
    let mut sensor = Link::connect(&fleet, &device, "SensorDevice03").unwrap();
    link.report_taken("Thing03", &report(1, 0, &[22]));
    link.publish(&report_topic("Thing03"), report(2, 0, &[22, 4444]).to_string())
        .unwrap();
    link.ends();
    sensor.ends();
    assert!(is_refused(&fleet, &device, "Thing03"));
    assert!(is_refused(&fleet, &device, "SensorDevice03"), "nor by another name");
    assert!(is_refused(&fleet, &device, "somebody"), "nor by a new one");

    let alert = eventually("the alert arrives", || alerts(&receiver).first().cloned());
    let members: BTreeSet<&str> = alert.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "behavior",
        "metricValue",
        "securityProfileName",
        "thingName",
        "verificationState",
        "violationEventTime",
        "violationEventType",
        "violationId",
    ];
    assert_eq!(members, expected.into(), "{alert}");
    assert_eq!(alert["violationEventType"], "in-alarm");
    assert_eq!(alert["metricValue"], json!({ "ports": [22, 4444] }));
    assert!(
        fleet.cli(&["group", "members", "IsolatedDevices"]).contains("Thing03"),
        "the group mirrors the decision"
    );

    fleet.kill();
    fleet.serve();
    assert!(is_refused(&fleet, &device, "Thing03"), "a quarantine survives a kill");

    fleet.cli(&["response", "undo", "--thing", "Thing03"]);
    let mut link = Link::of(&fleet, &device);
    assert!(
        fleet.is_in_alarm("Thing03", "Ports"),
        "the violation is open all the same"
    );
    link.report_taken("Thing03", &report(3, 0, &[22, 4444]));
    link.report_taken("Thing03", &report(4, 0, &[22]));
    eventually("the alarm is cleared", || {
        (!fleet.is_in_alarm("Thing03", "Ports")).then_some(())
    });
    eventually("that is told as well", || (alerts(&receiver).len() == 2).then_some(()));
    assert_eq!(alerts(&receiver)[1]["violationEventType"], "alarm-cleared");
    link.report_taken("Thing03", &report(5, 0, &[22]));
    assert!(!fleet.cli(&["group", "members", "IsolatedDevices"]).contains("Thing03"));
    fleet.kill();
    fleet.serve();
    Link::of(&fleet, &device).report_taken("Thing03", &report(6, 0, &[22]));
    assert_eq!(alerts(&receiver).len(), 2, "nothing is told twice");

    // Another violation is another matter.
    let mut link = Link::of(&fleet, &device);
    link.publish(&report_topic("Thing03"), report(7, 0, &[23]).to_string())
        .unwrap();
    link.ends();
}

#[test]
fn a_forged_report_alerts_but_cuts_nobody_off() {
    let fleet = Fleet::start("");
    let (receiver, victim) = story(&fleet);
    let forger = fleet.device("forger");
    let forging = Link::of(&fleet, &forger);
    let mut link = Link::of(&fleet, &victim);
    forging
        .publish(&report_topic("Thing03"), report(1, 0, &[22, 4444]).to_string())
        .unwrap();
    eventually("the alert arrives", || (alerts(&receiver).len() == 1).then_some(()));
    let violation = fleet.violation_of("Thing03", "Ports").unwrap();
    let told = fleet.cli(&["violation", "explain", &violation]);
    assert!(told.contains("only what anybody may have sent"), "{told}");
    assert!(told.contains("not quarantined"), "{told}");
    link.next().unwrap();
    link.report_taken("Thing03", &report(2, 0, &[22]));
    // Its own word is enough.
    link.publish(&report_topic("Thing03"), report(3, 0, &[22, 4444]).to_string())
        .unwrap();
    link.ends();
}

#[test]
fn whoever_adds_a_thing_to_a_group_that_denies_everything_has_the_same_effect() {
    let fleet = Fleet::start("");
    let device = fleet.device("Thing03");
    let mut link = Link::of(&fleet, &device);
    let script = r#"
import boto3, json
iot = boto3.client("iot")
iot.create_thing_group(thingGroupName="Cells")
group = iot.describe_thing_group(thingGroupName="Cells")["thingGroupArn"]
deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "iot:*", "Resource": "*"}]}
iot.create_policy(policyName="DenyAll", policyDocument=json.dumps(deny))
iot.attach_policy(policyName="DenyAll", target=group)
iot.add_thing_to_thing_group(thingGroupName="Cells", thingName="Thing03")
"#;
    let boto3 = |script: &str| {
        let output = fleet.program(&python()).args(["-c", script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    boto3(script);
    link.ends();
    assert!(is_refused(&fleet, &device, "Thing03"));
    assert!(is_refused(&fleet, &device, "somebody"));
    boto3(
        "import boto3; boto3.client('iot').remove_thing_from_thing_group(thingGroupName='Cells', thingName='Thing03')",
    );
    Link::of(&fleet, &device).report_taken("Thing03", &report(1, 0, &[22]));
}

#[test]
fn an_alert_waits_for_a_target_that_is_down_and_for_a_restart() {
    let mut fleet = Fleet::start("");
    let (receiver, device) = story(&fleet);
    let address = receiver
        .said()
        .lines()
        .find_map(|line| line.strip_prefix("ready ").map(str::to_owned))
        .unwrap();
    drop(receiver);
    let mut link = Link::of(&fleet, &device);
    link.publish(&report_topic("Thing03"), report(1, 0, &[23]).to_string())
        .unwrap();
    link.ends();
    eventually("a delivery has failed", || {
        fleet.server_log().contains("an alert was not taken").then_some(())
    });
    fleet.cli(&["response", "undo", "--thing", "Thing03"]);
    let mut link = Link::of(&fleet, &device);
    link.report_taken("Thing03", &report(2, 0, &[22]));
    eventually("the alarm is cleared", || {
        (!fleet.is_in_alarm("Thing03", "Ports")).then_some(())
    });
    fleet.kill();
    let mut command = Command::new(crate::fleet::binary("picket"));
    command.args(["webhook", "listen", "--listen", &address]);
    let receiver = Process::start(command);
    receiver.says("ready ");
    fleet.serve();
    eventually("both alerts arrive", || (alerts(&receiver).len() == 2).then_some(()));
    let kinds: Vec<Value> = alerts(&receiver)
        .iter()
        .map(|alert| alert["violationEventType"].clone())
        .collect();
    assert_eq!(kinds, ["in-alarm", "alarm-cleared"], "in their order");
}
