//! Many small files become one.

use std::collections::VecDeque;

use bytes::Bytes;
use object_store::buffered::BufWriter;
use parquet::errors::ParquetError;
use picket_model::time::Timestamp;
use tokio::io::AsyncWriteExt as _;

use super::activity::Activity;
use super::file::{FileWriter, OpenFile, Span};
use super::name::{FileKind, FileName};
use super::read::{Reader, Trouble};
use super::report::ReportRow;
use super::row::Row;
use super::{History, HistoryError, blocking, delete};

/// Why files were not merged.
enum NotMerged {
    Input(Trouble),
    Output(HistoryError),
}

impl History {
    /// Merges the files of one hour or day that is over, if there are any to merge; says whether there were. Whoever
    /// reads meanwhile finds either the old files or the new one.
    ///
    /// # Errors
    /// [`HistoryError::Store`], [`HistoryError::Write`]: nothing has changed.
    pub async fn merge(&self, now: Timestamp) -> Result<bool, HistoryError> {
        let Some((files, name)) = self.shelves().to_merge(now) else {
            return Ok(false);
        };
        let reader = Reader::of(self);
        let (inputs, output) = (files.clone(), name.clone());
        let merged = blocking(move || match output.shelf.kind {
            FileKind::Reports => merged::<ReportRow>(&reader, inputs, &output),
            FileKind::Activity => merged::<Activity>(&reader, inputs, &output),
        });
        match merged.await? {
            Ok(size_bytes) => {
                let mut shelves = self.shelves();
                files.iter().for_each(|(file, _)| shelves.remove(file));
                shelves.add(name.clone(), size_bytes);
            }
            Err(NotMerged::Output(err)) => return Err(err),
            Err(NotMerged::Input(Trouble::Store(err))) => return Err(err.into()),
            Err(NotMerged::Input(Trouble::Gone)) => return Ok(false),
            Err(NotMerged::Input(Trouble::Damaged(file, reason))) => {
                self.set_aside(&file, &reason).await?;
                return Ok(true);
            }
        }
        for (file, _) in &files {
            delete(&*self.store, file).await?;
        }
        Ok(true)
    }
}

/// The rows of a file, one after the other.
struct Rows<R> {
    file: (FileName, u64),
    open: OpenFile,
    pieces: VecDeque<Span>,
    rows: VecDeque<R>,
}

impl<R: Row> Rows<R> {
    fn of(reader: &Reader, file: (FileName, u64)) -> Result<Self, Trouble> {
        let open = reader.open(&file, R::COLUMNS)?;
        let pieces = open.pieces().collect();
        Ok(Self {
            file,
            open,
            pieces,
            rows: VecDeque::new(),
        })
    }

    /// The device of the next row.
    fn device(&mut self, reader: &Reader) -> Result<Option<String>, Trouble> {
        while self.rows.is_empty() {
            let Some(piece) = self.pieces.pop_front() else {
                return Ok(None);
            };
            self.rows = reader.guarded(&self.file, || self.open.rows(piece))?.into();
        }
        Ok(self.rows.front().map(|row| row.key().0.to_owned()))
    }

    /// Adds the rows of this device, which are the next if there are any.
    fn take(&mut self, reader: &Reader, device: &str, taken: &mut Vec<R>) -> Result<(), Trouble> {
        while self.device(reader)?.as_deref() == Some(device) {
            let n = self.rows.partition_point(|row| row.key().0 == device);
            taken.extend(self.rows.drain(..n.max(1)));
        }
        Ok(())
    }
}

fn merged<R: Row>(reader: &Reader, files: Vec<(FileName, u64)>, output: &FileName) -> Result<u64, NotMerged> {
    let inputs: Result<Vec<Rows<R>>, _> = files.into_iter().map(|file| Rows::of(reader, file)).collect();
    let mut inputs = inputs.map_err(NotMerged::Input)?;
    let mut upload = Upload {
        reader,
        writer: BufWriter::new(std::sync::Arc::clone(reader.store()), output.path()),
        size_bytes: 0,
    };
    match pour(reader, &mut inputs, &mut upload) {
        Ok(()) => upload.finish().map_err(NotMerged::Output),
        Err(err) => {
            upload.abort();
            Err(err)
        }
    }
}

fn pour<R: Row>(reader: &Reader, inputs: &mut [Rows<R>], upload: &mut Upload<'_>) -> Result<(), NotMerged> {
    let unwritten = |err: ParquetError| NotMerged::Output(err.into());
    let mut writer = FileWriter::new().map_err(unwritten)?;
    loop {
        let mut next: Option<String> = None;
        for input in inputs.iter_mut() {
            let device = input.device(reader).map_err(NotMerged::Input)?;
            next = match (next, device) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        let Some(device) = next else { break };
        let mut rows = Vec::new();
        for input in inputs.iter_mut() {
            input.take(reader, &device, &mut rows).map_err(NotMerged::Input)?;
        }
        rows.sort_by(|one, other| one.key().cmp(&other.key()));
        R::settle(&mut rows);
        for row in &rows {
            if let Some(bytes) = writer.push(row).map_err(unwritten)? {
                upload.put(bytes).map_err(NotMerged::Output)?;
            }
        }
    }
    upload
        .put(writer.finish().map_err(unwritten)?)
        .map_err(NotMerged::Output)
}

/// A file that appears whole or not at all.
struct Upload<'r> {
    reader: &'r Reader,
    writer: BufWriter,
    size_bytes: u64,
}

impl Upload<'_> {
    fn put(&mut self, bytes: Bytes) -> Result<(), HistoryError> {
        self.size_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(self.reader.runtime().block_on(self.writer.put(bytes))?)
    }

    fn finish(mut self) -> Result<u64, HistoryError> {
        let done = self.reader.runtime().block_on(self.writer.shutdown());
        done.map_err(|source| object_store::Error::Generic {
            store: "history",
            source: source.into(),
        })?;
        Ok(self.size_bytes)
    }

    fn abort(mut self) {
        // What was not begun cannot be aborted, which is as good.
        drop(self.reader.runtime().block_on(self.writer.abort()));
    }
}
