//! What engines write: violations, their events, and how far they have come. Nobody else writes these.

use std::collections::HashMap;

use picket_model::behavior::{Behavior, wire};
use picket_model::fleet::FleetSample;
use picket_model::time::Timestamp;
use picket_model::value::{MetricValue, wire as value_wire};
use picket_model::violation::{ChangeKind, VerificationState, ViolationChange, ViolationId, ViolationNotice};
use sqlx::AssertSqlSafe;

use crate::fleet::write_sample;
use crate::log::{PartitionId, Seq};
use crate::outbox::{self, OutboxItem};
use crate::sql::{Placeholders, Row, args, int};
use crate::violations::CriteriaKind;
use crate::{Db, StoreError, Tx};

/// Where a partition's engine is. Whoever claimed the partition last holds the newest epoch; writes of older ones are
/// refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which partition.
    pub partition: PartitionId,
    /// Grows by one with every claim.
    pub epoch: u64,
    /// The last record whose effects are written. Replayed up to here, an engine's effects are discarded.
    pub applied_seq: Seq,
    /// The record up to which the newest snapshot reaches.
    pub snapshot_seq: Seq,
}

/// What an engine made of some records of a partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Effects {
    /// Which partition.
    pub partition: PartitionId,
    /// The epoch of the engine's claim.
    pub epoch: u64,
    /// The last of the records.
    pub applied_seq: Seq,
    /// What changed, in order.
    pub changes: Vec<ViolationChange>,
    /// What the partition's devices measured in windows that are judged by the fleet's percentile.
    pub samples: Vec<FleetSample>,
}

/// The newest breach of violations that went on, each once.
type Continued = HashMap<ViolationId, (String, Timestamp)>;

/// Rows that a statement writes at most.
const N_ROWS_MAX: usize = 64;

impl Db {
    /// Takes all partitions over, at a new epoch each, in order of partition. The first claim fixes their number.
    ///
    /// # Errors
    /// [`StoreError::Partitions`] when the database was made with another number.
    pub async fn claim(&self, n_partitions: u16) -> Result<Vec<Position>, StoreError> {
        let mut tx = self.begin_write().await?;
        let count = "SELECT COUNT(*) FROM partition_position";
        let mut found = tx.row(count, args![]).await?.map_or(Ok(0), |row| row.count(0))?;
        if found == 0 {
            for partition in 0..n_partitions {
                let sql = "INSERT INTO partition_position (partition_id, epoch, applied_seq, snapshot_seq) \
                           VALUES ($1, 0, 0, 0) ON CONFLICT DO NOTHING";
                tx.execute(sql, args![partition]).await?;
            }
            found = n_partitions.into();
        }
        if found != u64::from(n_partitions) {
            return Err(StoreError::Partitions {
                found,
                expected: n_partitions.into(),
            });
        }
        tx.execute("UPDATE partition_position SET epoch = epoch + 1", args![])
            .await?;
        let positions = positions(&tx.rows(POSITIONS, args![]).await?)?;
        tx.commit().await?;
        Ok(positions)
    }

