//! Mitigation tasks: what an operator wants done about violations is done within a second, and goes on after a kill.

use std::time::{SystemTime, UNIX_EPOCH};

use picket_mqtt::client::ConnectError;
use serde_json::{Value, json};

use crate::fleet::{Fleet, Process, eventually, python};
use crate::link::{Link, report, report_topic};

const N_THINGS: usize = 200;

/// Groups, one of which denies everything, with an action for each.
const PREPARE: &str = r#"
import boto3, json
iot = boto3.client("iot")
for name in ["Cells", "Watched"]:
    iot.create_thing_group(thingGroupName=name)
    iot.create_mitigation_action(
        actionName=name.lower(),
        roleArn="arn:aws:iam::123456789012:role/picket-mitigation",
        actionParams={"addThingsToThingGroupParams": {"thingGroupNames": [name]}},
    )
deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "iot:*", "Resource": "*"}]}
iot.create_policy(policyName="DenyAll", policyDocument=json.dumps(deny))
iot.attach_policy(policyName="DenyAll", target=iot.describe_thing_group(thingGroupName="Cells")["thingGroupArn"])
"#;

/// Starts a task about the violations of one thing, and says when that was answered.
const CUT: &str = r#"
import boto3, json, time
iot = boto3.client("iot")
violations = iot.list_active_violations(thingName="Thing03")["activeViolations"]
iot.start_detect_mitigation_actions_task(
    taskId="cut",
    target={"violationIds": [violation["violationId"] for violation in violations]},
    actions=["cells", "watched"],
    clientRequestToken="cut",
)
print(time.time(), flush=True)
"#;

const REGISTER: &str = r#"
import boto3, sys
iot = boto3.client("iot")
for n in range(int(sys.argv[1])):
    iot.create_thing(thingName=f"pump-{n}")
"#;

/// Starts a task about all of the profile's violations as soon as there are so many, and says when it has begun.
const BEGIN: &str = r#"
import boto3, sys
iot = boto3.client("iot")
pages = iot.get_paginator("list_active_violations")
while sum(len(page["activeViolations"]) for page in pages.paginate()) < int(sys.argv[1]):
    pass
iot.start_detect_mitigation_actions_task(
    taskId="long",
    target={"securityProfileName": "Story"},
    actions=["cells", "watched"],
    clientRequestToken="long",
)
while not iot.describe_detect_mitigation_actions_task(taskId="long")["taskSummary"]["taskStatistics"]["actionsExecuted"]:
    pass
print("begun", flush=True)
"#;

/// Says what became of a task, once it ended.
const END: &str = r#"
import boto3, json, sys
iot = boto3.client("iot")
summary = {"taskStatus": "IN_PROGRESS"}
while summary["taskStatus"] == "IN_PROGRESS":
    summary = iot.describe_detect_mitigation_actions_task(taskId=sys.argv[1])["taskSummary"]
pages = iot.get_paginator("list_detect_mitigation_actions_executions").paginate(taskId=sys.argv[1])
print(json.dumps({
    "status": summary["taskStatus"],
    "statistics": summary["taskStatistics"],
    "executions": [
        [done["thingName"], done["actionName"], done["status"], done["executionStartDate"].timestamp()]
        for page in pages for done in page["actionsExecutions"]
    ],
    "members": {
        name: sum(len(page["things"]) for page in iot.get_paginator("list_things_in_thing_group").paginate(thingGroupName=name))
        for name in ["Cells", "Watched"]
    },
}))
"#;

fn story() -> Fleet {
    let fleet = Fleet::start("");
    fleet.profile(
        "Story",
        &json!([{
            "name": "Ports",
            "metric": "aws:listening-tcp-ports",
            "criteria": { "comparisonOperator": "in-port-set", "value": { "ports": [22] } },
        }]),
    );
    boto3(&fleet, PREPARE, "");
    fleet
}

/// Runs a script, which must succeed; says what it printed.
fn boto3(fleet: &Fleet, script: &str, argument: &str) -> String {
    let output = fleet
        .program(&python())
        .args(["-c", script, argument])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn ended(fleet: &Fleet, task: &str) -> Value {
    serde_json::from_str(&boto3(fleet, END, task)).unwrap()
}

fn now_secs() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn a_mitigation_task_cuts_a_live_session_within_a_second() {
    let fleet = story();
    let device = fleet.device("Thing03");
    let mut link = Link::of(&fleet, &device);
    link.report_taken("Thing03", &report(1, 0, &[22, 4444]));
    eventually("there is a violation", || {
        fleet.is_in_alarm("Thing03", "Ports").then_some(())
    });
    link.report_taken("Thing03", &report(2, 0, &[22, 4444]));
    let cut = std::thread::spawn(move || {
        link.ends();
        now_secs()
    });
    let answered: f64 = boto3(&fleet, CUT, "").trim().parse().unwrap();
    let passed_secs = cut.join().unwrap() - answered;
    assert!(passed_secs < 1.0, "the session went on for {passed_secs} s");
    for client_id in ["Thing03", "somebody"] {
        let refused = Link::connect(&fleet, &device, client_id);
        assert!(matches!(refused, Err(ConnectError::Refused { code: 5 })), "{client_id}");
    }
    let ended = ended(&fleet, "cut");
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended}");
    assert_eq!(ended["members"], json!({ "Cells": 1, "Watched": 1 }), "{ended}");
}

#[test]
fn a_task_that_a_kill_interrupts_is_finished_after_the_restart_each_action_once() {
    let mut fleet = story();
    let sender = fleet.device("sender");
    boto3(&fleet, REGISTER, &N_THINGS.to_string());
    let link = Link::connect(&fleet, &sender, "sender").unwrap();
    for n in 0..N_THINGS {
        let topic = report_topic(&format!("pump-{n}"));
        link.publish(&topic, report(1, 0, &[4444]).to_string()).unwrap();
    }
    let mut command = fleet.program(&python());
    command.args(["-c", BEGIN, &N_THINGS.to_string()]);
    let mut beginning = Process::start(command);
    beginning.says("begun");
    fleet.kill();
    let killed_at = now_secs();
    beginning.ends();
    fleet.serve();
    let ended = ended(&fleet, "long");
    assert_eq!(ended["status"], "SUCCESSFUL", "{ended}");
    let n_all = 2 * N_THINGS;
    let statistics = json!({ "actionsExecuted": n_all, "actionsSkipped": 0, "actionsFailed": 0 });
    assert_eq!(ended["statistics"], statistics);
    assert_eq!(ended["members"], json!({ "Cells": N_THINGS, "Watched": N_THINGS }));
    let executions = ended["executions"].as_array().unwrap();
    let n_before = executions
        .iter()
        .filter(|done| done[3].as_f64().unwrap() < killed_at)
        .count();
    assert!(0 < n_before && n_before < n_all, "{n_before} actions before the kill");
    let mut met: Vec<(&str, &str)> = executions
        .iter()
        .map(|done| (done[0].as_str().unwrap(), done[1].as_str().unwrap()))
        .collect();
    assert_eq!(met.len(), n_all);
    met.sort_unstable();
    met.dedup();
    assert_eq!(met.len(), n_all, "each action meets each violation once");
    assert!(executions.iter().all(|done| done[2] == "SUCCESSFUL"));
}
