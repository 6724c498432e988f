//! Carries registry changes that judging depends on from the outbox into the report log, in their order.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use axum::middleware::{self, Next};
use picket_model::record::Record;
use picket_store::log::{PartitionId, partition_of};
use picket_store::{Db, OutboxItem, StoreError};
use tokio::sync::watch;

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

/// Runs until `shutdown`.
pub(crate) async fn run(
    db: Db,
    writer: LogWriter,
    n_partitions: u16,
    carried: Carried,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut grew = db.outbox_signal();
    while !*shutdown.borrow() {
        let n_commits = *grew.borrow_and_update();
        match carry(&db, &writer, n_partitions).await {
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
    #[error("the report log takes no record now")]
    Log,
}

/// Carries what is there, at most one page; says how many rows that were. A crash repeats rows, which engines ignore.
async fn carry(db: &Db, writer: &LogWriter, n_partitions: u16) -> Result<usize, FeedError> {
    let cursor = db.cursor(CONSUMER).await?;
    let rows = db.outbox_after(cursor, READ_MAX).await?;
    let (Some(&(first, _)), Some(&(last, _))) = (rows.first(), rows.last()) else {
        return Ok(0);
    };
    let n_rows = rows.len();
    if cursor + 1 < first {
        let n_lost = first - cursor - 1;
        tracing::error!(
            n_lost,
            "registry changes were given up before they reached the log, make them again"
        );
    }
    let mut written = Vec::new();
    for (_, item) in rows {
        match item {
            OutboxItem::Config { revision } => {
                for partition in (0..n_partitions).map(PartitionId) {
                    written.push(writer.enqueue(partition, Record::Config { revision }).await);
                }
            }
            OutboxItem::Member(member) => {
                let partition = partition_of(member.thing.as_str(), n_partitions);
                written.push(writer.enqueue(partition, Record::Member(member)).await);
            }
            OutboxItem::Violation(_) | OutboxItem::Supported(_) => {}
        }
    }
    for durable in written {
        let durable = durable.map_err(|NotStored| FeedError::Log)?.await;
        durable.unwrap_or(Err(NotStored)).map_err(|NotStored| FeedError::Log)?;
    }
    db.move_cursor(CONSUMER, last).await?;
    Ok(n_rows)
}
