//! What the database holds reads back as it was, and alerts are what AWS's consumers expect.

#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::collections::BTreeSet;
use std::sync::Arc;

use picket_model::behavior::{
    Behavior, Criteria, DimensionOperator, Limit, MetricDimension, NumericOperator, SetOperator, Test, WindowDuration,
    wire,
};
use picket_model::metric::{CustomMetricType, DeviceMetric, Metric};
use picket_model::profile::{JudgedProfile, JudgingConfig, RetainedMetric, Target};
use picket_model::time::Timestamp;
use picket_model::value::MetricValue;
use picket_model::violation::{
    ChangeKind, EventType, VerificationState, ViolationChange, ViolationId, ViolationNotice, wire::Alert,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn finite() -> impl Strategy<Value = f64> {
    any::<u64>()
        .prop_map(f64::from_bits)
        .prop_filter("finite", |number| number.is_finite())
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-][a-zA-Z0-9:_-]{0,8}"
}

fn tests() -> impl Strategy<Value = (Metric, Test, Option<WindowDuration>)> {
    let numeric = || select(NumericOperator::ALL);
    let set = || select(vec![SetOperator::In, SetOperator::NotIn]);
    let custom = || "[b-z][a-z]{0,8}".prop_map(|name| Metric::Custom(name.parse().unwrap()));
    let cidr = || {
        (any::<std::net::IpAddr>(), option::of(0..=32_u8)).prop_map(|(address, prefix)| {
            let text = prefix.map_or(address.to_string(), |prefix| format!("{address}/{prefix}"));
            text.parse().unwrap()
        })
    };
    prop_oneof![
        (numeric(), 0..=i64::MAX.unsigned_abs()).prop_map(|(operator, count)| {
            let limit = Limit::Count(count);
            let metric = Metric::Device(DeviceMetric::AllBytesIn);
            (metric, Test::Threshold { operator, limit }, Some(WindowDuration::Min15))
        }),
        (custom(), numeric(), finite()).prop_map(|(metric, operator, number)| {
            let limit = Limit::Number(number);
            (metric, Test::Threshold { operator, limit }, None)
        }),
        (set(), vec(any::<u16>(), 1..9)).prop_map(|(operator, ports)| {
            (
                Metric::Device(DeviceMetric::ListeningTcpPorts),
                Test::Ports { operator, ports },
                None,
            )
        }),
        (custom(), set(), vec(cidr(), 1..9)).prop_map(|(metric, operator, cidrs)| (
            metric,
            Test::Cidrs { operator, cidrs },
            None
        )),
        (custom(), set(), vec(finite(), 1..9)).prop_map(|(metric, operator, numbers)| (
            metric,
            Test::Numbers { operator, numbers },
            None
        )),
        (custom(), set(), vec(".{0,8}", 1..9)).prop_map(|(metric, operator, strings)| (
            metric,
            Test::Strings { operator, strings },
            None
        )),
    ]
}

fn behaviors() -> impl Strategy<Value = Behavior> {
    let criteria = option::of((tests(), option::of(1..=10_u8), option::of(1..=10_u8)));
    (name(), criteria, any::<Option<bool>>(), any::<Option<bool>>()).prop_map(
        |(name, criteria, suppress_alerts, export_metric)| {
            let (metric, criteria) = match criteria {
                None => (None, None),
                Some(((metric, test, duration), to_alarm, to_clear)) => {
                    let criteria = Criteria {
                        test,
                        duration,
                        to_alarm,
                        to_clear,
                    };
                    (Some(metric), Some(criteria))
                }
            };
            Behavior {
                name: name.parse().unwrap(),
                metric,
                dimension: None,
                criteria,
                suppress_alerts,
                export_metric,
            }
        },
    )
}

fn targets() -> impl Strategy<Value = Target> {
    prop_oneof![
        Just(Target::AllThings),
        Just(Target::RegisteredThings),
        Just(Target::UnregisteredThings),
        name().prop_map(|name| Target::Group(name.parse().unwrap())),
    ]
}

