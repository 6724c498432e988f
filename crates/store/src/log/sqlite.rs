//! The report log in a SQLite file of its own.
//!
//! A row is a *chunk*: the records of one partition that were committed together, each with its length before it. Its
//! key is partition and first seq in one number, so that a partition is a range of the table. One statement writes a
//! group of batches, so SQLite makes it durable, all or nothing, by itself.

use std::fs::{File, TryLockError};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::TryStreamExt;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::sync::{mpsc, oneshot, watch};

use super::partition::Partition;
use super::writer::{Job, Writer};
use super::{Append, Bounds, Fill, LogError, LogLimits, PartitionId, ReportLog, Seq};

/// A log in a SQLite file. Clones share it.
#[derive(Clone, Debug)]
pub struct SqliteLog {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    readers: SqlitePool,
}

/// What readers and the writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    partitions: Vec<Mutex<Partition>>,
    size_bytes_max: u64,
    /// Held for as long as the log is open.
    _lock: File,
}

/// A read stops after this many bytes.
const READ_BYTES_MAX: usize = 4 << 20;

/// The least bound of a log's file.
const SIZE_BYTES_MAX_MIN: u64 = 1 << 20;

/// Bits of a chunk's key that hold the seq; the partition is above them.
const SEQ_BITS: u32 = 47;

impl SqliteLog {
    /// Opens the log, or makes it. Must be called within a tokio runtime, on which its writer runs until the last clone
    /// is dropped.
    ///
    /// # Errors
    /// The file cannot be opened or is in use, or was made with another number of partitions.
    pub async fn open(path: &Path, n_partitions: u16, limits: LogLimits) -> Result<Self, LogError> {
        let lock = lock(path)?;
        let options = options(path);
        let mut connection = connect(&options, limits).await?;
        make_tables(&mut connection, n_partitions).await?;
        let tail_bytes_max = limits.tail_bytes_max / usize::from(n_partitions.max(1));
        let mut partitions = Vec::with_capacity(n_partitions.into());
        for partition in 0..n_partitions {
            let bounds = stored_bounds(&mut connection, PartitionId(partition)).await?;
            partitions.push(Mutex::new(Partition::new(bounds, tail_bytes_max)));
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(2)
            .test_before_acquire(false)
            .max_lifetime(None)
            .connect_with(options.clone().pragma("query_only", "on"))
            .await
            .map_err(LogError::from_sql)?;
        let shared = Arc::new(Shared {
            partitions,
            size_bytes_max: limits.size_bytes_max.max(SIZE_BYTES_MAX_MIN),
            _lock: lock,
        });
        let (jobs, inbox) = mpsc::channel(1024);
        let writer = Writer::new(Arc::clone(&shared), connection, options, limits);
        tokio::spawn(writer.run(inbox));
        Ok(Self { shared, jobs, readers })
    }

    async fn read_disk(&self, partition: PartitionId, from: Seq, n_max: usize) -> Result<Vec<(Seq, Bytes)>, LogError> {
        let sql = "SELECT id, n, body FROM chunk
                   WHERE id >= (SELECT MAX(id) FROM chunk WHERE id <= $1) AND id <= $2 ORDER BY id";
        let mut rows = sqlx::query(sql)
            .bind(key(partition, from))
            .bind(*keys(partition).end())
            .fetch(&self.readers);
        let (mut records, mut size_bytes) = (Vec::new(), 0);
        while let Some(row) = rows.try_next().await.map_err(LogError::from_sql)? {
            let column = |err| LogError::Io(Arc::new(err));
            let first = seq_of(row.try_get(0).map_err(column)?);
            let n: i64 = row.try_get(1).map_err(column)?;
            let body: Vec<u8> = row.try_get(2).map_err(column)?;
            let chunk = decode(body.into(), n).ok_or(LogError::Damaged { partition, seq: first })?;
            for (seq, record) in (first.0..).zip(chunk) {
                if seq < from.0 {
                    continue;
                }
                if records.len() == n_max || READ_BYTES_MAX <= size_bytes {
                    return Ok(records);
                }
                size_bytes += record.len();
                records.push((Seq(seq), record));
            }
        }
        Ok(records)
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Job) -> Result<T, LogError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).await.map_err(|_| LogError::Closed)?;
        answer.await.unwrap_or(Err(LogError::Closed))
    }
}

