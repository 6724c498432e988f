//! The binary, run as its user runs it: what it prints, and how it ends.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Output};

use picket_model::report::{CustomValue, ListeningPort, ListeningPorts, Report};

fn agent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_picket-agent"))
        .args(arguments)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn has(ports: Option<ListeningPorts>, port: u16) -> bool {
    let wanted = ListeningPort {
        port,
        interface: Some("lo".to_owned()),
    };
    ports.unwrap().ports.unwrap().contains(&wanted)
}

#[test]
fn a_dry_run_prints_what_this_host_does() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let listening = listener.local_addr().unwrap();
    let connection = TcpStream::connect(listening).unwrap();
    let receiver = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let sender = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    sender.connect(receiver.local_addr().unwrap()).unwrap();

    // None of the files exists, and nothing would answer at the endpoint.
    let output = agent(&[
        "-e",
        "endpoint.invalid",
        "-r",
        "/nowhere/ca.pem",
        "-c",
        "/nowhere/cert.pem",
        "-k",
        "/nowhere/key.pem",
        "-id",
        "x",
        "-f",
        "json",
        "-cm",
        "--count-loopback",
        "--dryrun",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let report = Report::from_json(&output.stdout).unwrap();
    assert!(has(report.metrics.listening_tcp_ports, listening.port()));
    let udp = report.metrics.listening_udp_ports;
    assert!(has(udp.clone(), receiver.local_addr().unwrap().port()));
    assert!(
        !has(udp, sender.local_addr().unwrap().port()),
        "a connected socket does not listen"
    );
    let connections = report.metrics.established_connections.unwrap().connections.unwrap();
    let local = connection.local_addr().unwrap();
    assert!(connections.iter().any(|connection| {
        connection.local_port == Some(local.port()) && connection.remote_port == Some(listening.port())
    }));
    assert!(report.metrics.network_stats.unwrap().bytes_out.is_some());
    assert!(matches!(
        report.custom_metrics.values().collect::<Vec<_>>()[..],
        [CustomValue::Number(usage)] if (0.0..=100.0).contains(usage)
    ));
    assert_eq!(report.voided, []);
}

#[test]
fn a_dry_run_needs_nothing_and_shows_cbor_as_json() {
    let output = agent(&["-d", "-s", "-f", "cbor"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.starts_with("{\n  \"hed\": {\n    \"rid\": "), "{text}");
    assert!(Report::from_json(&output.stdout).is_ok());
    assert!(stderr(&output).contains("shown as JSON; as CBOR this report has"));
}

#[test]
fn each_way_to_end_has_its_status() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let unknown_key = file("unknown.toml", "interval = 300\n");
    let complete = file(
        "complete.toml",
        "endpoint = 'localhost'\nthing_name = 'T'\nroot_ca = 'ca.pem'\ncertificate = 'cert.pem'\nprivate_key = 'key.pem'\n",
    );
    let empty = file("ca.pem", "");
    let arguments = format!("@{}", file("arguments", "--dryrun\n-f\ncbor\n"));
    for (arguments, status, expected) in [
        (&["--help"][..], 0, "Usage: picket-agent -e HOST"),
        (&["--version"], 0, "picket-agent 0."),
        (&[&arguments], 0, "shown as JSON"),
        (
            &[],
            2,
            "the server is not given: use --endpoint, or endpoint in the file of --config\nTry picket-agent --help.",
        ),
        (
            &["--made-up"],
            2,
            "invalid option '--made-up'\nTry picket-agent --help.",
        ),
        (&["-d", "-f", "xml"], 2, "format is \"xml\", expected json or cbor"),
        (
            &["--config", "/nowhere/agent.toml"],
            2,
            "cannot read the settings in /nowhere/agent.toml: No such file",
        ),
        (&["--config", &unknown_key], 2, "unknown field `interval`"),
        (
            &["--config", &complete, "-i", "0"],
            2,
            "interval is 0 seconds, expected 1 to 86400",
        ),
        (
            &["--config", &complete],
            1,
            &format!("cannot read the root certificate in {empty}"),
        ),
    ] {
        let output = agent(arguments);
        let said = String::from_utf8(output.stdout.clone()).unwrap() + &stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}
