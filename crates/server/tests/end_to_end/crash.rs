//! What holds when the server is killed, edited under load, or out of space: nothing acknowledged is lost, nothing is done
//! twice, and the log says everything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use picket_mqtt::client::ConnectError;
use serde_json::{Value, json};

use crate::fleet::{Device, Fleet, Process, binary, eventually};
use crate::link::{Link, report, report_topic};
use crate::own_network;

const N_KILLS: usize = 20;

/// Bytes out of one of the load's reports, and how many of them are normal.
const LOAD_BYTES_OUT: u64 = 82_117;
const N_NORMAL: u64 = 30;

#[test]
fn twenty_kills_under_load_lose_nothing_and_do_nothing_twice() {
    let mut fleet = Fleet::start("");
    fleet.profile("Story", &profile(N_NORMAL));
    let (receiver, address) = fleet.webhook();
    fleet.cli(&[
        "response",
        "create",
        "Isolate",
        "--quarantine",
        "--webhook",
        &format!("http://{address}/"),
    ]);
    let loader = fleet.device("loader");
    let devices: Vec<Device> = (0..N_KILLS).map(|at| fleet.device(&format!("device-{at}"))).collect();
    let mut reports = load(&fleet, &loader, 9_000, 900);
    let mut taken = BTreeSet::new();
    for (at, device) in devices.iter().enumerate() {
        let n_until = acknowledged(&fleet).len() + usize::from(fastrand::u8(50..));
        if misbehaves(&fleet, device) {
            taken.insert((device.thing.clone(), 7));
        }
        until(&fleet, &mut reports, n_until);
        fleet.kill();
        fleet.serve();
        let out = quarantined(&decisions(&fleet));
        for device in devices.iter().take(at).filter(|device| out.contains(&device.thing)) {
            let refused = Link::connect(&fleet, device, &device.thing);
            assert!(
                matches!(refused, Err(ConnectError::Refused { code: 5 })),
                "{} is out",
                device.thing
            );
        }
    }
    reports.ends();
    let violating: BTreeSet<String> = taken.iter().map(|(thing, _)| thing.clone()).collect();
    taken.extend(acknowledged(&fleet));
    eventually("every device that misbehaved is out", || {
        violating.is_subset(&quarantined(&decisions(&fleet))).then_some(())
    });
    eventually("all is told", || {
        let told: BTreeSet<_> = alerted(&receiver).into_iter().collect();
        (told.len() == fleet.events().len()).then_some(())
    });
    let decisions = decisions(&fleet);
    fleet.stop();

    let lost: Vec<_> = taken.difference(&logged(&fleet)).cloned().collect();
    assert!(
        lost.is_empty(),
        "{} acknowledged reports are not in the log: {:?}",
        lost.len(),
        &lost[..lost.len().min(5)]
    );
    let events = replayed(&fleet);
    assert!(
        100 <= events.len(),
        "every thing of the load has sent too much, but only {} events",
        events.len()
    );
    assert_met_once(&decisions);
    assert_told(&alerted(&receiver), &events);
}

#[test]
fn a_stop_under_load_loses_nothing_and_ends_well() {
    let mut fleet = Fleet::start("");
    fleet.profile("Story", &profile(N_NORMAL));
    let loader = fleet.device("loader");
    let mut reports = load(&fleet, &loader, 4_000, 1_000);
    for n_until in [500, 1_500, 2_500] {
        until(&fleet, &mut reports, n_until);
        fleet.stop();
        fleet.serve();
    }
    reports.ends();
    let taken = acknowledged(&fleet);
    fleet.stop();
    assert!(taken.is_subset(&logged(&fleet)), "what was acknowledged is in the log");
    assert!(!replayed(&fleet).is_empty());
    assert!(
        !fleet.server_log().contains("did not end in time"),
        "{}",
        fleet.server_log()
    );
}

#[test]
fn a_profile_edited_under_load_is_judged_the_same_again() {
    let mut fleet = Fleet::start("");
    fleet.profile("Story", &profile(5));
    let loader = fleet.device("loader");
    let mut reports = load(&fleet, &loader, 6_000, 1_500);
    eventually("somebody has sent too much", || {
        (!fleet.events().is_empty()).then_some(())
    });
    for n_normal in [20, 40, 10, 50, 5] {
        let n_until = acknowledged(&fleet).len() + 500;
        let edited = fleet.path("edited.json");
        std::fs::write(&edited, json!({ "behaviors": profile(n_normal) }).to_string()).unwrap();
        fleet.cli(&["profile", "update", "Story", "-f", edited.to_str().unwrap()]);
        fleet.cli(&["profile", "detach", "Story", "all/things"]);
        fleet.cli(&["profile", "attach", "Story", "all/things"]);
        until(&fleet, &mut reports, n_until);
    }
    reports.ends();
    fleet.stop();
    let live = replayed(&fleet);
    assert!(!live.is_empty());
    // Once more with snapshots in the way, and a restart that goes on from them.
    fleet.serve();
    fleet.stop();
    assert_eq!(replayed(&fleet), live);
}

