//! Carries registry changes that judging depends on from the outbox into the report log, in their order.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use axum::middleware::{self, Next};
use picket_endpoint::Handle;
use picket_model::record::Record;
use picket_store::log::{PartitionId, partition_of};
use picket_store::{Db, OutboxItem, StoreError};
use tokio::sync::watch;

use crate::metering::dimensions_in_use;
use crate::pipeline::{Configs, LaneError};
use crate::writer::{LogWriter, NotStored};

/// The name of this reader of the outbox.
const CONSUMER: &str = "pipeline";

/// Rows read at once.
const READ_MAX: u32 = 256;

/// How long to wait before trying again what the log or the database refused.
const RETRY: Duration = Duration::from_millis(200);

/// How long an answer waits for what it changed to reach the log.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);

/// Says up to which commit the log holds everything.
pub(crate) type Carried = watch::Sender<u64>;

/// Carries what is in the outbox into the log.
pub(crate) struct Feed {
    db: Db,
    writer: LogWriter,
    n_partitions: u16,
    measured: Measured,
    /// `None` before the first look, and after a failure.
    position: Option<Position>,
}

/// What the endpoint measures by, as the newest configuration has it.
#[derive(Clone)]
pub(crate) struct Measured {
    pub(crate) db: Db,
    pub(crate) configs: Arc<Configs>,
    pub(crate) sessions: Handle,
}

impl Measured {
    /// Has the endpoint measure by the dimensions of the newest configuration.
    pub(crate) async fn follow(&self) -> Result<(), LaneError> {
        let config = self.configs.of(self.db.judging_revision().await?).await?;
        self.sessions.measure_by(dimensions_in_use(&config));
        Ok(())
    }
}

/// Runs until `shutdown`.
pub(crate) async fn run(mut feed: Feed, carried: Carried, mut shutdown: watch::Receiver<bool>) {
    let mut grew = feed.db.outbox_signal();
    while !*shutdown.borrow() {
        let n_commits = *grew.borrow_and_update();
        match feed.carry().await {
            Ok(0) => {
                carried.send_replace(n_commits);
                tokio::select! {
                    _ = grew.changed() => {}
                    _ = shutdown.changed() => {}
                }
            }
            Ok(_) => grew.mark_changed(),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "registry changes do not reach the log yet, trying again"
                );
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Lets whoever changes something have the answer when the change is in the log: what devices report after that is
/// judged by it. A log that takes nothing delays the answer and does not change it.
pub(crate) fn answer_when_carried(router: Router, db: &Db, carried: &Carried) -> Router {
    let (commits, carried) = (db.outbox_signal(), carried.subscribe());
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let (commits, mut carried) = (commits.clone(), carried.clone());
        async move {
            let is_reading = request.method() == Method::GET;
            let response = next.run(request).await;
            if !is_reading {
                let n_commits = *commits.borrow();
                let wait = carried.wait_for(|n_carried| n_commits <= *n_carried);
                // The server may be stopping, or the log full: the change is stored, and carried later.
                let _ = tokio::time::timeout(ANSWER_WAIT_MAX, wait).await;
            }
            response
        }
    }))
}

#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error("the outbox cannot be read")]
    Store(#[from] StoreError),
    #[error("the newest configuration cannot be read")]
    Config(#[from] LaneError),
    #[error("the report log takes no record now")]
    Log,
}

/// How far the reader is: it alone moves its cursor.
#[derive(Clone, Copy)]
struct Position {
    /// The last row that was carried.
    carried: u64,
    /// The cursor in the database, which may be behind by rows that carried nothing.
    noted: u64,
}

impl Feed {
    pub(crate) fn new(writer: LogWriter, n_partitions: u16, measured: Measured) -> Self {
        Self {
            db: measured.db.clone(),
            writer,
            n_partitions,
            measured,
            position: None,
        }
    }

    /// Carries what is there, at most one page; says how many rows that were. A crash repeats rows, which engines ignore.
    async fn carry(&mut self) -> Result<usize, FeedError> {
        let Position { carried, noted } = match self.position.take() {
            Some(position) => position,
            None => {
                let cursor = self.db.cursor(CONSUMER).await?;
                Position {
                    carried: cursor,
                    noted: cursor,
                }
            }
        };
        let rows = self.db.outbox_after(carried, READ_MAX).await?;
        let (Some(&(first, _)), Some(&(last, _))) = (rows.first(), rows.last()) else {
            self.position = Some(Position { carried, noted });
            return Ok(0);
        };
        if carried + 1 < first {
            let n_lost = first - carried - 1;
            tracing::error!(
                n_lost,
                "registry changes were given up before they reached the log, make them again"
            );
        }
        let n_rows = rows.len();
        let n_written = self.write(rows).await?;
        // Alarms are rows as well, and nothing of them is carried: they are not worth a write each.
        let is_noted = 0 < n_written || u64::from(READ_MAX) <= last - noted;
        if is_noted {
            self.db.move_cursor(CONSUMER, last).await?;
        }
        self.position = Some(Position {
            carried: last,
            noted: if is_noted { last } else { noted },
        });
        Ok(n_rows)
    }

    /// Writes the records that follow from the rows, all of them handed over before the first is waited for; says how many.
    async fn write(&self, rows: Vec<(u64, OutboxItem)>) -> Result<usize, FeedError> {
        if rows.iter().any(|(_, item)| matches!(item, OutboxItem::Config { .. })) {
            // Before the log says that it is judged by, so that nothing is missing then.
            self.measured.follow().await?;
        }
        let mut written = Vec::new();
        for (_, item) in rows {
            match item {
                OutboxItem::Config { revision } => {
                    for partition in (0..self.n_partitions).map(PartitionId) {
                        written.push(self.writer.enqueue(partition, Record::Config { revision }).await);
                    }
                }
                OutboxItem::Member(member) => {
                    let partition = partition_of(member.thing.as_str(), self.n_partitions);
                    written.push(self.writer.enqueue(partition, Record::Member(member)).await);
                }
                OutboxItem::Violation(_) | OutboxItem::Supported(_) => {}
            }
        }
        let n_written = written.len();
        for durable in written {
            let durable = durable.map_err(|NotStored| FeedError::Log)?.await;
            durable.unwrap_or(Err(NotStored)).map_err(|NotStored| FeedError::Log)?;
        }
        Ok(n_written)
    }
}
