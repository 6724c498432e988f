//! Saves how far the lanes are: marks every second, snapshots of the engines every minute and at the end. What lies
//! behind all snapshots, and is old enough, is given up here.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use picket_model::record::Stamped;
use picket_model::time::Timestamp;
use picket_store::history::History;
use picket_store::log::{Fill, LogError, PartitionId, ReportLog, Seq};
use picket_store::snapshots::{SnapshotDir, SnapshotError};
use picket_store::{Db, StoreError};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::pipeline::{LaneState, locked};

const MARKS_EVERY: Duration = Duration::from_secs(1);
const SNAPSHOTS_EVERY_N_MARKS: u32 = 60;
const TRIES_MAX: u32 = 100;
const TRY_EVERY: Duration = Duration::from_millis(5);

/// Judging revisions kept behind the oldest one that a snapshot needs, so that the log can be judged again.
const REVISIONS_KEPT: u64 = 10_000;

/// Rows of the outbox that a reader may be behind before it loses the oldest.
const OUTBOX_ROWS_MAX: u64 = 1_000_000;

/// How full the log may be before records go before their time, and before they go although history does not have them.
const FILLING_PERCENT: u64 = 75;
const NEARLY_FULL_PERCENT: u64 = 90;

/// Rows given up in one transaction.
const TRIM_MAX: u32 = 10_000;

/// Where the lanes are saved, and what of.
pub(crate) struct Keeper<L> {
    pub(crate) db: Db,
    pub(crate) log: Arc<L>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) snapshots: SnapshotDir,
    pub(crate) history: Arc<History>,
    pub(crate) lanes: Vec<KeptLane>,
    /// How long records stay in the log.
    pub(crate) log_age_max: Duration,
}

/// A lane as it is saved.
pub(crate) struct KeptLane {
    pub(crate) partition: PartitionId,
    pub(crate) epoch: u64,
    pub(crate) state: Arc<Mutex<LaneState>>,
    /// The last record whose effects are known to be stored.
    pub(crate) marked: Seq,
    /// The record that the newest snapshot reaches to, and the judging revision in force there.
    pub(crate) snapshot: (Seq, u64),
}

