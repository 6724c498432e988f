//! The way of a report: what agents in the field send is taken, judged, and listed.

use std::process::Command;

use serde_json::json;

use crate::fleet::{Fleet, Process, eventually, python};
use crate::link::{Link, report, report_topic};
use crate::own_network;

/// Normal is: no port but 22.
fn only_port_22() -> serde_json::Value {
    json!([{
        "name": "Ports",
        "metric": "aws:listening-tcp-ports",
        "criteria": { "comparisonOperator": "in-port-set", "value": { "ports": [22] } },
    }])
}

#[test]
fn aws_python_agent_is_accepted_and_its_violation_is_listed() {
    own_network::run(
        "reports::aws_python_agent_is_accepted_and_its_violation_is_listed",
        || {
            let fleet = Fleet::start("mqtt_alpn_listen = \"127.0.0.1:443\"");
            fleet.profile("Story", &only_port_22());
            for format in ["json", "cbor"] {
                let thing = format!("Agent-{format}");
                let device = fleet.device(&thing);
                let mut agent = Command::new(python());
                agent.args([
                    "-u",
                    "-m",
                    "AWSIoTDeviceDefenderAgentSDK.agent",
                    "-e",
                    "localhost",
                    "-i",
                    "1",
                    "-f",
                    format,
                ]);
                agent
                    .arg("-r")
                    .arg(fleet.ca())
                    .arg("-c")
                    .arg(device.certificate())
                    .arg("-k")
                    .arg(device.key());
                agent.args(["-id", &thing, "-t", &thing]);
                let agent = Process::start(agent);
                agent.says(&format!("metrics/{format}/accepted"));
                agent.says("ACCEPTED");
                // It leaves its first sample out, and sees the server's own ports.
                eventually("the violation is listed", || {
                    fleet.is_in_alarm(&thing, "Ports").then_some(())
                });
            }
        },
    );
}

#[test]
fn our_agent_is_accepted_in_both_formats() {
    let fleet = Fleet::start("");
    fleet.profile("Story", &only_port_22());
    for (thing, options) in [("Json", &["-f", "json"][..]), ("CborShort", &["-f", "cbor", "-s"])] {
        let device = fleet.device(thing);
        let agent = fleet.agent(&device, options);
        agent.says("accepted report");
        eventually("the violation is listed", || {
            fleet.is_in_alarm(thing, "Ports").then_some(())
        });
    }
}

#[test]
fn upper_bounds_alarm_at_once_and_ports_clear_with_the_next_report() {
    let fleet = Fleet::start("");
    let behaviors = json!([
        only_port_22()[0],
        {
            "name": "BytesOut",
            "metric": "aws:all-bytes-out",
            "criteria": { "comparisonOperator": "less-than-equals", "value": { "count": 1000 }, "durationSeconds": 300 },
        },
    ]);
    fleet.profile("Story", &behaviors);
    let device = fleet.device("pump-7");
    let mut link = Link::of(&fleet, &device);
    link.report_taken("pump-7", &report(1, 600, &[22]));
    assert!(fleet.events().is_empty(), "a conforming device raises nothing");
    link.report_taken("pump-7", &report(2, 600, &[22, 4444]));
    eventually("both are in alarm", || (fleet.events().len() == 2).then_some(()));
    link.report_taken("pump-7", &report(3, 0, &[22]));
    eventually("the port's alarm is cleared", || {
        (!fleet.is_in_alarm("pump-7", "Ports")).then_some(())
    });
    assert!(fleet.is_in_alarm("pump-7", "BytesOut"), "its window has not emptied");
    let violation = fleet.violation_of("pump-7", "BytesOut").unwrap();
    let told = fleet.cli(&["violation", "explain", &violation]);
    assert!(told.contains("alarm when bytes out in 5 min is above 1000"), "{told}");
    assert!(told.contains("when the window will have emptied"), "{told}");
    let alarmed = fleet.json(&["violation", "explain", &violation]);
    assert_eq!(alarmed["lastViolationValue"], json!({ "count": 1200 }));
}

#[test]
fn what_is_acknowledged_survives_a_kill_and_a_repeated_report_changes_nothing() {
    let mut fleet = Fleet::start("");
    fleet.profile("Story", &only_port_22());
    let device = fleet.device("pump-7");
    let mut link = Link::of(&fleet, &device);
    link.report_taken("pump-7", &report(1, 0, &[22, 23]));
    fleet.kill();
    fleet.serve();
    eventually("the alarm is there", || {
        fleet.is_in_alarm("pump-7", "Ports").then_some(())
    });
    let mut link = Link::of(&fleet, &device);
    for _ in 0..3 {
        link.report_taken("pump-7", &report(1, 0, &[22, 23]));
    }
    link.report_taken("pump-7", &report(2, 0, &[22]));
    eventually("the alarm is cleared", || (fleet.events().len() == 2).then_some(()));
    fleet.stop();
    let replayed = fleet.cli(&["log", "replay", "--data", fleet.data().to_str().unwrap()]);
    assert_eq!(replayed.lines().count(), 2, "{replayed}");
}

