//! Behaviors as clients write them: accepted ones read back as written, refused ones say why, and all of them can be put
//! into words.

#![expect(clippy::panic, reason = "test code outside of test functions")]

use picket_model::behavior::{Behavior, wire};
use picket_model::metric::CustomMetricType;
use picket_model::name::MetricName;
use picket_model::profile::Behaviors;
use serde_json::json;

/// The custom metrics that exist in these tests.
fn type_of(name: &MetricName) -> Option<CustomMetricType> {
    match name.as_str() {
        "heat" => Some(CustomMetricType::Number),
        "codes" => Some(CustomMetricType::NumberList),
        "versions" => Some(CustomMetricType::StringList),
        "peers" => Some(CustomMetricType::IpAddressList),
        _ => None,
    }
}

fn read(text: &str) -> Result<Behavior, String> {
    let written: wire::Behavior = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Behavior::parse(written, &type_of).map_err(|bad| bad.to_string())
}

/// A behavior called `b` with this metric and these criteria.
fn behavior(metric: &str, criteria: &str) -> String {
    format!(r#"{{"name":"b","metric":"{metric}","criteria":{criteria}}}"#)
}

fn parsed(metric: &str, criteria: &str) -> Behavior {
    read(&behavior(metric, criteria)).unwrap_or_else(|bad| panic!("{metric} {criteria}: {bad}"))
}

#[test]
fn what_was_written_is_what_is_read() {
    for text in [
        // AWS CLI's example of create-security-profile.
        r#"{"name":"BytesOut","metric":"aws:all-bytes-out","criteria":{"comparisonOperator":"less-than","value":{"count":1024},"durationSeconds":300}}"#,
        // AWS CLI's example of list-violation-events.
        r#"{"name":"LargeMessageSize","metric":"aws:message-byte-size","criteria":{"comparisonOperator":"greater-than","value":{"count":128},"consecutiveDatapointsToAlarm":1,"consecutiveDatapointsToClear":1}}"#,
        r#"{"name":"only-collects","metric":"aws:num-disconnects"}"#,
        r#"{"name":"nothing"}"#,
        r#"{"name":"ports","metric":"aws:listening-tcp-ports","criteria":{"comparisonOperator":"in-port-set","value":{"ports":[443,22,22,0]}},"suppressAlerts":false}"#,
        r#"{"name":"dests","metric":"aws:destination-ip-addresses","criteria":{"comparisonOperator":"not-in-cidr-set","value":{"cidrs":["10.1.2.3/8","::1"]}},"suppressAlerts":true,"exportMetric":true}"#,
        r#"{"name":"topics","metric":"aws:num-messages-sent","metricDimension":{"dimensionName":"d","operator":"NOT_IN"},"criteria":{"comparisonOperator":"less-than","value":{"count":9223372036854775807},"durationSeconds":3600}}"#,
        r#"{"name":"topics","metric":"aws:source-ip-address","metricDimension":{"dimensionName":"d"}}"#,
        r#"{"name":"p","metric":"aws:message-byte-size","criteria":{"comparisonOperator":"greater-than","durationSeconds":300,"statisticalThreshold":{"statistic":"p99.9"}}}"#,
        r#"{"name":"ml","metric":"aws:all-bytes-in","criteria":{"consecutiveDatapointsToAlarm":10,"mlDetectionConfig":{"confidenceLevel":"HIGH"}}}"#,
        r#"{"name":"h","metric":"heat","criteria":{"comparisonOperator":"less-than-equals","value":{"number":71.30000000000001}}}"#,
        r#"{"name":"h","metric":"heat","criteria":{"comparisonOperator":"less-than","durationSeconds":900,"statisticalThreshold":{"statistic":"p0.01"}}}"#,
        r#"{"name":"c","metric":"codes","criteria":{"comparisonOperator":"in-set","value":{"numbers":[1.5,-2.0]}}}"#,
        r#"{"name":"v","metric":"versions","criteria":{"comparisonOperator":"not-in-set","value":{"strings":["v1",""]}}}"#,
        r#"{"name":"n","metric":"peers","criteria":{"comparisonOperator":"in-cidr-set","value":{"cidrs":["fd00::/8"]}}}"#,
        r#"{"name":"d","metric":"aws:disconnect-duration","criteria":{"comparisonOperator":"less-than","value":{"count":3600}}}"#,
        r#"{"name":"t","metric":"aws:num-listening-tcp-ports","criteria":{"comparisonOperator":"less-than-equals","value":{"count":3},"durationSeconds":300}}"#,
    ] {
        let read = read(text).unwrap_or_else(|bad| panic!("{text}: {bad}"));
        let written = serde_json::to_value(wire::Behavior::from(&read)).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(text).unwrap());
        // What was accepted reads back without knowledge of the custom metrics.
        assert_eq!(
            Behavior::try_from(wire::Behavior::from(&read)).as_ref(),
            Ok(&read),
            "{text}"
        );
    }
}