#[test]
fn a_full_disk_refuses_and_recovers_when_space_returns() {
    own_network::run("crash::a_full_disk_refuses_and_recovers_when_space_returns", || {
        let fleet = Fleet::start_on_small_disk("24m");
        let device = fleet.device("pump-7");
        let mut link = Link::of(&fleet, &device);
        link.report_taken("pump-7", &report(1, 0, &[22]));
        let filler = fleet.data().join("filler");
        fill(&filler);
        let mut id = 2;
        // What the write-ahead log has reserved already may still take some.
        let refusal = eventually("the disk is full", || {
            id += 1;
            link.publish_unconfirmed(&report_topic("pump-7"), report(id, 0, &[22]).to_string());
            let answer = link.next().unwrap();
            answer.topic.ends_with("rejected").then_some(answer)
        });
        let refusal: Value = serde_json::from_slice(&refusal.payload).unwrap();
        assert_eq!(refusal["statusDetails"]["ErrorCode"], "Throttled", "{refusal}");
        assert_eq!(
            refusal["statusDetails"]["ErrorMessage"], "not stored, send again",
            "{refusal}"
        );
        assert!(
            link.publish(&report_topic("pump-7"), report(900, 0, &[22]).to_string())
                .is_err(),
            "no PUBACK"
        );
        link.ends();
        assert!(fleet.cli(&["thing", "list"]).contains("pump-7"), "the API reads on");
        std::fs::remove_file(filler).unwrap();
        let mut link = Link::of(&fleet, &device);
        link.report_taken("pump-7", &report(900, 0, &[22]));
    });
}

#[test]
fn judging_waits_for_space_and_then_goes_on_where_it_was() {
    own_network::run("crash::judging_waits_for_space_and_then_goes_on_where_it_was", || {
        let mut fleet = Fleet::start_with_small_database("4m");
        fleet.profile("Story", &profile(N_NORMAL));
        let device = fleet.device("pump-7");
        let mut link = Link::of(&fleet, &device);
        let filler = fleet.small_disk().join("filler");
        fill(&filler);
        let mut id = 0;
        // Each one raises or clears an alarm. The log has all the space it wants.
        let mut change = || {
            id += 1;
            let port = if id % 2 == 0 { 22 } else { 4444 };
            link.report_taken("pump-7", &report(id, 0, &[port]));
        };
        eventually("what follows from reports finds no space", || {
            change();
            fleet.server_log().contains("effects cannot be stored").then_some(())
        });
        change();
        std::fs::remove_file(filler).unwrap();
        let is_last_normal = id % 2 == 0;
        eventually("all that was taken is judged", || {
            (fleet.is_in_alarm("pump-7", "Ports") != is_last_normal).then_some(())
        });
        fleet.stop();
        let events = replayed(&fleet);
        assert_eq!(events.len() as u64, id, "each report has changed something");
    });
}

#[test]
fn a_log_at_its_bound_refuses_and_makes_room_of_what_is_judged() {
    let mut fleet = Fleet::start("log_size_bytes_max = 1048576");
    let device = fleet.device("pump-7");
    let mut link = Link::of(&fleet, &device);
    let ports: Vec<u16> = (1..3000).collect();
    let refusal = (1..100).find_map(|id| {
        link.publish_unconfirmed(&report_topic("pump-7"), report(id, 0, &ports).to_string());
        let answer = link.next().unwrap();
        answer.topic.ends_with("rejected").then_some(answer)
    });
    let refusal: Value = serde_json::from_slice(&refusal.unwrap().payload).unwrap();
    assert_eq!(
        refusal["statusDetails"]["ErrorMessage"], "not stored, send again",
        "{refusal}"
    );
    fleet.stop();
    fleet.serve();
    let mut link = Link::of(&fleet, &device);
    eventually("there is room again", || {
        link.publish_unconfirmed(&report_topic("pump-7"), report(200, 0, &[22]).to_string());
        link.next().unwrap().topic.ends_with("accepted").then_some(())
    });
}

fn profile(n_normal: u64) -> Value {
    let count = LOAD_BYTES_OUT * n_normal;
    json!([
        {
            "name": "BytesOut",
            "metric": "aws:all-bytes-out",
            "criteria": {
                "comparisonOperator": "less-than-equals", "value": { "count": count }, "durationSeconds": 300,
            },
        },
        {
            "name": "Ports",
            "metric": "aws:listening-tcp-ports",
            "criteria": { "comparisonOperator": "in-port-set", "value": { "ports": [22, 8080] } },
        },
    ])
}

