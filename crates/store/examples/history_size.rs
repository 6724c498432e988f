//! What two weeks of a fleet take on the disk, and how fast one device's values are found in them:
//! `cargo run --release -p picket-store --example history_size -- FOLDER N_DEVICES N_DAYS`.
//!
//! Prints lines of JSON. The files stay, so that other programs can be measured over them.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a measurement, run by hand"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use picket_model::name::{CertificateId, DeviceName};
use picket_model::record::{Record, ReportRecord, Sender, Stamped};
use picket_model::report::{
    Connection, CustomValue, DeviceMetrics, EstablishedConnections, ListeningPort, ListeningPorts, NetworkStats, Report,
};
use picket_model::time::Timestamp;
use picket_store::history::{History, HistoryLimits, ValueQuery};
use picket_store::log::{PartitionId, Seq, partition_of};
use serde_json::json;

const N_PARTITIONS: u16 = 16;
const INTERVAL_MILLIS: i64 = 300_000;
const DAY_MILLIS: i64 = 86_400_000;
/// 2026-11-01T00:00:00Z.
const BEGIN: i64 = 20_758 * DAY_MILLIS;
/// Reports as plain JSON lines of this many devices, for comparison.
const N_PLAIN: usize = 100;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap());
    let n_devices: usize = arguments.next().unwrap().parse().unwrap();
    let n_days: i64 = arguments.next().unwrap().parse().unwrap();
    let history = open(&folder).await;
    write(&history, &folder, n_devices, n_days).await;
    drop(history);
    query(&folder, n_devices, n_days).await;
}

async fn open(folder: &Path) -> History {
    let limits = HistoryLimits {
        age_max: Duration::from_secs(14 * 86_400),
        wait_max: Duration::from_secs(3600),
        buffer_bytes_max: 128 << 20,
    };
    History::open(&folder.join("history"), N_PARTITIONS, limits)
        .await
        .unwrap()
}

/// Lets the fleet report every five minutes, and keeps it as the server does.
async fn write(history: &History, folder: &Path, n_devices: usize, n_days: i64) {
    let mut devices: Vec<Device> = (0..n_devices).map(Device::new).collect();
    let mut next = vec![Seq(1); N_PARTITIONS.into()];
    let (mut n_reports, mut n_points) = (0_u64, 0_u64);
    let mut plain = std::io::BufWriter::new(std::fs::File::create(folder.join("plain.jsonl")).unwrap());
    let mut writing = Duration::ZERO;
    for round in 0..n_days * DAY_MILLIS / INTERVAL_MILLIS {
        for (number, device) in devices.iter_mut().enumerate() {
            let stamped = device.report(round);
            let Record::Report(record) = &stamped.record else {
                continue;
            };
            n_points += points(&record.report);
            n_reports += 1;
            if number < N_PLAIN {
                writeln!(plain, "{}", plain_json(stamped.at, record)).unwrap();
            }
            let began = Instant::now();
            let partition = device.partition;
            if history.is_full(partition, &stamped) {
                history.flush(partition).await.unwrap();
            }
            let seq = &mut next[usize::from(partition.0)];
            history.take(partition, *seq, stamped);
            *seq = seq.next();
            writing += began.elapsed();
        }
        let now = Timestamp::from_millis(BEGIN + (round + 1) * INTERVAL_MILLIS);
        let began = Instant::now();
        while history.merge(now).await.unwrap() {}
        writing += began.elapsed();
    }
    let began = Instant::now();
    for partition in 0..N_PARTITIONS {
        history.flush(PartitionId(partition)).await.unwrap();
    }
    let end = Timestamp::from_millis(BEGIN + (n_days + 1) * DAY_MILLIS);
    while history.merge(end).await.unwrap() {}
    writing += began.elapsed();
    plain.flush().unwrap();
    let (n_files, n_bytes) = files(&folder.join("history"));
    let result = json!({
        "measured": "history, size", "reports": n_reports, "datapoints": n_points, "files": n_files, "bytes": n_bytes,
        "bytesPerDatapoint": n_bytes as f64 / n_points as f64, "bytesPerReport": n_bytes as f64 / n_reports as f64,
        "reportsPerSecond": (n_reports as f64 / writing.as_secs_f64()) as u64,
    });
    println!("{result}");
}

