//! The outbox: what a transaction tells the rest of the server, written with it or not at all.
//!
//! Items are numbered in the order of commits, without gaps. Whoever reads them keeps a cursor here, so delivery is at
//! least once, across restarts.

mod wire;

use picket_model::record::Member;
use picket_model::violation::ViolationNotice;
use sqlx::AssertSqlSafe;

use crate::sql::{Placeholders, args, int};
use crate::{Db, StoreError, Tx};

/// One message from a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum OutboxItem {
    /// Judging depends on this revision from now on.
    Config {
        /// Which revision.
        revision: u64,
    },
    /// What the registry says of a thing has changed.
    Member(Member),
    /// A violation was raised, cleared or invalidated.
    Violation(ViolationNotice),
    /// A violation that nothing but perhaps forged reports supported is now supported by genuine ones.
    Supported(ViolationNotice),
}

/// Rows that a statement writes at most.
const N_ROWS_MAX: usize = 64;

/// Puts an item into the outbox when the transaction commits.
pub(crate) fn push(tx: &mut Tx, item: OutboxItem) {
    tx.outbox.push(item);
}

/// Writes what was pushed; says the number of the last item, if there was one. It is the last act of a transaction,
/// because the counter stays locked from here on.
pub(crate) async fn write(tx: &mut Tx) -> Result<Option<u64>, StoreError> {
    let items = std::mem::take(&mut tx.outbox);
    if items.is_empty() {
        return Ok(None);
    }
    let last = take(tx, "outbox", items.len() as u64).await?;
    let mut seq = last - items.len() as u64;
    for items in items.chunks(N_ROWS_MAX) {
        let mut args = args![];
        for item in items {
            seq += 1;
            let (kind, body) = wire::encode(item)?;
            args.push(int(seq));
            args.push(kind);
            args.push(body);
        }
        let rows = Placeholders {
            first: 1,
            n_columns: 3,
            n_rows: items.len(),
        };
        let sql = AssertSqlSafe(format!("INSERT INTO outbox (seq, kind, body) VALUES {rows}"));
        tx.execute(sql, args).await?;
    }
    Ok(Some(last))
}

/// Takes the next `n` numbers of a counter; says the last of them. The counter stays locked until the transaction ends,
/// so its numbers become visible in order and without gaps.
pub(crate) async fn take(tx: &mut Tx, counter: &'static str, n: u64) -> Result<u64, StoreError> {
    let sql = "UPDATE counter SET value = value + $1 WHERE name = $2 RETURNING value";
    match tx.row(sql, args![int(n), counter]).await? {
        Some(row) => row.count(0),
        None => Err(StoreError::not_found("counter", counter)),
    }
}

/// Lets a new reader begin after everything that is in the outbox now. A reader that exists stays where it is.
pub(crate) async fn begin_at_end(tx: &mut Tx, consumer: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO outbox_consumer (name, seq) SELECT $1, value FROM counter WHERE name = 'outbox' \
               ON CONFLICT (name) DO NOTHING";
    tx.execute(sql, args![consumer]).await.map(drop)
}

/// Forgets a reader, for whom nothing is kept any more.
pub(crate) async fn forget(tx: &mut Tx, consumer: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM outbox_consumer WHERE name = $1";
    tx.execute(sql, args![consumer]).await.map(drop)
}

impl Db {
    /// The items after number `seq`, with their numbers, at most `n_max`.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn outbox_after(&self, seq: u64, n_max: u32) -> Result<Vec<(u64, OutboxItem)>, StoreError> {
        let sql = "SELECT seq, kind, body FROM outbox WHERE seq > $1 ORDER BY seq LIMIT $2";
        let rows = self.rows(sql, args![int(seq), n_max]).await?;
        rows.iter()
            .map(|row| {
                Ok((
                    row.count(0)?,
                    wire::decode(&row.at::<String>(1)?, &row.at::<String>(2)?)?,
                ))
            })
            .collect()
    }

    /// How far a reader has come: the number of the last item that it is done with, 0 before the first and for a reader
    /// that nothing is kept for.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn cursor(&self, consumer: &str) -> Result<u64, StoreError> {
        Ok(self.find_cursor(consumer).await?.unwrap_or(0))
    }

    /// As [`Db::cursor`]; `None` for a reader that nothing is kept for.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn find_cursor(&self, consumer: &str) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT seq FROM outbox_consumer WHERE name = $1";
        let row = self.row(sql, args![consumer]).await?;
        row.map(|row| row.count(0)).transpose()
    }

    /// Notes that a reader is done with everything up to number `seq`. A cursor never goes back, and a reader that was
    /// forgotten stays so.
    ///
    /// # Errors
    /// The database cannot be written; the reader will see the same items again.
    pub async fn move_cursor(&self, consumer: &str, seq: u64) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "UPDATE outbox_consumer SET seq = $1 WHERE name = $2 AND seq < $1";
        tx.execute(sql, args![int(seq), consumer]).await?;
        tx.commit().await
    }

    /// Removes items that every reader is done with, and the oldest beyond `n_rows_max`, whoever still wanted them; at
    /// most `n_max` in one go. Says how many it removed.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn trim_outbox(&self, n_rows_max: u64, n_max: u32) -> Result<u64, StoreError> {
        let mut tx = self.begin_write().await?;
        // The bound never takes what the pipeline has not read: without it engines would judge by old rules for ever.
        let sql = "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE \
                   seq <= (SELECT MIN(seq) FROM outbox_consumer) \
                   OR (seq <= (SELECT value FROM counter WHERE name = 'outbox') - $1 \
                       AND seq <= (SELECT seq FROM outbox_consumer WHERE name = 'pipeline')) \
                   ORDER BY seq LIMIT $2)";
        let n_removed = tx.execute(sql, args![int(n_rows_max), n_max]).await?;
        tx.commit().await?;
        Ok(n_removed)
    }
}
