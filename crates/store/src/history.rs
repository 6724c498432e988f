//! What devices reported and did, kept for weeks: wide Parquet files sorted by device and time, which other programs read too.
//!
//! Its rows come from the report log, which a reader of its own carries here, so judging never waits for it. What is not
//! in a file yet is in memory, and in the log until a file has it. A file's name says which records of the log it holds
//! the rows of: after a crash the log is read on from there, so no row is lost or there twice.
//!
//! Reading order: [`History`], `buffer` (rows that no file has), `name`, `report` and `activity` (the rows), `column` and
//! `file` (rows in, columns out), `shelves` (which files there are), `merge`, `values` (a metric out of it).

mod activity;
mod buffer;
mod column;
mod file;
mod merge;
mod name;
mod read;
mod report;
mod row;
mod shelves;
mod values;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use parquet::errors::ParquetError;
use picket_model::record::Stamped;
use picket_model::time::Timestamp;
use tokio::sync::Semaphore;

use self::buffer::{Buffer, Segment};
use self::file::FileWriter;
use self::name::{Day, FileKind, FileName, Shelf};
use self::row::Row;
use self::shelves::Shelves;
use crate::log::{PartitionId, Seq};

pub use report::ReportRow;
pub use values::{ValueKey, ValueQuery};

/// The files, and what will be in them.
pub struct History {
    store: Arc<dyn ObjectStore>,
    limits: HistoryLimits,
    /// One a partition of the log.
    buffers: Vec<Mutex<Buffer>>,
    shelves: Mutex<Shelves>,
    /// All partitions write when an hour ends: one after the other, or their columns would need much memory at once.
    writer: Semaphore,
}

/// Bounds of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// How long after its end a day is kept; it goes whole.
    pub age_max: Duration,
    /// How long rows wait in memory for others of the same hour before they are written to a file.
    pub wait_max: Duration,
    /// About the most memory that rows of all partitions may take while they wait.
    pub buffer_bytes_max: usize,
}