/// Why progress is not saved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error("the database does not take it")]
    Store(#[from] StoreError),
    #[error("the snapshot does not get written")]
    Snapshot(#[from] SnapshotError),
    #[error("the log cannot be trimmed")]
    Log(#[from] LogError),
}

impl<L: ReportLog> Keeper<L> {
    /// Runs until `shutdown`, and then saves once more. What a database or disk that is out of order refuses is tried
    /// again for ever; only a newer owner of a partition ends it.
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) -> Result<(), KeepError> {
        let mut n_marks = 0u32;
        passing(self.save_and_trim().await, "what nobody needs any more stays for now")?;
        while !*shutdown.borrow() {
            tokio::select! {
                () = tokio::time::sleep(MARKS_EVERY) => {}
                _ = shutdown.changed() => break,
            }
            n_marks += 1;
            let kept = if n_marks.is_multiple_of(SNAPSHOTS_EVERY_N_MARKS) {
                self.save_and_trim().await
            } else {
                self.mark().await
            };
            passing(kept, "a restart would replay more")?;
        }
        passing(self.save().await, "the next start replays more")
    }

    /// Moves the applied marks of lanes that had no effects to store, in one transaction.
    async fn mark(&mut self) -> Result<(), KeepError> {
        let applied: Vec<Seq> = self.lanes.iter().map(|lane| locked(&lane.state).applied).collect();
        let lanes = self.lanes.iter().zip(&applied);
        let moved: Vec<_> = lanes
            .filter(|(lane, applied)| lane.marked < **applied)
            .map(|(lane, applied)| (lane.partition, lane.epoch, *applied))
            .collect();
        if !moved.is_empty() {
            self.db.advance(&moved).await?;
            for (lane, applied) in self.lanes.iter_mut().zip(applied) {
                lane.marked = applied;
            }
        }
        Ok(())
    }

    async fn save_and_trim(&mut self) -> Result<(), KeepError> {
        self.save().await?;
        self.trim().await
    }

    /// Writes each engine's state. A snapshot is never ahead of its applied mark, so the mark goes first.
    async fn save(&mut self) -> Result<(), KeepError> {
        for lane in &mut self.lanes {
            let Some((applied, revision, bytes)) = news_at_rest(lane).await else {
                continue;
            };
            self.db.advance(&[(lane.partition, lane.epoch, applied)]).await?;
            let (snapshots, partition) = (self.snapshots.clone(), lane.partition);
            let store = tokio::task::spawn_blocking(move || snapshots.store(partition, applied, &bytes));
            match store.await {
                Ok(stored) => stored?,
                // It was cancelled with the runtime: the snapshot before it stays.
                Err(_) => continue,
            }
            self.db.note_snapshot(partition, lane.epoch, applied).await?;
            (lane.marked, lane.snapshot) = (applied, (applied, revision));
        }
        Ok(())
    }

    /// Gives up what nobody needs any more.
    async fn trim(&self) -> Result<(), KeepError> {
        let now = self.clock.now();
        let oldest = now.minus(self.log_age_max);
        // A full log refuses reports: what neither snapshots nor history need goes before that, however young it is.
        let fill = self.log.fill().await?;
        let is_filling = is_beyond(fill, FILLING_PERCENT);
        // And what history needs goes before reports are refused: a disk without room for it must not stop judging.
        let is_nearly_full = is_beyond(fill, NEARLY_FULL_PERCENT);
        if is_filling {
            let (used_bytes, size_bytes_max) = (fill.used_bytes, fill.size_bytes_max);
            tracing::warn!(
                used_bytes,
                size_bytes_max,
                "report log fills up, judged records go before their time"
            );
        }
        for lane in &self.lanes {
            let judged = lane.snapshot.0;
            let kept = self.history.mark(lane.partition);
            if is_nearly_full && kept < judged {
                let (partition, n_records) = (lane.partition, judged.0 - kept.0);
                tracing::error!(%partition, n_records, "report log is nearly full, records go that history does not have yet");
            }
            let needless = if is_nearly_full { judged } else { judged.min(kept) };
            let below = if is_filling {
                needless
            } else {
                first_since(&*self.log, lane.partition, oldest).await?.min(needless)
            };
            self.log.trim(lane.partition, below).await?;
        }
        let revision = self.lanes.iter().map(|lane| lane.snapshot.1).min().unwrap_or(0);
        self.db.trim_judging(revision.saturating_sub(REVISIONS_KEPT)).await?;
        self.db.trim_outbox(OUTBOX_ROWS_MAX, TRIM_MAX).await?;
        self.db.trim_violations(now, TRIM_MAX).await?;
        self.db.trim_detect_tasks(now, TRIM_MAX).await?;
        Ok(())
    }
}

fn is_beyond(fill: Fill, percent: u64) -> bool {
    fill.size_bytes_max / 100 * percent < fill.used_bytes
}

/// Says what may be over by itself, and goes on.
fn passing(kept: Result<(), KeepError>, consequence: &'static str) -> Result<(), KeepError> {
    match kept {
        Err(error @ KeepError::Store(StoreError::Fenced { .. })) => Err(error),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, consequence, "progress is not saved");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The first record of the partition that was stamped at `oldest` or later, by halving: stamps grow with few exceptions.
async fn first_since<L: ReportLog>(log: &L, partition: PartitionId, oldest: Timestamp) -> Result<Seq, LogError> {
    let bounds = log.bounds(partition).await?;
    let (mut low, mut high) = (bounds.first.0, bounds.next.0);
    while low < high {
        let middle = low + (high - low) / 2;
        let read = log.read(partition, Seq(middle), 1).await?;
        let stamp = read
            .first()
            .and_then(|(_, bytes)| Stamped::decode(bytes).ok())
            .map(|stamped| stamped.at);
        if stamp.is_some_and(|at| at < oldest) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(Seq(low))
}

/// The state of an engine at a moment when the effects of all that it has seen are stored: only then does the mark say
/// where to go on from. A lane that is never at rest while we try keeps its older snapshot, as does one that has seen
/// nothing since.
async fn news_at_rest(lane: &KeptLane) -> Option<(Seq, u64, Vec<u8>)> {
    for _ in 0..TRIES_MAX {
        {
            let state = locked(&lane.state);
            if state.judged == state.applied {
                let (applied, revision) = (state.applied, state.engine.revision());
                let is_news = lane.snapshot != (applied, revision);
                return is_news.then(|| (applied, revision, state.engine.snapshot()));
            }
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
    None
}
