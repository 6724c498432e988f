//! What partitions measured in windows that are judged by the fleet's percentile, until the percentile is in the log.
//!
//! Engines write samples with their effects; one merger takes complete windows out.

mod pack;

use picket_model::behavior::Statistic;
use picket_model::fleet::{FleetSample, Quantity, WindowKey};
use picket_model::time::Timestamp;

use crate::log::PartitionId;
use crate::sql::{Row, args};
use crate::{Db, StoreError, Tx};

/// What all partitions measured in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowValues {
    /// Which percentile is asked for.
    pub statistic: Statistic,
    /// One value for each device that has one, in no order that means anything.
    pub values: Vec<Quantity>,
}

impl Db {
    /// Windows in which all of `n_partitions` partitions have handed in what they measured: those that ended first, at
    /// most `n_max`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn complete_windows(&self, n_partitions: u16, n_max: u32) -> Result<Vec<WindowKey>, StoreError> {
        let sql = "SELECT profile, behavior, fingerprint, window_end FROM fleet_sample \
                   GROUP BY profile, behavior, fingerprint, window_end HAVING $1 <= COUNT(*) \
                   ORDER BY window_end, profile, behavior, fingerprint LIMIT $2";
        let rows = self.rows(sql, args![n_partitions, n_max]).await?;
        rows.iter().map(window).collect()
    }

    /// What was handed in for a window so far; `None` if nothing was, or the window is forgotten. A million values take
    /// 16 MB.
    ///
    /// # Errors
    /// The database cannot be read, or holds what cannot be.
    pub async fn window_values(&self, window: &WindowKey) -> Result<Option<WindowValues>, StoreError> {
        let sql = "SELECT statistic, body FROM fleet_sample \
                   WHERE profile = $1 AND behavior = $2 AND fingerprint = $3 AND window_end = $4 ORDER BY partition_id";
        let rows = self.rows(sql, key(window)).await?;
        let mut found: Option<WindowValues> = None;
        for row in rows {
            let found = found.get_or_insert(WindowValues {
                statistic: row.parsed(0)?,
                values: Vec::new(),
            });
            let body: Vec<u8> = row.at(1)?;
            let unpacked = pack::unpack(&body, &mut found.values);
            unpacked.map_err(|err| StoreError::corrupt("values of a window", window.behavior.as_str(), err))?;
        }
        Ok(found)
    }

    /// Forgets windows whose percentiles are durable in the log.
    ///
    /// # Errors
    /// The database cannot be written: none is forgotten.
    pub async fn forget_windows(&self, windows: &[WindowKey]) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let mut in_order: Vec<&WindowKey> = windows.iter().collect();
        in_order.sort_unstable();
        for window in in_order {
            let sql = "DELETE FROM fleet_sample \
                       WHERE profile = $1 AND behavior = $2 AND fingerprint = $3 AND window_end = $4";
            tx.execute(sql, key(window)).await?;
        }
        tx.commit().await
    }

    /// Forgets windows that end outside of `kept` (both ends are in it) and are not complete: a partition that judges by
    /// another configuration by now will never hand in its own. Says how many these were.
    ///
    /// # Errors
    /// The database cannot be written: none is forgotten.
    pub async fn forget_incomplete_windows(
        &self,
        n_partitions: u16,
        kept: (Timestamp, Timestamp),
    ) -> Result<u64, StoreError> {
        let sql = "SELECT profile, behavior, fingerprint, window_end FROM fleet_sample \
                   WHERE window_end < $2 OR $3 < window_end \
                   GROUP BY profile, behavior, fingerprint, window_end HAVING COUNT(*) < $1";
        let args = args![n_partitions, kept.0.millis(), kept.1.millis()];
        let windows: Vec<WindowKey> = self
            .rows(sql, args)
            .await?
            .iter()
            .map(window)
            .collect::<Result<_, _>>()?;
        if !windows.is_empty() {
            self.forget_windows(&windows).await?;
        }
        Ok(windows.len() as u64)
    }
}

/// Writes what a partition measured in a window. The same again, by an engine that replays, is the same row; after a
/// clock that was set back the newer one counts.
pub(crate) async fn write_sample(tx: &mut Tx, partition: PartitionId, sample: &FleetSample) -> Result<(), StoreError> {
    let sql = "INSERT INTO fleet_sample (profile, behavior, fingerprint, window_end, partition_id, statistic, body) \
               VALUES ($1, $2, $3, $4, $5, $6, $7) \
               ON CONFLICT (profile, behavior, fingerprint, window_end, partition_id) \
               DO UPDATE SET statistic = excluded.statistic, body = excluded.body";
    let mut args = key(&sample.window);
    args.push(partition.0);
    args.push(sample.statistic.as_str());
    args.push(pack::pack(&sample.values));
    tx.execute(sql, args).await?;
    tx.has_samples = true;
    Ok(())
}

fn key(window: &WindowKey) -> crate::sql::Args {
    args![
        window.profile.as_str(),
        window.behavior.as_str(),
        window.fingerprint.cast_signed(),
        window.end.millis(),
    ]
}

fn window(row: &Row) -> Result<WindowKey, StoreError> {
    Ok(WindowKey {
        profile: row.parsed(0)?,
        behavior: row.parsed(1)?,
        fingerprint: row.at::<i64>(2)?.cast_unsigned(),
        end: Timestamp::from_millis(row.at(3)?),
    })
}
