//! What a profile names that somebody could remove.

use std::collections::BTreeSet;

use picket_model::behavior::Behavior;
use picket_model::metric::Metric;
use picket_model::name::ProfileName;

use super::collected::Collected;
use crate::sql::{Row, args};
use crate::{StoreError, Tx, judging};

/// The metrics and dimensions that a profile names: in its behaviors, and where it says which metrics to retain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Metrics, AWS's as well.
    pub(crate) metrics: BTreeSet<String>,
    /// Dimensions.
    pub(crate) dimensions: BTreeSet<String>,
}

impl Uses {
    /// Of a profile with these behaviors and extras.
    pub(crate) fn of(behaviors: &[Behavior], extras: &str) -> Result<Self, StoreError> {
        let mut uses = Self::default();
        for behavior in behaviors {
            uses.metrics.extend(behavior.metric.as_ref().map(ToString::to_string));
            let dimension = behavior.dimension.as_ref();
            uses.dimensions
                .extend(dimension.map(|dimension| dimension.name.to_string()));
        }
        for retained in Collected::of(extras)?.retained {
            uses.metrics.insert(retained.metric.to_string());
            uses.dimensions
                .extend(retained.dimension.map(|dimension| dimension.name.to_string()));
        }
        Ok(uses)
    }

    /// Of a row with name, behaviors and extras.
    pub(super) fn of_row(row: &Row) -> Result<Self, StoreError> {
        Self::of(&judging::behaviors(&row.at::<String>(1)?)?, &row.at::<String>(2)?)
    }

    /// Refuses when a custom metric or a dimension is not there: whoever asked has seen it, but it was removed since.
    pub(super) async fn exist(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let is_custom = |name: &&String| matches!(name.parse(), Ok(Metric::Custom(_)));
        for name in self.metrics.iter().filter(is_custom) {
            let sql = "SELECT 1 FROM custom_metric WHERE name = $1";
            if tx.row(sql, args![name.as_str()]).await?.is_none() {
                return Err(missing("custom metric", name));
            }
        }
        for name in &self.dimensions {
            let sql = "SELECT 1 FROM dimension WHERE name = $1";
            if tx.row(sql, args![name.as_str()]).await?.is_none() {
                return Err(missing("dimension", name));
            }
        }
        Ok(())
    }
}

/// The first profile whose uses are such, if there is one.
pub(crate) async fn using(tx: &mut Tx, is_such: impl Fn(&Uses) -> bool) -> Result<Option<ProfileName>, StoreError> {
    let sql = "SELECT name, behaviors, extras FROM security_profile ORDER BY name";
    for row in tx.rows(sql, args![]).await? {
        if is_such(&Uses::of_row(&row)?) {
            return row.parsed(0).map(Some);
        }
    }
    Ok(None)
}

fn missing(what: &str, name: &str) -> StoreError {
    StoreError::Rule {
        reason: format!("{what} {name} does not exist"),
    }
}
