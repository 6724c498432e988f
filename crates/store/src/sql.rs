//! Values on their way into and out of SQL, the same for both engines.

use std::fmt;
use std::str::FromStr;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Decode, Postgres, Row as _, Sqlite, Type};

use crate::StoreError;

/// The arguments of a statement, in the order of `$1`, `$2`, ...
#[derive(Clone, Debug, Default)]
pub(crate) struct Args(Vec<Arg>);

/// One argument. `None` is NULL of that type: PostgreSQL wants to know the type even then.
#[derive(Clone, Debug)]
pub(crate) enum Arg {
    Int(Option<i64>),
    Real(Option<f64>),
    Bool(Option<bool>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// `args![name.as_str(), at, is_active]`: the arguments of a statement.
macro_rules! args {
    ($($value:expr),* $(,)?) => {{
        #[allow(unused_mut, reason = "a statement may take no argument")]
        let mut args = $crate::sql::Args::default();
        $(args.push($value);)*
        args
    }};
}
pub(crate) use args;

impl Args {
    /// Adds the next argument.
    pub(crate) fn push(&mut self, value: impl Into<Arg>) {
        self.0.push(value.into());
    }

    /// How many there are: the number of the last placeholder.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn into_sqlite(self) -> Result<SqliteArguments, StoreError> {
        let mut arguments = SqliteArguments::default();
        for arg in self.0 {
            match arg {
                Arg::Int(value) => arguments.add(value),
                Arg::Real(value) => arguments.add(value),
                Arg::Bool(value) => arguments.add(value),
                Arg::Text(value) => arguments.add(value),
                Arg::Bytes(value) => arguments.add(value),
            }
            .map_err(|source| StoreError::Unavailable(sqlx::Error::Encode(source)))?;
        }
        Ok(arguments)
    }

    pub(crate) fn into_postgres(self) -> Result<PgArguments, StoreError> {
        let mut arguments = PgArguments::default();
        for arg in self.0 {
            match arg {
                Arg::Int(value) => arguments.add(value),
                Arg::Real(value) => arguments.add(value),
                Arg::Bool(value) => arguments.add(value),
                Arg::Text(value) => arguments.add(value),
                Arg::Bytes(value) => arguments.add(value),
            }
            .map_err(|source| StoreError::Unavailable(sqlx::Error::Encode(source)))?;
        }
        Ok(arguments)
    }
}

macro_rules! arg_from {
    ($($from:ty => $variant:ident;)*) => {$(
        impl From<$from> for Arg {
            fn from(value: $from) -> Self {
                Self::$variant(Some(value.into()))
            }
        }

        impl From<Option<$from>> for Arg {
            fn from(value: Option<$from>) -> Self {
                Self::$variant(value.map(Into::into))
            }
        }
    )*};
}

arg_from! {
    i64 => Int;
    u32 => Int;
    u16 => Int;
    f64 => Real;
    bool => Bool;
    &str => Text;
    String => Text;
    &[u8] => Bytes;
    Vec<u8> => Bytes;
}

/// A number that grows by one, as SQL keeps it: both engines only have signed integers, and no counter of ours gets to
/// 2^63.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What a statement gave back, one row of it.
#[derive(Debug)]
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What a column can be read as, from either engine: `i64`, `f64`, `bool`, `String`, `Vec<u8>`, and `Option` of them.
pub(crate) trait Column:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl<T> Column for T where T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres> {}

impl Row {
    /// The column, counted from 0.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the statement gave no such column, or another type.
    pub(crate) fn at<T: Column>(&self, column: usize) -> Result<T, StoreError> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
        .map_err(StoreError::Unavailable)
    }

    /// The column as a number that is never negative.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is negative.
    pub(crate) fn count(&self, column: usize) -> Result<u64, StoreError> {
        let found: i64 = self.at(column)?;
        u64::try_from(found).map_err(|err| StoreError::corrupt("number", found, err))
    }

    /// The text column, parsed: what was written was right by its type, so what is read is too.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is not.
    pub(crate) fn parsed<T>(&self, column: usize) -> Result<T, StoreError>
    where
        T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        let text: String = self.at(column)?;
        text.parse()
            .map_err(|err| StoreError::corrupt(std::any::type_name::<T>(), text, err))
    }

    /// As [`Row::parsed`], of a column that may be NULL.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is not right by its type.
    pub(crate) fn parsed_option<T>(&self, column: usize) -> Result<Option<T>, StoreError>
    where
        T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        match self.at::<Option<String>>(column)? {
            None => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|err| StoreError::corrupt(std::any::type_name::<T>(), text, err)),
        }
    }
}

/// `($1, $2), ($3, $4)`: placeholders for a statement over many rows, beginning at `$first`.
pub(crate) struct Placeholders {
    /// The number of the first placeholder.
    pub(crate) first: usize,
    /// Columns of a row.
    pub(crate) n_columns: usize,
    /// Rows.
    pub(crate) n_rows: usize,
}

impl fmt::Display for Placeholders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in 0..self.n_rows {
            f.write_str(if row == 0 { "(" } else { ", (" })?;
            for column in 0..self.n_columns {
                let comma = if column == 0 { "" } else { ", " };
                write!(f, "{comma}${}", self.first + row * self.n_columns + column)?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}
