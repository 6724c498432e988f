//! The database: SQLite in a file, or PostgreSQL; one SQL text for both.
//!
//! SQLite has one connection that writes, and every write transaction begins as one: a read that becomes a write fails
//! at once otherwise. PostgreSQL has a pool, and a rule over several rows locks them.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlSafeStr};
use tokio::sync::watch;

use crate::sql::{Args, Row, args};
use crate::tx::{Signals, Tx};

/// Which database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DbUrl {
    /// A SQLite file, made if it is missing.
    Sqlite(PathBuf),
    /// `postgres://user@host/database`; the database exists and has collation C.
    Postgres(String),
}

/// The database. Clones share it.
#[derive(Clone, Debug)]
pub struct Db {
    pub(crate) engine: Engine,
    signals: Signals,
}

/// The connections.
#[derive(Clone, Debug)]
pub(crate) enum Engine {
    Sqlite {
        /// One connection.
        writer: SqlitePool,
        /// Several, which cannot write.
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or said no to a statement. Nothing was written; the same may work later.
    #[error("the database did not answer as expected")]
    Unavailable(#[source] sqlx::Error),
    /// No space is left. Nothing was written; the same works once there is space.
    #[error("the database is full")]
    Full(#[source] sqlx::Error),
    /// The tables could not be brought to this version.
    #[error("the database cannot be migrated to this version")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// Texts would sort otherwise than in SQLite.
    #[error("the database has collation {found:?}, expected C: create it with LC_COLLATE 'C' TEMPLATE template0")]
    Collation {
        /// What the database said.
        found: String,
    },
    /// What was stored cannot be read back.
    #[error("stored {what} is {found:?}, which cannot be read")]
    Corrupt {
        /// What was to be read.
        what: String,
        /// The beginning of what was found.
        found: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process owns the partition now: this one must stop judging it.
    #[error("partition {partition} is no longer owned at epoch {epoch}")]
    Fenced {
        /// The partition.
        partition: u16,
        /// The epoch that the caller holds.
        epoch: u64,
    },
    /// The number of partitions is fixed when the database is made.
    #[error("the database was made with {found} partitions, expected {expected}: the number cannot change")]
    Partitions {
        /// What the database holds.
        found: u64,
        /// What the caller wants.
        expected: u64,
    },
    /// There is none of this name.
    #[error("{what} {name:?} does not exist")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is one of this name already, and it is not the same.
    #[error("{what} {name:?} exists already")]
    Exists {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Somebody else changed it in between.
    #[error("{what} {name:?} has version {found}, expected {expected}")]
    Version {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
        /// The version stored.
        found: i64,
        /// The version that the caller had seen.
        expected: i64,
    },
    /// One more would be too many.
    #[error("{what} would be more than {n_max}")]
    Limit {
        /// What is counted.
        what: &'static str,
        /// How many there may be.
        n_max: u64,
    },
    /// It is not in a state for that.
    #[error("{what} {name:?} is {found}, expected {expected}")]
    State {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
        /// Its state.
        found: &'static str,
        /// The states in which it can be done.
        expected: &'static str,
    },
    /// A rule between several rows forbids it.
    #[error("{reason}")]
    Rule {
        /// Which, in words.
        reason: String,
    },
    /// Something else still needs it.
    #[error("{what} {name:?} is still used by {by}")]
    InUse {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
        /// What uses it.
        by: String,
    },
}

impl Db {
    /// Opens the database and brings its tables to this version.
    ///
    /// # Errors
    /// It cannot be reached or made, has another collation, or is newer than this program.
    pub async fn open(url: &DbUrl) -> Result<Self, StoreError> {
        let engine = match url {
            DbUrl::Sqlite(path) => open_sqlite(path.clone()).await?,
            DbUrl::Postgres(url) => open_postgres(url).await?,
        };
        let migrator = Migrator::with_migrations(migrations());
        match &engine {
            Engine::Sqlite { writer, .. } => migrator.run(writer).await,
            Engine::Postgres(pool) => migrator.run(pool).await,
        }
        .map_err(StoreError::Migration)?;
        let db = Self {
            engine,
            signals: Signals::default(),
        };
        let end = db
            .row("SELECT value FROM counter WHERE name = 'outbox'", args![])
            .await?;
        let end = end.map_or(Ok(0), |row| row.count(0))?;
        db.signals.outbox.send_replace(end);
        Ok(db)
    }

    /// Moves whenever a transaction of this process that wrote to the outbox has committed; the value is the number of
    /// the last item.
    pub fn outbox_signal(&self) -> watch::Receiver<u64> {
        self.signals.outbox.subscribe()
    }

    /// Moves whenever a transaction of this process that gave something to deliver has committed.
    pub fn delivery_signal(&self) -> watch::Receiver<()> {
        self.signals.deliveries.subscribe()
    }

    /// Moves whenever a transaction of this process that started a mitigation task has committed.
    pub fn detect_task_signal(&self) -> watch::Receiver<()> {
        self.signals.tasks.subscribe()
    }

    /// Moves whenever a transaction of this process that wrote samples of the fleet has committed.
    pub fn sample_signal(&self) -> watch::Receiver<()> {
        self.signals.samples.subscribe()
    }

    /// Closes all connections, after what runs on them is done.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Engine::Postgres(pool) => pool.close().await,
        }
    }

    /// Begins a transaction that writes. Dropped without [`Tx::commit`], it leaves no trace.
    pub(crate) async fn begin_write(&self) -> Result<Tx, StoreError> {
        match &self.engine {
            Engine::Sqlite { writer, .. } => writer.begin_with("BEGIN IMMEDIATE").await.map(Tx::from_sqlite),
            Engine::Postgres(pool) => pool.begin().await.map(Tx::from_postgres),
        }
        .map(|tx| tx.announcing(self.signals.clone()))
        .map_err(StoreError::from_sql)
    }

    /// Begins a transaction that only reads, and sees the database as it was at one moment. It needs no commit.
    pub(crate) async fn begin_read(&self) -> Result<Tx, StoreError> {
        match &self.engine {
            Engine::Sqlite { readers, .. } => readers.begin().await.map(Tx::from_sqlite),
            Engine::Postgres(pool) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                pool.begin_with(begin).await.map(Tx::from_postgres)
            }
        }
        .map_err(StoreError::from_sql)
    }

    /// The rows of a statement that only reads.
    pub(crate) async fn rows(&self, sql: impl SqlSafeStr, args: Args) -> Result<Vec<Row>, StoreError> {
        match &self.engine {
            Engine::Sqlite { readers, .. } => {
                let rows = sqlx::query_with(sql, args.into_sqlite()?).fetch_all(readers).await;
                rows.map(|rows| rows.into_iter().map(Row::Sqlite).collect())
            }
            Engine::Postgres(pool) => {
                let rows = sqlx::query_with(sql, args.into_postgres()?).fetch_all(pool).await;
                rows.map(|rows| rows.into_iter().map(Row::Postgres).collect())
            }
        }
        .map_err(StoreError::from_sql)
    }

    /// The first row of a statement that only reads, if there is one.
    pub(crate) async fn row(&self, sql: impl SqlSafeStr, args: Args) -> Result<Option<Row>, StoreError> {
        match &self.engine {
            Engine::Sqlite { readers, .. } => {
                let row = sqlx::query_with(sql, args.into_sqlite()?).fetch_optional(readers).await;
                row.map(|row| row.map(Row::Sqlite))
            }
            Engine::Postgres(pool) => {
                let row = sqlx::query_with(sql, args.into_postgres()?).fetch_optional(pool).await;
                row.map(|row| row.map(Row::Postgres))
            }
        }
        .map_err(StoreError::from_sql)
    }
}

impl StoreError {
    /// What an error of the driver means to a caller.
    pub(crate) fn from_sql(err: sqlx::Error) -> Self {
        if is_full(&err) {
            Self::Full(err)
        } else {
            Self::Unavailable(err)
        }
    }

    /// What was stored and is now not readable.
    pub(crate) fn corrupt(
        what: impl Into<String>,
        found: impl ToString,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Corrupt {
            what: what.into(),
            found: found.to_string().chars().take(200).collect(),
            source: source.into(),
        }
    }

    /// There is none of this name.
    pub(crate) fn not_found(what: &'static str, name: impl ToString) -> Self {
        Self::NotFound {
            what,
            name: name.to_string(),
        }
    }

    /// There is one of this name already.
    pub(crate) fn exists(what: &'static str, name: impl ToString) -> Self {
        Self::Exists {
            what,
            name: name.to_string(),
        }
    }
}

/// Whether the disk, or the bound of the database, left no space. SQLite calls a failed write an I/O error where the
/// file system does not say why.
pub(crate) fn is_full(err: &sqlx::Error) -> bool {
    const SQLITE_FULL: &str = "13";
    const SQLITE_IOERR_WRITE: &str = "778";
    const SQLITE_IOERR_FSYNC: &str = "1034";
    const SQLITE_IOERR_TRUNCATE: &str = "1546";
    const SQLITE_IOERR_SHMSIZE: &str = "4874";
    const POSTGRES_DISK_FULL: &str = "53100";
    err.as_database_error().and_then(|err| err.code()).is_some_and(|code| {
        matches!(
            &*code,
            SQLITE_FULL
                | SQLITE_IOERR_WRITE
                | SQLITE_IOERR_FSYNC
                | SQLITE_IOERR_TRUNCATE
                | SQLITE_IOERR_SHMSIZE
                | POSTGRES_DISK_FULL
        )
    })
}

async fn open_sqlite(path: PathBuf) -> Result<Engine, StoreError> {
    const N_READERS: u32 = 4;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10))
        .statement_cache_capacity(300)
        .pragma("journal_size_limit", "16777216")
        .disable_statement_logging();
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .before_acquire(is_sound)
        .connect_with(options.clone())
        .await
        .map_err(StoreError::from_sql)?;
    let readers = SqlitePoolOptions::new()
        .max_connections(N_READERS)
        .test_before_acquire(false)
        .max_lifetime(None)
        .before_acquire(is_sound)
        .connect_with(options.pragma("query_only", "on"))
        .await
        .map_err(StoreError::from_sql)?;
    Ok(Engine::Sqlite { writer, readers })
}

