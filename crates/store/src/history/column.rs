//! Columns of a file in memory: values with the levels by which Parquet nests them, pushed and taken row by row.

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result};

/// What a column is in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    /// Its path in the schema, with dots.
    pub(super) path: &'static str,
    /// What its values are.
    pub(super) kind: Kind,
    /// Where it may be absent or repeated.
    pub(super) nesting: Nesting,
    /// How its values are written down.
    pub(super) packing: Packing,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    I32,
    I64,
    F64,
    Bytes,
}

/// Where a column may be absent or repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nesting {
    /// One value in each row.
    Required,
    /// One value or none.
    Optional,
    /// A list or none; each element has the value.
    Element,
    /// A list or none; an element has the value or not.
    OptionalElement,
}

/// How values are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Few different values.
    Dictionary,
    /// Whole numbers near those before them.
    Delta,
    /// Bytes of one length that nothing predicts.
    Random,
}

/// A column's place and form.
pub(super) const fn spec(path: &'static str, kind: Kind, nesting: Nesting, packing: Packing) -> Spec {
    Spec {
        path,
        kind,
        nesting,
        packing,
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Bool(bool),
    I32(i32),
    I64(i64),
    F64(f64),
    Bytes(ByteArray),
}

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    nesting: Nesting,
    values: Values,
    definition: Vec<i16>,
    repetition: Vec<i16>,
    next_value: usize,
    next_level: usize,
}

#[derive(Debug)]
enum Values {
    Bool(Vec<bool>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    F64(Vec<f64>),
    Bytes(Vec<ByteArray>),
}

impl Nesting {
    const fn is_list(self) -> bool {
        matches!(self, Self::Element | Self::OptionalElement)
    }

    /// The definition level of a value that is there.
    const fn level_max(self) -> i16 {
        match self {
            Self::Required => 0,
            Self::Optional => 1,
            Self::Element => 2,
            Self::OptionalElement => 3,
        }
    }
}

impl Column {
    /// An empty column.
    pub(super) fn new(spec: &Spec) -> Self {
        Self {
            nesting: spec.nesting,
            values: match spec.kind {
                Kind::Bool => Values::Bool(Vec::new()),
                Kind::I32 => Values::I32(Vec::new()),
                Kind::I64 => Values::I64(Vec::new()),
                Kind::F64 => Values::F64(Vec::new()),
                Kind::Bytes => Values::Bytes(Vec::new()),
            },
            definition: Vec::new(),
            repetition: Vec::new(),
            next_value: 0,
            next_level: 0,
        }
    }

    /// Adds the value of the next row; `None` only where the column may be absent.
    pub(super) fn push(&mut self, cell: Option<Cell>) {
        if self.nesting == Nesting::Optional {
            self.definition.push(i16::from(cell.is_some()));
        }
        if let Some(cell) = cell {
            self.values.push(cell);
        }
    }

    /// Adds the list of the next row.
    pub(super) fn push_list(&mut self, list: Option<impl IntoIterator<Item = Option<Cell>>>) {
        let Some(list) = list else {
            self.level(0, 0);
            return;
        };
        let mut repetition = 0;
        for cell in list {
            let level = self.nesting.level_max() - i16::from(cell.is_none());
            self.level(level, repetition);
            repetition = 1;
            if let Some(cell) = cell {
                self.values.push(cell);
            }
        }
        if repetition == 0 {
            self.level(1, 0);
        }
    }

    /// Takes the value of the next row.
    pub(super) fn take(&mut self) -> Result<Option<Cell>> {
        if self.nesting == Nesting::Optional {
            let level = self.definition.get(self.next_level).ok_or_else(ended)?;
            self.next_level += 1;
            if *level == 0 {
                return Ok(None);
            }
        }
        self.value().map(Some)
    }

    /// Takes the list of the next row.
    pub(super) fn take_list(&mut self) -> Result<Option<Vec<Option<Cell>>>> {
        let first = *self.definition.get(self.next_level).ok_or_else(ended)?;
        if first < 2 {
            self.next_level += 1;
            return Ok((first == 1).then(Vec::new));
        }
        let mut list = Vec::new();
        loop {
            let level = self.definition[self.next_level];
            self.next_level += 1;
            let is_there = level == self.nesting.level_max();
            list.push(if is_there { Some(self.value()?) } else { None });
            if self.repetition.get(self.next_level) != Some(&1) {
                return Ok(Some(list));
            }
        }
    }

