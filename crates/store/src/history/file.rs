//! Files: rows in, sorted, columns out.

use std::sync::Arc;

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::reader::get_column_reader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, SortingColumn};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::reader::{ChunkReader, FileReader as _, Length};
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use parquet::file::statistics::Statistics;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use tokio::runtime::Handle;

use super::column::{Cell, Column, Packing, Spec};
use super::row::Row;

/// Rows of a page: what has to be unpacked at least to find one device's.
const PAGE_ROWS_MAX: usize = 2048;

/// Rows of a row group, and the memory that they take at most before they are written.
const GROUP_ROWS_MAX: usize = 256 * 1024;
const GROUP_BYTES_MAX: usize = 128 << 20;

/// The end of a file is read at once: most files have their whole index in it.
const TAIL_BYTES: u64 = 64 << 10;

/// Writes rows, which come sorted, into a file.
pub(super) struct FileWriter<R: Row> {
    writer: SerializedFileWriter<Vec<u8>>,
    columns: Vec<Column>,
    n_rows: usize,
    size_bytes: usize,
    rows: std::marker::PhantomData<R>,
}

impl<R: Row> FileWriter<R> {
    pub(super) fn new() -> Result<Self> {
        let schema = Arc::new(parse_message_type(R::SCHEMA)?);
        let writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties(R::COLUMNS)?))?;
        Ok(Self {
            writer,
            columns: empty(R::COLUMNS),
            n_rows: 0,
            size_bytes: 0,
            rows: std::marker::PhantomData,
        })
    }

    /// Adds the next row, and says what of the file is ready, if anything.
    pub(super) fn push(&mut self, row: &R) -> Result<Option<Bytes>> {
        row.shred(&mut self.columns);
        self.n_rows += 1;
        self.size_bytes += row.size_bytes();
        if self.n_rows < GROUP_ROWS_MAX && self.size_bytes < GROUP_BYTES_MAX {
            return Ok(None);
        }
        self.end_group()?;
        Ok(Some(std::mem::take(self.writer.inner_mut()).into()))
    }

    /// The rest of the file.
    pub(super) fn finish(mut self) -> Result<Bytes> {
        if self.n_rows != 0 {
            self.end_group()?;
        }
        self.writer.into_inner().map(Bytes::from)
    }

    fn end_group(&mut self) -> Result<()> {
        let columns = std::mem::replace(&mut self.columns, empty(R::COLUMNS));
        (self.n_rows, self.size_bytes) = (0, 0);
        let mut group = self.writer.next_row_group()?;
        for column in &columns {
            let Some(mut writer) = group.next_column()? else {
                break;
            };
            column.write(writer.untyped())?;
            writer.close()?;
        }
        group.close().map(|_| ())
    }
}

fn empty(columns: &[Spec]) -> Vec<Column> {
    columns.iter().map(Column::new).collect()
}

fn properties(columns: &[Spec]) -> Result<WriterProperties> {
    let sorted = |column_idx| SortingColumn {
        column_idx,
        descending: false,
        nulls_first: false,
    };
    let mut properties = WriterProperties::builder()
        // Pages of the first version are compressed with their levels, which here are most of a list that stays as it is.
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_data_page_row_count_limit(PAGE_ROWS_MAX)
        .set_write_batch_size(PAGE_ROWS_MAX)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_sorting_columns(Some(vec![sorted(0), sorted(1)]))
        .set_created_by("picket".to_owned());
    for (at, column) in columns.iter().enumerate() {
        let path = ColumnPath::from(column.path.split('.').map(str::to_owned).collect::<Vec<_>>());
        if at < 2 {
            properties = properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::Page);
        }
        let encoding = match column.packing {
            Packing::Dictionary => continue,
            Packing::Delta => Encoding::DELTA_BINARY_PACKED,
            Packing::Random => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        };
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, encoding);
    }
    Ok(properties.build())
}

/// A file that is read.
pub(super) struct OpenFile {
    reader: SerializedFileReader<Object>,
    columns: &'static [Spec],
}

/// Rows of one device in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    group: usize,
    first: usize,
    pub(super) n_rows: usize,
}

impl OpenFile {
    /// Reads what a file says of itself. Blocks.
    pub(super) fn open(object: Object, columns: &'static [Spec]) -> Result<Self> {
        let options = ReadOptionsBuilder::new().with_page_index().build();
        let reader = SerializedFileReader::new_with_options(object, options)?;
        let found = reader.metadata().file_metadata().schema_descr();
        let is_ours = found.num_columns() == columns.len()
            && found
                .columns()
                .iter()
                .zip(columns)
                .all(|(found, column)| found.path().string() == column.path);
        if !is_ours {
            return Err(ParquetError::General(
                "its columns are not those that this version writes".to_owned(),
            ));
        }
        Ok(Self { reader, columns })
    }

