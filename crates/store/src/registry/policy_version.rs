//! The versions of a policy. One of them is in force.

use picket_model::name::PolicyName;
use picket_model::time::Timestamp;

use super::policy::lock;
use crate::sql::{Row, args};
use crate::{Db, StoreError, Tx};

/// Versions that a policy has at once: AWS's quota.
const N_VERSIONS_MAX: u32 = 5;

/// A version of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVersion {
    /// Its number, from 1; never given twice to versions of one policy.
    pub version: i64,
    /// The document, as it was written.
    pub document: String,
    /// Whether it is in force.
    pub is_default: bool,
    /// When it was created.
    pub created_at: Timestamp,
}

const SELECT: &str = "SELECT v.version, v.document, p.default_version, v.created_at \
                      FROM policy_version v JOIN policy p ON p.name = v.policy WHERE v.policy = $1";

impl Db {
    /// Adds a version to a policy, in force at once when it `is_default`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the policy; [`StoreError::Limit`] when it has 5 versions.
    pub async fn create_policy_version(
        &self,
        name: &PolicyName,
        document: &str,
        is_default: bool,
        at: Timestamp,
    ) -> Result<PolicyVersion, StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx, name).await?;
        let count = "SELECT count(*) FROM policy_version WHERE policy = $1";
        let n_found = tx
            .row(count, args![name.as_str()])
            .await?
            .map_or(Ok(0), |row| row.count(0))?;
        if u64::from(N_VERSIONS_MAX) <= n_found {
            return Err(StoreError::Limit {
                what: "versions of a policy",
                n_max: N_VERSIONS_MAX.into(),
            });
        }
        tx.execute(
            "UPDATE policy SET last_version = last_version + 1 WHERE name = $1",
            args![name.as_str()],
        )
        .await?;
        let insert = "INSERT INTO policy_version (policy, version, document, created_at) \
                      SELECT name, last_version, $1, $2 FROM policy WHERE name = $3";
        tx.execute(insert, args![document, at.millis(), name.as_str()]).await?;
        if is_default {
            let sql = "UPDATE policy SET default_version = last_version, modified_at = $1 WHERE name = $2";
            tx.execute(sql, args![at.millis(), name.as_str()]).await?;
        }
        let newest = sqlx::AssertSqlSafe(format!("{SELECT} ORDER BY v.version DESC LIMIT 1"));
        let created = tx.row(newest, args![name.as_str()]).await?;
        let version = created.map_or_else(|| Err(StoreError::not_found("policy", name)), |row| version_of(&row))?;
        tx.commit().await?;
        Ok(version)
    }

    /// A version of a policy.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn policy_version(&self, name: &PolicyName, version: i64) -> Result<Option<PolicyVersion>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("{SELECT} AND v.version = $2"));
        let row = self.row(sql, args![name.as_str(), version]).await?;
        row.map(|row| version_of(&row)).transpose()
    }

    /// All versions of a policy, the newest first; none when there is no such policy.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn policy_versions(&self, name: &PolicyName) -> Result<Vec<PolicyVersion>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("{SELECT} ORDER BY v.version DESC"));
        let rows = self.rows(sql, args![name.as_str()]).await?;
        rows.iter().map(version_of).collect()
    }

    /// Puts another version of a policy in force.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the policy or the version.
    pub async fn set_default_policy_version(
        &self,
        name: &PolicyName,
        version: i64,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx, name).await?;
        expect_there(&mut tx, name, version).await?;
        let sql = "UPDATE policy SET default_version = $1, modified_at = $2 WHERE name = $3 AND default_version <> $1";
        tx.execute(sql, args![version, at.millis(), name.as_str()]).await?;
        tx.commit().await
    }

    /// Removes a version that is not in force.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the policy or the version; [`StoreError::InUse`] while it is in force.
    pub async fn delete_policy_version(&self, name: &PolicyName, version: i64) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx, name).await?;
        expect_there(&mut tx, name, version).await?;
        let sql = "DELETE FROM policy_version WHERE policy = $1 AND version = $2 \
                   AND version <> (SELECT default_version FROM policy WHERE name = $1)";
        if tx.execute(sql, args![name.as_str(), version]).await? == 0 {
            return Err(StoreError::InUse {
                what: "policy version",
                name: format!("{version} of {name}"),
                by: "the policy as its default version".to_owned(),
            });
        }
        tx.commit().await
    }
}

async fn expect_there(tx: &mut Tx, name: &PolicyName, version: i64) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM policy_version WHERE policy = $1 AND version = $2";
    match tx.row(sql, args![name.as_str(), version]).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::not_found("policy version", format!("{version} of {name}"))),
    }
}

fn version_of(row: &Row) -> Result<PolicyVersion, StoreError> {
    let version = row.at(0)?;
    Ok(PolicyVersion {
        version,
        document: row.at(1)?,
        is_default: row.at::<i64>(2)? == version,
        created_at: Timestamp::from_millis(row.at(3)?),
    })
}
