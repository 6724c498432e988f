//! Reads of files, which may be gone or damaged.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::errors::ParquetError;
use tokio::runtime::Handle;

use super::column::Spec;
use super::file::{Object, OpenFile};
use super::name::FileName;
use super::{History, HistoryError};

/// Why a file did not give what was wanted.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It was merged or has expired meanwhile.
    Gone,
    /// It does not hold what was written: why.
    Damaged(FileName, String),
    /// The place where it lies is out of order.
    Store(object_store::Error),
}

/// Opens files and reads from them; for threads that may block.
#[derive(Clone)]
pub(super) struct Reader {
    store: Arc<dyn ObjectStore>,
    runtime: Handle,
}

impl Reader {
    pub(super) fn of(history: &History) -> Self {
        Self {
            store: Arc::clone(&history.store),
            runtime: Handle::current(),
        }
    }

    pub(super) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Opens a file.
    pub(super) fn open(&self, file: &(FileName, u64), columns: &'static [Spec]) -> Result<OpenFile, Trouble> {
        let (name, size_bytes) = file;
        let object = Object::open(Arc::clone(&self.store), name.path(), *size_bytes, self.runtime.clone());
        let object = object.map_err(|err| self.trouble(file, err))?;
        self.guarded(file, || OpenFile::open(object, columns))
    }

    /// Runs what reads from a file. A file that nobody wrote may send the library astray: that is no reason to stop.
    pub(super) fn guarded<T>(
        &self,
        file: &(FileName, u64),
        read: impl FnOnce() -> parquet::errors::Result<T>,
    ) -> Result<T, Trouble> {
        match catch_unwind(AssertUnwindSafe(read)) {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(ParquetError::External(source))) => match source.downcast::<object_store::Error>() {
                Ok(err) => Err(self.trouble(file, *err)),
                Err(other) => Err(Trouble::Damaged(file.0.clone(), other.to_string())),
            },
            Ok(Err(err)) => Err(Trouble::Damaged(file.0.clone(), err.to_string())),
            Err(_) => Err(Trouble::Damaged(file.0.clone(), "it cannot be decoded".to_owned())),
        }
    }

    fn trouble(&self, (name, size_bytes): &(FileName, u64), err: object_store::Error) -> Trouble {
        if matches!(err, object_store::Error::NotFound { .. }) {
            return Trouble::Gone;
        }
        // A file that was cut off gives an error of the store when what is missing is read.
        match self.runtime.block_on(self.store.head(&name.path())) {
            Ok(found) if found.size != *size_bytes => Trouble::Damaged(
                name.clone(),
                format!("it has {} bytes, {size_bytes} were written", found.size),
            ),
            _ => Trouble::Store(err),
        }
    }
}

/// Where damaged files go.
const DAMAGED: &str = "damaged";

impl History {
    /// Puts a damaged file where nobody reads it, and says so, once.
    pub(super) async fn set_aside(&self, name: &FileName, reason: &str) -> Result<(), HistoryError> {
        self.shelves().remove(name);
        let from = name.path();
        let to = object_store::path::Path::from(format!("{DAMAGED}/{from}"));
        tracing::error!(file = %from, aside = %to, reason, "a file of history is damaged, its rows are missing");
        match self.store.rename(&from, &to).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }
}
