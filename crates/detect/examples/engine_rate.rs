//! How fast engines judge, how much memory a device takes, and how long snapshots and the ends of windows take.
//!
//! `cargo run --release -p picket-detect --example engine_rate [N_DEVICES [N_PARTITIONS]]`
//!
//! Every device reports every 300 s, 24 times: that fills its memory of duplicates and the longest window. The reports of
//! a round are spread over it. One line of JSON says what was found. Times are a thread's time on a processor.
#![expect(clippy::unwrap_used, reason = "a benchmark: there is nobody to report an error to")]

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use picket_detect::{Engine, Outcome};
use picket_model::behavior::Statistic;
use picket_model::fleet::{Quantity, Threshold, WindowKey};
use picket_model::name::{CertificateId, DeviceName};
use picket_model::profile::JudgingConfig;
use picket_model::record::{Input, Record, ReportRecord, Sender, Stamped};
use picket_model::report::{CustomValue, Report};
use picket_model::time::Timestamp;

const N_ROUNDS: u64 = 24;
const ROUND_MILLIS: u64 = 300_000;

/// Ports, addresses, bytes with windows, percentiles of the fleet, a custom metric.
const CONFIG: &str = r#"{"revision": 1, "customMetrics": {"temperature": "number"}, "profiles": [{"name": "Fleet", "targets": ["all/things"], "behaviors": [
{"name": "b01", "metric": "aws:listening-tcp-ports", "criteria": {"comparisonOperator": "in-port-set", "value": {"ports": [22, 80, 443, 8080]}}},
{"name": "b02", "metric": "aws:listening-udp-ports", "criteria": {"comparisonOperator": "not-in-port-set", "value": {"ports": [161]}}},
{"name": "b03", "metric": "aws:num-listening-tcp-ports", "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 9}}},
{"name": "b04", "metric": "aws:destination-ip-addresses", "criteria": {"comparisonOperator": "in-cidr-set", "value": {"cidrs": ["10.0.0.0/8", "192.168.0.0/16", "2001:db8::/32"]}}},
{"name": "b05", "metric": "aws:all-bytes-out", "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 9000000000000}, "durationSeconds": 300}},
{"name": "b06", "metric": "aws:all-bytes-in", "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 9000000000000}, "durationSeconds": 900}},
{"name": "b07", "metric": "aws:all-bytes-out", "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 9000000000000}, "durationSeconds": 3600}},
{"name": "b08", "metric": "aws:all-bytes-out", "criteria": {"comparisonOperator": "less-than-equals", "durationSeconds": 300, "statisticalThreshold": {"statistic": "p90"}, "consecutiveDatapointsToAlarm": 3}},
{"name": "b09", "metric": "aws:all-packets-out", "criteria": {"comparisonOperator": "less-than-equals", "durationSeconds": 3600, "statisticalThreshold": {"statistic": "p99"}, "consecutiveDatapointsToAlarm": 3}},
{"name": "b10", "metric": "temperature", "criteria": {"comparisonOperator": "less-than-equals", "value": {"number": 90}, "consecutiveDatapointsToAlarm": 2}}]}]}"#;

const REPORT: &str = r#"{"header": {"report_id": 0, "version": "1.0"}, "metrics": {
"listening_tcp_ports": {"ports": [{"port": 22}, {"port": 443}, {"port": 8080}], "total": 3},
"listening_udp_ports": {"ports": [{"port": 68}, {"port": 5353}], "total": 2},
"network_stats": {"bytes_in": 29358693495, "bytes_out": 26485035, "packets_in": 10013573555, "packets_out": 11382615},
"tcp_connections": {"established_connections": {"connections": [{"remote_addr": "10.0.0.7:8883"},
{"remote_addr": "10.0.9.7:443"}, {"remote_addr": "192.168.1.1:53"}, {"remote_addr": "[2001:db8::1]:443"}], "total": 4}}},
"custom_metrics": {"temperature": [{"number": 40}]}}"#;