    /// All rows, a piece at a time.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Span> + use<> {
        let rows: Vec<usize> = self
            .metadata()
            .row_groups()
            .iter()
            .map(|group| usize::try_from(group.num_rows()).unwrap_or(0))
            .collect();
        rows.into_iter().enumerate().flat_map(|(group, n_rows)| {
            (0..n_rows).step_by(PAGE_ROWS_MAX).map(move |first| Span {
                group,
                first,
                n_rows: PAGE_ROWS_MAX.min(n_rows - first),
            })
        })
    }

    /// The rows of one device. Blocks.
    pub(super) fn rows_of(&self, name: &str) -> Result<Vec<Span>> {
        let mut spans = Vec::new();
        for group in 0..self.metadata().num_row_groups() {
            let Some((first, n_rows)) = self.pages_with(group, name.as_bytes())? else {
                continue;
            };
            let mut names = self.column(0, Span { group, first, n_rows })?;
            let mut found = None;
            for at in first..first + n_rows {
                let is_it = matches!(names.take()?, Some(Cell::Bytes(bytes)) if bytes.data() == name.as_bytes());
                match (&mut found, is_it) {
                    (None, true) => {
                        found = Some(Span {
                            group,
                            first: at,
                            n_rows: 1,
                        });
                    }
                    (Some(span), true) => span.n_rows += 1,
                    (Some(_), false) => break,
                    (None, false) => {}
                }
            }
            spans.extend(found);
        }
        Ok(spans)
    }

    /// The part of a span whose times are in the range, which has its begin and not its end.
    pub(super) fn between(&self, span: Span, from: i64, until: i64) -> Result<(Span, Vec<i64>)> {
        let mut column = self.column(1, span)?;
        let mut times = Vec::with_capacity(span.n_rows);
        for _ in 0..span.n_rows {
            times.push(column.take()?.map_or(Ok(0), Cell::into_i64)?);
        }
        let begin = times.partition_point(|at| *at < from);
        let end = times.partition_point(|at| *at < until).max(begin);
        let part = Span {
            first: span.first + begin,
            n_rows: end - begin,
            ..span
        };
        Ok((part, times[begin..end].to_vec()))
    }

    /// One column of these rows. Blocks.
    pub(super) fn column(&self, at: usize, span: Span) -> Result<Column> {
        let group = self.reader.get_row_group(span.group)?;
        let description = self.metadata().row_group(span.group).column(at).column_descr_ptr();
        let reader = get_column_reader(description, group.get_column_page_reader(at)?);
        Column::read(&self.columns[at], reader, span.first, span.n_rows)
    }

    /// All of these rows. Blocks.
    pub(super) fn rows<R: Row>(&self, span: Span) -> Result<Vec<R>> {
        let mut columns: Vec<Column> = (0..self.columns.len())
            .map(|at| self.column(at, span))
            .collect::<Result<_>>()?;
        (0..span.n_rows).map(|_| R::assemble(&mut columns)).collect()
    }

    /// First row and number of rows of the pages that may hold the device.
    fn pages_with(&self, group: usize, name: &[u8]) -> Result<Option<(usize, usize)>> {
        let metadata = self.metadata().row_group(group);
        let n_rows = usize::try_from(metadata.num_rows())?;
        if let Some(Statistics::ByteArray(bounds)) = metadata.column(0).statistics() {
            let is_below = bounds.min_opt().is_some_and(|min| name < min.data());
            let is_above = bounds.max_opt().is_some_and(|max| max.data() < name);
            if is_below || is_above {
                return Ok(None);
            }
        }
        let index = self.metadata().page_index_for_row_group(group);
        let (Some(ColumnIndexMetaData::BYTE_ARRAY(bounds)), Some(offsets)) =
            (index.column_index(0), index.offset_index(0))
        else {
            return Ok(Some((0, n_rows)));
        };
        let starts: Vec<usize> = offsets
            .page_locations()
            .iter()
            .map(|page| usize::try_from(page.first_row_index))
            .collect::<std::result::Result<_, _>>()?;
        let may_hold = |page: &usize| {
            bounds.min_value(*page).is_none_or(|min| min <= name)
                && bounds.max_value(*page).is_none_or(|max| name <= max)
        };
        let mut pages = (0..starts.len()).filter(may_hold);
        let Some(first) = pages.next() else {
            return Ok(None);
        };
        let last = pages.next_back().unwrap_or(first);
        let end = starts.get(last + 1).copied().unwrap_or(n_rows).min(n_rows);
        Ok(Some((starts[first], end.saturating_sub(starts[first]))))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.reader.metadata()
    }
}

/// A file where it lies. Reading blocks, so it is for threads that may.
pub(super) struct Object {
    store: Arc<dyn ObjectStore>,
    path: object_store::path::Path,
    size_bytes: u64,
    tail: Bytes,
    runtime: Handle,
}

impl Object {
    /// Reads the end of it. Blocks.
    pub(super) fn open(
        store: Arc<dyn ObjectStore>,
        path: object_store::path::Path,
        size_bytes: u64,
        runtime: Handle,
    ) -> object_store::Result<Self> {
        let from = size_bytes.saturating_sub(TAIL_BYTES);
        let tail = if size_bytes == 0 {
            Bytes::new()
        } else {
            runtime.block_on(store.get_range(&path, from..size_bytes))?
        };
        Ok(Self {
            store,
            path,
            size_bytes,
            tail,
            runtime,
        })
    }
}

impl Length for Object {
    fn len(&self) -> u64 {
        self.size_bytes
    }
}

impl ChunkReader for Object {
    type T = bytes::buf::Reader<Bytes>;

    // Names of the trait's, spelled so because names of our own never begin like that.
    fn r#get_read(&self, start: u64) -> Result<Self::T> {
        let length = usize::try_from(self.size_bytes.saturating_sub(start))?;
        self.get_bytes(start, length).map(bytes::Buf::reader)
    }

    fn r#get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start
            .checked_add(u64::try_from(length)?)
            .filter(|end| *end <= self.size_bytes)
            .ok_or_else(|| ParquetError::EOF(format!("{length} bytes at {start} are beyond the file's end")))?;
        let tail_start = self.size_bytes - u64::try_from(self.tail.len())?;
        if tail_start <= start {
            let at = usize::try_from(start - tail_start)?;
            return Ok(self.tail.slice(at..at + length));
        }
        self.runtime
            .block_on(self.store.get_range(&self.path, start..end))
            .map_err(|err| ParquetError::External(Box::new(err)))
    }
}
