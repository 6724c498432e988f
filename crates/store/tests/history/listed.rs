//! Values of metrics, as ListMetricValues lists them.

use std::sync::Arc;

use object_store::memory::InMemory;
use picket_model::value::MetricValue;
use picket_model::value::wire;
use picket_store::history::{History, ValueKey, ValueQuery};

use super::fleet::{BEGIN, DAY, HOUR, LIMITS, Log, at, came, feed, keep, metered, name, reported, went};

fn query(metric: &str) -> ValueQuery {
    ValueQuery {
        device: name("pump-7"),
        metric: metric.parse().unwrap(),
        dimension: None,
        from: at(BEGIN),
        until: at(BEGIN + DAY),
        after: None,
        n_max: usize::MAX,
    }
}

fn shown(values: &[(ValueKey, MetricValue)]) -> Vec<(i64, String)> {
    let show = |value: &MetricValue| serde_json::to_string(&wire::MetricValue::from(value)).unwrap();
    values
        .iter()
        .map(|(key, value)| (key.at.millis() - BEGIN, show(value)))
        .collect()
}

async fn of(log: &Log) -> History {
    let history = History::over(Arc::new(InMemory::new()), 1, LIMITS).await.unwrap();
    feed(&history, log).await.unwrap();
    history
}

#[tokio::test]
async fn each_metric_of_a_report_is_listed_from_memory_and_from_files() {
    let log: Log = vec![
        reported(BEGIN + 1000, "pump-7", 3),
        reported(BEGIN + 1000, "pump-8", 5),
        reported(BEGIN + 2000, "pump-7", 4),
    ];
    let history = of(&log).await;
    for is_written in [false, true] {
        if is_written {
            keep(&history, &log, BEGIN + 2 * DAY).await.unwrap();
        }
        for (metric, newest, oldest) in [
            ("aws:all-bytes-in", r#"{"count":40}"#, r#"{"count":30}"#),
            ("aws:all-bytes-out", r#"{"count":80}"#, r#"{"count":60}"#),
            ("aws:all-packets-out", r#"{"count":4}"#, r#"{"count":3}"#),
            ("aws:num-listening-tcp-ports", r#"{"count":9}"#, r#"{"count":9}"#),
            (
                "aws:num-established-tcp-connections",
                r#"{"count":2}"#,
                r#"{"count":2}"#,
            ),
            (
                "aws:listening-tcp-ports",
                r#"{"ports":[22,443]}"#,
                r#"{"ports":[22,443]}"#,
            ),
            (
                "aws:destination-ip-addresses",
                r#"{"cidrs":["192.0.2.4"]}"#,
                r#"{"cidrs":["192.0.2.3"]}"#,
            ),
            ("batt", r#"{"number":2.0}"#, r#"{"number":1.5}"#),
            ("list", r#"{"numbers":[1.0,2.5]}"#, r#"{"numbers":[1.0,2.5]}"#),
            ("none", r#"{"strings":[]}"#, r#"{"strings":[]}"#),
            ("words", r#"{"strings":["b","a"]}"#, r#"{"strings":["b","a"]}"#),
            ("peers", r#"{"cidrs":["10.0.0.7"]}"#, r#"{"cidrs":["10.0.0.7"]}"#),
        ] {
            let values = history.values(&query(metric)).await.unwrap();
            let expected = [(2000, newest.to_owned()), (1000, oldest.to_owned())];
            assert_eq!(shown(&values), expected, "{metric}, written: {is_written}");
        }
        // A block without the datum gives no datapoint.
        for metric in [
            "aws:all-packets-in",
            "aws:listening-udp-ports",
            "other",
            "picket:agent-restarts",
        ] {
            assert_eq!(shown(&history.values(&query(metric)).await.unwrap()), [], "{metric}");
        }
    }
}

#[tokio::test]
async fn pages_survive_inserts_and_days() {
    let log: Log = (0..60)
        .map(|n| reported(BEGIN + i64::try_from(n).unwrap() / 2 * HOUR, "pump-7", n))
        .collect();
    let history = of(&log).await;
    for now in [0, BEGIN + 10 * HOUR, BEGIN + 3 * DAY] {
        keep(&history, &log, now).await.unwrap();
        let mut asked = ValueQuery {
            n_max: 7,
            until: at(BEGIN + 2 * DAY),
            ..query("aws:all-packets-out")
        };
        let mut counts = Vec::new();
        loop {
            let page = history.values(&asked).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            let token = last.to_string();
            counts.extend(page.iter().map(|(_, value)| match value {
                MetricValue::Count(count) => *count,
                other => panic!("{other:?}"),
            }));
            asked.after = Some(token.parse().unwrap());
        }
        let expected: Vec<u64> = (0..60).rev().collect();
        assert_eq!(counts, expected, "by {now}");
    }
}

#[tokio::test]
async fn repeated_reports_are_listed_once() {
    let log: Log = vec![
        reported(BEGIN, "pump-7", 1),
        reported(BEGIN + 10, "pump-7", 1),
        reported(BEGIN + 20, "pump-7", 2),
        reported(BEGIN + 30 * HOUR, "pump-7", 1),
    ];
    let history = of(&log).await;
    let asked = ValueQuery {
        until: at(BEGIN + 3 * DAY),
        ..query("aws:all-bytes-in")
    };
    for now in [BEGIN, BEGIN + 4 * DAY] {
        keep(&history, &log, now).await.unwrap();
        let values = history.values(&asked).await.unwrap();
        let times: Vec<i64> = values.iter().map(|(key, _)| key.at.millis() - BEGIN).collect();
        assert_eq!(times, [30 * HOUR, 20, 0], "by {now}");
    }
}

#[tokio::test]
async fn a_custom_metric_that_changes_type_has_the_type_of_each_report() {
    let mut log: Log = vec![reported(BEGIN, "pump-7", 1), reported(BEGIN + 10, "pump-7", 2)];
    if let picket_model::record::Record::Report(record) = &mut log[1].record {
        let words = picket_model::report::CustomValue::StringList(vec!["low".to_owned()]);
        record.report.custom_metrics.insert("batt".parse().unwrap(), words);
    }
    let history = of(&log).await;
    for now in [BEGIN, BEGIN + 2 * DAY] {
        keep(&history, &log, now).await.unwrap();
        let values = history.values(&query("batt")).await.unwrap();
        let expected = [
            (10, r#"{"strings":["low"]}"#.to_owned()),
            (0, r#"{"number":0.5}"#.to_owned()),
        ];
        assert_eq!(shown(&values), expected);
    }
}

#[tokio::test]
async fn what_the_broker_measured_is_summed_in_buckets_that_are_over() {
    const MINUTE: i64 = 60_000;
    let log: Log = vec![
        came(BEGIN + MINUTE, "pump-7", 1),
        metered(BEGIN + 2 * MINUTE, "pump-7", 100),
        metered(BEGIN + 3 * MINUTE, "pump-7", 300),
        metered(BEGIN + 3 * MINUTE, "pump-8", 999),
        went(BEGIN + 16 * MINUTE, "pump-7", 1),
        metered(BEGIN + 31 * MINUTE, "pump-7", 50),
    ];
    let history = of(&log).await;
    for now in [BEGIN + 31 * MINUTE, BEGIN + 2 * DAY] {
        keep(&history, &log, now).await.unwrap();
        for (metric, until, expected) in [
            // Connected in the buckets that end after 5, 10, 15 and 20 minutes; the one after 31 minutes ends after 35.
            (
                "aws:num-messages-sent",
                34,
                vec![
                    (20, r#"{"count":0}"#),
                    (15, r#"{"count":0}"#),
                    (10, r#"{"count":0}"#),
                    (5, r#"{"count":2}"#),
                ],
            ),
            ("aws:num-messages-sent", 9, vec![(5, r#"{"count":2}"#)]),
            (
                "aws:message-byte-size",
                35,
                vec![(35, r#"{"count":50}"#), (5, r#"{"count":300}"#)],
            ),
            ("aws:num-connection-attempts", 5, vec![(5, r#"{"count":3}"#)]),
            ("aws:num-authorization-failures", 5, vec![(5, r#"{"count":2}"#)]),
            ("aws:num-messages-received", 5, vec![(5, r#"{"count":4}"#)]),
            (
                "aws:num-disconnects",
                20,
                vec![
                    (20, r#"{"count":1}"#),
                    (15, r#"{"count":0}"#),
                    (10, r#"{"count":0}"#),
                    (5, r#"{"count":0}"#),
                ],
            ),
            (
                "aws:source-ip-address",
                35,
                vec![
                    (35, r#"{"cidrs":["192.0.2.9"]}"#),
                    (5, r#"{"cidrs":["192.0.2.1","192.0.2.9"]}"#),
                ],
            ),
            ("aws:disconnect-duration", 35, vec![]),
        ] {
            let asked = ValueQuery {
                until: at(BEGIN + until * MINUTE),
                ..query(metric)
            };
            let values = shown(&history.values(&asked).await.unwrap());
            let expected: Vec<(i64, String)> = expected
                .into_iter()
                .map(|(minutes, text)| (minutes * MINUTE, text.to_owned()))
                .collect();
            assert_eq!(values, expected, "{metric} until {until}, by {now}");
        }
    }
}