/// The engines of all partitions, and how long they took.
struct Fleet {
    engines: Vec<Engine>,
    n_changes: usize,
    judging: Duration,
    /// Ends of windows: everybody's values, the percentile, and the comparisons.
    closing: Vec<Duration>,
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap());
    let n_devices = arguments.next().unwrap_or(50_000);
    let n_partitions = usize::try_from(arguments.next().unwrap_or(16)).unwrap();
    let config = Arc::new(JudgingConfig::decode(CONFIG.as_bytes()).unwrap());
    let mut report = Report::from_json(REPORT.as_bytes()).unwrap();
    assert!(report.voided.is_empty());

    let before_bytes = resident_bytes();
    let mut live = Fleet::of((0..n_partitions).map(|_| Engine::bounded(usize::MAX)).collect());
    live.take_each(0, &Record::Config { revision: 1 }, Some(&config));
    for round in 0..N_ROUNDS {
        live.round(round, n_devices, &mut report);
    }
    let state_bytes = resident_bytes().saturating_sub(before_bytes);
    let n_reports: u64 = live.engines.iter().map(|engine| engine.counters().n_reports).sum();
    assert_eq!(n_reports, n_devices * N_ROUNDS);

    let start = now();
    let snapshots: Vec<Vec<u8>> = live.engines.iter().map(Engine::snapshot).collect();
    let writing = now().saturating_sub(start);
    let snapshot_bytes: usize = snapshots.iter().map(Vec::len).sum();
    let start = now();
    let restored = snapshots
        .iter()
        .map(|bytes| Engine::restore(bytes, Arc::clone(&config)).unwrap());
    let mut replayed = Fleet::of(restored.collect());
    let restoring = now().saturating_sub(start);
    drop(snapshots);
    let (judging, closing) = (live.judging, live.closing.iter().max().copied().unwrap_or_default());
    let mut last = [Duration::ZERO; 2];
    for (fleet, took) in [&mut live, &mut replayed].into_iter().zip(&mut last) {
        let before = fleet.judging;
        fleet.round(N_ROUNDS, n_devices, &mut report);
        *took = fleet.judging.saturating_sub(before);
    }
    let rate = |n_reports: u64, took: Duration| u128::from(n_reports) * 1_000_000 / took.as_micros().max(1);
    let mut output = std::io::stdout().lock();
    writeln!(
        output,
        r#"{{"devices": {n_devices}, "partitions": {n_partitions}, "behaviors": 10, "changes": {}, "reportsPerCoreSecond": {}, "bytesPerDevice": {}, "windowEndMillis": {}, "snapshotBytesPerDevice": {}, "snapshotMillis": {}, "restoreMillis": {}, "liveReportsPerCoreSecond": {}, "replayedReportsPerCoreSecond": {}}}"#,
        live.n_changes,
        rate(n_reports, judging),
        state_bytes / n_devices,
        closing.as_millis(),
        u64::try_from(snapshot_bytes).unwrap() / n_devices,
        writing.as_millis(),
        restoring.as_millis(),
        rate(n_devices, last[0]),
        rate(n_devices, last[1]),
    )
    .unwrap();
}

impl Fleet {
    fn of(engines: Vec<Engine>) -> Self {
        Self {
            engines,
            n_changes: 0,
            judging: Duration::ZERO,
            closing: Vec::new(),
        }
    }

    /// All devices report once, one after another; then the window ends, in all partitions.
    fn round(&mut self, round: u64, n_devices: u64, report: &mut Report) {
        for first in (0..n_devices).step_by(256) {
            let devices = first..n_devices.min(first + 256);
            let inputs: Vec<(usize, Input)> = devices
                .map(|device| (self.partition(device), input(round, device, n_devices, report)))
                .collect();
            let start = now();
            for (partition, input) in inputs {
                self.n_changes += self.engines[partition].apply(input).changes.len();
            }
            self.judging += now().saturating_sub(start);
        }
        let start = now();
        self.take_each((round + 1) * ROUND_MILLIS, &Record::Tick, None);
        let took = now().saturating_sub(start);
        self.judging += took;
        self.closing.push(took);
    }

    fn partition(&self, device: u64) -> usize {
        usize::try_from(device).unwrap() % self.engines.len()
    }

    /// A record of every partition, and the percentiles that follow from it.
    fn take_each(&mut self, millis: u64, record: &Record, config: Option<&Arc<JudgingConfig>>) {
        let input = |record: &Record| Input {
            stamped: stamped(millis, record.clone()),
            config: config.map(Arc::clone),
        };
        let mut told = Outcome::default();
        for engine in &mut self.engines {
            told.append(engine.apply(input(record)));
        }
        let mut windows: BTreeMap<WindowKey, (Statistic, Vec<Quantity>)> = BTreeMap::new();
        for sample in std::mem::take(&mut told.samples) {
            let window = windows.entry(sample.window).or_insert((sample.statistic, Vec::new()));
            window.1.extend(sample.values);
        }
        for (window, (statistic, values)) in windows {
            let threshold = Record::Threshold(Threshold::of(window, statistic, values));
            for engine in &mut self.engines {
                told.append(engine.apply(input(&threshold)));
            }
        }
        self.n_changes += told.changes.len();
    }
}

fn input(round: u64, device: u64, n_devices: u64, report: &mut Report) -> Input {
    let thing: DeviceName = format!("sensor-{device:08}").parse().unwrap();
    // Who is above the others changes from report to report: a few are three times in a row.
    let mixed = (device << 8 | round).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let noise = (mixed ^ mixed >> 29).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 44;
    report.report_id = round;
    let volume = report.metrics.network_stats.as_mut().unwrap();
    volume.bytes_out = Some(20_000_000 + noise);
    volume.packets_out = Some(10_000_000 + noise / 3);
    let heat = CustomValue::Number(40.0 + f64::from(u32::try_from(noise % 400).unwrap()) / 10.0);
    for value in report.custom_metrics.values_mut() {
        *value = heat.clone();
    }
    let record = Record::Report(Box::new(ReportRecord {
        thing: thing.clone(),
        payload_hash: u128::from(round).to_le_bytes(),
        sender: Sender {
            certificate: CertificateId::from_bytes([7; 32]),
            client_id: thing,
            is_attached: true,
        },
        report: report.clone(),
    }));
    Input {
        stamped: stamped(round * ROUND_MILLIS + device * ROUND_MILLIS / n_devices, record),
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
