//! Why an alarm is as it is, asked of the engine that judges the device.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use picket_api::Explanation;
use picket_detect::{Breach, Clearing, Measured, Offender, Percentile, RunningWindow, State, WindowContents};
use picket_model::name::{BehaviorName, DeviceName, ProfileName};
use picket_model::time::Timestamp;
use picket_model::value::wire::MetricValue;
use picket_store::log::partition_of;
use serde_json::{Map, Value, json};

use crate::pipeline::{LaneState, locked};

/// The engines of all partitions, in their order.
#[derive(Debug)]
pub(crate) struct Engines {
    lanes: Vec<Arc<Mutex<LaneState>>>,
}

impl Engines {
    pub(crate) fn new(lanes: Vec<Arc<Mutex<LaneState>>>) -> Self {
        Self { lanes }
    }

    fn look(
        &self,
        thing: &DeviceName,
        profile: &ProfileName,
        behavior: &BehaviorName,
    ) -> Option<picket_detect::Explanation> {
        let n_partitions = u16::try_from(self.lanes.len()).ok()?;
        let partition = partition_of(thing.as_str(), n_partitions);
        locked(self.lanes.get(usize::from(partition.0))?)
            .engine
            .explain(thing, profile, behavior)
    }
}

impl picket_api::Explainer for Engines {
    fn explain<'a>(
        &'a self,
        thing: &'a DeviceName,
        profile: &'a ProfileName,
        behavior: &'a BehaviorName,
    ) -> BoxFuture<'a, Option<Explanation>> {
        let said = self
            .look(thing, profile, behavior)
            .map(|explanation| told(&explanation));
        Box::pin(std::future::ready(said))
    }
}

fn told(explanation: &picket_detect::Explanation) -> Explanation {
    Explanation {
        what_clears_it: explanation.clearing.as_ref().map(clearing_in_words),
        facts: facts(explanation),
    }
}

fn facts(explanation: &picket_detect::Explanation) -> Map<String, Value> {
    let mut facts = Map::new();
    facts.insert("isRegistered".to_owned(), explanation.is_registered.into());
    facts.insert("state".to_owned(), state(&explanation.state));
    facts.insert("breaches".to_owned(), explanation.breaches.iter().map(breach).collect());
    let optional = [
        ("lastSeen", explanation.last_seen.map(secs)),
        (
            "latest",
            explanation
                .latest
                .map(|latest| json!({ "at": secs(latest.at), "value": measured(latest.value) })),
        ),
        ("window", explanation.window.as_ref().map(window)),
        ("runningWindow", explanation.running.as_ref().map(running)),
        ("fleet", explanation.percentile.as_ref().map(percentile)),
        ("offenders", offenders(&explanation.offenders)),
        ("clearing", explanation.clearing.as_ref().map(clearing)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            facts.insert(name.to_owned(), value);
        }
    }
    facts
}

fn state(state: &State) -> Value {
    match state {
        State::Quiet { n_breaches, n_to_alarm } => {
            json!({ "inAlarm": false, "breachesInARow": n_breaches, "breachesToAlarm": n_to_alarm })
        }
        State::InAlarm {
            violation,
            raised_at,
            is_supported,
            is_eager,
        } => json!({
            "inAlarm": true,
            "violationId": violation.to_string(),
            "since": secs(*raised_at),
            "isSupported": is_supported,
            "isBeforeWindowEnd": is_eager,
        }),
    }
}

fn running(window: &RunningWindow) -> Value {
    json!({
        "from": secs(window.from),
        "to": secs(window.to),
        "value": window.value.map(measured),
        "hasItsDatapoint": window.is_told,
    })
}

fn percentile(percentile: &Percentile) -> Value {
    json!({
        "at": secs(percentile.at),
        "value": percentile.value.map(measured),
        "devices": percentile.n_devices,
    })
}

fn offenders(offenders: &[Offender]) -> Option<Value> {
    let offender = |one: &Offender| json!({ "element": one.element, "since": secs(one.since) });
    (!offenders.is_empty()).then(|| offenders.iter().map(offender).collect())
}

fn breach(breach: &Breach) -> Value {
    let mut told = json!({
        "at": secs(breach.at),
        "value": measured(breach.value),
        "isGenuine": breach.is_genuine,
    });
    if let Some(offending) = &breach.offending {
        told["offending"] = json!(MetricValue::from(offending));
    }
    if let Some(certificate) = &breach.certificate {
        told["certificateId"] = certificate.to_string().into();
    }
    told
}

fn window(window: &WindowContents) -> Value {
    let entries: Vec<Value> = window
        .entries
        .iter()
        .map(|entry| json!({ "from": secs(entry.from), "to": secs(entry.to), "amount": entry.amount }))
        .collect();
    json!({ "since": window.since.map(secs), "sum": window.sum, "entries": entries })
}

fn clearing(clearing: &Clearing) -> Value {
    json!({
        "normalDatapoints": clearing.n_normal,
        "onlyGenuineReportsCount": clearing.is_by_genuine_only,
        "windowEmptiesAt": clearing.window_empties_at.map(secs),
        "nextDatapointAt": clearing.next_datapoint_at.map(secs),
    })
}

fn clearing_in_words(clearing: &Clearing) -> String {
    let mut words = match clearing.n_normal {
        1 => "one normal datapoint".to_owned(),
        n => format!("{n} normal datapoints in a row"),
    };
    if clearing.is_by_genuine_only {
        words.push_str(" from what came over a certificate attached to the thing");
    }
    if let Some(at) = clearing.next_datapoint_at {
        words.push_str(&format!("; the next one comes by itself at {}", date(at)));
    }
    if let Some(at) = clearing.window_empties_at {
        words.push_str(&format!(
            "; at the earliest with a report at {}, when the window will have emptied",
            date(at)
        ));
    }
    words
}

fn date(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.millis()) {
        Ok(date) => format!("{date:.0}"),
        Err(_) => at.to_string(),
    }
}

fn measured(value: Measured) -> Value {
    match value {
        Measured::Count(count) => json!({ "count": count }),
        Measured::Number(number) => json!({ "number": number }),
        Measured::Elements(n_elements) => json!({ "elements": n_elements }),
    }
}

fn secs(at: Timestamp) -> Value {
    at.secs_f64().into()
}
