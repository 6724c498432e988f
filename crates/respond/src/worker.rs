//! The loop of everybody who works through something that the database holds and that a commit adds to.

use std::time::Duration;

use picket_store::{Db, OutboxItem, StoreError};
use tokio::sync::watch;

use crate::Backoff;

/// How long workers wait that hold up nothing but themselves while the database does not answer.
pub(crate) const SOON: Backoff = Backoff {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(5),
};

/// Works through what there is.
pub(crate) trait Worker: Send {
    /// What a failure means, for the log.
    const FAILURE: &'static str;

    /// Works through the next of it; says how much that was, 0 when there was nothing.
    fn work(&mut self) -> impl Future<Output = Result<usize, StoreError>> + Send;
}

/// Lets a worker work whenever `signal` says that there may be something, until nobody signals any more. A failure is tried
/// again for ever.
pub(crate) async fn attend<W: Worker, T>(worker: &mut W, mut signal: watch::Receiver<T>, backoff: Backoff)
where
    T: Send + Sync,
{
    let mut n_failures = 0;
    loop {
        // What commits from here on wakes us again.
        signal.mark_unchanged();
        match worker.work().await {
            Ok(0) => {
                n_failures = 0;
                if signal.changed().await.is_err() {
                    return;
                }
            }
            Ok(_) => n_failures = 0,
            Err(err) => {
                n_failures += 1;
                tracing::warn!(error = &err as &dyn std::error::Error, n_failures, "{}", W::FAILURE);
                tokio::time::sleep(backoff.wait(n_failures)).await;
            }
        }
    }
}

/// The next items of the outbox that its reader `consumer` is not done with, after its cursor.
///
/// # Errors
/// The database does not answer.
pub(crate) async fn unread(
    db: &Db,
    consumer: &'static str,
    n_max: u32,
) -> Result<(u64, Vec<(u64, OutboxItem)>), StoreError> {
    let cursor = db.cursor(consumer).await?;
    let items = db.outbox_after(cursor, n_max).await?;
    if let Some(&(first, _)) = items.first()
        && cursor + 1 < first
    {
        let n_lost = first - cursor - 1;
        tracing::error!(consumer, n_lost, "news was given up before this reader had it");
    }
    Ok((cursor, items))
}
