//! Carries the report log into history, with a reader of its own for each partition: judging never waits for it, and it
//! never waits for judging.
//!
//! The log is trimmed only below what history has in files. A history that cannot be written stops nothing: its records
//! stay in the log until the log is nearly full, then the oldest of them are given up, see [`crate::snapshots`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use picket_model::record::{BadRecord, Stamped};
use picket_store::history::{History, HistoryError, HistoryLimits};
use picket_store::log::{LogError, PartitionId, ReportLog, Seq};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Config;
use crate::first_start::DataDir;

/// Records read from the log at once.
const READ_MAX: usize = 512;

/// How long to wait before trying again what the log or the disk refused.
const RETRY: Duration = Duration::from_secs(5);

/// How often a lane looks whether its rows have waited long enough.
const DUE_EVERY: Duration = Duration::from_secs(1);

/// How often files are merged, and how often it is looked for days to delete.
const MERGE_EVERY: Duration = Duration::from_secs(60);
const EXPIRE_EVERY_N_MERGES: u32 = 60;

/// How far the clock may have gone beyond what has passed for days to be deleted: a clock that was set wrong must not
/// cost a history, and is mostly set right within the hour.
const CLOCK_STEP_MAX: Duration = Duration::from_secs(600);

/// About the most memory for rows that wait for their file.
const BUFFER_BYTES_MAX: usize = 128 << 20;

/// Opens the history that belongs to this log.
pub(crate) async fn open<L: ReportLog>(config: &Config, data: &DataDir, log: &L) -> anyhow::Result<Arc<History>> {
    let limits = HistoryLimits {
        age_max: config.history_age_max,
        wait_max: config.history_wait_max,
        buffer_bytes_max: BUFFER_BYTES_MAX,
    };
    let history = History::open(&data.history(), config.n_partitions, limits)
        .await
        .context("history cannot be opened")?;
    for partition in (0..config.n_partitions).map(PartitionId) {
        let bounds = log.bounds(partition).await?;
        if bounds.next < history.next(partition) {
            // New records would take the numbers of those that are there, and be left out.
            bail!(
                "the report log would go on with record {} of partition {partition}, but history holds records up to {}: the \
                 two are not of the same time, put the log back that belongs to it, or the folder {} elsewhere",
                bounds.next,
                history.mark(partition),
                data.history().display()
            );
        }
        history.skip_to(partition, bounds.first);
    }
    Ok(Arc::new(history))
}

/// The reader of one partition.
pub(crate) struct HistoryLane<L> {
    pub(crate) partition: PartitionId,
    pub(crate) log: Arc<L>,
    pub(crate) history: Arc<History>,
    pub(crate) clock: Arc<Clock>,
}

#[derive(Debug, thiserror::Error)]
enum LaneError {
    #[error("partition {partition} of the report log cannot be read")]
    Log { partition: PartitionId, source: LogError },
    #[error("record {seq} of partition {partition} cannot be read")]
    Record {
        partition: PartitionId,
        seq: Seq,
        source: BadRecord,
    },
    #[error("history cannot be written, the report log keeps what is missing while it has room")]
    History(#[from] HistoryError),
}

impl<L: ReportLog> HistoryLane<L> {
    /// Runs until `shutdown`. What waits then is in the log, and taken from there at the next start.
    pub(crate) async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let Ok(mut grew) = self.log.watch_next(self.partition) else {
            return;
        };
        let mut is_failing = false;
        while !*shutdown.borrow() {
            grew.borrow_and_update();
            let outcome = self.take_next().await;
            if let Err(error) = &outcome
                && !is_failing
            {
                let error = error as &dyn std::error::Error;
                tracing::error!(error, "history stands still, trying again until it goes on");
            }
            is_failing = outcome.is_err();
            let pause = match outcome {
                Ok(true) => continue,
                Ok(false) => DUE_EVERY,
                Err(_) => RETRY,
            };
            tokio::select! {
                _ = grew.changed(), if !is_failing => {}
                () = tokio::time::sleep(pause) => {}
                _ = shutdown.changed() => {}
            }
        }
    }

    /// Takes what is there, at most one page; says whether there was anything.
    async fn take_next(&self) -> Result<bool, LaneError> {
        let partition = self.partition;
        let next = self.history.next(partition);
        let records = match self.log.read(partition, next, READ_MAX).await {
            Ok(records) => records,
            Err(LogError::Trimmed { first, .. }) => {
                tracing::error!(
                    %partition,
                    n_records = first.0.saturating_sub(next.0),
                    "records went from the log before history had them: it has a gap"
                );
                self.history.skip_to(partition, first);
                return Ok(true);
            }
            Err(source) => return Err(LaneError::Log { partition, source }),
        };
        for (seq, bytes) in &records {
            let seq = *seq;
            let stamped = Stamped::decode(bytes).map_err(|source| LaneError::Record { partition, seq, source })?;
            if self.history.is_full(partition, &stamped) {
                self.history.flush(partition).await?;
            }
            self.history.take(partition, seq, stamped);
        }
        // Last, so that what cannot be written now is listed all the same.
        if self.history.is_due(partition, self.clock.now()) {
            self.history.flush(partition).await?;
        }
        Ok(!records.is_empty())
    }
}

/// Merges files and deletes days that are too old, until `shutdown`.
pub(crate) async fn tend(history: Arc<History>, clock: Arc<Clock>, mut shutdown: watch::Receiver<bool>) {
    let (mut n_looks, mut last) = (0_u32, clock.now());
    while !*shutdown.borrow() {
        tokio::select! {
            () = tokio::time::sleep(MERGE_EVERY) => {}
            _ = shutdown.changed() => return,
        }
        n_looks = n_looks.saturating_add(1);
        let now = clock.now();
        while !*shutdown.borrow() && said(history.merge(now), "files are not merged").await == Some(true) {}
        if n_looks.is_multiple_of(EXPIRE_EVERY_N_MERGES) {
            let passed = MERGE_EVERY * EXPIRE_EVERY_N_MERGES;
            if now.since(last) <= passed * 2 + CLOCK_STEP_MAX {
                said(history.expire(now), "old days are not deleted").await;
            } else {
                tracing::warn!(
                    "the clock went far ahead: old days of history are deleted an hour later, if it stays so"
                );
            }
            last = now;
        }
    }
}

async fn said<T>(work: impl Future<Output = Result<T, HistoryError>>, consequence: &'static str) -> Option<T> {
    work.await
        .inspect_err(|error| {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, consequence, "history is not in order");
        })
        .ok()
}
