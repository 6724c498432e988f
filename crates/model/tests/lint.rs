//! What is valid and probably not meant.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::time::Duration;

use picket_model::behavior::{Behavior, wire};
use picket_model::profile::lint::{Surroundings, lint, lint_all};
use serde_json::json;

fn behavior(name: &str, metric: &str, criteria: &str) -> Behavior {
    let written = format!(r#"{{"name":"{name}","metric":"{metric}","criteria":{criteria}}}"#);
    let written: wire::Behavior = serde_json::from_str(&written).unwrap();
    written.try_into().unwrap()
}

/// `operator limit` of a count, over five minutes.
fn count(operator: &str, limit: u64) -> String {
    json!({ "comparisonOperator": operator, "value": { "count": limit }, "durationSeconds": 300 }).to_string()
}

/// The same without a window.
fn now(operator: &str, limit: u64) -> String {
    json!({ "comparisonOperator": operator, "value": { "count": limit } }).to_string()
}

fn number(operator: &str, limit: f64) -> String {
    json!({ "comparisonOperator": operator, "value": { "number": limit } }).to_string()
}

fn percentile(operator: &str, statistic: &str) -> String {
    let threshold = json!({ "statistic": statistic });
    json!({ "comparisonOperator": operator, "statisticalThreshold": threshold, "durationSeconds": 300 }).to_string()
}

fn set(operator: &str, member: &str, items: serde_json::Value) -> String {
    json!({ "comparisonOperator": operator, "value": { member: items } }).to_string()
}

/// Findings are as expected: each holds its part.
fn assert_found(found: &[String], expected: &[&str], of: &str) {
    let fits = found.len() == expected.len() && found.iter().zip(expected).all(|(found, part)| found.contains(part));
    assert!(fits, "{of}:\n{found:#?}\nexpected {expected:#?}");
}

fn assert_each(cases: &[(&str, String, &[&str])], around: &Surroundings) {
    for (metric, criteria, expected) in cases {
        let found = lint(&behavior("b", metric, criteria), around);
        assert_found(&found, expected, &format!("{metric} {criteria}"));
    }
}

#[test]
fn bounds_on_the_wrong_side_are_pointed_at() {
    let quiet: &[&str] = &["says that more is normal, so it alarms on quiet devices: did you mean"];
    assert_each(
        &[
            ("aws:all-bytes-out", count("less-than-equals", 200), &[]),
            (
                "aws:all-bytes-out",
                count("greater-than", 200),
                &[
                    "greater-than 200 on aws:all-bytes-out says that more is normal, so it alarms on quiet devices: did you mean \
                   less-than-equals 200?",
                ],
            ),
            ("aws:message-byte-size", percentile("greater-than", "p50"), quiet),
            (
                "aws:num-listening-tcp-ports",
                now("greater-than-equals", 3),
                &["did you mean less-than 3?"],
            ),
            ("aws:num-messages-sent", count("greater-than", 3), quiet),
            (
                "picket:agent-restarts",
                count("greater-than", 3),
                &["alarms on devices that report as they should: did you mean less-than-equals 3?"],
            ),
            // Of a metric of one's own nobody knows which side is quiet.
            ("heat", number("greater-than", 3.0), &[]),
        ],
        &Surroundings::default(),
    );
}

#[test]
fn limits_that_hold_always_or_never_are_pointed_at() {
    assert_each(
        &[
            (
                "aws:all-bytes-out",
                count("greater-than-equals", 0),
                &["every count is 0 or more, so greater-than-equals 0 never alarms"],
            ),
            (
                "aws:num-listening-tcp-ports",
                now("less-than", 0),
                &["no count is below 0, so less-than 0 alarms at every datapoint"],
            ),
            ("aws:num-listening-tcp-ports", now("less-than-equals", 0), &[]),
            ("aws:message-byte-size", now("less-than-equals", 131_071), &[]),
            (
                "aws:message-byte-size",
                now("less-than-equals", 131_072),
                &["aws:message-byte-size is never above 131072, so less-than-equals 131072 never alarms"],
            ),
            ("aws:message-byte-size", now("less-than", 131_072), &[]),
            ("aws:message-byte-size", now("less-than", 131_073), &["never alarms"]),
            (
                "aws:message-byte-size",
                now("greater-than", 131_072),
                &["greater-than 131072 alarms at every datapoint"],
            ),
            (
                "aws:message-byte-size",
                now("greater-than-equals", 131_073),
                &["alarms at every datapoint"],
            ),
            (
                "aws:message-byte-size",
                now("greater-than-equals", 131_072),
                &["did you mean"],
            ),
            (
                "heat",
                percentile("less-than-equals", "p100"),
                &["less-than-equals p100 never alarms"],
            ),
            (
                "heat",
                percentile("greater-than-equals", "p0"),
                &["greater-than-equals p0 never alarms"],
            ),
            (
                "heat",
                percentile("less-than", "p100"),
                &["did you mean less-than-equals?"],
            ),
            (
                "heat",
                percentile("greater-than", "p0"),
                &["did you mean greater-than-equals?"],
            ),
            (
                "heat",
                percentile("less-than", "p0"),
                &["alarms for every device in every window"],
            ),
            (
                "heat",
                percentile("greater-than", "p100"),
                &["alarms for every device in every window"],
            ),
        ],
        &Surroundings::default(),
    );
}

#[test]
fn sets_that_hold_all_or_nothing_or_twice_are_pointed_at() {
    let ports = |operator, ports: &[u16]| set(operator, "ports", json!(ports));
    let cidrs = |operator, cidrs: &[&str]| set(operator, "cidrs", json!(cidrs));
    assert_each(
        &[
            ("aws:listening-tcp-ports", ports("in-port-set", &[22, 443]), &[]),
            (
                "aws:listening-tcp-ports",
                ports("in-port-set", &[22, 443, 22]),
                &["22 is in the set twice"],
            ),
            (
                "aws:listening-tcp-ports",
                ports("in-port-set", &[0]),
                &["any port at all alarms"],
            ),
            (
                "aws:listening-udp-ports",
                ports("not-in-port-set", &[0]),
                &["never alarms"],
            ),
            (
                "aws:destination-ip-addresses",
                cidrs("in-cidr-set", &["0.0.0.0/0", "10.0.0.0/8"]),
                &["0.0.0.0/0 holds every IPv4 address, so the behavior never alarms for them"],
            ),
            (
                "peers",
                cidrs("not-in-cidr-set", &["10.1.0.0/8", "::/0"]),
                &[
                    "::/0 holds every IPv6 address, so the behavior alarms for any of them",
                    "10.1.0.0/8 counts as 10.0.0.0/8: bits beyond the prefix are not looked at",
                ],
            ),
            (
                "aws:source-ip-address",
                cidrs(
                    "in-cidr-set",
                    &["10.1.0.0/16", "10.0.0.0/8", "192.0.2.1", "192.0.2.1/32"],
                ),
                &[
                    "10.1.0.0/16 is within 10.0.0.0/8 already",
                    "192.0.2.1/32 is within 192.0.2.1 already",
                ],
            ),
            (
                "codes",
                set("in-set", "numbers", json!([1.5, 2.0, 1.5])),
                &["1.5 is in the set twice"],
            ),
            (
                "versions",
                set("not-in-set", "strings", json!(["a", "a"])),
                &["\"a\" is in the set twice"],
            ),
        ],
        &Surroundings::default(),
    );
}

#[test]
fn sets_of_destinations_hold_the_server() {
    let cidrs = |operator, cidrs: &[&str]| set(operator, "cidrs", json!(cidrs));
    let around = Surroundings {
        server_addresses: vec!["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()],
        ..Surroundings::default()
    };
    assert_each(
        &[
            // A device reaches it by one of the two.
            (
                "aws:destination-ip-addresses",
                cidrs("in-cidr-set", &["10.0.0.0/8"]),
                &[],
            ),
            (
                "aws:destination-ip-addresses",
                cidrs("in-cidr-set", &["192.0.2.0/24"]),
                &[
                    "the set holds no address of this server (10.0.0.7, fd00::7), so it alarms for every device that reports here",
                ],
            ),
            (
                "aws:destination-ip-addresses",
                cidrs("not-in-cidr-set", &["10.0.0.0/8"]),
                &[],
            ),
            (
                "aws:destination-ip-addresses",
                cidrs("not-in-cidr-set", &["10.0.0.0/8", "fd00::/8"]),
                &["the set holds the addresses of this server"],
            ),
            // Where devices come from is another matter.
            ("aws:source-ip-address", cidrs("in-cidr-set", &["192.0.2.0/24"]), &[]),
        ],
        &around,
    );
}

#[test]
fn percentiles_of_few_devices_say_what_they_are() {
    for (n_devices, operator, statistic, expected) in [
        (
            0,
            "less-than-equals",
            "p90",
            &["0 registered things: there is no percentile of fewer than 2"][..],
        ),
        (
            1,
            "less-than-equals",
            "p90",
            &["1 registered thing: there is no percentile"],
        ),
        (
            3,
            "less-than-equals",
            "p90",
            &[
                "the profile's targets hold 3 registered things: p90 of 3 values is the largest, so less-than-equals p90 never \
               alarms",
            ],
        ),
        (
            3,
            "less-than-equals",
            "p50",
            &["number 2 from below, so less-than-equals p50 alarms for one device"],
        ),
        (
            3,
            "less-than",
            "p50",
            &["less-than p50 alarms for 2 devices in every window"],
        ),
        (
            3,
            "greater-than-equals",
            "p10",
            &["the smallest, so greater-than-equals p10 never alarms"],
        ),
        (
            9,
            "less-than-equals",
            "p10",
            &["the smallest, so less-than-equals p10 alarms for 8 devices"],
        ),
        (10, "less-than-equals", "p90", &[]),
    ] {
        let around = Surroundings {
            n_devices: Some(n_devices),
            ..Surroundings::default()
        };
        let criteria = percentile(operator, statistic);
        let found = lint(&behavior("b", "heat", &criteria), &around);
        assert_found(&found, expected, &format!("{n_devices} {operator} {statistic}"));
    }
    let around = Surroundings {
        n_devices: Some(3),
        ..Surroundings::default()
    };
    let fixed = behavior("b", "aws:all-bytes-out", &count("less-than", 5));
    assert_found(&lint(&fixed, &around), &[], "a fixed limit is the same for any fleet");
}

#[test]
fn times_below_the_interval_between_reports_are_pointed_at() {
    for (interval_secs, metric, criteria, expected) in [
        (300, "aws:all-bytes-out", count("less-than", 5), &[][..]),
        (
            301,
            "aws:all-bytes-out",
            count("less-than", 5),
            &["the window of 300 s is shorter than the 301 s between reports: a window holds one report at most"],
        ),
        (
            3600,
            "heat",
            percentile("less-than-equals", "p90"),
            &["shorter than the 3600 s between reports"],
        ),
        // What the broker measures needs no report.
        (3600, "aws:num-messages-sent", count("less-than", 5), &[]),
        (300, "picket:silence-duration", now("less-than-equals", 600), &[]),
        (
            300,
            "picket:silence-duration",
            now("less-than-equals", 599),
            &[
                "599 s is less than two times the 300 s between reports, so a single report that is late or lost alarms: three \
               times (900 s) is usual",
            ],
        ),
        (60, "picket:silence-duration", now("less-than-equals", 180), &[]),
        (300, "aws:disconnect-duration", now("less-than", 60), &[]),
    ] {
        let around = Surroundings {
            report_interval: Duration::from_secs(interval_secs),
            ..Surroundings::default()
        };
        let found = lint(&behavior("b", metric, &criteria), &around);
        assert_found(&found, expected, &format!("{interval_secs} {metric} {criteria}"));
    }
}

/// Of two behaviors about a metric, in either order, it is said beside each other what is expected.
fn assert_pairs(cases: &[(&str, String, String, Option<&str>)]) {
    for (metric, one, other, expected) in cases {
        for (one, other) in [(one, other), (other, one)] {
            let behaviors = [behavior("One", metric, one), behavior("Other", metric, other)];
            let found = lint_all(&behaviors, &Surroundings::default()).into_iter();
            let beside: Vec<String> = found.filter(|text| text.contains("One and Other")).collect();
            assert_found(&beside, expected.as_slice(), &format!("{metric} {one} {other}"));
        }
    }
}

#[test]
fn two_bounds_that_no_device_keeps_both_are_pointed_at() {
    let no_value = Some("contradict each other: no value is normal to both");
    let uniform = Some("both are normal only in a fleet that measures the same all over");
    let (heat, ports) = ("heat", "aws:num-listening-tcp-ports");
    let (below, most) = (
        |limit| number("less-than", limit),
        |limit| number("less-than-equals", limit),
    );
    let (above, least) = (
        |limit| number("greater-than", limit),
        |limit| number("greater-than-equals", limit),
    );
    let of_fleet = |one: [&str; 2], other: [&str; 2]| (percentile(one[0], one[1]), percentile(other[0], other[1]));
    let (under_median, over_median) = of_fleet(["less-than", "p50"], ["greater-than", "p50"]);
    let (under_top, over_high) = of_fleet(["less-than", "p99.9"], ["greater-than", "p99"]);
    let (to_low, from_high) = of_fleet(["less-than-equals", "p10"], ["greater-than-equals", "p90"]);
    assert_pairs(&[
        (heat, below(5.0), above(10.0), no_value),
        (heat, below(5.0), least(5.0), no_value),
        (heat, most(5.0), least(5.0), None),
        (heat, below(5.0), above(4.5), None),
        (heat, below(5.0), below(10.0), None),
        (heat, below(5.0), below(5.0), Some("are the same but for their names")),
        // There is no whole number between the two.
        (ports, now("less-than", 5), now("greater-than", 4), no_value),
        (ports, now("less-than", 6), now("greater-than", 4), None),
        (heat, under_median, over_median, no_value),
        (heat, under_top, over_high, None),
        (heat, to_low, from_high, uniform),
    ]);
}

#[test]
fn two_sets_that_only_nothing_is_normal_to_are_pointed_at() {
    let (tcp, peers) = ("aws:listening-tcp-ports", "peers");
    let among = |ports: &[u16]| set("in-port-set", "ports", json!(ports));
    let not_among = |ports: &[u16]| set("not-in-port-set", "ports", json!(ports));
    let inside = |cidr: &str| set("in-cidr-set", "cidrs", json!([cidr]));
    let outside = |cidr: &str| set("not-in-cidr-set", "cidrs", json!([cidr]));
    let versions = |operator, text: &str| set(operator, "strings", json!([text]));
    let no_port = Some("only a device without any port is normal to both");
    let no_address = Some("only a device without any address is normal to both");
    assert_pairs(&[
        (tcp, among(&[22]), among(&[443]), no_port),
        (tcp, among(&[22]), among(&[443, 22]), None),
        (tcp, not_among(&[22, 23]), among(&[22]), no_port),
        (tcp, not_among(&[22]), among(&[22, 23]), None),
        (tcp, not_among(&[22]), not_among(&[23]), None),
        (peers, inside("10.1.0.0/16"), outside("10.0.0.0/8"), no_address),
        (peers, inside("10.0.0.0/8"), outside("10.1.0.0/16"), None),
        (peers, inside("10.0.0.0/8"), inside("10.1.0.0/16"), None),
        (peers, inside("10.0.0.0/8"), inside("fd00::/8"), no_address),
        (
            "versions",
            versions("in-set", "v1"),
            versions("not-in-set", "v1"),
            Some("without any text"),
        ),
    ]);
}

#[test]
fn behaviors_about_different_things_do_not_contradict() {
    let (low, high) = (count("less-than", 5), count("greater-than", 10));
    let longer = high.replace("300", "600");
    for (one, other) in [
        (
            behavior("One", "aws:all-bytes-out", &low),
            behavior("Other", "aws:all-bytes-in", &high),
        ),
        (
            behavior("One", "aws:all-bytes-out", &low),
            behavior("Other", "aws:all-bytes-out", &longer),
        ),
        (narrowed("One", &low, "IN"), narrowed("Other", &high, "NOT_IN")),
    ] {
        let found = lint_all(&[one, other], &Surroundings::default());
        assert!(found.iter().all(|text| text.contains("did you mean")), "{found:#?}");
    }
    let found = lint_all(
        &[narrowed("One", &low, "IN"), narrowed("Other", &high, "IN")],
        &Surroundings::default(),
    );
    assert!(found.iter().any(|text| text.contains("contradict")), "{found:#?}");
    let nothing: wire::Behavior = serde_json::from_str(r#"{"name":"b"}"#).unwrap();
    let found = lint_all(&[nothing.try_into().unwrap()], &Surroundings::default());
    assert_found(
        &found,
        &["Behavior b: it names no metric, so it judges nothing"],
        "no metric",
    );
}

/// A behavior about messages on some topics.
fn narrowed(name: &str, criteria: &str, operator: &str) -> Behavior {
    let criteria: serde_json::Value = serde_json::from_str(criteria).unwrap();
    let dimension = json!({ "dimensionName": "Alerts", "operator": operator });
    let written =
        json!({ "name": name, "metric": "aws:num-messages-sent", "metricDimension": dimension, "criteria": criteria });
    let written: wire::Behavior = serde_json::from_value(written).unwrap();
    written.try_into().unwrap()
}
