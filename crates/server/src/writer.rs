//! The one writer of the report log: stamps records, batches them per commit, and answers when they are durable.

use std::sync::Arc;
use std::time::Duration;

use picket_model::record::{Record, Stamped};
use picket_model::time::Timestamp;
use picket_store::log::{Append, LogError, PartitionId, ReportLog, Seq};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::clock::{Clock, Step};

/// Records that may wait for the log; beyond it the log is said to be unable to take more.
const WAITING_MAX: usize = 8192;

/// Bytes of devices' payloads that may wait for the log; as records they take a few times as much.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Records in one commit.
const BATCH_MAX: usize = 2048;

/// The log cannot take the record now: it is full, or too much waits for it already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotStored;

/// Hands records to the log. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LogWriter {
    entries: mpsc::Sender<Entry>,
    /// A permit is a byte of what devices sent.
    room: Arc<Semaphore>,
}

/// Called once with the record's stamp when the record is durable, or with the news that it is not.
pub(crate) type Done = Box<dyn FnOnce(Result<Timestamp, NotStored>) + Send>;

/// The stamp of a record, once it is durable.
pub(crate) type Durable = oneshot::Receiver<Result<Timestamp, NotStored>>;

struct Entry {
    /// `None` to have a look at the clock only.
    record: Option<(PartitionId, Record)>,
    done: Done,
    /// Until it is written.
    _room: Option<OwnedSemaphorePermit>,
}

/// The task behind [`LogWriter`].
pub(crate) struct WriterTask<L> {
    log: Arc<L>,
    clock: Arc<Clock>,
    linger: Duration,
    /// Before this no commit begins, unless it is as large as it may be.
    next_at: Instant,
    entries: mpsc::Receiver<Entry>,
    /// The last stamp of each partition: stamps never go back, whatever the clock does.
    floors: Vec<Timestamp>,
    /// What each partition has still to be told of the clock, before anything that is stamped by it.
    steps: Vec<Option<Step>>,
    /// Whether this start is in the log: before anything else, partitions are told that all connections are gone.
    has_begun: bool,
    /// Whether the log has taken nothing lately: said once, and once when it is over.
    is_refusing: bool,
}

/// A writer of `log`, whose partitions were last stamped with `floors`. What it writes first to each of them that is not
/// empty says that time has passed while nobody wrote, and that no connection of before is left.
///
/// There is at least `linger` between the beginnings of two commits: what comes meanwhile shares the next one.
pub(crate) fn writer<L: ReportLog>(
    log: Arc<L>,
    clock: Arc<Clock>,
    linger: Duration,
    floors: Vec<Timestamp>,
) -> (LogWriter, WriterTask<L>) {
    let (sender, entries) = mpsc::channel(WAITING_MAX);
    let new = clock.now();
    let is_empty = |floor: &Timestamp| *floor == Timestamp::default();
    let step = |floor: &Timestamp| (!is_empty(floor)).then_some(Step { old: *floor, new });
    let steps = floors.iter().map(step).collect();
    let task = WriterTask {
        log,
        clock,
        linger,
        next_at: Instant::now(),
        entries,
        floors,
        steps,
        has_begun: false,
        is_refusing: false,
    };
    let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
    (LogWriter { entries: sender, room }, task)
}

impl LogWriter {
    /// Takes a record at once and calls `done` later, or calls it at once when too much waits: for what devices send, of
    /// so many bytes.
    pub(crate) fn offer(&self, partition: PartitionId, record: Record, size_bytes: usize, done: Done) {
        let n_permits = u32::try_from(size_bytes).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(n_permits) else {
            return done(Err(NotStored));
        };
        let entry = Entry {
            record: Some((partition, record)),
            done,
            _room: Some(room),
        };
        if let Err(refused) = self.entries.try_send(entry) {
            (refused.into_inner().done)(Err(NotStored));
        }
    }

    /// Writes a record of the server's own, waiting for its turn.
    pub(crate) async fn write(&self, partition: PartitionId, record: Record) -> Result<Timestamp, NotStored> {
        self.enqueue(partition, record).await?.await.unwrap_or(Err(NotStored))
    }

    /// The same without waiting for the disk: the record has its place in the order, and the answer comes later.
    pub(crate) async fn enqueue(&self, partition: PartitionId, record: Record) -> Result<Durable, NotStored> {
        self.send(Some((partition, record))).await
    }