#[test]
fn what_is_not_judged_yet_is_taken_and_said() {
    let fleet = Fleet::start("");
    let behaviors = json!([
        {
            "name": "Learned",
            "metric": "aws:num-messages-sent",
            "criteria": { "mlDetectionConfig": { "confidenceLevel": "HIGH" } },
        },
        {
            "name": "Quiet",
            "metric": "aws:all-bytes-out",
            "criteria": { "comparisonOperator": "greater-than", "value": { "count": 5 }, "durationSeconds": 300 },
        },
    ]);
    fleet.profile("Later", &behaviors);
    let told = fleet.cli(&["profile", "show", "Later"]);
    assert!(told.contains("not judged yet"), "{told}");
    let file = fleet.path("Later.json");
    let linted = fleet.cli(&["profile", "lint", file.to_str().unwrap()]);
    assert!(linted.contains("did you mean"), "{linted}");
    let device = fleet.device("pump-7");
    let mut link = Link::of(&fleet, &device);
    link.report_taken("pump-7", &report(1, 0, &[]));
    assert!(fleet.events().is_empty());
}

#[test]
fn doubts_about_a_profile_are_told_with_and_without_a_server() {
    let fleet = Fleet::start("");
    let behaviors = json!([{
        "name": "Percentile",
        "metric": "aws:num-listening-tcp-ports",
        "criteria": {
            "comparisonOperator": "less-than-equals",
            "statisticalThreshold": { "statistic": "p90" },
            "durationSeconds": 300,
        },
    }]);
    for thing in ["pump-1", "pump-2", "pump-3"] {
        fleet.cli(&["thing", "create", thing]);
    }
    fleet.profile("Doubtful", &behaviors);
    let told = fleet.cli(&["profile", "lint", "Doubtful"]);
    let expected = "Percentile: the profile's targets hold 3 registered things";
    assert!(told.contains(expected), "{told}");
    let often = fleet.json(&["profile", "lint", "Doubtful", "--report-interval-secs", "900"]);
    assert_eq!(often["warnings"].as_array().map(Vec::len), Some(2), "{often}");
    let file = fleet.path("Doubtful.json");
    let offline = [
        "--endpoint",
        "http://127.0.0.1:1",
        "profile",
        "lint",
        "-f",
        file.to_str().unwrap(),
    ];
    assert_eq!(fleet.cli(&offline), "", "a file knows no devices");
    fleet.cli(&["profile", "starter", "--apply"]);
    let shown = fleet.json(&["profile", "show", "Starter"]);
    let printed: serde_json::Value = serde_json::from_str(&fleet.cli(&["profile", "starter"])).unwrap();
    assert_eq!(shown["behaviors"], printed["behaviors"]);
    assert!(
        fleet
            .cli(&["profile", "show", "Starter"])
            .contains("all/registered-things")
    );
}

#[test]
fn mosquitto_reads_the_answer() {
    let fleet = Fleet::start("");
    let device = fleet.device("pump-7");
    let accepted = format!("{}/accepted", report_topic("pump-7"));
    let listener =
        Process::start(fleet.mosquitto("mosquitto_sub", &device, "pump-7", &["-q", "1", "-d", "-t", &accepted]));
    listener.says("received SUBACK");
    let payload = report(7, 0, &[22]).to_string();
    let words = ["-q", "1", "-V", "mqttv5", "-t", &report_topic("pump-7"), "-m", &payload];
    let sent = fleet
        .mosquitto("mosquitto_pub", &device, "sender", &words)
        .output()
        .unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    listener.says(r#""reportId":7"#);
}

/// A profile whose values go out on the topic that is named.
const EXPORTING: &str = r#"
import sys
import boto3
iot = boto3.client("iot")
criteria = {"comparisonOperator": "less-than", "value": {"count": 1000}, "durationSeconds": 300}
profile = iot.create_security_profile(
    securityProfileName=sys.argv[1],
    behaviors=[
        {"name": "Out", "metric": "aws:all-bytes-out", "criteria": criteria, "exportMetric": True},
        {"name": "In", "metric": "aws:all-bytes-in", "criteria": criteria},
    ],
    additionalMetricsToRetainV2=[{"metric": "aws:listening-tcp-ports", "exportMetric": True}],
    metricsExportConfig={"mqttTopic": sys.argv[2], "roleArn": "arn:aws:iam::123456789012:role/unused-here"},
)
target = profile["securityProfileArn"].rsplit(":", 1)[0] + ":all/things"
iot.attach_security_profile(securityProfileName=sys.argv[1], securityProfileTargetArn=target)
"#;

#[test]
fn values_of_metrics_go_out_to_whoever_subscribes() {
    let fleet = Fleet::start("");
    let mut listener = Link::connect(&fleet, &fleet.device("listener"), "listener").unwrap();
    let device = fleet.device("pump-7");
    let mut link = Link::of(&fleet, &device);
    for (n, topic) in (1..).zip(["fleet/metrics", "$aws/rules/Metrics"]) {
        let mut exporting = fleet.program(&python());
        let made = exporting
            .args(["-c", EXPORTING, &format!("Profile{n}"), topic])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        assert!(listener.subscribe(topic), "{topic}");
        link.report_taken("pump-7", &report(n, 600, &[22, 4444]));
        let message = loop {
            let message = listener.next().unwrap();
            if *message.topic == *topic {
                break message;
            }
        };
        let told: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(told["version"], "1.0");
        let metrics = told["metrics"].as_array().unwrap();
        let value = |name: &str| {
            let found = metrics.iter().find(|metric| metric["name"] == name);
            found.map(|metric| (metric["thing"].clone(), metric["value"].clone()))
        };
        let is = |value| Some((json!("pump-7"), value));
        assert_eq!(value("aws:all-bytes-out"), is(json!({ "count": 600 })), "{told}");
        assert_eq!(
            value("aws:listening-tcp-ports"),
            is(json!({ "ports": [22, 4444] })),
            "{told}"
        );
        assert_eq!(metrics.len(), 2, "{told}");
    }
}
