//! The report log: everything that engines ever read, in partitions, durable before anybody is told.
//!
//! At-least-once by nature: a batch whose writer was told that it failed may still be found after a crash.

mod partition;
mod sqlite;
mod writer;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

pub use sqlite::SqliteLog;

/// One partition of the log, counted from 0. A thing's records are all in one: see [`partition_of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId(pub u16);

/// A record's place in its partition: 1, 2, 3, ... without gaps. 0 stands before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

/// A record to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Where to.
    pub partition: PartitionId,
    /// What; 1 byte to [`Append::SIZE_BYTES_MAX`].
    pub bytes: Bytes,
}

/// What a partition holds: `first <= seq < next`, nothing when they are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest record that was not trimmed.
    pub first: Seq,
    /// What the next record will be.
    pub next: Seq,
}

/// How full a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Bytes that records take; what was trimmed is not in it, since its space is used again.
    pub used_bytes: u64,
    /// The most bytes that they can take: [`LogLimits::size_bytes_max`].
    pub size_bytes_max: u64,
}

/// Bounds of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// The most bytes that the log's file may have; what does not fit is refused with [`LogError::Full`], nothing is
    /// dropped. At least 1 MiB; its write-ahead log takes a few MiB more.
    pub size_bytes_max: u64,
    /// The most bytes of fresh records that are kept in memory, so that engines do not go to the disk for them.
    pub tail_bytes_max: usize,
}

/// Why the log did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The disk is full, or the log is at its bound. Nothing of the batch is stored; the same works again, without a
    /// restart, once there is space.
    #[error("the report log is full")]
    Full(#[source] Arc<sqlx::Error>),
    /// The log's file cannot be read or written.
    #[error("the report log cannot be read or written")]
    Io(#[source] Arc<sqlx::Error>),
    /// Another process has the log open.
    #[error("the report log {path:?} is in use by another process")]
    InUse {
        /// Its lock file.
        path: std::path::PathBuf,
    },
    /// The lock file beside the log cannot be made.
    #[error("the lock {path:?} of the report log cannot be taken")]
    Lock {
        /// The lock file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The number of partitions is fixed when the log is made: another would send things elsewhere.
    #[error("the report log was made with {found} partitions, expected {expected}: the number cannot change")]
    Partitions {
        /// What the file holds.
        found: u64,
        /// What the caller wants.
        expected: u16,
    },
    /// There is no such partition.
    #[error("the report log has no partition {}, expected 0 to {}", found.0, n_partitions - 1)]
    NoPartition {
        /// What the caller named.
        found: PartitionId,
        /// How many there are.
        n_partitions: u16,
    },
    /// The record is gone: it was trimmed.
    #[error("record {} of partition {} was trimmed, the oldest is {}", from.0, partition.0, first.0)]
    Trimmed {
        /// Which partition.
        partition: PartitionId,
        /// What the caller wanted.
        from: Seq,
        /// What there is.
        first: Seq,
    },
    /// A record is empty or too large to be one.
    #[error("record has {size_bytes} bytes, expected 1 to {}", Append::SIZE_BYTES_MAX)]
    Size {
        /// Bytes found.
        size_bytes: usize,
    },
    /// What the file holds is not what was written.
    #[error("the report log is damaged at record {} of partition {}", seq.0, partition.0)]
    Damaged {
        /// Which partition.
        partition: PartitionId,
        /// The first record of the damaged chunk.
        seq: Seq,
    },
    /// The log was closed, or its writer ended.
    #[error("the report log is closed")]
    Closed,
}

/// A log in partitions.
pub trait ReportLog: Send + Sync + 'static {
    /// Appends the records, all or none, and says where each one is. They are durable when this returns. Records of one
    /// call, and of calls one after the other, are in their order.
    ///
    /// # Errors
    /// [`LogError::Full`]: send again later. Others: the log is out of order, or the caller is.
    fn append(&self, records: Vec<Append>) -> impl Future<Output = Result<Vec<Seq>, LogError>> + Send;

    /// The records from `from` on, at most `n_max`, and about 4 MiB at most; none when there are none yet.
    ///
    /// # Errors
    /// [`LogError::Trimmed`] when `from` is gone.
    fn read(
        &self,
        partition: PartitionId,
        from: Seq,
        n_max: usize,
    ) -> impl Future<Output = Result<Vec<(Seq, Bytes)>, LogError>> + Send;

    /// What the partition holds.
    ///
    /// # Errors
    /// [`LogError::NoPartition`].
    fn bounds(&self, partition: PartitionId) -> impl Future<Output = Result<Bounds, LogError>> + Send;

    /// How full the log is: for whoever trims, to make room before appends are refused.
    ///
    /// # Errors
    /// [`LogError::Io`].
    fn fill(&self) -> impl Future<Output = Result<Fill, LogError>> + Send;

    /// Gives up records below `below`, whose space is used again. Some of them may stay: those stored together with one
    /// that stays, and the newest, so that numbers go on after a restart.
    ///
    /// # Errors
    /// [`LogError::Io`]: some of them may be gone.
    fn trim(&self, partition: PartitionId, below: Seq) -> impl Future<Output = Result<(), LogError>> + Send;

    /// Follows what the next record of the partition will be; moves with every append.
    ///
    /// # Errors
    /// [`LogError::NoPartition`].
    fn watch_next(&self, partition: PartitionId) -> Result<watch::Receiver<Seq>, LogError>;
}

/// The partition of a thing. It never changes, for as long as the log lives.
///
/// `n_partitions` is at least 1.
pub fn partition_of(thing: &str, n_partitions: u16) -> PartitionId {
    let slot = xxhash_rust::xxh3::xxh3_64(thing.as_bytes()) % u64::from(n_partitions.max(1));
    PartitionId(u16::try_from(slot).unwrap_or(0))
}

impl Append {
    /// The most bytes of a record.
    pub const SIZE_BYTES_MAX: usize = 16 << 20;
}

impl Seq {
    /// The record after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl LogError {
    pub(crate) fn from_sql(err: sqlx::Error) -> Self {
        if crate::db::is_full(&err) {
            Self::Full(Arc::new(err))
        } else {
            Self::Io(Arc::new(err))
        }
    }
}
