//! A row of a file, whatever it is about.

use parquet::errors::Result;

use super::column::{Column, Spec};

/// A row of a file of one kind. Files are sorted by [`Row::key`].
pub(super) trait Row: Clone + Send + Sync + Sized + 'static {
    /// The schema, as Parquet writes it down.
    const SCHEMA: &'static str;
    /// Its leaves in order. The first is the name of the row's device, the second its time.
    const COLUMNS: &'static [Spec];

    /// What rows are sorted by: the device's name, the time in milliseconds, the place in the log.
    fn key(&self) -> Key<'_>;

    /// About the memory that it takes.
    fn size_bytes(&self) -> usize;

    /// Adds itself to the columns.
    fn shred(&self, columns: &mut [Column]);

    /// Takes the next row from the columns.
    ///
    /// # Errors
    /// The file does not hold what this version writes.
    fn assemble(columns: &mut [Column]) -> Result<Self>;

    /// Brings together what belongs together among the rows of one device, which are sorted.
    fn settle(rows: &mut Vec<Self>);
}

/// What rows are sorted by.
pub(super) type Key<'a> = (&'a str, i64, u64);