/// Whether a connection may be used again. On a full disk SQLite takes the whole transaction back by itself; the driver's
/// own rollback then fails, and it would take the transaction for open for ever. Such a connection is replaced.
fn is_sound(
    connection: &mut SqliteConnection,
    _: PoolConnectionMetadata,
) -> Pin<Box<dyn Future<Output = Result<bool, sqlx::Error>> + Send + '_>> {
    Box::pin(std::future::ready(Ok(!connection.is_in_transaction())))
}

async fn open_postgres(url: &str) -> Result<Engine, StoreError> {
    const N_CONNECTIONS: u32 = 16;
    let options: PgConnectOptions = url.parse().map_err(StoreError::Unavailable)?;
    let pool = PgPoolOptions::new()
        .max_connections(N_CONNECTIONS)
        .connect_with(options.disable_statement_logging())
        .await
        .map_err(StoreError::from_sql)?;
    let found: String =
        sqlx::query_scalar("SELECT datcollate::text FROM pg_database WHERE datname = current_database()")
            .fetch_one(&pool)
            .await
            .map_err(StoreError::from_sql)?;
    if matches!(found.as_str(), "C" | "POSIX") {
        Ok(Engine::Postgres(pool))
    } else {
        Err(StoreError::Collation { found })
    }
}

fn migrations() -> Vec<Migration> {
    let simple = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    vec![
        simple(1, "judging", include_str!("../migrations/0001_judging.sql")),
        simple(2, "registry", include_str!("../migrations/0002_registry.sql")),
        simple(3, "thing_types", include_str!("../migrations/0003_thing_types.sql")),
        simple(4, "certificates", include_str!("../migrations/0004_certificates.sql")),
        simple(5, "detect", include_str!("../migrations/0005_detect.sql")),
        simple(6, "topics", include_str!("../migrations/0006_topics.sql")),
        simple(7, "eager", include_str!("../migrations/0007_eager.sql")),
        simple(8, "fleet", include_str!("../migrations/0008_fleet.sql")),
        simple(9, "behavior_name", include_str!("../migrations/0009_behavior_name.sql")),
        simple(
            12,
            "judging_parts",
            include_str!("../migrations/0012_judging_parts.sql"),
        ),
    ]
}
