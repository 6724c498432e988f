//! Configurations to judge by.

use std::sync::{Arc, LazyLock, Mutex};

use picket_model::behavior::{Behavior, Test};
use picket_model::metric::Metric;
use picket_model::profile::{JudgedProfile, JudgingConfig};
use serde_json::{Value, json};

pub(crate) const N_CONFIGS: u8 = 6;

/// Six configurations that differ in limits, patience, behaviors, profiles, targets, custom metrics, dimensions and
/// timing. `adapt` leaves of each what a law is about.
pub(crate) fn config(revision: u64, number: u8, adapt: fn(&mut JudgingConfig)) -> JudgingConfig {
    static CONFIGS: LazyLock<Vec<JudgingConfig>> = LazyLock::new(|| (0..N_CONFIGS).map(read).collect());
    let mut config = JudgingConfig {
        revision,
        ..CONFIGS[usize::from(number)].clone()
    };
    adapt(&mut config);
    config.profiles.iter_mut().for_each(share);
    config
}

/// As the store gives revisions out: what is the same in them is there once.
fn share(profile: &mut Arc<JudgedProfile>) {
    static MADE: Mutex<Vec<Arc<JudgedProfile>>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap();
    match made.iter().find(|made| *made == profile) {
        Some(same) => *profile = Arc::clone(same),
        None => made.push(Arc::clone(profile)),
    }
}

/// Everything.
pub(crate) fn as_it_is(_: &mut JudgingConfig) {}

/// Without percentiles: the fleet's are over all values, forged ones too.
pub(crate) fn without_percentiles(config: &mut JudgingConfig) {
    let is_percentile = |behavior: &Behavior| {
        let test = behavior.criteria.as_ref().map(|criteria| &criteria.test);
        matches!(test, Some(Test::Percentile { .. }))
    };
    keep(config, |behavior| !is_percentile(behavior));
}

/// Without windows that end by the server's clock, so that setting it moves no end.
pub(crate) fn without_aligned_windows(config: &mut JudgingConfig) {
    without_percentiles(config);
    // Of ages there is a datapoint every five minutes of the clock, so only those may stay that need a single one.
    keep(config, |behavior| match behavior.metric {
        Some(Metric::Device(_) | Metric::Custom(_)) => true,
        Some(Metric::Reporting(_) | Metric::Broker(_)) => behavior.name.as_str().ends_with("-once"),
        None => false,
    });
    config.strict_aws_timing = false;
}

fn keep(config: &mut JudgingConfig, is_kept: impl Fn(&Behavior) -> bool) {
    for profile in &mut config.profiles {
        Arc::make_mut(profile).behaviors.retain(|behavior| is_kept(behavior));
    }
}

fn read(number: u8) -> JudgingConfig {
    let text = written(number).to_string();
    JudgingConfig::decode(text.as_bytes()).unwrap()
}

fn written(number: u8) -> Value {
    let temperature = if number == 2 { "string-list" } else { "number" };
    let filters = if number == 3 {
        json!(["pumps/+/alarm"])
    } else {
        json!(["pumps/#"])
    };
    let targets = match number {
        4 => json!(["all/registered-things", "thinggroup/b"]),
        5 => json!([]),
        _ => json!(["all/things"]),
    };
    let mut volumes = vec![
        count(
            "much",
            "aws:all-bytes-out",
            "less-than-equals",
            if number == 1 { 100 } else { 300 },
            Some(300),
            patience(number),
        ),
        count("little", "aws:all-bytes-out", "greater-than", 50, Some(300), (1, 1)),
    ];
    if number == 3 {
        volumes.pop();
    }
    let retained = json!([{"metric": "aws:num-messages-sent", "isExported": true},
        {"metric": "aws:listening-tcp-ports", "isExported": true}, {"metric": "aws:disconnect-duration", "isExported": true}]);
    json!({
        "revision": 1,
        "profiles": [
            {"name": "Clients", "targets": ["all/things"], "behaviors": clients(number)},
            {"name": "Conduct", "targets": targets, "behaviors": conduct(number)},
            {"name": "Fleet", "targets": ["all/things"], "behaviors": fleet(number), "retained": retained,
             "exportTopic": "out/fleet"},
            {"name": "Snapshots", "targets": ["thinggroup/a", "all/unregistered-things"], "behaviors": [
                {"name": "ports", "metric": "aws:listening-tcp-ports",
                 "criteria": {"comparisonOperator": "in-port-set", "value": {"ports": [22, 8888]}}},
                count("hot", "temperature", "less-than-equals", 30, None, (1, 3)),
                count("remotes", "aws:num-established-tcp-connections", "less-than-equals", 0, None, (3, 1)),
            ]},
            {"name": "Volumes", "targets": targets, "behaviors": volumes},
        ],
        "customMetrics": {"temperature": temperature},
        "dimensions": {"alarms": filters},
        "strictAwsTiming": number == 4,
    })
}