impl ReportLog for SqliteLog {
    async fn append(&self, records: Vec<Append>) -> Result<Vec<Seq>, LogError> {
        for record in &records {
            drop(self.shared.partition(record.partition)?);
            if record.bytes.is_empty() || Append::SIZE_BYTES_MAX < record.bytes.len() {
                return Err(LogError::Size {
                    size_bytes: record.bytes.len(),
                });
            }
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(|reply| Job::Append { records, reply }).await
    }

    async fn read(&self, partition: PartitionId, from: Seq, n_max: usize) -> Result<Vec<(Seq, Bytes)>, LogError> {
        {
            let held = self.shared.partition(partition)?;
            let Bounds { first, next } = held.bounds();
            if from < first {
                return Err(LogError::Trimmed { partition, from, first });
            }
            if next <= from || n_max == 0 {
                return Ok(Vec::new());
            }
            if let Some(records) = held.read(from, n_max, READ_BYTES_MAX) {
                return Ok(records);
            }
        }
        let records = self.read_disk(partition, from, n_max).await?;
        match records.first() {
            Some(&(seq, _)) if seq == from => Ok(records),
            // It was there a moment ago.
            _ => Err(LogError::Trimmed {
                partition,
                from,
                first: self.shared.partition(partition)?.bounds().first,
            }),
        }
    }

    async fn bounds(&self, partition: PartitionId) -> Result<Bounds, LogError> {
        Ok(self.shared.partition(partition)?.bounds())
    }

    async fn fill(&self) -> Result<Fill, LogError> {
        let sql = "SELECT (page_count - freelist_count) * page_size
                   FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        let used_bytes: i64 = sqlx::query_scalar(sql)
            .fetch_one(&self.readers)
            .await
            .map_err(LogError::from_sql)?;
        Ok(Fill {
            used_bytes: u64::try_from(used_bytes).unwrap_or(0),
            size_bytes_max: self.shared.size_bytes_max,
        })
    }

    async fn trim(&self, partition: PartitionId, below: Seq) -> Result<(), LogError> {
        if below <= self.shared.partition(partition)?.bounds().first {
            return Ok(());
        }
        self.ask(|reply| Job::Trim {
            partition,
            below,
            reply,
        })
        .await
    }

    fn watch_next(&self, partition: PartitionId) -> Result<watch::Receiver<Seq>, LogError> {
        Ok(self.shared.partition(partition)?.watch_next())
    }
}

impl Shared {
    /// The partition, locked: never across an await.
    pub(crate) fn partition(&self, found: PartitionId) -> Result<MutexGuard<'_, Partition>, LogError> {
        match self.partitions.get(usize::from(found.0)) {
            // Nothing panics while it holds the lock, and if it did, what it holds is still whole.
            Some(partition) => Ok(partition.lock().unwrap_or_else(PoisonError::into_inner)),
            None => Err(LogError::NoPartition {
                found,
                n_partitions: u16::try_from(self.partitions.len()).unwrap_or(u16::MAX),
            }),
        }
    }

    /// All partitions.
    pub(crate) fn ids(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..u16::try_from(self.partitions.len()).unwrap_or(u16::MAX)).map(PartitionId)
    }
}

fn lock(path: &Path) -> Result<File, LogError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let failed = |source| LogError::Lock {
        path: path.clone(),
        source: Arc::new(source),
    };
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::InUse { path }),
        Err(TryLockError::Error(err)) => Err(failed(err)),
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(8192)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10))
        .statement_cache_capacity(300)
        .pragma("journal_size_limit", "16777216")
        .disable_statement_logging()
}

/// Opens the connection that writes. SQLite itself holds the bound: a write that needs a page more fails as a full disk
/// does.
pub(crate) async fn connect(options: &SqliteConnectOptions, limits: LogLimits) -> Result<SqliteConnection, LogError> {
    let mut connection = options.connect().await.map_err(LogError::from_sql)?;
    let page_size: i64 = sqlx::query_scalar("PRAGMA page_size")
        .fetch_one(&mut connection)
        .await
        .map_err(LogError::from_sql)?;
    let n_pages_max = limits.size_bytes_max.max(SIZE_BYTES_MAX_MIN) / u64::try_from(page_size.max(512)).unwrap_or(512);
    // SQLite's own limit is 2^32 - 2 pages.
    let sql = format!("PRAGMA max_page_count = {}", n_pages_max.min((1 << 32) - 2));
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .map_err(LogError::from_sql)?;
    Ok(connection)
}