/// One metric of one device over all days: first reads after the start, each of a device of its own.
async fn query(folder: &Path, n_devices: usize, n_days: i64) {
    let history = open(folder).await;
    for metric in [
        "aws:all-bytes-out",
        "aws:listening-tcp-ports",
        "aws:destination-ip-addresses",
        "temperature",
    ] {
        let mut millis = Vec::new();
        let mut n_values = 0;
        for number in 0..50 {
            let device = name(number * n_devices / 50);
            let asked = ValueQuery {
                device,
                metric: metric.parse().unwrap(),
                dimension: None,
                from: Timestamp::from_millis(BEGIN),
                until: Timestamp::from_millis(BEGIN + n_days * DAY_MILLIS),
                after: None,
                n_max: usize::MAX,
            };
            let began = Instant::now();
            n_values = history.values(&asked).await.unwrap().len();
            millis.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        millis.sort_by(f64::total_cmp);
        let result = json!({
            "measured": format!("history, {metric} of a device, all days"), "values": n_values,
            "millisP50": millis[25], "millisP99": millis[49],
        });
        println!("{result}");
    }
}

/// A device that changes slowly.
struct Device {
    name: DeviceName,
    partition: PartitionId,
    chance: u64,
    phase: i64,
    ports: Vec<ListeningPort>,
    connections: Vec<Connection>,
    temperature: f64,
}

impl Device {
    fn new(number: usize) -> Self {
        let name = name(number);
        let mut device = Self {
            partition: partition_of(name.as_str(), N_PARTITIONS),
            name,
            chance: 0x9e37_79b9_7f4a_7c15 ^ (number as u64).wrapping_mul(0xd134_2543_de82_ef95),
            phase: 0,
            ports: Vec::new(),
            connections: Vec::new(),
            temperature: 20.0,
        };
        device.phase = device.below(INTERVAL_MILLIS as u64) as i64;
        for port in [22, 80, 443, 1883, 5000 + (number % 7) as u16, 9100] {
            device.ports.push(ListeningPort {
                port,
                interface: Some(if port == 22 { "eth0" } else { "lo" }.to_owned()),
            });
        }
        for _ in 0..8 {
            let connection = device.connection();
            device.connections.push(connection);
        }
        device
    }

    fn next(&mut self) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn connection(&mut self) -> Connection {
        Connection {
            remote_addr: [10, 20, self.below(4) as u8, self.below(200) as u8].into(),
            remote_port: Some([443, 8883, 5671, 123][self.below(4) as usize]),
            local_port: Some(32_768 + self.below(28_000) as u16),
            local_interface: Some("eth0".to_owned()),
        }
    }

    /// One connection in three reports is a new one, a port in two hundred; counters and jitter are new each time.
    fn report(&mut self, round: i64) -> Stamped {
        let at = BEGIN + round * INTERVAL_MILLIS + self.phase / 2 + self.below(1_000) as i64;
        if self.below(3) == 0 {
            let place = self.below(8) as usize;
            self.connections[place] = self.connection();
        }
        if self.below(200) == 0 {
            self.ports[4].port = 5000 + self.below(20) as u16;
        }
        self.temperature += (self.below(5) as f64 - 2.0) / 10.0;
        let bytes_out = 40_000 + self.below(20_000);
        let bytes_in = 15_000 + self.below(10_000);
        let ports = ListeningPorts {
            total: Some(self.ports.len() as u64),
            ports: Some(self.ports.clone()),
        };
        let udp = ListeningPorts {
            ports: Some(
                [68, 123, 5353]
                    .into_iter()
                    .map(|port| ListeningPort { port, interface: None })
                    .collect(),
            ),
            total: Some(3),
        };
        let mut payload_hash = [0; 16];
        payload_hash[..8].copy_from_slice(&self.next().to_le_bytes());
        payload_hash[8..].copy_from_slice(&self.next().to_le_bytes());
        let mut certificate = [0; 32];
        for (at, byte) in certificate.iter_mut().enumerate() {
            *byte = self.name.as_str().as_bytes()[at % 10].wrapping_mul(at as u8 ^ 0x5a);
        }
        let record = ReportRecord {
            thing: self.name.clone(),
            payload_hash,
            sender: Sender {
                certificate: CertificateId::from_bytes(certificate),
                client_id: self.name.clone(),
                is_attached: true,
            },
            report: Report {
                // Seconds since the epoch, as AWS's agents number their reports.
                report_id: (at / 1000) as u64,
                metrics: DeviceMetrics {
                    listening_tcp_ports: Some(ports),
                    listening_udp_ports: Some(udp),
                    network_stats: Some(NetworkStats {
                        bytes_in: Some(bytes_in),
                        bytes_out: Some(bytes_out),
                        packets_in: Some(bytes_in / 300 + self.below(10)),
                        packets_out: Some(bytes_out / 700 + self.below(10)),
                    }),
                    established_connections: Some(EstablishedConnections {
                        connections: Some(self.connections.clone()),
                        total: Some(8),
                    }),
                },
                custom_metrics: [(
                    "temperature".parse().unwrap(),
                    CustomValue::Number((self.temperature * 10.0).round() / 10.0),
                )]
                .into(),
                voided: Vec::new(),
            },
        };
        Stamped {
            at: Timestamp::from_millis(at),
            record: Record::Report(Box::new(record)),
        }
    }
}

fn name(number: usize) -> DeviceName {
    format!("device-{number:06}").parse().unwrap()
}

/// Each number of a report, and each element of a list once, whatever an element has.
fn points(report: &Report) -> u64 {
    let metrics = &report.metrics;
    let stats = metrics.network_stats.unwrap_or_default();
    let counts = [stats.bytes_in, stats.bytes_out, stats.packets_in, stats.packets_out];
    let mut n = counts.iter().flatten().count();
    for block in [&metrics.listening_tcp_ports, &metrics.listening_udp_ports] {
        let block = block.as_ref().unwrap();
        n += usize::from(block.total.is_some()) + block.ports.as_ref().map_or(0, Vec::len);
    }
    let established = metrics.established_connections.as_ref().unwrap();
    n += usize::from(established.total.is_some()) + established.connections.as_ref().map_or(0, Vec::len);
    (n + report.custom_metrics.len()) as u64
}

/// The same as a line of JSON, with the metadata that the files have, too.
fn plain_json(at: Timestamp, record: &ReportRecord) -> String {
    let metrics = &record.report.metrics;
    let ports = |block: &Option<ListeningPorts>| -> Vec<serde_json::Value> {
        let ports = block.as_ref().unwrap().ports.as_ref().unwrap();
        ports
            .iter()
            .map(|port| json!({ "port": port.port, "interface": port.interface }))
            .collect()
    };
    let connections: Vec<_> = metrics
        .established_connections
        .as_ref()
        .unwrap()
        .connections
        .iter()
        .flatten()
        .map(|one| {
            json!({ "remote_addr": format!("{}:{}", one.remote_addr, one.remote_port.unwrap()),
                "local_port": one.local_port, "local_interface": one.local_interface })
        })
        .collect();
    let stats = metrics.network_stats.unwrap();
    let hash: String = record.payload_hash[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    json!({
        "thing": record.thing.as_str(), "time": at.millis(), "report_id": record.report.report_id, "hash": hash,
        "certificate": record.sender.certificate.to_string(), "client_id": record.sender.client_id.as_str(),
        "is_attached": record.sender.is_attached,
        "tcp": ports(&metrics.listening_tcp_ports), "udp": ports(&metrics.listening_udp_ports),
        "connections": connections, "bytes_in": stats.bytes_in, "bytes_out": stats.bytes_out,
        "packets_in": stats.packets_in, "packets_out": stats.packets_out,
        "temperature": match record.report.custom_metrics.values().next() {
            Some(CustomValue::Number(number)) => *number,
            _ => 0.0,
        },
    })
    .to_string()
}

fn files(folder: &Path) -> (u64, u64) {
    let mut found = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (n, bytes) = if entry.file_type().unwrap().is_dir() {
            files(&entry.path())
        } else {
            (1, entry.metadata().unwrap().len())
        };
        found = (found.0 + n, found.1 + bytes);
    }
    found
}
