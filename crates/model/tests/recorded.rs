//! One report of each agent in the field, see `data/README.md`: what it must be read as.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::path::Path;

use picket_model::report::{KeyStyle, Report};
use picket_model::topic::Format;

/// Reads a file of `data/` as a device's payload.
fn payload(file: &str) -> (Format, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    if !file.ends_with(".hex") {
        return (Format::Json, text.into_bytes());
    }
    let without_comments = text.lines().map(|line| line.split('#').next().unwrap_or(""));
    let digits: Vec<char> = without_comments
        .flat_map(str::chars)
        .filter(char::is_ascii_hexdigit)
        .collect();
    let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
    (Format::Cbor, digits.chunks(2).map(byte).collect())
}

#[test]
fn every_agent_is_understood() {
    for (file, expected, expected_voided) in [
        (
            "python-agent.json",
            r#"{"hed":{"rid":1606780800,"v":"1.0"},"met":{"tp":{"pts":[{"if":"0.0.0.0","pt":22},{"if":"::","pt":22},{"pt":631}],"t":3},"ns":{"bi":1157864729406,"bo":1170821865,"pi":693092175031,"po":738917180},"tc":{"ec":{"cs":[{"lp":44712,"rad":"[2001:db8::5]:443"},{"li":"eth0","lp":22,"rad":"192.0.2.17:50022"}],"t":71}}},"cmet":{"cpu_usage":[{"number":12.3}]}}"#,
            &[][..],
        ),
        (
            "python-agent-short-tags.json",
            r#"{"hed":{"rid":1606780805,"v":"1.0"},"met":{"tp":{"pts":[{"if":"eth0","pt":22},{"if":"eth0","pt":80}],"t":2},"up":{"pts":[{"if":"eth0","pt":5353}],"t":1},"ns":{"bi":29359,"bo":26490,"pi":100,"po":113},"tc":{"ec":{"cs":[{"li":"eth0","lp":43558,"rad":"192.0.2.44:443"}],"t":1}}}}"#,
            &[],
        ),
        (
            "python-agent-2020.json",
            r#"{"hed":{"rid":1580000000,"v":"1.0"},"met":{"ns":{"bo":26485,"po":113},"tc":{"ec":{"cs":[{"lp":8883,"rad":"[2001:db8::7]:443"},{"lp":8884,"rad":"[fe80::1]:8883"}],"t":2}}}}"#,
            &["network_stats.bytes_in", "network_stats.packets_in"],
        ),
        (
            "c-agent.json",
            r#"{"hed":{"rid":1544000000,"v":"1.0"},"met":{"ns":{"bo":113,"pi":4}}}"#,
            &["network_stats.bytes_in", "network_stats.packets_out"],
        ),
        (
            "c-agent.cbor.hex",
            r#"{"hed":{"rid":1543962624,"v":"1.0"},"met":{"tp":{"pts":[{"if":"eth0","pt":22},{"pt":80}],"t":2},"ns":{"bi":29358}}}"#,
            &[],
        ),
        (
            "device-client.json",
            r#"{"hed":{"rid":93417,"v":"1.0"},"met":{"tp":{"pts":[{"if":"eth0","pt":22}],"t":1},"up":{"pts":[],"t":0},"ns":{"bi":4294967295,"pi":0,"po":0},"tc":{"ec":{"cs":[],"t":0}}}}"#,
            &["network_stats.bytes_out"],
        ),
        (
            "greengrass-first.json",
            r#"{"hed":{"rid":1639000000,"v":"1.0"},"met":{"tp":{"pts":[{"pt":8883}],"t":1},"up":{"pts":[{"pt":68}],"t":1},"tc":{"ec":{"cs":[],"t":0}}}}"#,
            &[],
        ),
        (
            "rustot.cbor.hex",
            r#"{"hed":{"rid":12345,"v":"1.0"},"met":{},"cmet":{"batt":[{"number":71.5}]}}"#,
            &[],
        ),
        (
            "tcp-only.json",
            r#"{"hed":{"rid":17,"v":"1.0"},"met":{"tc":{"ec":{"cs":[{"lp":33000,"rad":"192.0.2.9:8883"}],"t":1}}}}"#,
            &[],
        ),
    ] {
        let (format, payload) = payload(file);
        let report = match format {
            Format::Json => Report::from_json(&payload),
            Format::Cbor => Report::from_cbor(&payload),
        };
        let report = report.unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(
            String::from_utf8(report.to_json(KeyStyle::Short)).unwrap(),
            expected,
            "{file}"
        );
        let voided: Vec<&str> = report.voided.iter().map(|voided| voided.path.as_str()).collect();
        assert_eq!(voided, expected_voided, "{file}");
    }
}
