//! Reports as agents in the field write them: what each habit must be read as. The payloads are written for these tests
//! after the agents' observed habits.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use picket_model::report::{CustomValue, KeyStyle, Report};
use proptest::prelude::*;

fn read(text: &str) -> Report {
    Report::from_json(text.as_bytes()).unwrap()
}

fn refusal(text: &str) -> String {
    Report::from_json(text.as_bytes()).unwrap_err().to_string()
}

const LONG: &str = r#"{"header":{"report_id":1530304554,"version":"1.0"},"metrics":{
  "listening_tcp_ports":{"ports":[{"interface":"eth0","port":53},{"interface":"eth0","port":22}],"total":2},
  "listening_udp_ports":{"ports":[{"interface":"eth0","port":5353}],"total":1},
  "network_stats":{"bytes_in":29358,"bytes_out":26485,"packets_in":101,"packets_out":113},
  "tcp_connections":{"established_connections":{"connections":[
    {"local_interface":"eth0","local_port":80,"remote_addr":"192.168.0.1:8000"}],"total":1}}},
  "custom_metrics":{"batt":[{"number":71.5}],"peers":[{"ip_list":["172.0.0.10"]}]}}"#;

const SHORT: &str = r#"{"hed":{"rid":1530304554,"v":"1.0"},"met":{
  "tp":{"pts":[{"if":"eth0","pt":53},{"if":"eth0","pt":22}],"t":2},
  "up":{"pts":[{"if":"eth0","pt":5353}],"t":1},
  "ns":{"bi":29358,"bo":26485,"pi":101,"po":113},
  "tc":{"ec":{"cs":[{"li":"eth0","lp":80,"rad":"192.168.0.1:8000"}],"t":1}}},
  "cmet":{"batt":[{"number":71.5}],"peers":[{"ip_list":["172.0.0.10"]}]}}"#;

#[test]
fn long_and_short_names_say_the_same() {
    let report = read(LONG);
    assert_eq!(report, read(SHORT));
    assert_eq!(report.report_id, 1_530_304_554);
    let ports = report.metrics.listening_tcp_ports.unwrap();
    let numbers: Vec<u16> = ports.ports.unwrap().iter().map(|item| item.port).collect();
    assert_eq!((numbers, ports.total), (vec![22, 53], Some(2)));
    assert_eq!(report.metrics.network_stats.unwrap().bytes_out, Some(26485));
    assert_eq!(report.custom_metrics.values().next(), Some(&CustomValue::Number(71.5)));
}

