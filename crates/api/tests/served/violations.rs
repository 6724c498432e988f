//! Violations that a client's examples speak of, written as engines write them.

use std::sync::Arc;

use picket_model::behavior::wire;
use picket_model::time::Timestamp;
use picket_model::value::wire as value_wire;
use picket_model::violation::{ChangeKind, ViolationChange};
use picket_store::Db;
use picket_store::effects::Effects;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Writes the violations of two lists, one a line: those in alarm, and their events. Times are in milliseconds.
pub async fn put(db: &Db, printed: &str) {
    let (active, events) = printed.split_once('\n').unwrap();
    let active: Vec<Value> = serde_json::from_str(active).unwrap();
    let events: Vec<Value> = serde_json::from_str(events).unwrap();
    let change = |of: &Value, time: &str, kind: ChangeKind| ViolationChange {
        id: text(of, "violationId").parse().unwrap(),
        thing: text(of, "thingName").parse().unwrap(),
        profile: text(of, "securityProfileName").parse().unwrap(),
        behavior: Arc::new(written::<wire::Behavior>(&of["behavior"]).try_into().unwrap()),
        at: Timestamp::from_millis(of[time].as_i64().unwrap()),
        kind,
    };
    let value = |of: &Value| written::<value_wire::MetricValue>(of).try_into().unwrap();
    let raised = events.iter().map(|event| {
        let value = value(&event["metricValue"]);
        let (is_supported, is_eager) = (true, false);
        change(
            event,
            "violationEventTime",
            ChangeKind::Raised {
                value,
                is_supported,
                is_eager,
            },
        )
    });
    let continued = active.iter().map(|violation| {
        let value = value(&violation["lastViolationValue"]);
        change(violation, "lastViolationTime", ChangeKind::Continued { value })
    });
    let position = db.claim(1).await.unwrap()[0];
    let effects = Effects {
        partition: position.partition,
        epoch: position.epoch,
        applied_seq: position.applied_seq.next(),
        changes: raised.chain(continued).collect(),
        samples: Vec::new(),
    };
    db.commit_effects(&[effects]).await.unwrap();
}

fn text<'a>(of: &'a Value, member: &str) -> &'a str {
    of[member].as_str().unwrap()
}

fn written<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}
