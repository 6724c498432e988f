//! Carries registry changes that judging depends on from the outbox into the report log, in their order.

use std::time::Duration;

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

/// Runs until `shutdown`.
pub(crate) async fn run(db: Db, writer: LogWriter, n_partitions: u16, mut shutdown: watch::Receiver<bool>) {
    let mut grew = db.outbox_signal();
    while !*shutdown.borrow() {
        grew.borrow_and_update();
        match carry(&db, &writer, n_partitions).await {
            Ok(0) => {
                tokio::select! {
                    _ = grew.changed() => {}
                    _ = shutdown.changed() => {}
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = %error, "registry changes do not reach the log yet, trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("report log takes no record now")]
    Log,
}

/// Carries what is there, at most one page; says how many rows that were. A crash repeats rows, which engines ignore.
async fn carry(db: &Db, writer: &LogWriter, n_partitions: u16) -> Result<usize, FeedError> {
    let rows = db.outbox_after(db.cursor(CONSUMER).await?, READ_MAX).await?;
    let Some((last, _)) = rows.last() else { return Ok(0) };
    let (last, n_rows) = (*last, rows.len());
    for (_, item) in rows {
        match item {
            OutboxItem::Config { revision } => {
                for partition in (0..n_partitions).map(PartitionId) {
                    write(writer, partition, Record::Config { revision }).await?;
                }
            }
            OutboxItem::Member(member) => {
                let partition = partition_of(member.thing.as_str(), n_partitions);
                write(writer, partition, Record::Member(member)).await?;
            }
            OutboxItem::Violation(_) | OutboxItem::Supported(_) => {}
        }
    }
    db.move_cursor(CONSUMER, last).await?;
    Ok(n_rows)
}

async fn write(writer: &LogWriter, partition: PartitionId, record: Record) -> Result<(), FeedError> {
    writer
        .write(partition, record)
        .await
        .map(drop)
        .map_err(|NotStored| FeedError::Log)
}