    /// Has the partitions told at once if the clock was set, or the server was down. Otherwise they are told before the
    /// next record, however long the log takes nothing.
    pub(crate) async fn look_at_clock(&self) -> Result<Timestamp, NotStored> {
        self.send(None).await?.await.unwrap_or(Err(NotStored))
    }

    async fn send(&self, record: Option<(PartitionId, Record)>) -> Result<Durable, NotStored> {
        let (answer, durable) = oneshot::channel();
        let done: Done = Box::new(|outcome| {
            // Whoever no longer waits does not need the answer.
            let _ = answer.send(outcome);
        });
        let entry = Entry {
            record,
            done,
            _room: None,
        };
        self.entries.send(entry).await.map_err(|_| NotStored)?;
        Ok(durable)
    }
}

impl<L: ReportLog> WriterTask<L> {
    /// Runs until `shutdown`; what was handed over until then is written before it ends. Ends before that only when the
    /// log is gone.
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
                // Whoever could hand something over is gone, at a stop a moment before this one is told.
                let _ = shutdown.wait_for(|is_over| *is_over).await;
                return;
            }
            self.wait_for_company(&mut batch).await;
            if !self.commit(&mut batch).await {
                return;
            }
        }
    }

    /// Waits until the next commit may begin, and takes who came meanwhile. A lone record does not wait: the last commit is
    /// long over.
    async fn wait_for_company(&mut self, batch: &mut Vec<Entry>) {
        if batch.len() < BATCH_MAX {
            sleep_until(self.next_at).await;
        }
        self.next_at = Instant::now() + self.linger;
        while batch.len() < BATCH_MAX {
            match self.entries.try_recv() {
                Ok(entry) => batch.push(entry),
                Err(_) => break,
            }
        }
    }

    /// Says whether the log can go on.
    async fn commit(&mut self, batch: &mut Vec<Entry>) -> bool {
        let mut appends = self.news_of_clock();
        let now = self.clock.now();
        let mut waiting = Vec::with_capacity(batch.len());
        for Entry { record, done, _room } in batch.drain(..) {
            let Some((partition, record)) = record else {
                waiting.push((now, done, _room));
                continue;
            };
            let at = self.stamp(partition, &record, now);
            appends.push(append(partition, Stamped { at, record }));
            waiting.push((at, done, _room));
        }
        let outcome = self.log.append(appends).await;
        self.note(&outcome);
        for (at, done, _room) in waiting {
            done(if outcome.is_ok() { Ok(at) } else { Err(NotStored) });
        }
        !matches!(outcome, Err(LogError::Closed))
    }

    fn note(&mut self, outcome: &Result<Vec<Seq>, LogError>) {
        match outcome {
            Ok(_) => {
                self.steps.fill(None);
                self.has_begun = true;
                if self.is_refusing {
                    tracing::info!("report log takes records again");
                }
            }
            Err(_) if self.is_refusing => {}
            Err(error) => tracing::error!(
                error = error as &dyn std::error::Error,
                "report log takes no records, reports are refused until it does"
            ),
        }
        self.is_refusing = outcome.is_err();
    }

    /// The server's clock moves here and nowhere else, so that no record is stamped by the new clock before its
    /// partition knows. What the log does not take is said again with the next records.
    fn news_of_clock(&mut self) -> Vec<Append> {
        if let Some(step) = self.clock.follow_wall() {
            tracing::warn!(old = %step.old, new = %step.new, "the clock was set, deadlines move with it");
            for earlier in &mut self.steps {
                *earlier = Some(earlier.map_or(step, |earlier| earlier.then(step)));
            }
        }
        let mut news = Vec::new();
        for (partition, step) in (0..).map(PartitionId).zip(self.steps.clone()) {
            let Some(Step { old, new }) = step else { continue };
            let record = Record::Clock { old, new };
            let at = self.stamp(partition, &record, new);
            news.push(append(partition, Stamped { at, record }));
            if !self.has_begun {
                let record = Record::SessionsEnded;
                news.push(append(partition, Stamped { at, record }));
            }
        }
        news
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

fn append(partition: PartitionId, stamped: Stamped) -> Append {
    Append {
        partition,
        bytes: stamped.encode().into(),
    }
}

#[cfg(test)]
mod tests {
    use picket_store::log::{LogLimits, SqliteLog};

    use super::*;
    use crate::clock::tests::ByHand;

    const N_PARTITIONS: u16 = 3;

    /// What a partition holds: its records, and what each is stamped with.
    async fn held(log: &SqliteLog, partition: u16) -> Vec<(i64, Record)> {
        let records = log.read(PartitionId(partition), Seq(1), 100).await.unwrap();
        let record = |(_, bytes): &(Seq, bytes::Bytes)| {
            let Stamped { at, record } = Stamped::decode(bytes).unwrap();
            (at.millis(), record)
        };
        records.iter().map(record).collect()
    }

    fn step(old: i64, new: i64) -> Record {
        Record::Clock {
            old: Timestamp::from_millis(old),
            new: Timestamp::from_millis(new),
        }
    }

    async fn log(folder: &tempfile::TempDir) -> Arc<SqliteLog> {
        let limits = LogLimits {
            size_bytes_max: 1 << 30,
            tail_bytes_max: 0,
        };
        let path = folder.path().join("log.db");
        Arc::new(SqliteLog::open(&path, N_PARTITIONS, limits).await.unwrap())
    }

    #[tokio::test]
    async fn no_record_is_stamped_by_a_clock_that_its_partition_does_not_know() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder).await;
        let (clocks, clock) = ByHand::clock(1_000_000);
        // The last two were written to before, the last one by a clock that was ahead.
        let floors = [0, 400_000, 2_000_000].map(Timestamp::from_millis).to_vec();
        let (writer, task) = writer(Arc::clone(&log), Arc::new(clock), Duration::ZERO, floors);
        let shutdown = watch::Sender::new(false);
        let running = tokio::spawn(task.run(shutdown.subscribe()));
        for partition in [0, 1, 2] {
            writer.write(PartitionId(partition), Record::Tick).await.unwrap();
        }
        // Set forward and back, with nothing in between but time.
        clocks.set_by(86_400_000);
        clocks.pass(10);
        writer.write(PartitionId(0), Record::Tick).await.unwrap();
        clocks.set_by(-90_000_000);
        writer.look_at_clock().await.unwrap();
        clocks.pass(5);
        writer.look_at_clock().await.unwrap();
        writer.write(PartitionId(2), Record::Tick).await.unwrap();
        shutdown.send_replace(true);
        running.await.unwrap();

        let (ahead, back) = (step(1_000_010, 87_400_010), step(87_400_010, -2_599_990));
        let both = [(87_400_010, ahead), (-2_599_990, back)];
        let expected = [
            vec![
                (1_000_000, Record::Tick),
                both[0].clone(),
                (87_400_010, Record::Tick),
                both[1].clone(),
            ],
            vec![
                (1_000_000, step(400_000, 1_000_000)),
                (1_000_000, Record::SessionsEnded),
                (1_000_000, Record::Tick),
                both[0].clone(),
                both[1].clone(),
            ],
            vec![
                (1_000_000, step(2_000_000, 1_000_000)),
                (1_000_000, Record::SessionsEnded),
                (1_000_000, Record::Tick),
                both[0].clone(),
                both[1].clone(),
                (-2_599_985, Record::Tick),
            ],
        ];
        for (partition, expected) in (0..).zip(expected) {
            assert_eq!(held(&log, partition).await, expected, "partition {partition}");
        }
    }

    #[tokio::test]
    async fn what_waits_for_the_log_has_a_bound_in_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (_, clock) = ByHand::clock(1_000_000);
        let (writer, task) = writer(log(&folder).await, Arc::new(clock), Duration::ZERO, vec![]);
        let offer = |size_bytes| {
            let (answer, said) = oneshot::channel();
            let done: Done = Box::new(|outcome| answer.send(outcome).unwrap());
            writer.offer(PartitionId(0), Record::Tick, size_bytes, done);
            said
        };
        let mut waiting: Vec<Durable> = (0..4).map(|_| offer(WAITING_BYTES_MAX / 4)).collect();
        assert!(waiting.iter_mut().all(|said| said.try_recv().is_err()), "they wait");
        assert_eq!(offer(1).await.unwrap(), Err(NotStored), "at once");
        let shutdown = watch::Sender::new(false);
        let running = tokio::spawn(task.run(shutdown.subscribe()));
        for said in waiting {
            said.await.unwrap().unwrap();
        }
        offer(WAITING_BYTES_MAX).await.unwrap().unwrap();
        shutdown.send_replace(true);
        running.await.unwrap();
    }
}
