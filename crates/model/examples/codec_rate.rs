//! What it costs to read and write a report of some thirty ports and connections, as devices send it and as the log keeps
//! it.
//!
//! `cargo run --release -p picket-model --example codec_rate`
#![expect(clippy::unwrap_used, reason = "a benchmark: there is nobody to report an error to")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Duration;

use picket_model::name::CertificateId;
use picket_model::record::{Record, ReportRecord, Sender, Stamped};
use picket_model::report::{KeyStyle, Report, payload_hash};
use picket_model::time::Timestamp;
use picket_model::topic::Format;

/// Times that each thing is done in a round.
const N_TIMES: u32 = 20_000;

/// Rounds, of which the fastest counts: what else runs on the machine only ever makes it slower.
const N_ROUNDS: u32 = 15;

fn main() {
    let report = Report::from_json(sent().as_bytes()).unwrap();
    assert_eq!(report.voided, []);
    let mut rows = Vec::new();
    for (format, keys) in [
        (Format::Json, KeyStyle::Long),
        (Format::Json, KeyStyle::Short),
        (Format::Cbor, KeyStyle::Long),
        (Format::Cbor, KeyStyle::Short),
    ] {
        let bytes = report.encode(format, keys);
        let decode = match format {
            Format::Json => Report::from_json,
            Format::Cbor => Report::from_cbor,
        };
        assert_eq!(decode(&bytes).unwrap(), report);
        rows.push((
            format!("{format} {keys:?}"),
            bytes.len(),
            nanos(|| drop(black_box(decode(black_box(&bytes))))),
            nanos(|| drop(black_box(black_box(&report).encode(format, keys)))),
        ));
    }
    let stamped = stamped(report);
    let bytes = stamped.encode();
    assert_eq!(Stamped::decode(&bytes).unwrap(), stamped);
    rows.push((
        "record of the log".to_owned(),
        bytes.len(),
        nanos(|| drop(black_box(Stamped::decode(black_box(&bytes))))),
        nanos(|| drop(black_box(black_box(&stamped).encode()))),
    ));
    let mut output = std::io::stdout().lock();
    for (what, n_bytes, read_nanos, write_nanos) in rows {
        writeln!(
            output,
            "{what:<18} {n_bytes:>5} bytes  read {read_nanos:>6} ns  written {write_nanos:>6} ns"
        )
        .unwrap();
    }
}

/// Eight ports of either protocol, eight connections, all counters and a custom metric, as a device sends them.
fn sent() -> String {
    let mut ports = String::new();
    let mut connections = String::new();
    for n in 0..8 {
        let comma = if n == 0 { "" } else { "," };
        write!(ports, r#"{comma}{{"interface":"eth0","port":{}}}"#, 22 + n).unwrap();
        let local_port = 40_000 + n;
        write!(
            connections,
            r#"{comma}{{"local_interface":"eth0","local_port":{local_port},"remote_addr":"192.168.0.{n}:8000"}}"#
        )
        .unwrap();
    }
    format!(
        r#"{{"header":{{"report_id":1530304554,"version":"1.0"}},"metrics":{{
"listening_tcp_ports":{{"ports":[{ports}],"total":8}},"listening_udp_ports":{{"ports":[{ports}],"total":8}},
"network_stats":{{"bytes_in":29358,"bytes_out":26485,"packets_in":101,"packets_out":113}},
"tcp_connections":{{"established_connections":{{"connections":[{connections}],"total":8}}}}}},
"custom_metrics":{{"batt":[{{"number":71.5}}]}}}}"#
    )
}

fn stamped(report: Report) -> Stamped {
    let record = ReportRecord {
        thing: "Thing03".parse().unwrap(),
        payload_hash: payload_hash(b"payload"),
        sender: Sender {
            certificate: CertificateId::from_bytes([1; 32]),
            client_id: "Thing03".parse().unwrap(),
            is_attached: true,
        },
        report,
    };
    Stamped {
        at: Timestamp::from_millis(1_530_304_554_000),
        record: Record::Report(Box::new(record)),
    }
}

/// Nanoseconds of processor time that one time takes.
fn nanos(mut once: impl FnMut()) -> u128 {
    let round = || {
        let start = now();
        (0..N_TIMES).for_each(|_| once());
        now().saturating_sub(start).as_nanos() / u128::from(N_TIMES)
    };
    std::iter::repeat_with(round).take(N_ROUNDS as usize).min().unwrap()
}

/// Processor time of this thread.
fn now() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}
