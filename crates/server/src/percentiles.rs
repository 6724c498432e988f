//! Makes the fleet's percentile of what the partitions measured in a window, and tells every partition.
//!
//! Engines hand samples in with their effects; a window that all partitions have closed is complete. Its percentile goes
//! into every partition of the log, and only that record judges the window: so a replay judges by the same percentile,
//! whatever the database holds by then. The samples are forgotten once the record is durable in all partitions; a crash
//! before that repeats it, and engines ignore the second.

use std::sync::Arc;
use std::time::Duration;

use picket_model::fleet::{Threshold, WindowKey};
use picket_model::record::Record;
use picket_store::log::PartitionId;
use picket_store::{Db, StoreError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::writer::{LogWriter, NotStored};

/// Records that may wait for the log at once: what devices send needs the room.
const RECORDS_MAX: u16 = 1024;

/// How long to wait before trying again what the log or the database refused.
const RETRY: Duration = Duration::from_secs(1);

/// How often windows are looked for that will never be complete.
const TIDY_EVERY: Duration = Duration::from_secs(300);

/// How far a window's end may be from now while a partition has not handed in its own: it closes windows as time passes.
const INCOMPLETE_MAX: Duration = Duration::from_secs(3600);

/// The one merger of a log's partitions.
pub(crate) struct Merger {
    pub(crate) db: Db,
    pub(crate) writer: LogWriter,
    pub(crate) clock: Arc<Clock>,
    pub(crate) n_partitions: u16,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeError {
    #[error("the samples of a window cannot be read or forgotten")]
    Store(#[from] StoreError),
    #[error("the report log takes no record now")]
    Log,
}

impl Merger {
    /// Runs until `shutdown`; woken by samples, and otherwise only to tidy up.
    pub(crate) async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let mut handed_in = self.db.sample_signal();
        // Not at once: partitions may have windows to close that ended before the server did.
        let mut tidy_at = Instant::now() + TIDY_EVERY;
        let (mut is_failing, mut n_forgotten) = (false, 0);
        while !*shutdown.borrow() {
            handed_in.borrow_and_update();
            let mut outcome = self.merge_all(&shutdown).await;
            if outcome.is_ok() && tidy_at <= Instant::now() {
                tidy_at = Instant::now() + TIDY_EVERY;
                // What was complete has gone before: an outage of the log loses no window.
                outcome = self.tidy(&mut n_forgotten).await;
            }
            if let Err(error) = &outcome
                && !is_failing
            {
                let error = error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "percentiles of the fleet do not reach the log, trying again until they do"
                );
            }
            is_failing = outcome.is_err();
            let next_at = if is_failing { Instant::now() + RETRY } else { tidy_at };
            tokio::select! {
                // What is handed in meanwhile does not make it try faster.
                _ = handed_in.changed(), if !is_failing => {}
                () = sleep_until(next_at) => {}
                _ = shutdown.changed() => {}
            }
        }
    }

    async fn merge_all(&self, shutdown: &watch::Receiver<bool>) -> Result<(), MergeError> {
        while !*shutdown.borrow() && self.merge().await? {}
        Ok(())
    }

    async fn tidy(&self, n_forgotten: &mut u64) -> Result<(), MergeError> {
        let now = self.clock.now();
        let kept = (now.minus(INCOMPLETE_MAX), now.plus(INCOMPLETE_MAX));
        let n_windows = self.db.forget_incomplete_windows(self.n_partitions, kept).await?;
        if 0 < n_windows {
            *n_forgotten += n_windows;
            tracing::warn!(
                n_windows,
                n_windows_since_start = *n_forgotten,
                "gave up windows of percentiles that not every partition has closed: a profile was changed, or the clock set"
            );
        }
        Ok(())
    }

    /// Merges some complete windows; says whether there were any.
    async fn merge(&self) -> Result<bool, MergeError> {
        let n_max = (RECORDS_MAX / self.n_partitions).max(1);
        let windows = self.db.complete_windows(self.n_partitions, n_max.into()).await?;
        if windows.is_empty() {
            return Ok(false);
        }
        self.tell(&windows).await?;
        self.db.forget_windows(&windows).await?;
        Ok(true)
    }

    /// Writes the percentiles of these windows to every partition; they are durable in all of them when this returns.
    async fn tell(&self, windows: &[WindowKey]) -> Result<(), MergeError> {
        let mut written = Vec::with_capacity(windows.len() * usize::from(self.n_partitions));
        for window in windows {
            let Some(threshold) = self.threshold(window).await? else {
                continue;
            };
            for partition in (0..self.n_partitions).map(PartitionId) {
                let record = Record::Threshold(threshold.clone());
                let durable = self.writer.enqueue(partition, record).await;
                written.push(durable.map_err(|NotStored| MergeError::Log)?);
            }
            tracing::debug!(
                profile = %threshold.window.profile,
                behavior = %threshold.window.behavior,
                n_devices = threshold.n_devices,
                "told the partitions a percentile of the fleet"
            );
        }
        for durable in written {
            let durable = durable.await.unwrap_or(Err(NotStored));
            durable.map_err(|NotStored| MergeError::Log)?;
        }
        Ok(())
    }

    async fn threshold(&self, window: &WindowKey) -> Result<Option<Threshold>, MergeError> {
        let Some(found) = self.db.window_values(window).await? else {
            return Ok(None);
        };
        let window = window.clone();
        let merged = tokio::task::spawn_blocking(move || Threshold::of(window, found.statistic, found.values));
        // Only a runtime that shuts down ends it early; the next start begins again.
        merged.await.map(Some).map_err(|_| MergeError::Log)
    }
}

#[cfg(test)]
mod tests {
    use picket_model::behavior::Statistic;
    use picket_model::fleet::{FleetSample, Quantity};
    use picket_model::record::Stamped;
    use picket_model::time::Timestamp;
    use picket_store::DbUrl;
    use picket_store::effects::{Effects, Position};
    use picket_store::log::{LogLimits, ReportLog, Seq, SqliteLog};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::clock::tests::ByHand;
    use crate::writer::writer;

    const N_PARTITIONS: u16 = 16;

    /// A database, a log with its writer, and time.
    struct Bench {
        db: Db,
        log: Arc<SqliteLog>,
        clocks: ByHand,
        clock: Arc<Clock>,
        writer: LogWriter,
        positions: Vec<Position>,
        shutdown: watch::Sender<bool>,
        running: Vec<JoinHandle<()>>,
        _folder: tempfile::TempDir,
    }

    impl Bench {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let limits = LogLimits {
                size_bytes_max: 1 << 30,
                tail_bytes_max: 1 << 20,
            };
            let path = folder.path().join("log.db");
            let log = Arc::new(SqliteLog::open(&path, N_PARTITIONS, limits).await.unwrap());
            let db = Db::open(&DbUrl::Sqlite(folder.path().join("picket.db"))).await.unwrap();
            let (clocks, clock) = ByHand::clock(1_000_000_000);
            let clock = Arc::new(clock);
            let floors = vec![Timestamp::default(); N_PARTITIONS.into()];
            let (writer, task) = writer(Arc::clone(&log), Arc::clone(&clock), Duration::ZERO, floors);
            let shutdown = watch::Sender::new(false);
            let positions = db.claim(N_PARTITIONS).await.unwrap();
            let running = vec![tokio::spawn(task.run(shutdown.subscribe()))];
            Self {
                db,
                log,
                clocks,
                clock,
                writer,
                positions,
                shutdown,
                running,
                _folder: folder,
            }
        }

        fn merger(&self) -> Merger {
            Merger {
                db: self.db.clone(),
                writer: self.writer.clone(),
                clock: Arc::clone(&self.clock),
                n_partitions: N_PARTITIONS,
            }
        }

        /// Hands in what these partitions measured: `values(partition)`.
        async fn hand_in(
            &self,
            window: &WindowKey,
            partitions: std::ops::Range<u16>,
            values: impl Fn(u16) -> Vec<u64>,
        ) {
            for position in &self.positions[usize::from(partitions.start)..usize::from(partitions.end)] {
                let sample = FleetSample {
                    window: window.clone(),
                    statistic: Statistic::P50,
                    values: values(position.partition.0).into_iter().map(Quantity::Count).collect(),
                };
                let effects = Effects {
                    partition: position.partition,
                    epoch: position.epoch,
                    applied_seq: position.applied_seq,
                    changes: Vec::new(),
                    samples: vec![sample],
                };
                self.db.commit_effects(&[effects]).await.unwrap();
            }
        }

        /// The first `n` thresholds of each partition, waiting for them: window end in seconds, value, devices.
        async fn told(&self, n: usize) -> Vec<Vec<(i64, Option<u64>, u64)>> {
            let mut told = Vec::new();
            for partition in (0..N_PARTITIONS).map(PartitionId) {
                let mut next = self.log.watch_next(partition).unwrap();
                next.wait_for(|next| n < usize::try_from(next.0).unwrap())
                    .await
                    .unwrap();
                let records = self.log.read(partition, Seq(1), 100).await.unwrap();
                told.push(records.iter().map(|(_, bytes)| threshold(bytes)).collect());
            }
            told
        }

        async fn is_forgotten(&self, window: &WindowKey) {
            while self.db.window_values(window).await.unwrap().is_some() {
                tokio::task::yield_now().await;
            }
        }

        async fn stop(&mut self) {
            self.shutdown.send_replace(true);
            for task in self.running.drain(..) {
                task.await.unwrap();
            }
        }
    }

    fn threshold(bytes: &[u8]) -> (i64, Option<u64>, u64) {
        let Record::Threshold(told) = Stamped::decode(bytes).unwrap().record else {
            panic!("only thresholds are written");
        };
        let value = told.value.map(|value| match value {
            Quantity::Count(count) => count,
            Quantity::Number(_) => panic!("only counts are handed in"),
        });
        (told.window.end.millis() / 1000, value, told.n_devices)
    }

    fn window(end_secs: i64) -> WindowKey {
        WindowKey {
            profile: "Fleet".parse().unwrap(),
            behavior: "LikeTheOthers".parse().unwrap(),
            fingerprint: 3,
            end: Timestamp::from_millis(end_secs * 1000),
        }
    }

    #[tokio::test]
    async fn every_partition_is_told_once_all_have_handed_in() {
        let mut bench = Bench::new().await;
        let task = bench.merger().run(bench.shutdown.subscribe());
        bench.running.push(tokio::spawn(task));
        let (first, second) = (window(999_900), window(1_000_200));
        // The later window is complete first: whoever is last in the earlier one has not closed it yet.
        bench
            .hand_in(&first, 0..15, |partition| vec![partition.into(); 2])
            .await;
        bench
            .hand_in(
                &second,
                0..16,
                |partition| if partition == 3 { vec![7] } else { vec![] },
            )
            .await;
        let expected = vec![(1_000_200, None, 1)];
        assert_eq!(
            bench.told(1).await,
            vec![expected.clone(); 16],
            "one device has no percentile"
        );
        bench.is_forgotten(&second).await;
        bench.hand_in(&first, 15..16, |_| vec![1000]).await;
        // 31 values, two each of 0 to 14 and one above: the 16th of them.
        let expected = [expected, vec![(999_900, Some(7), 31)]].concat();
        assert_eq!(bench.told(2).await, vec![expected; 16]);
        bench.is_forgotten(&first).await;
        bench.stop().await;
    }

    #[tokio::test]
    async fn windows_that_ended_first_are_told_first() {
        let mut bench = Bench::new().await;
        let ends = [1_000_200, 999_600, 999_900];
        for end in ends {
            bench
                .hand_in(&window(end), 0..16, |partition| vec![partition.into()])
                .await;
        }
        assert!(bench.merger().merge().await.unwrap());
        assert!(!bench.merger().merge().await.unwrap(), "nothing is left");
        let expected = [999_600, 999_900, 1_000_200].map(|end| (end, Some(7), 16));
        assert_eq!(bench.told(3).await, vec![expected.to_vec(); 16]);
        bench.stop().await;
    }

    #[tokio::test]
    async fn a_crash_before_the_samples_are_forgotten_says_the_same_again() {
        let mut bench = Bench::new().await;
        bench
            .hand_in(&window(999_900), 0..16, |partition| vec![partition.into()])
            .await;
        // As far as a crash lets it come: told, and not forgotten.
        bench.merger().tell(&[window(999_900)]).await.unwrap();
        assert!(bench.merger().merge().await.unwrap(), "the next start");
        let expected = vec![(999_900, Some(7), 16); 2];
        assert_eq!(bench.told(2).await, vec![expected; 16]);
        assert_eq!(bench.db.window_values(&window(999_900)).await.unwrap(), None);
        bench.stop().await;
    }

    #[tokio::test]
    async fn a_log_that_takes_nothing_loses_no_window() {
        let mut bench = Bench::new().await;
        bench
            .hand_in(&window(999_900), 0..16, |partition| vec![partition.into()])
            .await;
        let merger = bench.merger();
        // The writer is gone, which is the same to whoever writes.
        bench.stop().await;
        assert!(matches!(merger.merge().await, Err(MergeError::Log)));
        bench.clocks.pass(7_200_000);
        merger.tidy(&mut 0).await.unwrap();
        assert!(
            bench.db.window_values(&window(999_900)).await.unwrap().is_some(),
            "it is complete, and so kept"
        );
    }

    #[tokio::test]
    async fn windows_that_nobody_completes_are_given_up_after_an_hour() {
        let mut bench = Bench::new().await;
        bench
            .hand_in(&window(999_900), 0..15, |partition| vec![partition.into()])
            .await;
        let merger = bench.merger();
        let mut n_forgotten = 0;
        for (passes, expected) in [(0, 0), (3_500_000, 0), (1, 1), (0, 1)] {
            bench.clocks.pass(passes);
            merger.tidy(&mut n_forgotten).await.unwrap();
            assert_eq!(n_forgotten, expected, "{passes}");
        }
        assert!(!merger.merge().await.unwrap());
        bench.stop().await;
    }

    /// `cargo test -p picket-server a_million -- --nocapture` says what it takes.
    #[tokio::test]
    async fn a_million_values_in_one_window() {
        let mut bench = Bench::new().await;
        let began = Instant::now();
        let each = |partition: u16| {
            (0..62_500)
                .map(|n| n * 7919 % 1_000_000 + u64::from(partition))
                .collect()
        };
        bench.hand_in(&window(999_900), 0..16, each).await;
        let handed_in = began.elapsed();
        let before = peak();
        assert!(bench.merger().merge().await.unwrap());
        let merged = began.elapsed() - handed_in;
        let mut all: Vec<u64> = (0..16).flat_map(each).collect();
        all.sort_unstable();
        let expected = vec![(999_900, Some(all[499_999]), 1_000_000)];
        assert_eq!(bench.told(1).await, vec![expected; 16]);
        println!("1,000,000 values of 16 partitions: stored in {handed_in:.0?}, merged and told in {merged:.0?}");
        println!(
            "peak memory of the process: {before} before the merge, {} after",
            peak()
        );
        bench.stop().await;
    }

    /// The most memory that this process has had, where the system says.
    fn peak() -> String {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.unwrap_or(" unknown").trim().to_owned()
    }
}
