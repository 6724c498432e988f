//! An alert as it arrived: exactly the members that AWS IoT Device Defender documents, or it is not one.

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// An alert that is as it should be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Alert {
    /// `in-alarm` or `alarm-cleared`.
    pub(super) event: String,
    /// The device.
    pub(super) thing: String,
    /// The behavior's name.
    pub(super) behavior: String,
    /// The violation.
    pub(super) violation: String,
    /// When the device's report was received, seconds since the epoch.
    pub(super) at_secs: f64,
}

/// The members of an alert about a rule (a learned one has a confidence besides).
const MEMBERS: [&str; 8] = [
    "behavior",
    "metricValue",
    "securityProfileName",
    "thingName",
    "verificationState",
    "violationEventTime",
    "violationEventType",
    "violationId",
];

/// The alerts that have arrived, in the order in which they did.
#[derive(Clone, Debug, Default)]
pub(super) struct Inbox {
    n_lines: usize,
    /// Each with the second since the epoch at which it was seen.
    pub(super) arrived: Vec<(f64, Alert)>,
}

impl Inbox {
    /// Takes what is new in all that the receiver has printed: `ready ADDR`, then a line for each alert.
    pub(super) fn look(&mut self, said: &str, now_secs: f64) -> anyhow::Result<()> {
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines().skip(self.n_lines.max(1)) {
            self.arrived.push((now_secs, Alert::read(line)?));
        }
        self.n_lines = whole.lines().count();
        Ok(())
    }

    /// The first alert of this kind.
    pub(super) fn find(&self, event: &str, thing: &str, behavior: &str) -> Option<&(f64, Alert)> {
        self.arrived
            .iter()
            .find(|(_, alert)| (&*alert.event, &*alert.thing, &*alert.behavior) == (event, thing, behavior))
    }
}

impl Alert {
    /// Reads one line of the receiver.
    pub(super) fn read(line: &str) -> anyhow::Result<Self> {
        let alert: Value = serde_json::from_str(line).with_context(|| format!("an alert is no JSON: {line}"))?;
        let mut found = members(&alert);
        found.sort_unstable();
        ensure!(
            found == MEMBERS,
            "an alert has the members {found:?}, expected {MEMBERS:?}"
        );
        let behavior = &alert["behavior"];
        let mut found = members(behavior);
        found.sort_unstable();
        ensure!(
            found == ["criteria", "metric", "name"],
            "an alert's behavior has the members {found:?}, expected criteria, metric, name"
        );
        let text = |value: &Value, what: &str| {
            let text = value.as_str().map(str::to_owned);
            text.with_context(|| format!("an alert's {what} is {value}, expected text"))
        };
        let millis = &alert["violationEventTime"];
        ensure!(
            millis.is_u64(),
            "an alert's violationEventTime is {millis}, expected whole milliseconds"
        );
        let violation = text(&alert["violationId"], "violationId")?;
        ensure!(
            violation.len() == 32 && violation.chars().all(|c| c.is_ascii_hexdigit()),
            "an alert's violationId is {violation:?}, expected 32 hex digits"
        );
        Ok(Self {
            event: text(&alert["violationEventType"], "violationEventType")?,
            thing: text(&alert["thingName"], "thingName")?,
            behavior: text(&behavior["name"], "behavior's name")?,
            violation,
            at_secs: millis.as_f64().unwrap_or_default() / 1000.0,
        })
    }
}

fn members(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .map(|members| members.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn alert() -> Value {
        json!({
            "violationEventTime": 1_542_682_416_515_u64, "thingName": "Thing03",
            "behavior": {
                "criteria": { "value": { "count": 100 }, "durationSeconds": 300, "comparisonOperator": "less-than" },
                "name": "PacketsOut", "metric": "aws:all-packets-out",
            },
            "violationEventType": "in-alarm", "metricValue": { "count": 129 },
            "violationId": "76ef8d1dc35ed4eb802ff44568f91097", "securityProfileName": "NormalHTTPTraffic",
            "verificationState": "UNKNOWN",
        })
    }

    #[test]
    fn an_alert_has_exactly_the_documented_members() {
        let read = Alert::read(&alert().to_string()).unwrap();
        assert_eq!(
            (read.event.as_str(), read.behavior.as_str()),
            ("in-alarm", "PacketsOut")
        );
        assert!((read.at_secs - 1_542_682_416.515).abs() < 0.001);
        for (pointer, member, value) in [
            ("", "accountId", json!("123456789012")),
            ("", "violationId", json!("76ef")),
            ("", "violationEventTime", json!(1_542_682_416.5)),
            ("", "thingName", json!(3)),
            ("/behavior", "suppressAlerts", json!(null)),
        ] {
            let mut other = alert();
            other.pointer_mut(pointer).unwrap()[member] = value;
            assert!(Alert::read(&other.to_string()).is_err(), "{other}");
        }
        let mut incomplete = alert();
        incomplete.as_object_mut().unwrap().remove("verificationState");
        assert!(Alert::read(&incomplete.to_string()).is_err());
    }

    #[test]
    fn each_alert_arrives_once_and_whole() {
        let mut inbox = Inbox::default();
        let mut said = String::new();
        for (more, n_arrived) in [
            ("ready 127", 0),
            (".0.0.1:9\n", 0),
            (&*format!("{}\n", alert()), 1),
            ("{\"violationEventTime\"", 1),
        ] {
            said += more;
            inbox.look(&said, 7.0).unwrap();
            inbox.look(&said, 8.0).unwrap();
            assert_eq!(inbox.arrived.len(), n_arrived, "{said}");
        }
        assert!(
            inbox
                .find("in-alarm", "Thing03", "PacketsOut")
                .is_some_and(|&(at, _)| at < 7.5)
        );
        assert!(inbox.find("in-alarm", "Thing02", "PacketsOut").is_none());
        assert!(inbox.look(&format!("{said}}}\n"), 9.0).is_err());
    }
}
