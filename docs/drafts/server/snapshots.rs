//! Saves how far the lanes are: marks every second, snapshots of the engines every minute and at the end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use picket_store::log::{PartitionId, ReportLog, Seq};
use picket_store::snapshots::SnapshotDir;
use picket_store::{Db, StoreError};
use tokio::sync::watch;

use crate::pipeline::LaneState;

const MARKS_EVERY: Duration = Duration::from_secs(1);
const SNAPSHOTS_EVERY_N_MARKS: u32 = 60;
const TRIES_MAX: u32 = 100;
const TRY_EVERY: Duration = Duration::from_millis(5);

/// Where the lanes are saved, and what of.
pub(crate) struct Keeper<L> {
    pub(crate) db: Db,
    pub(crate) log: Arc<L>,
    pub(crate) snapshots: Arc<SnapshotDir>,
    /// Per partition: its epoch and its state.
    pub(crate) lanes: Vec<(PartitionId, u64, Arc<Mutex<LaneState>>)>,
    pub(crate) marked: Vec<Seq>,
}

impl<L: ReportLog> Keeper<L> {
    /// Runs until `shutdown`, and then saves once more.
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut n_marks = 0u32;
        while !*shutdown.borrow() {
            tokio::select! {
                () = tokio::time::sleep(MARKS_EVERY) => {}
                _ = shutdown.changed() => break,
            }
            n_marks += 1;
            let saved = if n_marks.is_multiple_of(SNAPSHOTS_EVERY_N_MARKS) { self.snapshot().await } else { self.mark().await };
            if let Err(error) = saved {
                tracing::warn!(error = %error, "progress cannot be saved, a restart would replay more");
            }
        }
        if let Err(error) = self.snapshot().await {
            tracing::warn!(error = %error, "progress cannot be saved, the next start replays more");
        }
    }

    /// Moves the applied marks of lanes that had no effects to store, in one transaction.
    async fn mark(&mut self) -> Result<(), StoreError> {
        let applied: Vec<Seq> = self.lanes.iter().map(|(_, _, state)| locked(state).applied).collect();
        let lanes = self.lanes.iter().zip(&applied).zip(&self.marked);
        let moved: Vec<_> = lanes
            .filter(|((_, now), before)| before < now)
            .map(|(((partition, epoch, _), now), _)| (*partition, *epoch, *now))
            .collect();
        if !moved.is_empty() {
            self.db.advance(&moved).await?;
            self.marked = applied;
        }
        Ok(())
    }

    /// Writes each engine's state. A snapshot is never ahead of its applied mark, so the mark goes first.
    async fn snapshot(&mut self) -> Result<(), StoreError> {
        for (partition, epoch, state) in &self.lanes {
            let Some((applied, bytes)) = at_rest(state).await else { continue };
            self.db.advance(&[(*partition, *epoch, applied)]).await?;
            self.snapshots.store(*partition, applied, &bytes).await?;
            self.db.mark_snapshot(*partition, *epoch, applied).await?;
        }
        self.db.trim_outbox().await
    }
}

/// The state of an engine at a moment when the effects of all that it has seen are stored: only then does the mark say
/// where to go on from. A lane that is never at rest while we try keeps its older snapshot.
async fn at_rest(state: &Mutex<LaneState>) -> Option<(Seq, Vec<u8>)> {
    for _ in 0..TRIES_MAX {
        {
            let state = locked(state);
            if state.judged == state.applied {
                return Some((state.applied, state.engine.snapshot()));
            }
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
    None
}

fn locked(state: &Mutex<LaneState>) -> std::sync::MutexGuard<'_, LaneState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
