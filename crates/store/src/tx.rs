//! A transaction.

use std::sync::Arc;

use sqlx::{Postgres, SqlSafeStr, Sqlite, Transaction};
use tokio::sync::watch;

use crate::StoreError;
use crate::outbox::{self, OutboxItem};
use crate::sql::{Args, Row};

/// A transaction on either engine. Dropped without a commit, it leaves no trace.
///
/// `ON CONFLICT` and the number of rows affected decide who won, never an error: PostgreSQL refuses all that follows an
/// error inside a transaction.
#[derive(Debug)]
pub struct Tx {
    inner: Inner,
    /// Written when the transaction commits, see [`outbox::push`].
    pub(crate) outbox: Vec<OutboxItem>,
    /// Whether it gave something to deliver.
    pub(crate) has_deliveries: bool,
    /// Whether it started a mitigation task.
    pub(crate) has_tasks: bool,
    /// Whether it wrote samples of the fleet.
    pub(crate) has_samples: bool,
    signals: Option<Signals>,
}

/// Who is told of commits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    /// The number of the last item of the outbox.
    pub(crate) outbox: Arc<watch::Sender<u64>>,
    /// There is something to deliver.
    pub(crate) deliveries: Arc<watch::Sender<()>>,
    /// A mitigation task was started.
    pub(crate) tasks: Arc<watch::Sender<()>>,
    /// Samples of the fleet were written.
    pub(crate) samples: Arc<watch::Sender<()>>,
}

/// A point in a transaction.
#[derive(Debug)]
pub(crate) struct Mark(usize);

#[derive(Debug)]
enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    pub(crate) fn from_sqlite(tx: Transaction<'static, Sqlite>) -> Self {
        Self::new(Inner::Sqlite(tx))
    }

    pub(crate) fn from_postgres(tx: Transaction<'static, Postgres>) -> Self {
        Self::new(Inner::Postgres(tx))
    }

    fn new(inner: Inner) -> Self {
        Self {
            inner,
            outbox: Vec::new(),
            has_deliveries: false,
            has_tasks: false,
            has_samples: false,
            signals: None,
        }
    }

    /// The same, telling these signals what it was about once it is committed.
    pub(crate) fn announcing(mut self, signals: Signals) -> Self {
        self.signals = Some(signals);
        self
    }

    /// Runs a statement; says how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: impl SqlSafeStr, args: Args) -> Result<u64, StoreError> {
        match &mut self.inner {
            Inner::Sqlite(tx) => {
                let done = sqlx::query_with(sql, args.into_sqlite()?).execute(&mut **tx).await;
                done.map(|done| done.rows_affected())
            }
            Inner::Postgres(tx) => {
                let done = sqlx::query_with(sql, args.into_postgres()?).execute(&mut **tx).await;
                done.map(|done| done.rows_affected())
            }
        }
        .map_err(StoreError::from_sql)
    }

    /// The rows that a statement gives.
    pub(crate) async fn rows(&mut self, sql: impl SqlSafeStr, args: Args) -> Result<Vec<Row>, StoreError> {
        match &mut self.inner {
            Inner::Sqlite(tx) => {
                let rows = sqlx::query_with(sql, args.into_sqlite()?).fetch_all(&mut **tx).await;
                rows.map(|rows| rows.into_iter().map(Row::Sqlite).collect())
            }
            Inner::Postgres(tx) => {
                let rows = sqlx::query_with(sql, args.into_postgres()?).fetch_all(&mut **tx).await;
                rows.map(|rows| rows.into_iter().map(Row::Postgres).collect())
            }
        }
        .map_err(StoreError::from_sql)
    }

    /// The first row that a statement gives, if there is one.
    pub(crate) async fn row(&mut self, sql: impl SqlSafeStr, args: Args) -> Result<Option<Row>, StoreError> {
        // All rows are fetched: a statement that writes and returns is only done when it has been read to its end.
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// Marks a point to which [`Tx::undo`] goes back.
    pub(crate) async fn mark(&mut self) -> Result<Mark, StoreError> {
        self.execute("SAVEPOINT mark", Args::default()).await?;
        Ok(Mark(self.outbox.len()))
    }

    /// Undoes everything since the mark.
    pub(crate) async fn undo(&mut self, mark: Mark) -> Result<(), StoreError> {
        self.outbox.truncate(mark.0);
        self.execute("ROLLBACK TO SAVEPOINT mark", Args::default())
            .await
            .map(drop)
    }

    /// Writes the outbox and makes everything durable; then the signals move, also when whoever waits for this goes away
    /// while the database is at it.
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        let end = outbox::write(&mut self).await?;
        let told = [self.has_deliveries, self.has_tasks, self.has_samples];
        let signals = match self.signals {
            Some(signals) if end.is_some() || told.contains(&true) => signals,
            _ => return self.inner.commit().await,
        };
        let inner = self.inner;
        // A commit that has begun cannot be taken back: dropped half-way, it would be made and never be told.
        let commit = tokio::spawn(async move {
            inner.commit().await?;
            signals.outbox.send_if_modified(|last| {
                let newest = end.unwrap_or_default().max(*last);
                std::mem::replace(last, newest) < newest
            });
            for (signal, _) in [signals.deliveries, signals.tasks, signals.samples]
                .iter()
                .zip(told)
                .filter(|(_, is_told)| *is_told)
            {
                signal.send_replace(());
            }
            Ok(())
        });
        // Only a runtime that shuts down ends it early.
        commit
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable(sqlx::Error::WorkerCrashed)))
    }
}

impl Inner {
    async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
        .map_err(StoreError::from_sql)
    }
}
