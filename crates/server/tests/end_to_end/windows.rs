//! What time brings: the ends of windows, the fleet's percentiles, silence. For these servers time passes faster.

use std::time::Duration;

use serde_json::json;

use crate::fleet::{Device, Fleet, eventually};
use crate::link::{Link, report};

const SPEED: u32 = 30;

/// Devices that report these bytes every ten seconds of the server's time, until this is true.
fn reporting(fleet: &Fleet, devices: &[(Device, u64)], is_done: impl Fn() -> bool) {
    let mut links: Vec<(Link, &Device, u64)> = devices
        .iter()
        .map(|(device, bytes)| (Link::of(fleet, device), device, *bytes))
        .collect();
    let mut id = 0;
    eventually("the windows have ended", || {
        id += 1;
        for (link, device, bytes) in &mut links {
            link.report_taken(&device.thing, &report(id, *bytes, &[22]));
        }
        is_done().then_some(())
    });
}

#[test]
fn the_fleets_percentile_judges_a_window_at_its_end_and_a_replay_judges_the_same() {
    let mut fleet = Fleet::start_in_a_hurry(SPEED, "");
    let behaviors = json!([{
        "name": "Median",
        "metric": "aws:num-listening-tcp-ports",
        "criteria": {
            "comparisonOperator": "less-than-equals", "durationSeconds": 300,
            "statisticalThreshold": { "statistic": "p50" },
        },
    }, {
        "name": "Bytes",
        "metric": "aws:all-bytes-out",
        "criteria": {
            "comparisonOperator": "less-than-equals", "durationSeconds": 300,
            "statisticalThreshold": { "statistic": "p50" },
        },
    }]);
    fleet.profile("Fleet", &behaviors);
    let devices = [("a", 20), ("b", 30), ("c", 3_000)].map(|(thing, bytes)| (fleet.device(thing), bytes));
    reporting(&fleet, &devices, || fleet.is_in_alarm("c", "Bytes"));
    assert!(!fleet.is_in_alarm("a", "Bytes"));
    assert!(!fleet.is_in_alarm("c", "Median"), "all listen on one port");
    let violation = fleet.violation_of("c", "Bytes").unwrap();
    let explained = fleet.json(&["violation", "explain", &violation]);
    let began_at = explained["violationStartTime"].as_f64().unwrap();
    assert_eq!(began_at % 300.0, 0.0, "at the end of a window: {explained}");
    assert_eq!(explained["engine"]["fleet"]["devices"], 3, "{explained}");
    assert_eq!(explained["isBeforeWindowEnd"], false);
    let told = fleet.cli(&["violation", "explain", &violation]);
    assert!(told.contains("of 3 devices at"), "{told}");
    fleet.stop();
    // Says what differs, and fails, if the log judged again gives other violations.
    let replayed = fleet.cli(&["log", "replay", "--data", fleet.data().to_str().unwrap()]);
    assert!(replayed.contains(&violation), "{replayed}");
}

/// The workshop's third module, as it is written there: `greater-than p50` says that more than the median is normal.
#[test]
fn the_workshops_percentile_of_message_sizes_alarms_on_the_two_quiet_sensors() {
    let fleet = Fleet::start_in_a_hurry(SPEED, "");
    let behaviors = json!([{
        "name": "MessageSize",
        "metric": "aws:message-byte-size",
        "criteria": {
            "comparisonOperator": "greater-than", "durationSeconds": 300,
            "statisticalThreshold": { "statistic": "p50" },
        },
    }, {
        "name": "Large",
        "metric": "aws:message-byte-size",
        "criteria": { "comparisonOperator": "less-than-equals", "value": { "count": 1000 } },
    }, {
        "name": "Attempts",
        "metric": "aws:num-connection-attempts",
        "criteria": { "comparisonOperator": "less-than", "value": { "count": 1000 }, "durationSeconds": 300 },
    }]);
    fleet.profile("Workshop", &behaviors);
    let sensors = [
        ("Thing01", "23.45".to_owned()),
        ("Thing02", "23.45 C".to_owned()),
        ("Thing03", "x".repeat(3_000)),
    ];
    let sensors = sensors.map(|(thing, message)| (fleet.device(thing), message));
    // Each comes, says one thing and goes, as the workshop's sensors do.
    let sense = |(device, message): &(Device, String)| {
        let options = ["-t", "temperature", "-m", message];
        let sent = fleet
            .mosquitto("mosquitto_pub", device, &device.thing, &options)
            .status()
            .unwrap();
        assert!(sent.success());
    };
    sensors.iter().for_each(sense);
    eventually("the large message is noticed, long before the window ends", || {
        fleet.is_in_alarm("Thing03", "Large").then_some(())
    });
    eventually("the windows have ended", || {
        sensors.iter().for_each(sense);
        (fleet.is_in_alarm("Thing01", "MessageSize") && fleet.is_in_alarm("Thing02", "MessageSize")).then_some(())
    });
    assert!(
        !fleet.is_in_alarm("Thing03", "MessageSize"),
        "more than the median is normal here"
    );
    assert!(!fleet.is_in_alarm("Thing01", "Attempts") && !fleet.is_in_alarm("Thing01", "Large"));
    let violation = fleet.violation_of("Thing01", "MessageSize").unwrap();
    let explained = fleet.json(&["violation", "explain", &violation]);
    assert_eq!(explained["engine"]["fleet"]["devices"], 3, "{explained}");
    assert_eq!(explained["othersInAlarm"], 1, "{explained}");
}

#[test]
fn a_silent_device_is_in_alarm_when_its_limit_is_reached_but_not_for_the_servers_absence() {
    let mut fleet = Fleet::start_in_a_hurry(SPEED, "");
    let behaviors = json!([{
        "name": "Silence",
        "metric": "picket:silence-duration",
        "criteria": { "comparisonOperator": "less-than", "value": { "count": 240 } },
    }]);
    fleet.profile("Starter", &behaviors);
    let device = fleet.device("pump-7");
    Link::of(&fleet, &device).report_taken("pump-7", &report(1, 10, &[22]));
    let violation = eventually("the silence is noticed", || fleet.violation_of("pump-7", "Silence"));
    let explained = fleet.json(&["violation", "explain", &violation]);
    assert_eq!(
        explained["lastViolationValue"]["count"]
            .as_u64()
            .map(|secs| 240 <= secs),
        Some(true)
    );
    assert_eq!(explained["isBeforeWindowEnd"], true, "{explained}");
    Link::of(&fleet, &device).report_taken("pump-7", &report(2, 10, &[22]));
    eventually("a report ends it", || {
        (!fleet.is_in_alarm("pump-7", "Silence")).then_some(())
    });
    // An hour and more for the device, while the server does not run.
    fleet.stop();
    fleet.let_time_pass(Duration::from_secs(2 * 3600));
    fleet.serve();
    assert!(!fleet.is_in_alarm("pump-7", "Silence"));
    Link::of(&fleet, &device).report_taken("pump-7", &report(3, 10, &[22]));
    let events = fleet.events();
    assert_eq!(events.len(), 2, "{events:?}");
}
