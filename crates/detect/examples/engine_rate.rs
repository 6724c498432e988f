//! How many reports an engine judges per second of processor time, and how much memory a device takes.
//!
//! `cargo run --release -p picket-detect --example engine_rate [N_DEVICES [SECONDS_BETWEEN_REPORTS]]`
#![expect(clippy::unwrap_used, reason = "a benchmark: there is nobody to report an error to")]

use std::io::Write;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use picket_detect::Engine;
use picket_model::name::CertificateId;
use picket_model::profile::JudgingConfig;
use picket_model::record::{Input, Record, ReportRecord, Sender, Stamped};
use picket_model::report::Report;
use picket_model::time::Timestamp;

/// Reports of each device: enough to fill its memory of duplicates and the longest window.
const N_ROUNDS: u64 = 24;

/// One behavior for each of the ten device-side metrics; all reports are normal.
const CONFIG: &str = r#"{"revision": 1, "customMetrics": {}, "profiles": [{"name": "Fleet", "targets": ["all/things"], "behaviors": [
{"name": "b1", "metric": "aws:all-bytes-out", "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 9000000000000}, "durationSeconds": 300}},
{"name": "b2", "metric": "aws:all-bytes-in", "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 9000000000000}, "durationSeconds": 900}},
{"name": "b3", "metric": "aws:all-packets-out", "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 9000000000000}, "durationSeconds": 300}},
{"name": "b4", "metric": "aws:all-packets-in", "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 9000000000000}, "durationSeconds": 3600}},
{"name": "b5", "metric": "aws:num-listening-tcp-ports", "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 9}}},
{"name": "b6", "metric": "aws:num-listening-udp-ports", "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 9}}},
{"name": "b7", "metric": "aws:num-established-tcp-connections", "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 9}, "consecutiveDatapointsToAlarm": 3}},
{"name": "b8", "metric": "aws:destination-ip-addresses", "criteria": {"comparisonOperator": "in-cidr-set", "value": {"cidrs": ["10.0.0.0/8", "192.168.0.0/16", "2001:db8::/32"]}}},
{"name": "b9", "metric": "aws:listening-tcp-ports", "criteria": {"comparisonOperator": "in-port-set", "value": {"ports": [22, 80, 443, 8080]}}},
{"name": "b10", "metric": "aws:listening-udp-ports", "criteria": {"comparisonOperator": "not-in-port-set", "value": {"ports": [161]}}}]}]}"#;

const REPORT: &str = r#"{"header": {"report_id": 0, "version": "1.0"}, "metrics": {
"listening_tcp_ports": {"ports": [{"port": 22}, {"port": 443}, {"port": 8080}], "total": 3},
"listening_udp_ports": {"ports": [{"port": 68}, {"port": 5353}], "total": 2},
"network_stats": {"bytes_in": 29358693495, "bytes_out": 26485035, "packets_in": 10013573555, "packets_out": 11382615},
"tcp_connections": {"established_connections": {"connections": [{"remote_addr": "10.0.0.7:8883"},
{"remote_addr": "10.0.9.7:443"}, {"remote_addr": "192.168.1.1:53"}, {"remote_addr": "[2001:db8::1]:443"}], "total": 4}}}}"#;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap());
    let n_devices = arguments.next().unwrap_or(50_000);
    let gap_secs = arguments.next().unwrap_or(300);
    let mut engine = Engine::new();
    let config = JudgingConfig::decode(CONFIG.as_bytes()).unwrap();
    let record = Record::Config { revision: 1 };
    let stamped = stamped(0, record);
    engine.apply(Input {
        stamped,
        config: Some(Arc::new(config)),
    });
    let report = Report::from_json(REPORT.as_bytes()).unwrap();

    let before_bytes = resident_bytes();
    let mut judging = Duration::ZERO;
    let mut n_changes = 0;
    for round in 0..N_ROUNDS {
        for first in (0..n_devices).step_by(250) {
            let devices = first..n_devices.min(first + 250);
            let inputs: Vec<Input> = devices.map(|device| input(round, gap_secs, device, &report)).collect();
            let start = now();
            n_changes += inputs
                .into_iter()
                .map(|input| engine.apply(input).changes.len())
                .sum::<usize>();
            judging += now().saturating_sub(start);
        }
    }
    let state_bytes = resident_bytes().saturating_sub(before_bytes);
    let start = now();
    let snapshot = engine.snapshot();
    let writing = now().saturating_sub(start);
    let rate = u128::from(n_devices * N_ROUNDS) * 1_000_000 / judging.as_micros().max(1);
    assert_eq!((n_changes, engine.counters().n_reports), (0, n_devices * N_ROUNDS));
    let mut output = std::io::stdout().lock();
    writeln!(
        output,
        "{n_devices} devices, a report every {gap_secs} s, 10 behaviors: {rate} reports per second of processor, {} bytes resident per device, \
         snapshot of {} bytes per device in {} ms",
        state_bytes / n_devices,
        u64::try_from(snapshot.len()).unwrap() / n_devices,
        writing.as_millis(),
    )
    .unwrap();
}

fn input(round: u64, gap_secs: u64, device: u64, report: &Report) -> Input {
    let thing: picket_model::name::DeviceName = format!("sensor-{device:08}").parse().unwrap();
    let mut report = report.clone();
    report.report_id = round;
    let record = Record::Report(Box::new(ReportRecord {
        thing: thing.clone(),
        payload_hash: u128::from(round).to_le_bytes(),
        sender: Sender {
            certificate: CertificateId::from_bytes([7; 32]),
            client_id: thing,
            is_attached: true,
        },
        report,
    }));
    Input {
        stamped: stamped(round * gap_secs * 1000, record),
        config: None,
    }
}

fn stamped(millis: u64, record: Record) -> Stamped {
    let at = Timestamp::from_millis(i64::try_from(millis).unwrap());
    Stamped { at, record }
}

/// The time that this thread has had on a processor, so that a busy machine does not distort the rate; wall time
/// where there is no `/proc`.
fn now() -> Duration {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = spent.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos.map_or_else(|| STARTED.elapsed(), Duration::from_nanos)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What the process holds in memory; 0 where there is no `/proc`.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
