//! Reports that are not taken: the device hears why at once, nothing is lost, nothing is judged.

use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::link::{Link, report, report_topic};

#[test]
fn a_bad_report_is_refused_with_the_reason() {
    let fleet = Fleet::start("");
    let device = fleet.device("pump-7");
    let mut link = Link::of(&fleet, &device);
    let wrong_type = json!({ "header": { "report_id": 7, "version": "1.0" }, "metrics": { "listening_tcp_ports": 5 } });
    let no_id = json!({ "header": { "version": "1.0" }, "metrics": {} });
    let deep = format!("{}1{}", "[".repeat(4000), "]".repeat(4000));
    for (payload, id) in [
        ("{".to_owned(), None),
        ("".to_owned(), None),
        ("null".to_owned(), None),
        (wrong_type.to_string(), Some(7)),
        (no_id.to_string(), None),
        (deep, None),
        ("\u{0}\u{1}".to_owned(), None),
    ] {
        let (kind, answer) = link.report("pump-7", payload.clone());
        let beginning: String = payload.chars().take(60).collect();
        assert_eq!(kind, "rejected", "{beginning}: {answer}");
        assert_eq!(answer["status"], "REJECTED", "{beginning}: {answer}");
        assert_eq!(
            answer["statusDetails"]["ErrorCode"], "InvalidPayload",
            "{beginning}: {answer}"
        );
        assert!(!answer["statusDetails"]["ErrorMessage"].as_str().unwrap().is_empty());
        assert_eq!(
            answer.get("reportId").and_then(Value::as_u64),
            id,
            "{beginning}: {answer}"
        );
    }
    link.report_taken("pump-7", &report(8, 0, &[22]));
}

#[test]
fn a_report_over_128_kib_ends_the_connection_and_nothing_else() {
    let fleet = Fleet::start("");
    let device = fleet.device("pump-7");
    let mut large = report(1, 0, &[22]);
    large["padding"] = "x".repeat(129 * 1024).into();
    let file = fleet.path("large.json");
    std::fs::write(&file, large.to_string()).unwrap();
    let words = ["-q", "1", "-t", &report_topic("pump-7"), "-f", file.to_str().unwrap()];
    let sent = fleet
        .mosquitto("mosquitto_pub", &device, "pump-7", &words)
        .output()
        .unwrap();
    assert!(!sent.status.success(), "nobody acknowledges it");
    let mut link = Link::of(&fleet, &device);
    link.report_taken("pump-7", &report(2, 0, &[22]));
}

#[test]
fn a_thing_that_reports_too_often_is_throttled() {
    let fleet = Fleet::start("strict_aws = true");
    let device = fleet.device("pump-7");
    let mut link = Link::of(&fleet, &device);
    link.report_taken("pump-7", &report(1, 0, &[22]));
    let (kind, answer) = link.report("pump-7", report(2, 0, &[22]).to_string());
    assert_eq!(
        (kind.as_str(), &answer["statusDetails"]["ErrorCode"]),
        ("rejected", &json!("Throttled")),
        "{answer}"
    );
    assert_eq!(answer["reportId"], 2);
    // The same report again costs nothing.
    link.report_taken("pump-7", &report(1, 0, &[22]));
}

#[test]
fn a_thing_with_control_characters_does_not_exist() {
    let fleet = Fleet::start("");
    let device = fleet.device("pump-7");
    let mut link = Link::of(&fleet, &device);
    // Whatever becomes of the sender, nothing is judged and the server goes on.
    drop(link.publish(
        "$aws/things/pump\u{7}/defender/metrics/json",
        report(1, 0, &[22]).to_string(),
    ));
    drop(link);
    link = Link::of(&fleet, &device);
    link.report_taken("pump-7", &report(2, 0, &[22]));
    assert!(!fleet.cli(&["violation", "list"]).contains("pump\u{7}"));
}