    /// Writes all of it.
    pub(super) fn write(&self, writer: &mut ColumnWriter<'_>) -> Result<()> {
        let definition = (self.nesting != Nesting::Required).then_some(self.definition.as_slice());
        let repetition = self.nesting.is_list().then_some(self.repetition.as_slice());
        match (writer, &self.values) {
            (ColumnWriter::BoolColumnWriter(writer), Values::Bool(values)) => {
                writer.write_batch(values, definition, repetition)
            }
            (ColumnWriter::Int32ColumnWriter(writer), Values::I32(values)) => {
                writer.write_batch(values, definition, repetition)
            }
            (ColumnWriter::Int64ColumnWriter(writer), Values::I64(values)) => {
                writer.write_batch(values, definition, repetition)
            }
            (ColumnWriter::DoubleColumnWriter(writer), Values::F64(values)) => {
                writer.write_batch(values, definition, repetition)
            }
            (ColumnWriter::ByteArrayColumnWriter(writer), Values::Bytes(values)) => {
                writer.write_batch(values, definition, repetition)
            }
            _ => return Err(other_type()),
        }
        .map(|_| ())
    }

    /// Reads `n_rows` after `n_skipped` from a file that has this column.
    pub(super) fn read(spec: &Spec, reader: ColumnReader, n_skipped: usize, n_rows: usize) -> Result<Self> {
        let mut column = Self::new(spec);
        let Self {
            values,
            definition,
            repetition,
            ..
        } = &mut column;
        let n_read = match (reader, values) {
            (ColumnReader::BoolColumnReader(reader), Values::Bool(values)) => {
                read(reader, n_skipped, n_rows, definition, repetition, values)
            }
            (ColumnReader::Int32ColumnReader(reader), Values::I32(values)) => {
                read(reader, n_skipped, n_rows, definition, repetition, values)
            }
            (ColumnReader::Int64ColumnReader(reader), Values::I64(values)) => {
                read(reader, n_skipped, n_rows, definition, repetition, values)
            }
            (ColumnReader::DoubleColumnReader(reader), Values::F64(values)) => {
                read(reader, n_skipped, n_rows, definition, repetition, values)
            }
            (ColumnReader::ByteArrayColumnReader(reader), Values::Bytes(values)) => {
                read(reader, n_skipped, n_rows, definition, repetition, values)
            }
            _ => return Err(other_type()),
        }?;
        if n_read == n_rows { Ok(column) } else { Err(ended()) }
    }

    fn level(&mut self, definition: i16, repetition: i16) {
        self.definition.push(definition);
        self.repetition.push(repetition);
    }

    fn value(&mut self) -> Result<Cell> {
        let at = self.next_value;
        self.next_value += 1;
        self.values.at(at).ok_or_else(ended)
    }
}

/// The columns of a row, one after the other.
pub(super) struct Cursor<'c> {
    columns: &'c mut [Column],
    at: usize,
}

impl<'c> Cursor<'c> {
    pub(super) fn new(columns: &'c mut [Column]) -> Self {
        Self { columns, at: 0 }
    }

    fn next(&mut self) -> &mut Column {
        self.at += 1;
        &mut self.columns[self.at - 1]
    }

    pub(super) fn put(&mut self, cell: Cell) {
        self.next().push(Some(cell));
    }

    pub(super) fn option(&mut self, cell: Option<Cell>) {
        self.next().push(cell);
    }

    pub(super) fn count(&mut self, count: Option<u64>) {
        self.option(count.map(|count| Cell::I64(i64::try_from(count).unwrap_or(i64::MAX))));
    }

    pub(super) fn list(&mut self, list: Option<impl IntoIterator<Item = Option<Cell>>>) {
        self.next().push_list(list);
    }

    pub(super) fn required(&mut self) -> Result<Cell> {
        self.next().take()?.ok_or_else(ended)
    }

    pub(super) fn taken_option<T>(&mut self, each: impl Fn(Cell) -> Result<T>) -> Result<Option<T>> {
        self.next().take()?.map(each).transpose()
    }

    pub(super) fn taken_count(&mut self) -> Result<Option<u64>> {
        Ok(self.taken_option(Cell::into_i64)?.map(i64::cast_unsigned))
    }

    pub(super) fn taken<T>(&mut self, each: impl Fn(Cell) -> Result<T>) -> Result<Option<Vec<Option<T>>>> {
        let Some(list) = self.next().take_list()? else {
            return Ok(None);
        };
        let list: Result<_> = list.into_iter().map(|cell| cell.map(&each).transpose()).collect();
        list.map(Some)
    }

