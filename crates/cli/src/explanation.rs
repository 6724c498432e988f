//! Why there is a violation, for people: what is normal, what was seen, what was done about it, what would end it.

use serde_json::Value;

use crate::field::{flag, metric_value, text, time};
use crate::output::{Column, description, table};

const LINES: [Column; 10] = [
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
    ("ended", |answer| time(answer, "violationEndTime")),
    ("last breach", |answer| {
        format!(
            "{} at {}",
            metric_value(answer, "lastViolationValue"),
            time(answer, "lastViolationTime")
        )
    }),
    ("latest value", |answer| datapoint(&answer["engine"]["latest"])),
    ("evidence", |answer| evidence(answer).to_owned()),
    ("what ends it", |answer| text(answer, "whatClearsIt")),
];

const BREACHES: [Column; 4] = [
    ("BREACH AT", |breach| time(breach, "at")),
    ("VALUE", |breach| measured(&breach["value"])),
    ("NOT NORMAL", |breach| metric_value(breach, "offending")),
    ("ATTACHED CERTIFICATE", |breach| flag(breach, "isGenuine")),
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

fn evidence(answer: &Value) -> &'static str {
    match answer["isSupported"].as_bool() {
        Some(true) => "reports over a certificate attached to the thing",
        Some(false) => "only reports that anybody may have sent",
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
            "lastViolationValue": { "ports": [22, 4444] }, "isSupported": true, "whatClearsIt": "one normal datapoint",
            "decisions": [{ "decisionId": "1", "decidedBy": "response Isolate" }],
            "whyNotQuarantined": "mei released it",
            "engine": {
                "latest": { "value": { "elements": 2 } },
                "breaches": [{ "value": { "elements": 2 }, "offending": { "ports": [4444] }, "isGenuine": true }],
                "window": { "entries": [{ "amount": 70 }] },
            },
        });
        let words = in_words(&answer);
        for expected in [
            "behavior      Ports of profile Story\n",
            "rule          alarm when a listening TCP port is not in {22}\n",
            "evidence      reports over a certificate attached to the thing\n",
            "what ends it  one normal datapoint\n",
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