/// Metric, criteria, and what is wrong with them.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "aws:num-authorization-failures",
        r#"{"comparisonOperator":"less-than","value":{"count":1},"durationSeconds":300,"consecutiveDatapointsToAlarm":100000}"#,
        "consecutiveDatapointsToAlarm 100000 should be in range[1,10]",
    ),
    (
        "aws:num-authorization-failures",
        r#"{"comparisonOperator":"less-than","value":{"count":1},"durationSeconds":300,"consecutiveDatapointsToClear":0}"#,
        "consecutiveDatapointsToClear 0 should be in range[1,10]",
    ),
    (
        "aws:num-authorization-failures",
        r#"{"comparisonOperator":"less-than","value":{"count":1}}"#,
        "metric aws:num-authorization-failures requires criteria's duration field to be set",
    ),
    (
        "aws:num-authorization-failures",
        r#"{"comparisonOperator":"less-than","value":{"count":1},"durationSeconds":60}"#,
        "durationSeconds 60 should be one of [300, 600, 900, 1800, 3600]",
    ),
    (
        "aws:all-bytes-out",
        r#"{"comparisonOperator":"less-than","value":{"count":1}}"#,
        "metric aws:all-bytes-out requires criteria's duration field to be set",
    ),
    (
        "aws:made-up",
        r#"{"comparisonOperator":"less-than","value":{"count":1}}"#,
        r#"metric "aws:made-up" begins with aws: but is none of AWS IoT Device Defender's metrics"#,
    ),
    (
        "chill",
        r#"{"comparisonOperator":"less-than","value":{"count":1}}"#,
        "metric chill is none of AWS's and no custom metric of that name exists",
    ),
    (
        "heat",
        r#"{"comparisonOperator":"less-than","value":{"count":1}}"#,
        "metric heat requires value.number to be set",
    ),
    (
        "aws:listening-tcp-ports",
        r#"{"comparisonOperator":"less-than","value":{"count":1}}"#,
        "metric aws:listening-tcp-ports requires value.ports to be set",
    ),
    (
        "aws:all-bytes-out",
        r#"{"comparisonOperator":"less-than","value":{"number":1}}"#,
        "metric aws:all-bytes-out requires value.count to be set",
    ),
    (
        "heat",
        r#"{"comparisonOperator":"in-set","value":{"number":1}}"#,
        r#"metric heat: comparisonOperator "in-set" should be one of [less-than, less-than-equals, greater-than, greater-than-equals]"#,
    ),
    (
        "aws:listening-udp-ports",
        r#"{"comparisonOperator":"in-set","value":{"ports":[1]}}"#,
        r#"metric aws:listening-udp-ports: comparisonOperator "in-set" should be one of [in-port-set, not-in-port-set]"#,
    ),
    (
        "aws:listening-udp-ports",
        r#"{"comparisonOperator":"in-port-set","value":{"ports":[]}}"#,
        "value.ports should not be empty",
    ),
    (
        "aws:listening-udp-ports",
        r#"{"comparisonOperator":"in-port-set","value":{"ports":[65536]}}"#,
        "port 65536 should be in range[0,65535]",
    ),
    (
        "peers",
        r#"{"comparisonOperator":"in-cidr-set","value":{"cidrs":["here"]}}"#,
        r#""here" is no address range, expected one such as 10.0.0.0/8, fd00::/8 or 192.0.2.7"#,
    ),
    (
        "peers",
        r#"{"comparisonOperator":"in-cidr-set","value":{"cidrs":["::1"]},"durationSeconds":300}"#,
        "metric peers does not allow criteria's duration field to be set",
    ),
    (
        "heat",
        r#"{"comparisonOperator":"less-than","value":{}}"#,
        "value has 0 members, expected exactly one of count, cidrs, ports, number, numbers, strings",
    ),
    (
        "heat",
        r#"{"comparisonOperator":"less-than","value":{"number":1,"count":1}}"#,
        "value has 2 members, expected exactly one of count, cidrs, ports, number, numbers, strings",
    ),
    (
        "aws:num-established-tcp-connections",
        r#"{"comparisonOperator":"less-than","value":{"count":-1}}"#,
        "count -1 should be 0 or more",
    ),
    (
        "heat",
        "{}",
        "criteria requires exactly one of value, statisticalThreshold and mlDetectionConfig",
    ),
    (
        "heat",
        r#"{"mlDetectionConfig":{"confidenceLevel":"HIGH"},"value":{"number":1}}"#,
        "criteria requires exactly one of value, statisticalThreshold and mlDetectionConfig",
    ),
    (
        "heat",
        r#"{"value":{"number":1}}"#,
        "criteria requires comparisonOperator to be set",
    ),
    (
        "heat",
        r#"{"durationSeconds":300,"statisticalThreshold":{"statistic":"p90"}}"#,
        "statisticalThreshold requires comparisonOperator to be set",
    ),
    (
        "heat",
        r#"{"durationSeconds":300,"comparisonOperator":"less-than","statisticalThreshold":{}}"#,
        "statisticalThreshold requires statistic to be set",
    ),
    (
        "heat",
        r#"{"mlDetectionConfig":{"confidenceLevel":"HIGH"},"comparisonOperator":"less-than"}"#,
        "mlDetectionConfig allows neither comparisonOperator nor durationSeconds",
    ),
    (
        "heat",
        r#"{"mlDetectionConfig":{"confidenceLevel":"HIGH"},"durationSeconds":300}"#,
        "mlDetectionConfig allows neither comparisonOperator nor durationSeconds",
    ),
    (
        "codes",
        r#"{"mlDetectionConfig":{"confidenceLevel":"HIGH"}}"#,
        "metric codes does not support mlDetectionConfig",
    ),
    (
        "aws:disconnect-duration",
        r#"{"mlDetectionConfig":{"confidenceLevel":"HIGH"}}"#,
        "metric aws:disconnect-duration does not support mlDetectionConfig",
    ),
    (
        "heat",
        r#"{"mlDetectionConfig":{"confidenceLevel":"high"}}"#,
        r#"confidenceLevel "high" should be one of [LOW, MEDIUM, HIGH]"#,
    ),
    (
        "heat",
        r#"{"comparisonOperator":"less-than","statisticalThreshold":{"statistic":"p95"},"durationSeconds":300}"#,
        r#"statistic "p95" should be one of [p0, p0.1, p0.01, p1, p10, p50, p90, p99, p99.9, p99.99, p100]"#,
    ),
    (
        "heat",
        r#"{"comparisonOperator":"less-than","statisticalThreshold":{"statistic":"p90"}}"#,
        "metric heat requires criteria's duration field to be set",
    ),
    (
        "versions",
        r#"{"comparisonOperator":"less-than","statisticalThreshold":{"statistic":"p90"}}"#,
        "metric versions does not support statisticalThreshold",
    ),
    (
        "aws:disconnect-duration",
        r#"{"comparisonOperator":"greater-than","value":{"count":1}}"#,
        r#"metric aws:disconnect-duration: comparisonOperator "greater-than" should be one of [less-than, less-than-equals]"#,
    ),
];

