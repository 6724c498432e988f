//! Custom metrics: their names and types, which never change.

use picket_model::metric::CustomMetricType;
use picket_model::name::MetricName;
use picket_model::time::Timestamp;

use crate::judging::Part;
use crate::profiles::{self, lock};
use crate::registry::tag::{self, TaggedKind, Tags};
use crate::requests::{Request, Trace};
use crate::sql::{Row, args};
use crate::{Db, StoreError, judging};

/// A custom metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomMetric {
    /// Its name.
    pub name: MetricName,
    /// Its type.
    pub kind: CustomMetricType,
    /// What people call it.
    pub display_name: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub modified_at: Timestamp,
}

/// A custom metric to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCustomMetric {
    /// Its name.
    pub name: MetricName,
    /// Its type.
    pub kind: CustomMetricType,
    /// What people call it.
    pub display_name: Option<String>,
    /// Who asks for it.
    pub request: Request,
}

const REQUESTS: Trace = Trace {
    table: "custom_metric",
    key: "name",
    what: "custom metric",
};

/// Custom metrics in all: AWS's quota.
const N_METRICS_MAX: u64 = 100;

const SELECT: &str = "SELECT name, kind, display_name, created_at, modified_at FROM custom_metric";

impl Db {
    /// Creates a custom metric; says whether it is new: the same request again is the same.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when another request made one of that name; [`StoreError::Rule`] when the request's token was
    /// used for something else; [`StoreError::Limit`] when there are 100.
    pub async fn create_custom_metric(
        &self,
        new: &NewCustomMetric,
        tags: &Tags,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx).await?;
        if REQUESTS.has(&mut tx, new.name.as_str(), &new.request).await? {
            return Ok(false);
        }
        let sql = "INSERT INTO custom_metric (name, kind, display_name, request_token, request, created_at, modified_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (name) DO NOTHING";
        let args = args![
            new.name.as_str(),
            new.kind.as_str(),
            new.display_name.as_deref(),
            new.request.token.as_str(),
            new.request.parameters.as_str(),
            at.millis(),
        ];
        if tx.execute(sql, args).await? == 0 {
            return Err(StoreError::exists("custom metric", &new.name));
        }
        let row = tx.row("SELECT COUNT(*) FROM custom_metric", args![]).await?;
        if N_METRICS_MAX < row.map_or(Ok(0), |row| row.count(0))? {
            return Err(StoreError::Limit {
                what: "custom metrics",
                n_max: N_METRICS_MAX,
            });
        }
        tag::put(&mut tx, TaggedKind::Metric, new.name.as_str(), tags).await?;
        judging::bump(&mut tx, &[Part::Metric(&new.name)]).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Changes what people call a custom metric; says what it is then.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn update_custom_metric(
        &self,
        name: &MetricName,
        display_name: Option<&str>,
        at: Timestamp,
    ) -> Result<CustomMetric, StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "UPDATE custom_metric SET display_name = $1, modified_at = $2 WHERE name = $3";
        if tx.execute(sql, args![display_name, at.millis(), name.as_str()]).await? == 0 {
            return Err(StoreError::not_found("custom metric", name));
        }
        tx.commit().await?;
        let found = self.custom_metric(name).await?;
        found.ok_or_else(|| StoreError::not_found("custom metric", name))
    }

    /// The custom metric of that name.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn custom_metric(&self, name: &MetricName) -> Result<Option<CustomMetric>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("{SELECT} WHERE name = $1"));
        let row = self.row(sql, args![name.as_str()]).await?;
        row.as_ref().map(metric_of).transpose()
    }

    /// All custom metrics, by name; there are 100 at most.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn custom_metrics(&self) -> Result<Vec<CustomMetric>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("{SELECT} ORDER BY name"));
        self.rows(sql, args![]).await?.iter().map(metric_of).collect()
    }

    /// Removes a custom metric; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while a profile judges or retains it.
    pub async fn delete_custom_metric(&self, name: &MetricName) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx).await?;
        if let Some(profile) = profiles::using(&mut tx, |uses| uses.metrics.contains(name.as_str())).await? {
            return Err(StoreError::InUse {
                what: "custom metric",
                name: name.to_string(),
                by: format!("security profile {profile}"),
            });
        }
        if tx
            .execute("DELETE FROM custom_metric WHERE name = $1", args![name.as_str()])
            .await?
            == 0
        {
            return Ok(false);
        }
        tag::remove_all(&mut tx, TaggedKind::Metric, name.as_str()).await?;
        judging::bump(&mut tx, &[Part::Metric(name)]).await?;
        tx.commit().await?;
        Ok(true)
    }
}

fn metric_of(row: &Row) -> Result<CustomMetric, StoreError> {
    Ok(CustomMetric {
        name: row.parsed(0)?,
        kind: row.parsed(1)?,
        display_name: row.at(2)?,
        created_at: Timestamp::from_millis(row.at(3)?),
        modified_at: Timestamp::from_millis(row.at(4)?),
    })
}
