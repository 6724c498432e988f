//! The outbox: what a transaction tells the rest of the server, written with it or not at all.
//!
//! Items are numbered in the order of commits, without gaps. Whoever reads them keeps a cursor here, so delivery is at
//! least once, across restarts.

use picket_model::record::Member;

use crate::sql::{Args, args, int};
use crate::{Db, StoreError, Tx};

/// One message from a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum OutboxItem {
    /// Judging depends on this revision from now on.
    Config {
        /// Which revision.
        revision: u64,
    },
    /// The registry changed its mind about a thing.
    Member(Member),
}

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
    let last = Db::take(tx, "outbox", items.len() as u64).await?;
    let mut seq = last - items.len() as u64;
    for item in items {
        seq += 1;
        let (kind, body) = encode(&item);
        let sql = "INSERT INTO outbox (seq, kind, body) VALUES ($1, $2, $3)";
        tx.execute(sql, args![int(seq), kind, body]).await?;
    }
    Ok(Some(last))
}

fn encode(item: &OutboxItem) -> (&'static str, String) {
    match item {
        OutboxItem::Config { revision } => ("config", revision.to_string()),
        OutboxItem::Member(member) => {
            let groups: Vec<&str> = member.groups.iter().map(AsRef::as_ref).collect();
            let body = serde_json::json!({
                "thing": member.thing.as_str(), "isRegistered": member.is_registered, "groups": groups,
            });
            ("member", body.to_string())
        }
    }
}

impl Db {
    /// How far a reader has come: the number of the last item that it is done with, 0 before the first.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn cursor(&self, consumer: &str) -> Result<u64, StoreError> {
        let args: Args = args![consumer];
        let row = self
            .row("SELECT seq FROM outbox_consumer WHERE name = $1", args)
            .await?;
        row.map_or(Ok(0), |row| row.count(0))
    }
}