    pub(super) fn texts(&mut self) -> Result<Vec<String>> {
        let list = self.taken(Cell::into_text)?.unwrap_or_default();
        Ok(list.into_iter().flatten().collect())
    }
}

impl Values {
    fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Self::Bool(values), Cell::Bool(value)) => values.push(value),
            (Self::I32(values), Cell::I32(value)) => values.push(value),
            (Self::I64(values), Cell::I64(value)) => values.push(value),
            (Self::F64(values), Cell::F64(value)) => values.push(value),
            (Self::Bytes(values), Cell::Bytes(value)) => values.push(value),
            _ => debug_assert!(false, "a row writes what its columns say"),
        }
    }

    fn at(&self, at: usize) -> Option<Cell> {
        match self {
            Self::Bool(values) => values.get(at).copied().map(Cell::Bool),
            Self::I32(values) => values.get(at).copied().map(Cell::I32),
            Self::I64(values) => values.get(at).copied().map(Cell::I64),
            Self::F64(values) => values.get(at).copied().map(Cell::F64),
            Self::Bytes(values) => values.get(at).cloned().map(Cell::Bytes),
        }
    }
}

impl Cell {
    /// Of a text.
    pub(super) fn text(text: &str) -> Self {
        Self::Bytes(text.into())
    }

    pub(super) fn into_bool(self) -> Result<bool> {
        match self {
            Self::Bool(value) => Ok(value),
            _ => Err(other_type()),
        }
    }

    pub(super) fn into_i32(self) -> Result<i32> {
        match self {
            Self::I32(value) => Ok(value),
            _ => Err(other_type()),
        }
    }

    pub(super) fn into_i64(self) -> Result<i64> {
        match self {
            Self::I64(value) => Ok(value),
            _ => Err(other_type()),
        }
    }

    pub(super) fn into_f64(self) -> Result<f64> {
        match self {
            Self::F64(value) => Ok(value),
            _ => Err(other_type()),
        }
    }

    pub(super) fn into_bytes(self) -> Result<ByteArray> {
        match self {
            Self::Bytes(value) => Ok(value),
            _ => Err(other_type()),
        }
    }

    pub(super) fn into_text(self) -> Result<String> {
        Ok(self.into_bytes()?.as_utf8()?.to_owned())
    }
}

fn read<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    n_skipped: usize,
    n_rows: usize,
    definition: &mut Vec<i16>,
    repetition: &mut Vec<i16>,
    values: &mut Vec<T::T>,
) -> Result<usize> {
    if reader.skip_records(n_skipped)? < n_skipped {
        return Err(ended());
    }
    let mut n_read = 0;
    while n_read < n_rows {
        let (n, _, _) = reader.read_records(n_rows - n_read, Some(definition), Some(repetition), values)?;
        if n == 0 {
            break;
        }
        n_read += n;
    }
    Ok(n_read)
}

fn ended() -> ParquetError {
    ParquetError::EOF("a column ends before its rows do".to_owned())
}

fn other_type() -> ParquetError {
    ParquetError::General("a column has another type than this version writes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(nesting: Nesting) -> Column {
        Column::new(&Spec {
            path: "x",
            kind: Kind::I32,
            nesting,
            packing: Packing::Dictionary,
        })
    }

    #[test]
    fn what_is_pushed_is_taken() {
        for nesting in [Nesting::Required, Nesting::Optional] {
            let mut one = column(nesting);
            let rows = [Some(Cell::I32(7)), None, Some(Cell::I32(8))];
            let rows: Vec<_> = rows
                .into_iter()
                .filter(|row| nesting == Nesting::Optional || row.is_some())
                .collect();
            rows.iter().for_each(|row| one.push(row.clone()));
            for row in rows {
                assert_eq!(one.take().unwrap(), row, "{nesting:?}");
            }
            assert!(one.take().is_err(), "{nesting:?}");
        }
        for nesting in [Nesting::Element, Nesting::OptionalElement] {
            let mut one = column(nesting);
            let gap = (nesting == Nesting::Element).then_some(Cell::I32(9));
            let rows = [
                Some(vec![Some(Cell::I32(1)), gap.clone()]),
                None,
                Some(vec![]),
                Some(vec![gap]),
                Some(vec![Some(Cell::I32(2))]),
            ];
            rows.iter().for_each(|row| one.push_list(row.clone()));
            for row in rows {
                assert_eq!(one.take_list().unwrap(), row, "{nesting:?}");
            }
            assert!(one.take_list().is_err(), "{nesting:?}");
        }
    }
}
