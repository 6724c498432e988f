//! The way of a report, top to bottom.
//!
//! ```text
//! endpoint   a device published on its defender topic, policy allowed it        picket_endpoint
//!    |
//! gateway    decoded once, throttled, stamped                                   gateway.rs, writer.rs
//!    |
//! log        durable; only now PUBACK and `accepted` go back                    picket_store::log
//!    |
//! engine     judged, purely: records in, changes of violations out              picket_detect      <- this file
//!    |
//! effects    one transaction: violations, events, outbox, how far we are        picket_store       <- this file
//!    |
//! respond    outbox -> quarantine decided, session cut, alert delivered         picket_respond, live.rs
//! ```
//!
//! There is one [`Lane`] per partition of the log. A lane reads nothing but its partition, so feeding the same records
//! to a new engine gives the same violations: at start the records up to the applied mark are replayed with their
//! effects discarded, then the lane goes live.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use picket_detect::{Engine, Outcome};
use picket_model::profile::JudgingConfig;
use picket_model::record::{BadRecord, Input, Record, Stamped};
use picket_store::effects::{Effects, Position};
use picket_store::log::{LogError, PartitionId, ReportLog, Seq};
use picket_store::{Db, StoreError};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::exports::Exporter;
use crate::writer::LogWriter;

/// Records read from the log at once, and so judged in one transaction.
const READ_MAX: usize = 512;

/// How long a lane waits before it tries again what the log or the database refused.
const RETRY: Duration = Duration::from_millis(200);

/// A lane may never sleep longer than this: deadlines are asked for again.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// One partition: its log, its engine, and how far it is.
pub(crate) struct Lane<L> {
    pub(crate) partition: PartitionId,
    pub(crate) epoch: u64,
    pub(crate) log: Arc<L>,
    pub(crate) db: Db,
    pub(crate) configs: Arc<Configs>,
    pub(crate) state: Arc<Mutex<LaneState>>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) writer: LogWriter,
    pub(crate) exporter: Exporter,
}

/// What other tasks look at: snapshots, marks, explanations.
#[derive(Debug)]
pub(crate) struct LaneState {
    pub(crate) engine: Engine,
    /// The last record that the engine has seen.
    pub(crate) judged: Seq,
    /// The last record that the engine has seen and whose effects are stored.
    pub(crate) applied: Seq,
}

/// Why a lane cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaneError {
    #[error("record {seq} of partition {partition} cannot be read")]
    Record {
        partition: PartitionId,
        seq: Seq,
        source: BadRecord,
    },
    #[error("partition {partition} cannot be read")]
    Log { partition: PartitionId, source: LogError },
    #[error("judging configuration {revision} is not in the database")]
    NoConfig { revision: u64 },
    #[error("partition cannot be judged")]
    Store(#[from] StoreError),
}

impl<L: ReportLog> Lane<L> {
    /// Brings the engine, which has seen everything below `from`, up to the applied mark: effects of the past are not
    /// repeated.
    pub(crate) async fn replay(&self, position: &Position, from: Seq) -> Result<(), LaneError> {
        let mut next = from;
        while next <= position.applied_seq {
            let n_left = usize::try_from(position.applied_seq.0 - next.0 + 1).unwrap_or(READ_MAX);
            let records = self.read(next, n_left.min(READ_MAX)).await?;
            let Some((last, _)) = records.last() else { break };
            next = last.next();
            let inputs = self.decoded(&records).await?;
            judge(&mut self.state(), inputs, *last);
        }
        let mut state = self.state();
        (state.judged, state.applied) = (position.applied_seq, position.applied_seq);
        Ok(())
    }

