//! Snapshots of engines: one file a partition, replaced whole, with a checksum.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use crate::log::{PartitionId, Seq};

/// A directory of snapshots.
#[derive(Clone, Debug)]
pub struct SnapshotDir {
    folder: PathBuf,
}

/// Why a snapshot was not stored or loaded.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file cannot be written or read. A store that failed leaves the snapshot before it whole.
    #[error("snapshot {path:?} cannot be {doing}")]
    Io {
        /// `written` or `read`.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not what was stored.
    #[error("snapshot {path:?} is damaged: {reason}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// What a file begins with; its last byte is the version of the frame.
const MAGIC: [u8; 8] = *b"PICKSNP\x01";
/// Magic, seq, checksum of seq and body.
const HEADER_BYTES: usize = 8 + 8 + 16;

impl SnapshotDir {
    /// The directory, made if it is missing.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn open(folder: &Path) -> Result<Self, SnapshotError> {
        fs::create_dir_all(folder).map_err(|source| failed("written", folder, source))?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Stores the state of a partition's engine after record `seq`: durable when this returns, in place of the one
    /// before. Blocks on the disk.
    ///
    /// # Errors
    /// [`SnapshotError::Io`]; the snapshot before it stays.
    pub fn store(&self, partition: PartitionId, seq: Seq, state: &[u8]) -> Result<(), SnapshotError> {
        let path = self.path(partition);
        let unfinished = path.with_extension("new");
        let write = || {
            let mut file = File::create(&unfinished)?;
            file.write_all(&MAGIC)?;
            file.write_all(&seq.0.to_le_bytes())?;
            file.write_all(&checksum(seq, state))?;
            file.write_all(state)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            // Only then does the new name survive a power cut.
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| {
            // What is unfinished only takes space.
            drop(fs::remove_file(&unfinished));
            failed("written", &path, source)
        })
    }

    /// The newest snapshot of a partition, if there ever was one. Blocks on the disk.
    ///
    /// # Errors
    /// [`SnapshotError::Io`], [`SnapshotError::Damaged`].
    pub fn load(&self, partition: PartitionId) -> Result<Option<(Seq, Vec<u8>)>, SnapshotError> {
        let path = self.path(partition);
        let mut bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", &path, source)),
        };
        let damaged = |reason| SnapshotError::Damaged {
            path: path.clone(),
            reason,
        };
        let rest = bytes
            .strip_prefix(&MAGIC)
            .ok_or_else(|| damaged("not a snapshot of this version"))?;
        let (seq, rest) = rest.split_first_chunk().ok_or_else(|| damaged("too short"))?;
        let (stored, state) = rest.split_first_chunk::<16>().ok_or_else(|| damaged("too short"))?;
        let seq = Seq(u64::from_le_bytes(*seq));
        if *stored != checksum(seq, state) {
            return Err(damaged("its checksum differs"));
        }
        Ok(Some((seq, bytes.split_off(HEADER_BYTES))))
    }

    fn path(&self, partition: PartitionId) -> PathBuf {
        self.folder.join(format!("{:05}.snapshot", partition.0))
    }
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> SnapshotError {
    SnapshotError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

fn checksum(seq: Seq, state: &[u8]) -> [u8; 16] {
    (xxh3_128(state) ^ u128::from(seq.0).rotate_left(64)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_snapshot_is_read_back_and_damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = SnapshotDir::open(&folder.path().join("snapshots")).unwrap();
        let (one, two) = (PartitionId(1), PartitionId(2));
        assert!(snapshots.load(one).unwrap().is_none());
        snapshots.store(one, Seq(7), b"seven").unwrap();
        snapshots.store(one, Seq(9), b"nine").unwrap();
        snapshots.store(two, Seq(1), b"").unwrap();
        assert_eq!(snapshots.load(one).unwrap(), Some((Seq(9), b"nine".to_vec())));
        assert_eq!(snapshots.load(two).unwrap(), Some((Seq(1), Vec::new())));

        let path = snapshots.path(one);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(
                matches!(snapshots.load(one), Err(SnapshotError::Damaged { .. })),
                "byte {at}"
            );
            fs::write(&path, &whole[..at]).unwrap();
            assert!(
                matches!(snapshots.load(one), Err(SnapshotError::Damaged { .. })),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn a_store_that_fails_leaves_the_snapshot_before() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = SnapshotDir::open(folder.path()).unwrap();
        snapshots.store(PartitionId(0), Seq(1), b"one").unwrap();
        fs::create_dir(folder.path().join("00000.new")).unwrap();
        assert!(matches!(
            snapshots.store(PartitionId(0), Seq(2), b"two"),
            Err(SnapshotError::Io { .. })
        ));
        assert_eq!(snapshots.load(PartitionId(0)).unwrap(), Some((Seq(1), b"one".to_vec())));
    }
}