    /// How far all partitions are, in their order; none before the first claim. Whoever owns them goes on owning them.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        positions(&self.rows(POSITIONS, args![]).await?)
    }

    /// Writes what engines made of some records, and that they did, in one transaction: all of it or nothing.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when somebody else has claimed one of the partitions: stop judging it.
    pub async fn commit_effects(&self, effects: &[Effects]) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let mut in_order: Vec<&Effects> = effects.iter().collect();
        in_order.sort_by_key(|effects| effects.partition);
        let mut continued = Continued::new();
        for effects in in_order {
            advance(&mut tx, effects.partition, effects.epoch, effects.applied_seq).await?;
            for change in &effects.changes {
                write_change(&mut tx, change, &mut continued).await?;
            }
            for sample in &effects.samples {
                write_sample(&mut tx, effects.partition, sample).await?;
            }
        }
        write_continued(&mut tx, continued).await?;
        tx.commit().await
    }

    /// Notes how far engines have come that had nothing to write. Who has written effects since has come further, and
    /// stays there.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] as above.
    pub async fn advance(&self, positions: &[(PartitionId, u64, Seq)]) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let mut in_order = positions.to_vec();
        in_order.sort_unstable();
        for (partition, epoch, seq) in in_order {
            let sql = "UPDATE partition_position SET applied_seq = CASE WHEN applied_seq < $1 THEN $1 ELSE applied_seq END \
                       WHERE partition_id = $2 AND epoch = $3";
            if tx.execute(sql, args![int(seq.0), partition.0, int(epoch)]).await? == 0 {
                return Err(fenced(partition, epoch));
            }
        }
        tx.commit().await
    }

    /// Notes up to which record the newest snapshot of a partition reaches. To be called once the file is durable.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] as above.
    pub async fn note_snapshot(&self, partition: PartitionId, epoch: u64, seq: Seq) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "UPDATE partition_position SET snapshot_seq = $1 WHERE partition_id = $2 AND epoch = $3";
        let n_rows = tx.execute(sql, args![int(seq.0), partition.0, int(epoch)]).await?;
        if n_rows == 0 {
            return Err(fenced(partition, epoch));
        }
        tx.commit().await
    }
}

const POSITIONS: &str = "SELECT epoch, applied_seq, snapshot_seq FROM partition_position ORDER BY partition_id";

fn positions(rows: &[Row]) -> Result<Vec<Position>, StoreError> {
    let position = |(partition, row): (u16, &Row)| {
        Ok(Position {
            partition: PartitionId(partition),
            epoch: row.count(0)?,
            applied_seq: Seq(row.count(1)?),
            snapshot_seq: Seq(row.count(2)?),
        })
    };
    (0..).zip(rows).map(position).collect()
}

async fn advance(tx: &mut Tx, partition: PartitionId, epoch: u64, seq: Seq) -> Result<(), StoreError> {
    let sql = "UPDATE partition_position SET applied_seq = $1 \
               WHERE partition_id = $2 AND epoch = $3 AND applied_seq <= $1";
    match tx.execute(sql, args![int(seq.0), partition.0, int(epoch)]).await? {
        0 => Err(fenced(partition, epoch)),
        _ => Ok(()),
    }
}

fn fenced(partition: PartitionId, epoch: u64) -> StoreError {
    StoreError::Fenced {
        partition: partition.0,
        epoch,
    }
}

async fn write_change(tx: &mut Tx, change: &ViolationChange, continued: &mut Continued) -> Result<(), StoreError> {
    let verification = match &change.kind {
        ChangeKind::Continued { value } => {
            continued.insert(change.id, (value_json(value)?, change.at));
            return Ok(());
        }
        ChangeKind::Raised {
            value,
            is_supported,
            is_eager,
        } => raise(tx, change, value, (*is_supported, *is_eager)).await?,
        ChangeKind::Supported { value } => {
            let sql = "UPDATE violation SET is_supported = TRUE, last_value = $1, last_at = $2 \
                       WHERE violation_id = $3 AND NOT is_supported RETURNING verification";
            let args = args![value_json(value)?, change.at.millis(), change.id.to_string()];
            continued.remove(&change.id);
            verification_of(tx.row(sql, args).await?.as_ref())?
        }
        ChangeKind::Cleared { .. } | ChangeKind::Invalidated => {
            let sql = "UPDATE violation SET ended_at = $1 WHERE violation_id = $2 AND ended_at IS NULL \
                       RETURNING verification";
            let args = args![change.at.millis(), change.id.to_string()];
            verification_of(tx.row(sql, args).await?.as_ref())?
        }
    };
    let Some(verification) = verification else {
        // The transaction that wrote it moved applied_seq too, so this is never reached unless somebody restored a
        // backup of only one of log and database.
        tracing::warn!(violation = %change.id, "a change of a violation was written before, or without, its beginning");
        return Ok(());
    };
    write_event(tx, change).await?;
    if let Some(notice) = ViolationNotice::of(change, verification) {
        let item = match change.kind {
            ChangeKind::Supported { .. } => OutboxItem::Supported(notice),
            _ => OutboxItem::Violation(notice),
        };
        outbox::push(tx, item);
    }
    Ok(())
}

