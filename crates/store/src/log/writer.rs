//! The one writer of a log: takes what waits, writes it together, tells everybody.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::{mpsc, oneshot};

use super::sqlite::{Shared, connect, encode, key, keys, seq_of, stored_bounds};
use super::{Append, LogError, LogLimits, PartitionId, Seq};
use crate::sql::Placeholders;

/// What a writer can be asked.
#[derive(Debug)]
pub(crate) enum Job {
    Append {
        records: Vec<Append>,
        reply: oneshot::Sender<Result<Vec<Seq>, LogError>>,
    },
    Trim {
        partition: PartitionId,
        below: Seq,
        reply: oneshot::Sender<Result<(), LogError>>,
    },
}

/// The writer of a log.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    connection: SqliteConnection,
    options: SqliteConnectOptions,
    limits: LogLimits,
    /// Whether the last write failed, so that only the disk knows what it holds.
    is_unsure: bool,
    appends: Vec<Waiting>,
    trims: VecDeque<Trim>,
}

#[derive(Debug)]
struct Waiting {
    records: Vec<Append>,
    reply: oneshot::Sender<Result<Vec<Seq>, LogError>>,
}

#[derive(Debug)]
struct Trim {
    partition: PartitionId,
    below: Seq,
    reply: oneshot::Sender<Result<(), LogError>>,
}

/// The records of one partition in one commit.
#[derive(Debug)]
struct Chunk {
    first: Seq,
    records: Vec<Bytes>,
    body: Vec<u8>,
}

impl Writer {
    /// Batches that wait are written together up to this size; a larger one is written alone.
    const GROUP_BYTES_MAX: usize = 4 << 20;
    /// Chunks that a trim removes before appends have their turn again.
    const TRIM_CHUNKS_MAX: i64 = 512;

    pub(crate) fn new(
        shared: Arc<Shared>,
        connection: SqliteConnection,
        options: SqliteConnectOptions,
        limits: LogLimits,
    ) -> Self {
        Self {
            shared,
            connection,
            options,
            limits,
            is_unsure: false,
            appends: Vec::new(),
            trims: VecDeque::new(),
        }
    }