#[test]
fn habits_of_agents_are_forgiven() {
    let with = |metrics: &str| {
        read(&format!(
            r#"{{"header":{{"rid":5.0,"version":"1.0"}},"met":{metrics}}}"#
        ))
    };
    // The Python agent with short tags keeps long names inside the list, and may send the same port twice.
    let ports = with(r#"{"tp":{"pts":[{"port":22,"interface":null},{"port":22}],"t":9}}"#)
        .metrics
        .listening_tcp_ports;
    let ports = ports.unwrap();
    assert_eq!((ports.ports.unwrap().len(), ports.total), (1, Some(9)));
    // A total alone is no list; a list alone is its own total; null is absent.
    assert_eq!(
        with(r#"{"tp":{"t":3}}"#).metrics.listening_tcp_ports.unwrap().ports,
        None
    );
    assert_eq!(
        with(r#"{"tp":{"pts":[]}}"#).metrics.listening_tcp_ports.unwrap().total,
        Some(0)
    );
    assert_eq!(
        with(r#"{"tp":null,"unknown":{"deep":[1,[2]]}}"#)
            .metrics
            .listening_tcp_ports,
        None
    );
    // Counters that were reset or wrapped are left out, the report counts.
    let wrapped = with(r#"{"ns":{"bi":-5,"bo":18446744073709551615,"pi":1e3,"po":7}}"#);
    let stats = wrapped.metrics.network_stats.unwrap();
    assert_eq!(
        (stats.bytes_in, stats.bytes_out, stats.packets_in, stats.packets_out),
        (None, None, Some(1000), Some(7))
    );
    assert_eq!(wrapped.voided.len(), 2);
    // rustot sends `met: null` with custom metrics only.
    assert!(Report::from_json(br#"{"hed":{"rid":1,"v":"1.0"},"met":null,"cmet":{}}"#).is_ok());
}

#[test]
fn remote_addresses_are_read_in_every_spelling() {
    for (text, expected) in [
        ("192.168.0.1:8000", Some(("192.168.0.1", Some(8000)))),
        ("[2001:db8::1]:443", Some(("2001:db8::1", Some(443)))),
        ("2001:db8:0:0:0:0:0:1:443", Some(("2001:db8::1", Some(443)))),
        ("[fe80::1%eth0]:443", Some(("fe80::1", Some(443)))),
        ("[::ffff:192.0.2.7]:443", Some(("192.0.2.7", Some(443)))),
        ("192.0.2.7", Some(("192.0.2.7", None))),
        ("nonsense", None),
    ] {
        let report = read(&format!(
            r#"{{"hed":{{"rid":1,"v":"1.0"}},"met":{{"tc":{{"ec":{{"cs":[{{"rad":"{text}"}}],"t":1}}}}}}}}"#
        ));
        // Of a list with nothing of use there is no datapoint.
        let connections = report
            .metrics
            .established_connections
            .unwrap()
            .connections
            .unwrap_or_default();
        let found = connections
            .first()
            .map(|one| (one.remote_addr.to_string(), one.remote_port));
        assert_eq!(
            found,
            expected.map(|(address, port)| (address.to_owned(), port)),
            "{text}"
        );
        assert_eq!(report.voided.len(), usize::from(expected.is_none()), "{text}");
    }
}

#[test]
fn what_is_no_report_is_refused_with_the_reason() {
    let deep = format!("{}1{}", "[".repeat(60_000), "]".repeat(60_000));
    let in_header = |rest: &str| format!(r#"{{"header":{{"report_id":7,"version":"1.0"}},{rest}}}"#);
    for (text, expected) in [
        (String::new(), "EOF"),
        ("[]".to_owned(), "report is a list, expected an object"),
        (deep, "more than 16 levels of nesting"),
        ("{}".to_owned(), "header.report_id is missing, expected a number"),
        (
            r#"{"header":{"report_id":-1,"version":"1.0"},"metrics":{}}"#.to_owned(),
            "header.report_id is -1",
        ),
        (
            r#"{"header":{"report_id":1,"version":1.0},"metrics":{}}"#.to_owned(),
            "header.version is a number",
        ),
        (
            r#"{"header":{"report_id":1,"version":"2.0"},"metrics":{}}"#.to_owned(),
            r#"expected version "1.x""#,
        ),
        (in_header(r#""x":1"#), "report is neither metrics nor custom_metrics"),
        (in_header(r#""metrics":[]"#), "metrics is a list, expected an object"),
        (
            in_header(r#""metrics":{"tp":{"pts":[{"pt":70000}]}}"#),
            "ports[].port is 70000",
        ),
        (
            in_header(r#""metrics":{"ns":{"bi":"5"}}"#),
            "network_stats.bytes_in is a text",
        ),
        (
            in_header(r#""custom_metrics":{"m":{"number":0}}"#),
            "custom_metrics is an object",
        ),
    ] {
        let found = refusal(&text);
        assert!(found.starts_with("Malformed metrics report: "), "{found}");
        assert!(found.contains(expected), "{expected:?} is not in {found:?}");
    }
    let error = Report::from_json(in_header(r#""x":1"#).as_bytes()).unwrap_err();
    assert_eq!(error.report_id(), Some(7));
    let large = vec![b' '; Report::SIZE_BYTES_MAX + 1];
    assert!(
        Report::from_json(&large)
            .unwrap_err()
            .to_string()
            .contains("131073 bytes")
    );
    let deep_cbor = vec![0x81; 100_000];
    assert!(
        Report::from_cbor(&deep_cbor)
            .unwrap_err()
            .to_string()
            .contains("more than 16 levels")
    );
}

#[test]
fn a_refusal_names_the_report_whose_header_was_whole() {
    let cbor = Report::from_json(br#"{"hed":{"rid":71,"v":"1.0"},"met":{"tp":{"pts":[]}}}"#)
        .unwrap()
        .to_cbor(KeyStyle::Short);
    let json = |text: &str| Report::from_json(text.as_bytes()).unwrap_err();
    for (error, expected) in [
        (json(r#"{"hed":{"rid":71,"v":"1.0"},"met":{"tp":"#), Some(71)),
        (json(r#"{"hed":{"rid":71,"v":"1.0"},"met":{}} x"#), Some(71)),
        (json(r#"{"met":{},"header":{"report_id":71}"#), Some(71)),
        // Half an id would be another report's.
        (json(r#"{"hed":{"rid":7"#), None),
        (json(r#"{"hed":{"rid":71"#), None),
        (json(r#"{"hed":{"rid":71,"v":"1.0""#), None),
        (json(r#"{"hed":{"rid":-71},"#), None),
        (json(r#"{"met":{"#), None),
        (json(r#"[{"hed":{"rid":71}},"#), None),
        (json(""), None),
        (Report::from_cbor(&cbor[..cbor.len() - 1]).unwrap_err(), Some(71)),
        (Report::from_cbor(&cbor[..8]).unwrap_err(), None),
    ] {
        assert_eq!(error.report_id(), expected, "{error}");
    }
}

#[test]
fn bad_custom_values_are_left_out_alone() {
    let report = read(
        r#"{"hed":{"rid":1,"v":"1.0"},"cmet":{"good":[{"number_list":[1,2.5]}],"fw":[{"string_list":["v_1","a b"]}],
        "bad name":[{"number":1}],"ip":[{"ip_list":["10.0.0.300"]}],"kind":[{"text":"x"}],"count":[{"count":3}]}}"#,
    );
    let names: Vec<&str> = report.custom_metrics.keys().map(AsRef::as_ref).collect();
    assert_eq!(names, ["count", "good"]);
    assert_eq!(report.voided.len(), 4);
}

#[test]
fn what_spoils_one_datum_leaves_out_that_datum() {
    for (metrics, expected, expected_voided) in [
        (
            r#"{"ns":{"bo":1e25,"bi":5}}"#,
            r#"{"ns":{"bi":5}}"#,
            "network_stats.bytes_out",
        ),
        (
            r#"{"ns":{"bo":5.5,"bi":5.0}}"#,
            r#"{"ns":{"bi":5}}"#,
            "network_stats.bytes_out",
        ),
        (
            r#"{"tp":{"pts":[{"pt":22}],"t":-1}}"#,
            r#"{"tp":{"pts":[{"pt":22}]}}"#,
            "total",
        ),
        (
            r#"{"tc":{"ec":{"t":18446744073709551615}}}"#,
            r#"{"tc":{"ec":{}}}"#,
            "total",
        ),
        (
            r#"{"tp":{"pts":[{"if":"eth0"},null,{"pt":22}]}}"#,
            r#"{"tp":{"pts":[{"pt":22}],"t":2}}"#,
            "ports[]",
        ),
        // Not an empty list: that would be normal, and clear the device's own alarm.
        (
            r#"{"tc":{"ec":{"cs":[{"rad":"nonsense"}]}}}"#,
            r#"{"tc":{"ec":{"t":1}}}"#,
            "connections[].remote_addr",
        ),
        (r#"{"tp":{"pts":[{"if":"eth0"}]}}"#, r#"{"tp":{"t":1}}"#, "ports[]"),
        (
            r#"{"tc":{"ec":{"cs":[{"rad":"[::1]:+5"}],"t":1}}}"#,
            r#"{"tc":{"ec":{"t":1}}}"#,
            "connections[].remote_addr",
        ),
    ] {
        let report = read(&format!(r#"{{"hed":{{"rid":7,"v":"1.0"}},"met":{metrics}}}"#));
        let written = String::from_utf8(report.to_json(KeyStyle::Short)).unwrap();
        assert_eq!(written, format!(r#"{{"hed":{{"rid":7,"v":"1.0"}},"met":{expected}}}"#));
        let voided: Vec<&str> = report.voided.iter().map(|voided| voided.path.as_str()).collect();
        assert_eq!(voided, [expected_voided], "{metrics}");
    }
}

#[test]
fn custom_metrics_do_not_take_the_names_of_aws() {
    let report = read(r#"{"hed":{"rid":1,"v":"1.0"},"cmet":{"aws:all-bytes-out":[{"number":1}]}}"#);
    assert!(report.custom_metrics.is_empty());
    assert_eq!(report.voided.len(), 1);
}

#[test]
fn keys_of_cbor_that_are_no_text_are_unknown() {
    // {1: 2, "hed": {"rid": 7, "v": "1.0"}, "met": {"ns": {"bo": NaN}}}
    let mut bytes = vec![0xa3, 1, 2];
    for (head, text) in [
        (0x63, "hed"),
        (0xa2, ""),
        (0x63, "rid"),
        (0x07, ""),
        (0x61, "v"),
        (0x63, "1.0"),
    ] {
        bytes.push(head);
        bytes.extend(text.as_bytes());
    }
    for (head, text) in [
        (0x63, "met"),
        (0xa1, ""),
        (0x62, "ns"),
        (0xa1, ""),
        (0x62, "bo"),
        (0xf9, "\u{7e}\0"),
    ] {
        bytes.push(head);
        bytes.extend(text.as_bytes());
    }
    let report = Report::from_cbor(&bytes).unwrap();
    assert_eq!((report.report_id, report.voided.len()), (7, 1));
}

#[test]
fn cbor_says_the_same_in_its_own_ways() {
    // Indefinite lengths, a wide integer, a text in pieces, a half float, a negative counter.
    let mut bytes = vec![0xbf, 0x63];
    bytes.extend(b"hed");
    bytes.extend([0xbf, 0x63]);
    bytes.extend(b"rid");
    bytes.extend([
        0x1b, 0, 0, 0, 0, 0, 0, 0, 7, 0x61, b'v', 0x7f, 0x62, b'1', b'.', 0x61, b'0', 0xff, 0xff, 0x63,
    ]);
    bytes.extend(b"met");
    bytes.extend([
        0xa1, 0x62, b'n', b's', 0xa2, 0x62, b'b', b'o', 0xf9, 0x45, 0x00, 0x62, b'b', b'i', 0x20, 0xff,
    ]);
    let report = Report::from_cbor(&bytes).unwrap();
    assert_eq!(report.report_id, 7);
    let stats = report.metrics.network_stats.unwrap();
    assert_eq!((stats.bytes_out, stats.bytes_in), (Some(5), None));
    assert_eq!(report.voided.len(), 1);
    bytes.push(0);
    assert!(
        Report::from_cbor(&bytes)
            .unwrap_err()
            .to_string()
            .contains("1 bytes follow")
    );
}

proptest! {
    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Report::from_json(&bytes);
        let _ = Report::from_cbor(&bytes);
    }

    #[test]
    fn no_mutation_makes_the_json_reader_panic(at in 0..LONG.len(), byte in any::<u8>()) {
        let mut bytes = LONG.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = Report::from_json(&bytes);
    }
}