/// Writes the beginning of a violation; says what is thought of it, `None` if it was written before.
async fn raise(
    tx: &mut Tx,
    change: &ViolationChange,
    value: &MetricValue,
    (is_supported, is_eager): (bool, bool),
) -> Result<Option<VerificationState>, StoreError> {
    let sql = "INSERT INTO violation (violation_id, thing, profile, behavior, behavior_name, criteria_kind, is_suppressed, is_supported, \
               is_eager, started_at, last_at, last_value) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11) \
               ON CONFLICT (violation_id) DO NOTHING";
    let args = args![
        change.id.to_string(),
        change.thing.as_str(),
        change.profile.as_str(),
        behavior_json(&change.behavior)?,
        change.behavior.name.as_str(),
        CriteriaKind::of(&change.behavior).as_str(),
        change.behavior.suppress_alerts == Some(true),
        is_supported,
        is_eager,
        change.at.millis(),
        value_json(value)?,
    ];
    let n_rows = tx.execute(sql, args).await?;
    Ok((n_rows == 1).then_some(VerificationState::Unknown))
}

fn verification_of(row: Option<&crate::sql::Row>) -> Result<Option<VerificationState>, StoreError> {
    row.map(|row| row.parsed(0)).transpose()
}

async fn write_event(tx: &mut Tx, change: &ViolationChange) -> Result<(), StoreError> {
    let (Some(event), value) = (change.kind.event_type(), value_of(&change.kind)) else {
        return Ok(());
    };
    let sql = "INSERT INTO violation_event (violation_id, event, at, thing, profile, behavior, criteria_kind, \
               is_suppressed, value) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
               ON CONFLICT (violation_id, event) DO NOTHING";
    let args = args![
        change.id.to_string(),
        event.as_str(),
        change.at.millis(),
        change.thing.as_str(),
        change.profile.as_str(),
        behavior_json(&change.behavior)?,
        CriteriaKind::of(&change.behavior).as_str(),
        change.behavior.suppress_alerts == Some(true),
        value.map(value_json).transpose()?,
    ];
    tx.execute(sql, args).await.map(drop)
}

fn value_of(kind: &ChangeKind) -> Option<&MetricValue> {
    match kind {
        ChangeKind::Raised { value, .. }
        | ChangeKind::Continued { value }
        | ChangeKind::Supported { value }
        | ChangeKind::Cleared { value } => Some(value),
        ChangeKind::Invalidated => None,
    }
}

/// Moves the last value and time of violations that went on.
async fn write_continued(tx: &mut Tx, continued: Continued) -> Result<(), StoreError> {
    // In order of key, so that two transactions never wait for each other.
    let mut rows: Vec<(ViolationId, (String, Timestamp))> = continued.into_iter().collect();
    rows.sort_unstable_by_key(|&(id, _)| id);
    for rows in rows.chunks(N_ROWS_MAX) {
        let mut args = args![];
        for (id, (value, at)) in rows {
            args.push(id.to_string());
            args.push(value.as_str());
            args.push(at.millis());
        }
        let rows = Placeholders {
            first: 1,
            n_columns: 3,
            n_rows: rows.len(),
        };
        // Both engines name the columns of VALUES so.
        let sql = format!(
            "UPDATE violation SET last_value = new.column2, last_at = new.column3 \
             FROM (VALUES {rows}) AS new WHERE violation_id = new.column1"
        );
        tx.execute(AssertSqlSafe(sql), args).await?;
    }
    Ok(())
}

fn behavior_json(behavior: &Behavior) -> Result<String, StoreError> {
    serde_json::to_string(&wire::Behavior::from(behavior))
        .map_err(|err| StoreError::corrupt("behavior", &behavior.name, err))
}

fn value_json(value: &MetricValue) -> Result<String, StoreError> {
    serde_json::to_string(&value_wire::MetricValue::from(value))
        .map_err(|err| StoreError::corrupt("value of a metric", "a value", err))
}
