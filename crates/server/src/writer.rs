//! The one writer of the report log: stamps records, batches them per commit, and answers when they are durable.

use std::sync::Arc;
use std::time::Duration;

use picket_model::record::{Record, Stamped};
use picket_model::time::Timestamp;
use picket_store::log::{Append, LogError, PartitionId, ReportLog};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;

/// Records that may wait for the log; beyond it the log is said to be unable to take more.
const WAITING_MAX: usize = 8192;

/// Records in one commit.
const BATCH_MAX: usize = 2048;

/// The log cannot take the record now: it is full, or too much waits for it already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotStored;

/// Hands records to the log. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LogWriter {
    entries: mpsc::Sender<Entry>,
}

/// Called once with the record's stamp when the record is durable, or with the news that it is not.
pub(crate) type Done = Box<dyn FnOnce(Result<Timestamp, NotStored>) + Send>;

/// The stamp of a record, once it is durable.
pub(crate) type Durable = oneshot::Receiver<Result<Timestamp, NotStored>>;

struct Entry {
    partition: PartitionId,
    record: Record,
    done: Done,
}

/// The task behind [`LogWriter`].
pub(crate) struct WriterTask<L> {
    log: Arc<L>,
    clock: Arc<Clock>,
    linger: Duration,
    entries: mpsc::Receiver<Entry>,
    /// The last stamp of each partition: stamps never go back, whatever the clock does.
    floors: Vec<Timestamp>,
}

/// A writer of `log`, whose partitions were last stamped with `floors`.
pub(crate) fn writer<L: ReportLog>(
    log: Arc<L>,
    clock: Arc<Clock>,
    linger: Duration,
    floors: Vec<Timestamp>,
) -> (LogWriter, WriterTask<L>) {
    let (sender, entries) = mpsc::channel(WAITING_MAX);
    let task = WriterTask {
        log,
        clock,
        linger,
        entries,
        floors,
    };
    (LogWriter { entries: sender }, task)
}

impl LogWriter {
    /// Takes a record at once and calls `done` later, or calls it at once when too much waits: for what devices send.
    pub(crate) fn offer(&self, partition: PartitionId, record: Record, done: Done) {
        if let Err(refused) = self.entries.try_send(Entry {
            partition,
            record,
            done,
        }) {
            (refused.into_inner().done)(Err(NotStored));
        }
    }

    /// Writes a record of the server's own, waiting for its turn.
    pub(crate) async fn write(&self, partition: PartitionId, record: Record) -> Result<Timestamp, NotStored> {
        self.enqueue(partition, record).await?.await.unwrap_or(Err(NotStored))
    }

    /// The same without waiting for the disk: the record has its place in the order, and the answer comes later.
    pub(crate) async fn enqueue(&self, partition: PartitionId, record: Record) -> Result<Durable, NotStored> {
        let (answer, durable) = oneshot::channel();
        let done: Done = Box::new(|outcome| {
            // Whoever no longer waits does not need the answer.
            let _ = answer.send(outcome);
        });
        let entry = Entry {
            partition,
            record,
            done,
        };
        self.entries.send(entry).await.map_err(|_| NotStored)?;
        Ok(durable)
    }
}

impl<L: ReportLog> WriterTask<L> {
    /// Runs until `shutdown`; what was handed over until then is written before it ends.
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let n_entries = tokio::select! {
                n_entries = self.entries.recv_many(&mut batch, BATCH_MAX) => n_entries,
                _ = shutdown.wait_for(|is_over| *is_over), if !self.entries.is_closed() => {
                    self.entries.close();
                    continue;
                }
            };
            if n_entries == 0 {
                return;
            }
            self.wait_for_company(&mut batch).await;
            self.commit(&mut batch).await;
        }
    }

    /// A lone record waits a moment for others, so that they share one commit.
    async fn wait_for_company(&mut self, batch: &mut Vec<Entry>) {
        if self.linger.is_zero() || BATCH_MAX <= batch.len() {
            return;
        }
        tokio::time::sleep(self.linger).await;
        while batch.len() < BATCH_MAX {
            match self.entries.try_recv() {
                Ok(entry) => batch.push(entry),
                Err(_) => break,
            }
        }
    }

    async fn commit(&mut self, batch: &mut Vec<Entry>) {
        let now = self.clock.now();
        let mut appends = Vec::with_capacity(batch.len());
        let mut waiting = Vec::with_capacity(batch.len());
        for Entry {
            partition,
            record,
            done,
        } in batch.drain(..)
        {
            let at = self.stamp(partition, &record, now);
            appends.push(Append {
                partition,
                bytes: Stamped { at, record }.encode().into(),
            });
            waiting.push((at, done));
        }
        let outcome = self.log.append(appends).await;
        match &outcome {
            Ok(_) => {}
            Err(LogError::Full(_)) => tracing::warn!("report log is full, reports are refused"),
            Err(error) => tracing::error!(error = %error, "report log cannot be written, reports are refused"),
        }
        for (at, done) in waiting {
            done(if outcome.is_ok() { Ok(at) } else { Err(NotStored) });
        }
    }

    /// max(previous stamp, now); a set clock restarts the floor.
    fn stamp(&mut self, partition: PartitionId, record: &Record, now: Timestamp) -> Timestamp {
        let Some(floor) = self.floors.get_mut(usize::from(partition.0)) else {
            return now;
        };
        *floor = match record {
            Record::Clock { new, .. } => *new,
            _ => now.max(*floor),
        };
        *floor
    }
}