    /// Judges what the log holds and will hold, until `shutdown`. What a database or disk that is out of order refuses is
    /// tried again for ever.
    pub(crate) async fn run(self, mut shutdown: watch::Receiver<bool>) -> Result<(), LaneError> {
        let watched = self.log.watch_next(self.partition);
        let mut grew = watched.map_err(|source| LaneError::Log {
            partition: self.partition,
            source,
        })?;
        while !*shutdown.borrow() {
            grew.borrow_and_update();
            match self.judge_next(&shutdown).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) if error.passes() => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "judging stands still, trying again"
                    );
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                _ = grew.changed() => {}
                _ = shutdown.changed() => {}
                () = self.until_deadline() => self.tick().await,
            }
        }
        Ok(())
    }

    /// Judges what is there, at most one page; says whether there was anything.
    async fn judge_next(&self, shutdown: &watch::Receiver<bool>) -> Result<bool, LaneError> {
        let next = self.state().applied.next();
        let records = self.read(next, READ_MAX).await?;
        let Some(&(last, _)) = records.last() else {
            return Ok(false);
        };
        let inputs = self.decoded(&records).await?;
        let outcome = judge(&mut self.state(), inputs, last);
        self.store_effects(last, outcome, shutdown).await?;
        Ok(true)
    }

    /// Everything that follows from the records up to `last`, in one transaction. An engine cannot unjudge, so this
    /// tries until it succeeds; only a newer owner of the partition ends it, or the end of the process: then the next
    /// start judges the same records again.
    async fn store_effects(
        &self,
        last: Seq,
        outcome: Outcome,
        shutdown: &watch::Receiver<bool>,
    ) -> Result<(), LaneError> {
        let Outcome {
            changes,
            samples,
            exports,
        } = outcome;
        if !changes.is_empty() || !samples.is_empty() {
            let effects = [Effects {
                partition: self.partition,
                epoch: self.epoch,
                applied_seq: last,
                changes,
                samples,
            }];
            while let Err(error) = self.db.commit_effects(&effects).await {
                if matches!(error, StoreError::Fenced { .. }) {
                    return Err(error.into());
                }
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "effects cannot be stored, trying again"
                );
                if *shutdown.borrow() {
                    return Ok(());
                }
                tokio::time::sleep(RETRY).await;
            }
        }
        self.state().applied = last;
        // Only now: what is judged again after a crash must not go out twice.
        self.exporter.offer(exports);
        Ok(())
    }

    async fn read(&self, from: Seq, n_max: usize) -> Result<Vec<(Seq, Bytes)>, LaneError> {
        let read = self.log.read(self.partition, from, n_max).await;
        read.map_err(|source| LaneError::Log {
            partition: self.partition,
            source,
        })
    }

    async fn decoded(&self, records: &[(Seq, Bytes)]) -> Result<Vec<Input>, LaneError> {
        let mut inputs = Vec::with_capacity(records.len());
        for (seq, bytes) in records {
            inputs.push(decode(self.partition, *seq, bytes, &self.configs).await?);
        }
        Ok(inputs)
    }

    /// Completes when the engine wants to be told the time.
    async fn until_deadline(&self) {
        loop {
            let deadline = self.state().engine.next_deadline();
            let wait = deadline.map_or(SLEEP_MAX, |at| at.since(self.clock.now()));
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait.min(SLEEP_MAX)).await;
        }
    }

    async fn tick(&self) {
        // A log that is full keeps time from passing too.
        if self.writer.write(self.partition, Record::Tick).await.is_err() {
            tokio::time::sleep(RETRY).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, LaneState> {
        locked(&self.state)
    }
}

impl LaneError {
    /// Whether the same may work later without anybody's help.
    fn passes(&self) -> bool {
        match self {
            Self::Log { source, .. } => matches!(source, LogError::Io(_) | LogError::Full(_)),
            Self::Store(error) => !matches!(error, StoreError::Fenced { .. } | StoreError::Corrupt { .. }),
            Self::Record { .. } | Self::NoConfig { .. } => false,
        }
    }
}

/// The state of a lane. A lane that panicked while it held it has noted before what it was about to judge, so what it left
/// is never saved; and the server ends.
pub(crate) fn locked(state: &Mutex<LaneState>) -> MutexGuard<'_, LaneState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One record as the engine takes it.
pub(crate) async fn decode(
    partition: PartitionId,
    seq: Seq,
    bytes: &[u8],
    configs: &Configs,
) -> Result<Input, LaneError> {
    let stamped = Stamped::decode(bytes).map_err(|source| LaneError::Record { partition, seq, source })?;
    let config = match stamped.record {
        Record::Config { revision } => Some(configs.of(revision).await?),
        _ => None,
    };
    Ok(Input { stamped, config })
}

fn judge(state: &mut LaneState, inputs: Vec<Input>, last: Seq) -> Outcome {
    state.judged = last;
    let mut outcome = Outcome::default();
    for input in inputs {
        outcome.append(state.engine.apply(input));
    }
    outcome
}

/// The revisions of the judging configuration, each read once and shared by all lanes; and revisions share what is the same
/// in them.
#[derive(Debug)]
pub(crate) struct Configs {
    db: Db,
    /// Held while one is read: the other lanes want the same.
    read: tokio::sync::Mutex<BTreeMap<u64, Arc<JudgingConfig>>>,
}

/// Revisions kept in memory; engines hold the ones they use themselves.
const CONFIGS_MAX: usize = 64;

impl Configs {
    pub(crate) fn new(db: Db) -> Self {
        Self {
            db,
            read: tokio::sync::Mutex::default(),
        }
    }

    /// The configuration of a revision; 0 is the empty one.
    pub(crate) async fn of(&self, revision: u64) -> Result<Arc<JudgingConfig>, LaneError> {
        let mut read = self.read.lock().await;
        let known = match read.range(..=revision).next_back() {
            Some((&found, config)) if found == revision => return Ok(Arc::clone(config)),
            Some((_, config)) => Arc::clone(config),
            None => Arc::default(),
        };
        let config = self.db.judging_config_after(&known, revision).await?;
        let config = Arc::new(config.ok_or(LaneError::NoConfig { revision })?);
        if CONFIGS_MAX <= read.len() {
            // The one that is furthest away.
            let distance = |entry: Option<(&u64, _)>| entry.map_or(0, |(at, _)| at.abs_diff(revision));
            if distance(read.last_key_value()) < distance(read.first_key_value()) {
                read.pop_first();
            } else {
                read.pop_last();
            }
        }
        read.insert(revision, Arc::clone(&config));
        Ok(config)
    }
}