async fn make_tables(connection: &mut SqliteConnection, n_partitions: u16) -> Result<(), LogError> {
    let mut tx = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(LogError::from_sql)?;
    for sql in [
        "CREATE TABLE IF NOT EXISTS chunk (id INTEGER NOT NULL PRIMARY KEY, n INTEGER NOT NULL, body BLOB NOT NULL)",
        "CREATE TABLE IF NOT EXISTS log (id INTEGER NOT NULL PRIMARY KEY, n_partitions INTEGER NOT NULL)",
    ] {
        sqlx::query(sql).execute(&mut *tx).await.map_err(LogError::from_sql)?;
    }
    sqlx::query("INSERT INTO log (id, n_partitions) VALUES (1, $1) ON CONFLICT DO NOTHING")
        .bind(i64::from(n_partitions))
        .execute(&mut *tx)
        .await
        .map_err(LogError::from_sql)?;
    let found: i64 = sqlx::query_scalar("SELECT n_partitions FROM log WHERE id = 1")
        .fetch_one(&mut *tx)
        .await
        .map_err(LogError::from_sql)?;
    if found != i64::from(n_partitions) {
        return Err(LogError::Partitions {
            found: u64::try_from(found).unwrap_or(0),
            expected: n_partitions,
        });
    }
    tx.commit().await.map_err(LogError::from_sql)
}

/// What the disk holds of a partition.
pub(crate) async fn stored_bounds(
    connection: &mut SqliteConnection,
    partition: PartitionId,
) -> Result<Bounds, LogError> {
    let range = keys(partition);
    let sql = "SELECT (SELECT MIN(id) FROM chunk WHERE id BETWEEN $1 AND $2), id, n FROM chunk
               WHERE id = (SELECT MAX(id) FROM chunk WHERE id BETWEEN $1 AND $2)";
    let found: Option<(i64, i64, i64)> = sqlx::query_as(sql)
        .bind(*range.start())
        .bind(*range.end())
        .fetch_optional(connection)
        .await
        .map_err(LogError::from_sql)?;
    Ok(match found {
        None => Bounds {
            first: Seq(1),
            next: Seq(1),
        },
        Some((first, last, n)) => Bounds {
            first: seq_of(first),
            next: Seq(seq_of(last).0 + u64::try_from(n).unwrap_or(0)),
        },
    })
}

/// The key of the chunk that begins with this record.
pub(crate) fn key(partition: PartitionId, seq: Seq) -> i64 {
    let seq = i64::try_from(seq.0).unwrap_or(i64::MAX).min((1 << SEQ_BITS) - 1);
    (i64::from(partition.0) << SEQ_BITS) | seq
}

/// The keys of a partition's chunks.
pub(crate) fn keys(partition: PartitionId) -> RangeInclusive<i64> {
    key(partition, Seq(0))..=key(partition, Seq(u64::MAX))
}

/// The first record of the chunk with this key.
pub(crate) fn seq_of(key: i64) -> Seq {
    Seq(key.unsigned_abs() & ((1 << SEQ_BITS) - 1))
}

/// Adds a record to a chunk's body. Records are bounded, so the length fits.
pub(crate) fn encode(record: &[u8], body: &mut Vec<u8>) {
    let len = u32::try_from(record.len()).unwrap_or(u32::MAX);
    body.extend_from_slice(&len.to_le_bytes());
    body.extend_from_slice(record);
}

/// The records of a chunk's body, which share its memory.
fn decode(mut body: Bytes, n: i64) -> Option<Vec<Bytes>> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let len = usize::try_from(body.try_get_u32_le().ok()?).ok()?;
        if body.len() < len {
            return None;
        }
        records.push(body.split_to(len));
    }
    (i64::try_from(records.len()) == Ok(n)).then_some(records)
}