fn configs() -> impl Strategy<Value = JudgingConfig> {
    let dimension = (
        name(),
        option::of(select(vec![DimensionOperator::In, DimensionOperator::NotIn])),
    )
        .prop_map(|(name, operator)| MetricDimension {
            name: name.parse().unwrap(),
            operator,
        });
    let retained = (
        select(vec!["aws:message-byte-size", "batt"]),
        option::of(dimension),
        any::<bool>(),
    )
        .prop_map(|(metric, dimension, is_exported)| RetainedMetric {
            metric: metric.parse().unwrap(),
            dimension,
            is_exported,
        });
    let collected = (vec(retained, 0..3), option::of(".{1,8}"));
    let profiles = (name(), vec(behaviors(), 0..4), vec(targets(), 0..3), collected);
    let profiles = profiles.prop_map(|(name, behaviors, targets, (retained, export_topic))| {
        let name = name.parse().unwrap();
        Arc::new(JudgedProfile {
            name,
            behaviors: behaviors.into_iter().map(Arc::new).collect(),
            targets,
            retained,
            export_topic,
        })
    });
    let kinds = select(vec![
        CustomMetricType::Number,
        CustomMetricType::NumberList,
        CustomMetricType::StringList,
        CustomMetricType::IpAddressList,
    ]);
    let custom_metrics = btree_map(name().prop_map(|name| name.parse().unwrap()), kinds, 0..4);
    let dimensions = btree_map(name().prop_map(|name| name.parse().unwrap()), vec(".{0,8}", 0..3), 0..4);
    (
        any::<u64>(),
        vec(profiles, 0..4),
        custom_metrics,
        dimensions,
        any::<bool>(),
    )
        .prop_map(
            |(revision, profiles, custom_metrics, dimensions, strict_aws_timing)| JudgingConfig {
                revision,
                profiles,
                custom_metrics,
                dimensions,
                strict_aws_timing,
            },
        )
}

fn values() -> impl Strategy<Value = MetricValue> {
    let address = any::<std::net::IpAddr>().prop_map(|address| address.to_canonical());
    prop_oneof![
        (0..=i64::MAX.unsigned_abs()).prop_map(MetricValue::Count),
        btree_set(any::<u16>(), 0..9).prop_map(MetricValue::Ports),
        btree_set(address, 0..9).prop_map(MetricValue::Addresses),
        finite().prop_map(MetricValue::Number),
        vec(finite(), 0..9).prop_map(MetricValue::Numbers),
        vec(".{0,8}", 0..9).prop_map(MetricValue::Strings),
    ]
}

fn notices() -> impl Strategy<Value = ViolationNotice> {
    let words = (
        select(EventType::ALL),
        select(VerificationState::ALL),
        any::<(bool, bool)>(),
    );
    (
        "[^\\p{Cc}]{1,30}",
        name(),
        behaviors(),
        option::of(values()),
        any::<i64>(),
        words,
    )
        .prop_map(
            |(thing, profile, behavior, value, at, (event, verification, (is_supported, is_eager)))| {
                let (thing, profile) = (thing.parse().unwrap(), profile.parse().unwrap());
                let at = Timestamp::from_millis(at);
                let id = ViolationId::derive(&thing, &profile, &behavior.name, at);
                let behavior = Arc::new(behavior);
                ViolationNotice {
                    id,
                    thing,
                    profile,
                    behavior,
                    event,
                    value,
                    at,
                    verification,
                    is_supported,
                    is_eager,
                }
            },
        )
}

proptest! {
    #[test]
    fn a_configuration_reads_back(config in configs()) {
        let encoded = config.encode();
        let decoded = JudgingConfig::decode(&encoded).unwrap();
        // Bit for bit, which equality of floats is not.
        prop_assert_eq!(decoded.encode(), encoded);
        prop_assert_eq!(decoded, config);
    }

    #[test]
    fn a_notice_reads_back(notice in notices()) {
        let encoded = notice.encode();
        let decoded = ViolationNotice::decode(&encoded).unwrap();
        prop_assert_eq!(decoded.encode(), encoded);
        prop_assert_eq!(decoded, notice);
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in vec(any::<u8>(), 0..60)) {
        let _ = JudgingConfig::decode(&bytes);
        let _ = ViolationNotice::decode(&bytes);
    }
}

