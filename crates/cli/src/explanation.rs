//! Why there is a violation, for people: what is normal, what was seen, what was done about it, what would end it.

use serde_json::Value;

use crate::field::{flag, metric_value, text, time};
use crate::output::{Column, description, table};

const LINES: [Column; 14] = [
    ("violation", |answer| text(answer, "violationId")),
    ("device", |answer| text(answer, "thingName")),
    ("behavior", |answer| {
        format!(
            "{} of profile {}",
            text(&answer["behavior"], "name"),
            text(answer, "securityProfileName")
        )
    }),
    ("rule", |answer| text(answer, "inWords")),
    ("in alarm since", |answer| time(answer, "violationStartTime")),
    ("raised", |answer| raised(answer).to_owned()),
    ("ended", |answer| time(answer, "violationEndTime")),
    ("last breach", |answer| {
        format!(
            "{} at {}",
            metric_value(answer, "lastViolationValue"),
            time(answer, "lastViolationTime")
        )
    }),
    ("latest value", |answer| datapoint(&answer["engine"]["latest"])),
    ("fleet", |answer| fleet(&answer["engine"]["fleet"])),
    ("window", |answer| running(&answer["engine"]["runningWindow"])),
    ("evidence", |answer| evidence(answer).to_owned()),
    ("others", |answer| others(answer)),
    ("what ends it", |answer| text(answer, "whatClearsIt")),
];

const BREACHES: [Column; 4] = [
    ("BREACH AT", |breach| time(breach, "at")),
    ("VALUE", |breach| measured(&breach["value"])),
    ("NOT NORMAL", |breach| metric_value(breach, "offending")),
    ("ATTACHED CERTIFICATE", |breach| flag(breach, "isGenuine")),
];

const OFFENDERS: [Column; 2] = [
    ("NOT NORMAL", |offender| text(offender, "element")),
    ("SINCE", |offender| time(offender, "since")),
];

const WINDOW: [Column; 3] = [
    ("IN THE WINDOW FROM", |entry| time(entry, "from")),
    ("TO", |entry| time(entry, "to")),
    ("AMOUNT", |entry| text(entry, "amount")),
];

const DECISIONS: [Column; 5] = [
    ("DECISION", |decision| text(decision, "decisionId")),
    ("QUARANTINED", |decision| time(decision, "decidedAt")),
    ("BY", |decision| text(decision, "decidedBy")),
    ("RELEASED", |decision| time(decision, "releasedAt")),
    ("BY", |decision| text(decision, "releasedBy")),
];

/// The server's explanation as text of a few tables.
pub(crate) fn in_words(answer: &Value) -> String {
    let mut words = description(answer, &LINES);
    let engine = &answer["engine"];
    for (items, columns) in [
        (&engine["breaches"], &BREACHES[..]),
        (&engine["offenders"], &OFFENDERS[..]),
        (&engine["window"]["entries"], &WINDOW[..]),
        (&answer["decisions"], &DECISIONS[..]),
    ] {
        if let Some(items) = items.as_array().filter(|items| !items.is_empty()) {
            words.push('\n');
            words.push_str(&table(items, columns));
        }
    }
    if answer["whyNotQuarantined"].is_string() {
        words.push('\n');
        words.push_str(&description(
            answer,
            &[("not quarantined", |answer| text(answer, "whyNotQuarantined"))],
        ));
    }
    words
}

fn raised(answer: &Value) -> &'static str {
    match answer["isBeforeWindowEnd"].as_bool() {
        Some(true) => "at once: however the window would have ended, it could not be normal any more",
        Some(false) => "when the datapoint was complete",
        None => "",
    }
}

/// The fleet's percentile that the device was compared with last.
fn fleet(percentile: &Value) -> String {
    match (percentile["devices"].as_u64(), measured(&percentile["value"])) {
        (None, _) => String::new(),
        (Some(n), value) if value.is_empty() => {
            format!("no percentile at {}: {n} devices had a value", time(percentile, "at"))
        }
        (Some(n), value) => format!("{value} of {n} devices at {}", time(percentile, "at")),
    }
}

/// The window that runs.
fn running(window: &Value) -> String {
    if !window.is_object() {
        return String::new();
    }
    let value = match measured(&window["value"]) {
        value if value.is_empty() => "nothing".to_owned(),
        value => value,
    };
    format!("{value} since {}, until {}", time(window, "from"), time(window, "to"))
}

fn others(answer: &Value) -> String {
    match answer["othersInAlarm"].as_u64() {
        None => String::new(),
        Some(0) => "no other device is in alarm by this behavior".to_owned(),
        Some(1) => "1 other device is in alarm by this behavior".to_owned(),
        Some(n) => format!("{n} other devices are in alarm by this behavior"),
    }
}

fn evidence(answer: &Value) -> &'static str {
    match answer["isSupported"].as_bool() {
        Some(true) => "what came over a certificate attached to the thing",
        Some(false) => "only what anybody may have sent",
        None => "",
    }
}

fn datapoint(datapoint: &Value) -> String {
    match measured(&datapoint["value"]) {
        value if value.is_empty() => value,
        value => format!("{value} at {}", time(datapoint, "at")),
    }
}

fn measured(value: &Value) -> String {
    match value["elements"].as_u64() {
        Some(1) => "1 element".to_owned(),
        Some(n) => format!("{n} elements"),
        None => [text(value, "count"), text(value, "number")].concat(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_explanation_reads_from_rule_to_end() {
        let answer = json!({
            "violationId": "07", "thingName": "Thing03", "securityProfileName": "Story",
            "behavior": { "name": "Ports" }, "inWords": "alarm when a listening TCP port is not in {22}",
            "lastViolationValue": { "ports": [22, 4444] }, "isSupported": true, "othersInAlarm": 2, "whatClearsIt": "one normal datapoint",
            "decisions": [{ "decisionId": "1", "decidedBy": "response Isolate" }],
            "whyNotQuarantined": "mei released it",
            "engine": {
                "latest": { "value": { "elements": 2 } },
                "breaches": [{ "value": { "elements": 2 }, "offending": { "ports": [4444] }, "isGenuine": true }],
                "fleet": { "at": 1_700_000_000.0, "value": { "count": 90 }, "devices": 12 },
                "offenders": [{ "element": "4444", "since": 1_700_000_000.0 }],
                "window": { "entries": [{ "amount": 70 }] },
            },
        });
        let words = in_words(&answer);
        for expected in [
            "behavior      Ports of profile Story\n",
            "rule          alarm when a listening TCP port is not in {22}\n",
            "evidence      what came over a certificate attached to the thing\n",
            "what ends it  one normal datapoint\n",
            "others        2 other devices are in alarm by this behavior\n",
            "fleet         90 of 12 devices at ",
            "4444        2023-11-14 ",
            "2 elements  4444        yes\n",
            "70\n",
            "response Isolate",
            "not quarantined  mei released it\n",
        ] {
            assert!(words.contains(expected), "{expected:?} is not in\n{words}");
        }
        assert!(!in_words(&json!({})).contains("BREACH AT"));
    }
}