/// What the broker measures.
fn clients(number: u8) -> Value {
    let patience = patience(number);
    let mut narrowed = count(
        "size",
        "aws:message-byte-size",
        "less-than-equals",
        100,
        Some(300),
        patience,
    );
    narrowed["metricDimension"] =
        json!({"dimensionName": "alarms", "operator": if number == 1 { "NOT_IN" } else { "IN" }});
    json!([
        count("sent", "aws:num-messages-sent", "less-than", 3, Some(if number == 1 { 600 } else { 300 }), patience),
        count("quiet", "aws:num-messages-sent", "greater-than", 0, Some(300), (1, 1)),
        count("refused", "aws:num-authorization-failures", "less-than-equals", 1, Some(300), (1, 2)),
        count("attempts", "aws:num-connection-attempts", "less-than-equals", 1, Some(600), (1, 1)),
        count("away", "aws:disconnect-duration", "less-than-equals", 600, None, patience),
        count("away-once", "aws:disconnect-duration", "less-than", 300, None, (1, 1)),
        {"name": "from", "metric": "aws:source-ip-address",
         "criteria": {"comparisonOperator": "in-cidr-set", "value": {"cidrs": ["192.0.2.0/31"]}}},
        narrowed,
    ])
}

/// How devices report.
fn conduct(number: u8) -> Value {
    json!([
        count(
            "silent",
            "picket:silence-duration",
            "less-than",
            900,
            None,
            patience(number)
        ),
        count(
            "silent-once",
            "picket:silence-duration",
            "less-than-equals",
            500,
            None,
            (1, 1)
        ),
        count(
            "restarts",
            "picket:agent-restarts",
            "less-than-equals",
            0,
            Some(300),
            (1, 1)
        ),
        count(
            "backwards",
            "picket:report-id-regressions",
            "less-than-equals",
            0,
            None,
            patience(number)
        ),
        count(
            "unattached",
            "picket:unattached-reports",
            "less-than-equals",
            0,
            None,
            (1, 1)
        ),
    ])
}

/// Beside the fleet.
fn fleet(number: u8) -> Value {
    let beside = |name: &str, metric: &str, statistic: &str, duration_secs: u64| {
        json!({"name": name, "metric": metric, "criteria": {"comparisonOperator": "less-than-equals",
            "durationSeconds": duration_secs, "statisticalThreshold": {"statistic": statistic},
            "consecutiveDatapointsToAlarm": patience(number).0}})
    };
    json!([
        beside("sizes", "aws:message-byte-size", "p50", 300),
        beside("bytes", "aws:all-bytes-out", if number == 1 { "p0" } else { "p90" }, 600),
        beside("heat", "temperature", "p50", 300),
        {"name": "learned", "metric": "aws:num-messages-received", "criteria": {"mlDetectionConfig": {"confidenceLevel": "HIGH"}}},
    ])
}

fn patience(number: u8) -> (u8, u8) {
    if number == 2 { (1, 1) } else { (2, 2) }
}

fn count(
    name: &str,
    metric: &str,
    operator: &str,
    limit: u64,
    duration_secs: Option<u64>,
    patience: (u8, u8),
) -> Value {
    let value = if metric == "temperature" {
        json!({"number": limit})
    } else {
        json!({"count": limit})
    };
    let mut behavior = json!({"name": name, "metric": metric, "criteria": {"comparisonOperator": operator, "value": value,
        "consecutiveDatapointsToAlarm": patience.0, "consecutiveDatapointsToClear": patience.1}});
    if let Some(duration_secs) = duration_secs {
        behavior["criteria"]["durationSeconds"] = json!(duration_secs);
    }
    behavior
}