fn notice(behavior: &str, event: EventType, value: Option<MetricValue>) -> ViolationNotice {
    let written: wire::Behavior = serde_json::from_str(behavior).unwrap();
    ViolationNotice {
        id: "76ef8d1dc35ed4eb802ff44568f91097".parse().unwrap(),
        thing: "DefenderWorkshopThing".parse().unwrap(),
        profile: "NormalHTTPTraffic".parse().unwrap(),
        behavior: Arc::new(written.try_into().unwrap()),
        event,
        value,
        at: Timestamp::from_millis(1_542_682_416_515),
        verification: VerificationState::Unknown,
        is_supported: true,
        is_eager: false,
    }
}

/// The first is a message that AWS sent in 2018, as printed in its workshop on Device Defender, with the
/// `verificationState` that newer messages have.
#[test]
fn alerts_are_those_of_aws() {
    let static_rule = r#"{"criteria":{"value":{"count":100},"durationSeconds":300,"comparisonOperator":"less-than"},"name":"PacketsOut","metric":"aws:all-packets-out"}"#;
    let learned_rule = r#"{"criteria":{"mlDetectionConfig":{"confidenceLevel":"LOW"}},"name":"PacketsOut","metric":"aws:all-packets-out"}"#;
    let port_rule = r#"{"criteria":{"value":{"ports":[22]},"comparisonOperator":"in-port-set"},"name":"Ports","metric":"aws:listening-tcp-ports"}"#;
    let told = r#""thingName":"DefenderWorkshopThing","violationEventTime":1542682416515,"violationId":"76ef8d1dc35ed4eb802ff44568f91097","securityProfileName":"NormalHTTPTraffic","verificationState":"UNKNOWN""#;
    let ports = MetricValue::Ports(BTreeSet::from([22, 4444]));
    for (behavior, event, value, more) in [
        (
            static_rule,
            EventType::AlarmCleared,
            Some(MetricValue::Count(29)),
            r#""violationEventType":"alarm-cleared","metricValue":{"count":29}"#,
        ),
        (
            port_rule,
            EventType::InAlarm,
            Some(ports),
            r#""violationEventType":"in-alarm","metricValue":{"ports":[22,4444]}"#,
        ),
        (
            static_rule,
            EventType::AlarmInvalidated,
            None,
            r#""violationEventType":"alarm-invalidated""#,
        ),
        (
            learned_rule,
            EventType::AlarmInvalidated,
            Some(MetricValue::Count(1)),
            r#""violationEventType":"alarm-invalidated""#,
        ),
        (
            learned_rule,
            EventType::InAlarm,
            Some(MetricValue::Count(1)),
            r#""violationEventType":"in-alarm","metricValue":{"count":1},"violationEventAdditionalInfo":{"confidenceLevel":"LOW"}"#,
        ),
    ] {
        let alert = serde_json::to_value(Alert::from(&notice(behavior, event, value))).unwrap();
        let expected: serde_json::Value =
            serde_json::from_str(&format!(r#"{{{told},"behavior":{behavior},{more}}}"#)).unwrap();
        assert_eq!(alert, expected);
    }
}

#[test]
fn a_change_is_told_if_somebody_must_hear_of_it() {
    let value = || MetricValue::Number(1.0);
    let rule = notice(r#"{"name":"b"}"#, EventType::InAlarm, None);
    for (kind, told) in [
        (
            ChangeKind::Raised {
                value: value(),
                is_supported: false,
                is_eager: false,
            },
            Some((EventType::InAlarm, true, false)),
        ),
        (
            ChangeKind::Raised {
                value: value(),
                is_supported: true,
                is_eager: false,
            },
            Some((EventType::InAlarm, true, true)),
        ),
        (
            ChangeKind::Supported { value: value() },
            Some((EventType::InAlarm, true, true)),
        ),
        (ChangeKind::Continued { value: value() }, None),
        (
            ChangeKind::Cleared { value: value() },
            Some((EventType::AlarmCleared, true, false)),
        ),
        (
            ChangeKind::Invalidated,
            Some((EventType::AlarmInvalidated, false, false)),
        ),
    ] {
        let change = ViolationChange {
            id: rule.id,
            thing: rule.thing.clone(),
            profile: rule.profile.clone(),
            behavior: Arc::clone(&rule.behavior),
            at: rule.at,
            kind,
        };
        let notice = ViolationNotice::of(&change, VerificationState::Unknown);
        let found = notice.map(|notice| (notice.event, notice.value.is_some(), notice.is_supported));
        assert_eq!(found, told, "{:?}", change.kind);
    }
}