    /// Works until the last handle of the log is dropped.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Job>) {
        loop {
            if self.trims.is_empty() {
                match inbox.recv().await {
                    Some(job) => self.accept(job),
                    None => break,
                }
            }
            self.gather(&mut inbox);
            self.write_appends().await;
            self.trim_step().await;
        }
        // What was written is durable; closing only tidies up.
        drop(self.connection.close().await);
    }

    fn accept(&mut self, job: Job) {
        match job {
            Job::Append { records, reply } => self.appends.push(Waiting { records, reply }),
            Job::Trim {
                partition,
                below,
                reply,
            } => self.trims.push_back(Trim {
                partition,
                below,
                reply,
            }),
        }
    }

    /// Takes what waits, as much as is written together.
    fn gather(&mut self, inbox: &mut mpsc::Receiver<Job>) {
        let mut size_bytes: usize = self.appends.iter().map(Waiting::size_bytes).sum();
        while size_bytes < Self::GROUP_BYTES_MAX {
            let Ok(job) = inbox.try_recv() else { break };
            self.accept(job);
            if let Some(waiting) = self.appends.last() {
                size_bytes += waiting.size_bytes();
            }
        }
    }

    async fn write_appends(&mut self) {
        let appends = std::mem::take(&mut self.appends);
        if appends.is_empty() {
            return;
        }
        match self.write(&appends).await {
            Ok(seqs) => {
                let mut seqs = seqs.into_iter();
                for waiting in appends {
                    let own = seqs.by_ref().take(waiting.records.len()).collect();
                    // Whoever asked may be gone; the records stay.
                    drop(waiting.reply.send(Ok(own)));
                }
            }
            Err(err) => {
                self.is_unsure = true;
                for waiting in appends {
                    drop(waiting.reply.send(Err(err.clone())));
                }
            }
        }
    }

    /// Writes a group, all or nothing; says the seqs in the order of the records.
    async fn write(&mut self, appends: &[Waiting]) -> Result<Vec<Seq>, LogError> {
        self.make_sure().await?;
        let mut chunks: BTreeMap<PartitionId, Chunk> = BTreeMap::new();
        let mut seqs = Vec::with_capacity(appends.iter().map(|waiting| waiting.records.len()).sum());
        for record in appends.iter().flat_map(|waiting| &waiting.records) {
            let chunk = match chunks.entry(record.partition) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let first = self.shared.partition(record.partition)?.bounds().next;
                    entry.insert(Chunk::new(first))
                }
            };
            seqs.push(chunk.push(&record.bytes));
        }
        let placeholders = Placeholders {
            first: 1,
            n_columns: 3,
            n_rows: chunks.len(),
        };
        let sql = format!("INSERT INTO chunk (id, n, body) VALUES {placeholders}");
        let mut insert = sqlx::query(AssertSqlSafe(sql));
        for (&partition, chunk) in &mut chunks {
            insert = insert
                .bind(key(partition, chunk.first))
                .bind(i64::try_from(chunk.records.len()).unwrap_or(i64::MAX))
                .bind(std::mem::take(&mut chunk.body));
        }
        insert.execute(&mut self.connection).await.map_err(LogError::from_sql)?;
        for (partition, chunk) in chunks {
            self.shared.partition(partition)?.extend(chunk.records);
        }
        Ok(seqs)
    }

    /// After a failed write, asks the disk what it holds, over a new connection if the old one is gone.
    async fn make_sure(&mut self) -> Result<(), LogError> {
        if !self.is_unsure {
            return Ok(());
        }
        if self.connection.ping().await.is_err() {
            self.connection = connect(&self.options, self.limits).await?;
        }
        for partition in self.shared.ids() {
            let bounds = stored_bounds(&mut self.connection, partition).await?;
            self.shared.partition(partition)?.reload(bounds);
        }
        self.is_unsure = false;
        Ok(())
    }

    /// A part of the oldest trim.
    async fn trim_step(&mut self) {
        let Some(trim) = self.trims.pop_front() else { return };
        match self.trim(trim.partition, trim.below).await {
            Ok(true) => drop(trim.reply.send(Ok(()))),
            Ok(false) => self.trims.push_front(trim),
            Err(err) => {
                self.is_unsure = true;
                drop(trim.reply.send(Err(err)));
            }
        }
    }

    /// Removes some chunks; says whether it was the last part.
    async fn trim(&mut self, partition: PartitionId, below: Seq) -> Result<bool, LogError> {
        self.make_sure().await?;
        let start = *keys(partition).start();
        // The chunk that holds `below`, or the newest one: it stays.
        let kept: Option<i64> = sqlx::query_scalar("SELECT MAX(id) FROM chunk WHERE id BETWEEN $1 AND $2")
            .bind(start)
            .bind(key(partition, below))
            .fetch_one(&mut self.connection)
            .await
            .map_err(LogError::from_sql)?;
        let Some(kept) = kept else { return Ok(true) };
        let sql =
            "DELETE FROM chunk WHERE id IN (SELECT id FROM chunk WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3)";
        let n_removed = sqlx::query(sql)
            .bind(start)
            .bind(kept)
            .bind(Self::TRIM_CHUNKS_MAX)
            .execute(&mut self.connection)
            .await
            .map_err(LogError::from_sql)?
            .rows_affected();
        let is_last = n_removed < Self::TRIM_CHUNKS_MAX.unsigned_abs();
        let first = if is_last {
            seq_of(kept)
        } else {
            stored_bounds(&mut self.connection, partition).await?.first
        };
        self.shared.partition(partition)?.trimmed(first);
        Ok(is_last)
    }
}

impl Waiting {
    fn size_bytes(&self) -> usize {
        self.records.iter().map(|record| record.bytes.len()).sum()
    }
}

impl Chunk {
    fn new(first: Seq) -> Self {
        Self {
            first,
            records: Vec::new(),
            body: Vec::new(),
        }
    }

    fn push(&mut self, record: &Bytes) -> Seq {
        let seq = Seq(self.first.0 + self.records.len() as u64);
        encode(record, &mut self.body);
        self.records.push(record.clone());
        seq
    }
}
