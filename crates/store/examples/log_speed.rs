//! How fast the report log is here: `cargo run --release -p picket-store --example log_speed`.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement, run by hand"
)]
use std::time::Instant;

use bytes::Bytes;
use picket_store::log::{Append, LogLimits, PartitionId, ReportLog, SqliteLog};

#[tokio::main]
async fn main() {
    for (n_callers, n_batch) in [(1, 1), (1, 100), (4, 100), (16, 32), (64, 1)] {
        let folder = tempfile::tempdir_in(".").unwrap();
        let limits = LogLimits {
            size_bytes_max: 10 << 30,
            tail_bytes_max: 64 << 20,
        };
        let log = SqliteLog::open(&folder.path().join("log.db"), 16, limits)
            .await
            .unwrap();
        let n_calls = 200_000 / (n_callers * n_batch).max(20);
        let (start, cpu) = (Instant::now(), cpu_micros());
        let callers: Vec<_> = (0..n_callers)
            .map(|caller| {
                let log = log.clone();
                tokio::spawn(async move {
                    let payload = Bytes::from(vec![7; 300]);
                    for call in 0..n_calls {
                        let batch = (0..n_batch)
                            .map(|n| Append {
                                partition: PartitionId(u16::try_from((caller + call + n * 7) % 16).unwrap()),
                                bytes: payload.clone(),
                            })
                            .collect();
                        log.append(batch).await.unwrap();
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        let n = n_callers * n_calls * n_batch;
        let secs = start.elapsed().as_secs_f64();
        let cpu = cpu_micros() - cpu;
        println!(
            "{n_callers} callers x {n_batch}: {:.0} records/s, {:.1} us CPU per record, {:.2} ms per call",
            n as f64 / secs,
            cpu as f64 / n as f64,
            secs * 1000.0 / n_calls as f64
        );
    }
}

fn cpu_micros() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks * 10_000
}