/// Why history cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The folder cannot be used.
    #[error("the folder of history {path:?} cannot be used")]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Files cannot be listed, read, written or deleted: the disk is full or gone. The same may work later.
    #[error("files of history cannot be read or written")]
    Store(#[from] object_store::Error),
    /// Rows cannot be made a file.
    #[error("rows cannot be made a file of history")]
    Write(#[from] ParquetError),
    /// Work was cut off because the server stops.
    #[error("the server stops")]
    Stopped,
}

impl History {
    /// The history in a folder, which is made if it is missing. What was written is on the disk.
    ///
    /// # Errors
    /// [`HistoryError::Folder`], [`HistoryError::Store`].
    pub async fn open(folder: &Path, n_partitions: u16, limits: HistoryLimits) -> Result<Self, HistoryError> {
        let failed = |source| HistoryError::Folder {
            path: folder.to_owned(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        buffer::remove_unfinished(folder).map_err(failed)?;
        let store = LocalFileSystem::new_with_prefix(folder)?
            .with_fsync(true)
            .with_automatic_cleanup(true);
        Self::over(Arc::new(store), n_partitions, limits).await
    }

    /// The history in any place that keeps files whole.
    ///
    /// # Errors
    /// [`HistoryError::Store`].
    pub async fn over(
        store: Arc<dyn ObjectStore>,
        n_partitions: u16,
        limits: HistoryLimits,
    ) -> Result<Self, HistoryError> {
        let mut shelves = Shelves::read(&*store).await?;
        for name in shelves.take_covered() {
            delete(&*store, &name).await?;
        }
        let buffers = (0..n_partitions)
            .map(|partition| {
                let last = |kind| shelves.last(PartitionId(partition), kind);
                Mutex::new(Buffer::new(last(FileKind::Reports), last(FileKind::Activity)))
            })
            .collect();
        Ok(Self {
            store,
            limits,
            buffers,
            shelves: Mutex::new(shelves),
            writer: Semaphore::new(1),
        })
    }

    /// The next record of the partition that history has to see.
    pub fn next(&self, partition: PartitionId) -> Seq {
        self.buffer(partition).next()
    }

    /// What is before `first` is not there any more: goes on from there.
    pub fn skip_to(&self, partition: PartitionId, first: Seq) {
        self.buffer(partition).skip_to(first);
    }

    /// The last record up to which all that is to be kept is in files.
    pub fn mark(&self, partition: PartitionId) -> Seq {
        self.buffer(partition).mark()
    }

    /// Whether rows have to be written before the record can be taken: there is no more room, or another hour begins.
    pub fn is_full(&self, partition: PartitionId, stamped: &Stamped) -> bool {
        self.buffer(partition).is_full(stamped, self.segment_bytes_max())
    }

    /// Takes the next record; only its rows matter, if it has any.
    pub fn take(&self, partition: PartitionId, seq: Seq, stamped: Stamped) {
        self.buffer(partition).take(seq, stamped);
    }

    /// Whether rows have waited long enough.
    pub fn is_due(&self, partition: PartitionId, now: Timestamp) -> bool {
        let bytes_max = self.segment_bytes_max();
        self.buffer(partition).is_due(now, self.limits.wait_max, bytes_max)
    }

    /// Writes the rows that wait, if any. They are in files when this returns; until then they are in memory, also after
    /// an error: the same again works once there is room.
    ///
    /// # Errors
    /// [`HistoryError::Store`], [`HistoryError::Write`].
    pub async fn flush(&self, partition: PartitionId) -> Result<(), HistoryError> {
        let _alone = self.writer.acquire().await.map_err(|_| HistoryError::Stopped)?;
        loop {
            let Some(segment) = self.buffer(partition).begin_write() else {
                return Ok(());
            };
            self.write_segment(partition, &segment).await?;
        }
    }

    async fn write_segment(&self, partition: PartitionId, segment: &Arc<Segment>) -> Result<(), HistoryError> {
        // Activity first: whoever finds the file of the reports after a crash knows that the other is there.
        let mut written = Vec::new();
        for kind in [FileKind::Activity, FileKind::Reports] {
            if let Some(file) = self.write(partition, kind, segment).await? {
                written.push(file);
            }
        }
        let mut buffer = self.buffer(partition);
        let mut shelves = self.shelves();
        for (name, size_bytes) in written {
            shelves.add(name, size_bytes);
        }
        buffer.is_written();
        Ok(())
    }

    /// Deletes the days that are older than they may be, whole.
    ///
    /// # Errors
    /// [`HistoryError::Store`]: what is left goes the next time.
    pub async fn expire(&self, now: Timestamp) -> Result<(), HistoryError> {
        let oldest = now.minus(self.limits.age_max);
        let expired = self.shelves().take_ended_by(oldest);
        for (at, name) in expired.iter().enumerate() {
            if let Err(err) = delete(&*self.store, name).await {
                // They are found again at the next start; until then nobody sees them.
                tracing::warn!(
                    n_files = expired.len() - at,
                    "expired files of history cannot be deleted, the next start does"
                );
                return Err(err);
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        partition: PartitionId,
        kind: FileKind,
        segment: &Arc<Segment>,
    ) -> Result<Option<(FileName, u64)>, HistoryError> {
        let Some(at) = segment.stamp_of(kind) else {
            return Ok(None);
        };
        let name = FileName {
            shelf: Shelf {
                partition,
                kind,
                day: Day::of(at),
            },
            hour: Some(name::hour_of(at)),
            first: segment.first,
            last: segment.last,
        };
        let rows = Arc::clone(segment);
        let bytes = blocking(move || match kind {
            FileKind::Reports => encode(&rows.reports),
            FileKind::Activity => encode(&rows.activity),
        })
        .await??;
        let size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.store.put(&name.path(), PutPayload::from(bytes)).await?;
        Ok(Some((name, size_bytes)))
    }

    fn segment_bytes_max(&self) -> usize {
        self.limits.buffer_bytes_max / self.buffers.len().max(1)
    }

    fn buffer(&self, partition: PartitionId) -> MutexGuard<'_, Buffer> {
        let at = usize::from(partition.0) % self.buffers.len().max(1);
        locked(&self.buffers[at])
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        locked(&self.shelves)
    }
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History")
            .field("store", &self.store)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Sorts rows, brings together what belongs together, and makes a file of them.
fn encode<R: Row>(rows: &[R]) -> Result<Bytes, ParquetError> {
    let mut sorted: Vec<&R> = rows.iter().collect();
    sorted.sort_by(|one, other| one.key().cmp(&other.key()));
    let mut writer = FileWriter::new()?;
    let mut bytes = Vec::new();
    for device in sorted.chunk_by(|one, other| one.key().0 == other.key().0) {
        let mut device: Vec<R> = device.iter().copied().cloned().collect();
        R::settle(&mut device);
        for row in &device {
            bytes.extend(writer.push(row)?.unwrap_or_default());
        }
    }
    bytes.extend(writer.finish()?);
    Ok(bytes.into())
}

async fn delete(store: &dyn ObjectStore, name: &FileName) -> Result<(), HistoryError> {
    match store.delete(&name.path()).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// Work that keeps a thread busy.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, HistoryError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| HistoryError::Stopped)
}

/// Whoever panicked while it held it left it as it was: it is changed in one step.
fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