#[test]
fn what_breaks_a_rule_is_refused_in_aws_words() {
    for (metric, criteria, reason) in REFUSED {
        let found = read(&behavior(metric, criteria)).expect_err(criteria);
        assert_eq!(found, format!("Behavior b is malformed. {reason}"));
    }
}

#[test]
fn members_that_need_each_other_are_missed() {
    for (text, reason) in [
        (
            r#"{"name":"a b"}"#,
            "Behavior a b is malformed. behavior name has ' ' at byte 1, expected only [a-zA-Z0-9:_-]",
        ),
        (
            r#"{"name":"b","criteria":{}}"#,
            "Behavior b is malformed. criteria requires metric to be set",
        ),
        (
            r#"{"name":"b","criteria":{"consecutiveDatapointsToClear":11}}"#,
            "Behavior b is malformed. consecutiveDatapointsToClear 11 should be in range[1,10]",
        ),
        (
            r#"{"name":"b","metricDimension":{"dimensionName":"d"}}"#,
            "Behavior b is malformed. metricDimension requires metric to be set",
        ),
        (
            r#"{"name":"b","metric":"heat","metricDimension":{"dimensionName":"d"}}"#,
            "Behavior b is malformed. metric heat does not support metricDimension",
        ),
        (
            r#"{"name":"b","metric":"aws:num-disconnects","metricDimension":{"dimensionName":"d"}}"#,
            "Behavior b is malformed. metric aws:num-disconnects does not support metricDimension",
        ),
        (
            r#"{"name":"b","metric":"aws:num-messages-sent","metricDimension":{"dimensionName":"d","operator":"OUT"}}"#,
            "Behavior b is malformed. operator \"OUT\" should be one of [IN, NOT_IN]",
        ),
        (r#"{"metric":"heat"}"#, "missing field `name` at line 1 column 17"),
    ] {
        assert_eq!(read(text).expect_err(text), reason);
    }
}

#[test]
fn a_profile_has_bounds() {
    let named = |name: String, n_ports: usize| -> wire::Behavior {
        let value = json!({"ports": vec![1; n_ports]});
        let criteria = json!({"comparisonOperator": "in-port-set", "value": value});
        serde_json::from_value(json!({"name": name, "metric": "aws:listening-tcp-ports", "criteria": criteria}))
            .unwrap()
    };
    let parse = |behaviors: Vec<wire::Behavior>| {
        let texts = |broken: Vec<_>| broken.iter().map(ToString::to_string).collect::<Vec<String>>();
        Behaviors::parse(behaviors, &type_of)
            .map(|behaviors| behaviors.as_slice().len())
            .map_err(texts)
    };
    let many = |n| (0..n).map(|n| named(format!("b{n}"), 10)).collect::<Vec<_>>();
    assert_eq!(parse(Vec::new()), Ok(0));
    assert_eq!(parse(many(100)), Ok(100));
    assert_eq!(
        parse(many(101)).unwrap_err(),
        ["a security profile has at most 100 behaviors, found 101"]
    );
    assert_eq!(
        parse(vec![named("a".into(), 1000), named("b".into(), 1)]).unwrap_err(),
        ["the values of a security profile have at most 1000 elements, found 1001"]
    );
    assert_eq!(
        parse(vec![named("a".into(), 1), named("a".into(), 1), named("c".into(), 0)]).unwrap_err(),
        [
            "Behavior a is malformed. another behavior of the security profile has this name",
            "Behavior c is malformed. value.ports should not be empty",
        ]
    );
}

#[test]
fn a_behavior_says_when_it_alarms() {
    for (metric, criteria, words) in [
        (
            "aws:all-bytes-out",
            r#"{"comparisonOperator":"less-than-equals","value":{"count":200},"durationSeconds":300}"#,
            "alarm when bytes out in 5 min is above 200",
        ),
        (
            "aws:all-bytes-out",
            r#"{"comparisonOperator":"greater-than","value":{"count":200},"durationSeconds":3600}"#,
            "alarm when bytes out in 60 min is 200 or below",
        ),
        (
            "heat",
            r#"{"comparisonOperator":"greater-than-equals","value":{"number":7.5},"consecutiveDatapointsToAlarm":3}"#,
            "alarm when heat is below 7.5, 3 times in a row",
        ),
        (
            "aws:num-established-tcp-connections",
            r#"{"comparisonOperator":"less-than","value":{"count":5}}"#,
            "alarm when number of established TCP connections is 5 or above",
        ),
        (
            "aws:listening-tcp-ports",
            r#"{"comparisonOperator":"in-port-set","value":{"ports":[22,443]}}"#,
            "alarm when a listening TCP port is not in {22, 443}",
        ),
        (
            "aws:listening-udp-ports",
            r#"{"comparisonOperator":"not-in-port-set","value":{"ports":[1,2,3,4,5,6,7,8,9,10,11,12]}}"#,
            "alarm when a listening UDP port is in {1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more}",
        ),
        (
            "aws:destination-ip-addresses",
            r#"{"comparisonOperator":"in-cidr-set","value":{"cidrs":["10.0.0.0/8"]}}"#,
            "alarm when a destination address is not in {10.0.0.0/8}",
        ),
        (
            "versions",
            r#"{"comparisonOperator":"in-set","value":{"strings":["v 1"]}}"#,
            "alarm when one of versions is not in {\"v 1\"}",
        ),
        (
            "codes",
            r#"{"comparisonOperator":"not-in-set","value":{"numbers":[1.5]}}"#,
            "alarm when one of codes is in {1.5}",
        ),
        (
            "aws:num-messages-sent",
            r#"{"comparisonOperator":"less-than-equals","durationSeconds":300,"statisticalThreshold":{"statistic":"p90"}}"#,
            "alarm when number of messages sent in 5 min is above the fleet's p90",
        ),
        (
            "aws:all-packets-in",
            r#"{"mlDetectionConfig":{"confidenceLevel":"LOW"}}"#,
            "alarm when packets in is unlike what was learned, at confidence LOW",
        ),
    ] {
        assert_eq!(parsed(metric, criteria).in_words(), words);
    }
    assert_eq!(read(r#"{"name":"b"}"#).unwrap().in_words(), "judges nothing");
    assert_eq!(
        read(r#"{"name":"b","metric":"heat"}"#).unwrap().in_words(),
        "collects heat, never alarms"
    );
    let with_dimension = r#"{"name":"b","metric":"aws:num-messages-sent","metricDimension":{"dimensionName":"d","operator":"NOT_IN"},"criteria":{"comparisonOperator":"less-than","value":{"count":1},"durationSeconds":300}}"#;
    assert_eq!(
        read(with_dimension).unwrap().in_words(),
        "alarm when number of messages sent in 5 min is 1 or above, on topics outside dimension d"
    );
}

#[test]
fn what_is_not_judged_yet_says_so() {
    for (metric, criteria, reason) in [
        (
            "heat",
            r#"{"comparisonOperator":"less-than","value":{"number":1}}"#,
            None,
        ),
        (
            "aws:all-bytes-in",
            r#"{"comparisonOperator":"less-than","value":{"count":1},"durationSeconds":300}"#,
            None,
        ),
        (
            "aws:num-disconnects",
            r#"{"comparisonOperator":"less-than","value":{"count":1},"durationSeconds":300}"#,
            None,
        ),
        (
            "heat",
            r#"{"comparisonOperator":"less-than","durationSeconds":300,"statisticalThreshold":{"statistic":"p90"}}"#,
            None,
        ),
        (
            "heat",
            r#"{"mlDetectionConfig":{"confidenceLevel":"LOW"}}"#,
            Some("learned baselines (mlDetectionConfig) are not judged yet"),
        ),
    ] {
        assert_eq!(
            parsed(metric, criteria).not_judged().as_deref(),
            reason,
            "{metric} {criteria}"
        );
    }
    assert_eq!(
        read(r#"{"name":"b","metric":"aws:num-disconnects"}"#)
            .unwrap()
            .not_judged(),
        None
    );
}
