//! What judging depends on: every revision of it, whole.

use crate::outbox::{self, OutboxItem};
use crate::{Db, StoreError, Tx};

/// Makes what this transaction has written so far the next revision of what judging depends on. To be called after the
/// last write to profiles, targets or custom metrics.
pub(crate) async fn bump(tx: &mut Tx) -> Result<u64, StoreError> {
    let revision = Db::take(tx, "judging", 1).await?;
    outbox::push(tx, OutboxItem::Config { revision });
    Ok(revision)
}
