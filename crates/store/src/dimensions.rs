//! Dimensions: sets of topic filters that narrow metrics which the broker measures.

use picket_model::name::DimensionName;
use picket_model::time::Timestamp;
use sqlx::AssertSqlSafe;

use crate::judging::Part;
use crate::profiles::{self, lock};
use crate::registry::tag::{self, TaggedKind, Tags};
use crate::requests::{Request, Trace};
use crate::sql::{Row, args};
use crate::{Db, StoreError, judging};

/// A dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// Its name.
    pub name: DimensionName,
    /// Its topic filters, as written.
    pub filters: Vec<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub modified_at: Timestamp,
}

/// A dimension to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDimension {
    /// Its name.
    pub name: DimensionName,
    /// Its topic filters.
    pub filters: Vec<String>,
    /// Who asks for it.
    pub request: Request,
}

const REQUESTS: Trace = Trace {
    table: "dimension",
    key: "name",
    what: "dimension",
};

/// Dimensions in all: AWS's quota.
const N_DIMENSIONS_MAX: u64 = 10;

const SELECT: &str = "SELECT name, string_values, created_at, modified_at FROM dimension";

impl Db {
    /// Creates a dimension; says whether it is new: the same request again is the same.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when another request made one of that name; [`StoreError::Rule`] when the request's token was
    /// used for something else; [`StoreError::Limit`] when there are 10.
    pub async fn create_dimension(&self, new: &NewDimension, tags: &Tags, at: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx).await?;
        if REQUESTS.has(&mut tx, new.name.as_str(), &new.request).await? {
            return Ok(false);
        }
        let sql = "INSERT INTO dimension (name, string_values, request_token, request, created_at, modified_at) \
                   VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (name) DO NOTHING";
        let args = args![
            new.name.as_str(),
            filters_json(&new.filters)?,
            new.request.token.as_str(),
            new.request.parameters.as_str(),
            at.millis(),
        ];
        if tx.execute(sql, args).await? == 0 {
            return Err(StoreError::exists("dimension", &new.name));
        }
        let row = tx.row("SELECT COUNT(*) FROM dimension", args![]).await?;
        if N_DIMENSIONS_MAX < row.map_or(Ok(0), |row| row.count(0))? {
            return Err(StoreError::Limit {
                what: "dimensions",
                n_max: N_DIMENSIONS_MAX,
            });
        }
        tag::put(&mut tx, TaggedKind::Dimension, new.name.as_str(), tags).await?;
        judging::bump(&mut tx, &[Part::Dimension(&new.name)]).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Changes the topic filters of a dimension; says what it is then.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn update_dimension(
        &self,
        name: &DimensionName,
        filters: &[String],
        at: Timestamp,
    ) -> Result<Dimension, StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx).await?;
        let sql = "UPDATE dimension SET string_values = $1, modified_at = $2 WHERE name = $3";
        if tx
            .execute(sql, args![filters_json(filters)?, at.millis(), name.as_str()])
            .await?
            == 0
        {
            return Err(StoreError::not_found("dimension", name));
        }
        let row = tx
            .row(AssertSqlSafe(format!("{SELECT} WHERE name = $1")), args![name.as_str()])
            .await?;
        let dimension = row.as_ref().map(dimension_of).transpose()?;
        judging::bump(&mut tx, &[Part::Dimension(name)]).await?;
        tx.commit().await?;
        dimension.ok_or_else(|| StoreError::not_found("dimension", name))
    }

    /// The dimension of that name.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn dimension(&self, name: &DimensionName) -> Result<Option<Dimension>, StoreError> {
        let sql = AssertSqlSafe(format!("{SELECT} WHERE name = $1"));
        let row = self.row(sql, args![name.as_str()]).await?;
        row.as_ref().map(dimension_of).transpose()
    }

    /// All dimensions, by name; there are 10 at most.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn dimensions(&self) -> Result<Vec<Dimension>, StoreError> {
        let sql = AssertSqlSafe(format!("{SELECT} ORDER BY name"));
        self.rows(sql, args![]).await?.iter().map(dimension_of).collect()
    }

    /// Removes a dimension; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while a profile uses it.
    pub async fn delete_dimension(&self, name: &DimensionName) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx).await?;
        if let Some(profile) = profiles::using(&mut tx, |uses| uses.dimensions.contains(name.as_str())).await? {
            return Err(StoreError::InUse {
                what: "dimension",
                name: name.to_string(),
                by: format!("security profile {profile}"),
            });
        }
        if tx
            .execute("DELETE FROM dimension WHERE name = $1", args![name.as_str()])
            .await?
            == 0
        {
            return Ok(false);
        }
        tag::remove_all(&mut tx, TaggedKind::Dimension, name.as_str()).await?;
        judging::bump(&mut tx, &[Part::Dimension(name)]).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Topic filters as a row holds them.
pub(crate) fn filters_of(json: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(json).map_err(|err| StoreError::corrupt("topic filters", json, err))
}

fn filters_json(filters: &[String]) -> Result<String, StoreError> {
    serde_json::to_string(filters).map_err(|err| StoreError::corrupt("topic filters", "a list of texts", err))
}

fn dimension_of(row: &Row) -> Result<Dimension, StoreError> {
    Ok(Dimension {
        name: row.parsed(0)?,
        filters: filters_of(&row.at::<String>(1)?)?,
        created_at: Timestamp::from_millis(row.at(2)?),
        modified_at: Timestamp::from_millis(row.at(3)?),
    })
}