/// Reports of many things over one connection each, that go on over every restart.
fn load(fleet: &Fleet, device: &Device, n_reports: u32, rate: u32) -> Process {
    let mut command = Command::new(binary("picket-sim"));
    command.args([
        "load",
        "--port",
        &fleet.mqtt.port().to_string(),
        "--connections",
        "100",
        "--reconnect",
    ]);
    command.args(["--reports", &n_reports.to_string(), "--rate", &rate.to_string()]);
    command
        .arg("--ca")
        .arg(fleet.ca())
        .arg("--cert")
        .arg(device.certificate())
        .arg("--key")
        .arg(device.key());
    command.arg("--acknowledged").arg(fleet.path("acknowledged"));
    Process::start(command)
}

/// Waits until so many of the load's reports are acknowledged, or all of them.
fn until(fleet: &Fleet, load: &mut Process, n_acknowledged: usize) {
    eventually("more is acknowledged", || {
        (n_acknowledged <= acknowledged(fleet).len() || load.has_ended()).then_some(())
    });
}

/// The device reports what is not normal; says whether that was acknowledged. It may be cut off before.
fn misbehaves(fleet: &Fleet, device: &Device) -> bool {
    let Ok(link) = Link::connect(fleet, device, &device.thing) else {
        return false;
    };
    link.publish(&report_topic(&device.thing), report(7, 0, &[22, 4444]).to_string())
        .is_ok()
}

/// What the load says was acknowledged: things and report ids.
fn acknowledged(fleet: &Fleet) -> BTreeSet<(String, u64)> {
    let text = std::fs::read_to_string(fleet.path("acknowledged")).unwrap_or_default();
    let line = |line: &str| {
        line.split_once(' ')
            .map(|(thing, id)| (thing.to_owned(), id.parse().unwrap()))
    };
    text.lines().filter_map(line).collect()
}

/// The reports in the log of a server that does not run.
fn logged(fleet: &Fleet) -> BTreeSet<(String, u64)> {
    let said = fleet.cli(&["log", "reports", "--data", fleet.data().to_str().unwrap()]);
    let report = |line: &str| {
        let report: Value = serde_json::from_str(line).unwrap();
        (
            report["thing"].as_str().unwrap().to_owned(),
            report["reportId"].as_u64().unwrap(),
        )
    };
    said.lines().map(report).collect()
}

/// Judges the log of a server that does not run again: it fails where anything differs from what is stored.
fn replayed(fleet: &Fleet) -> Vec<Value> {
    let said = fleet.cli(&["log", "replay", "--data", fleet.data().to_str().unwrap()]);
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn decisions(fleet: &Fleet) -> Vec<Value> {
    fleet.json(&["response", "decisions"])["decisions"]
        .as_array()
        .unwrap()
        .clone()
}

fn quarantined(decisions: &[Value]) -> BTreeSet<String> {
    decisions
        .iter()
        .map(|decision| decision["thingName"].as_str().unwrap().to_owned())
        .collect()
}

/// The alerts that arrived: violation and event.
fn alerted(receiver: &Process) -> Vec<(String, String)> {
    let alert = |line: &str| {
        let alert: Value = serde_json::from_str(line).ok()?;
        let member = |name: &str| Some(alert[name].as_str()?.to_owned());
        Some((member("violationId")?, member("violationEventType")?))
    };
    receiver.said().lines().filter_map(alert).collect()
}

fn assert_met_once(decisions: &[Value]) {
    let mut n_decisions: BTreeMap<&str, usize> = BTreeMap::new();
    for decision in decisions {
        *n_decisions
            .entry(decision["violationId"].as_str().unwrap())
            .or_default() += 1;
    }
    assert!(
        n_decisions.values().all(|&n| n == 1),
        "a violation and a response meet once: {n_decisions:?}"
    );
}

fn assert_told(told: &[(String, String)], events: &[Value]) {
    let distinct: BTreeSet<_> = told.iter().cloned().collect();
    let member = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
    let expected = events
        .iter()
        .map(|event| (member(event, "violationId"), member(event, "event")))
        .collect();
    assert_eq!(distinct, expected);
    // A kill between the target's answer and the note of it is the only reason to tell again.
    assert!(
        told.len() <= distinct.len() + N_KILLS,
        "{} alerts for {} events",
        told.len(),
        distinct.len()
    );
}

/// Writes until there is no space left.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size_bytes in [1 << 20, 4096, 512] {
        while std::io::Write::write_all(&mut file, &vec![1; size_bytes]).is_ok() {}
    }
}
