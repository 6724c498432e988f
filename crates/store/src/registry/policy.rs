//! IoT policies, their versions, and what they are attached to. A document is text here: who stores it has parsed it.

use picket_model::name::{CertificateId, PolicyName, ThingGroupName};
use picket_model::time::Timestamp;
use xxhash_rust::xxh3::xxh3_128;

use super::tag::{self, TaggedKind, Tags};
use super::{certificate, group};
use crate::sql::{Row, args};
use crate::{Db, StoreError, Tx};

const N_POLICIES_OF_CERTIFICATE_MAX: u32 = 10;
const N_POLICIES_OF_GROUP_MAX: u32 = 2;

/// A policy with its default version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// The version in force, from 1.
    pub default_version: i64,
    /// The document of that version, as it was written.
    pub document: String,
    /// 64 hex digits; others if the policy is deleted and created again.
    pub generation_id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its default version was changed last.
    pub modified_at: Timestamp,
}

/// What a policy is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyTarget {
    /// Whoever connects with this certificate.
    Certificate(CertificateId),
    /// The things of this group and of the groups below it.
    Group(ThingGroupName),
}

impl Db {
    /// Creates a policy with the document as version 1, in force.
    ///
    /// # Errors
    /// [`StoreError::Exists`], whatever document the other has.
    pub async fn create_policy(
        &self,
        name: &PolicyName,
        document: &str,
        tags: &Tags,
        at: Timestamp,
    ) -> Result<Policy, StoreError> {
        let mut tx = self.begin_write().await?;
        if !insert(&mut tx, name, document, at).await? {
            return Err(StoreError::exists("policy", name));
        }
        tag::put(&mut tx, TaggedKind::Policy, name.as_str(), tags).await?;
        tx.commit().await?;
        Ok(Policy {
            name: name.clone(),
            default_version: 1,
            document: document.to_owned(),
            generation_id: generation_id(name, at),
            created_at: at,
            modified_at: at,
        })
    }

    /// The policy of that name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn policy(&self, name: &PolicyName) -> Result<Option<Policy>, StoreError> {
        let sql = "SELECT p.name, p.default_version, v.document, p.generation_id, p.created_at, p.modified_at \
                   FROM policy p JOIN policy_version v ON v.policy = p.name AND v.version = p.default_version \
                   WHERE p.name = $1";
        self.row(sql, args![name.as_str()])
            .await?
            .map(|row| policy_of(&row))
            .transpose()
    }

    /// The names of the next `n_max` policies after `after`, from the end when not `is_ascending`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn policies(
        &self,
        after: Option<&PolicyName>,
        is_ascending: bool,
        n_max: u32,
    ) -> Result<Vec<PolicyName>, StoreError> {
        let after = after.map(PolicyName::as_str);
        let rows = if is_ascending {
            let sql = "SELECT name FROM policy WHERE name > $1 ORDER BY name LIMIT $2";
            self.rows(sql, args![after.unwrap_or_default(), n_max]).await?
        } else {
            let sql = "SELECT name FROM policy WHERE ($1 IS NULL OR name < $1) ORDER BY name DESC LIMIT $2";
            self.rows(sql, args![after, n_max]).await?
        };
        rows.iter().map(|row| row.parsed(0)).collect()
    }

    /// Removes a policy with its only version.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::InUse`] while it is attached to anything, or has versions that are not in
    /// force.
    pub async fn delete_policy(&self, name: &PolicyName) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx, name).await?;
        for users in [
            "SELECT 'certificate ' || certificate FROM certificate_policy WHERE policy = $1 LIMIT 1",
            "SELECT 'thing group ' || group_name FROM group_policy WHERE policy = $1 LIMIT 1",
            "SELECT 'its versions that are not the default one' FROM policy p JOIN policy_version v \
             ON v.policy = p.name AND v.version <> p.default_version WHERE p.name = $1 LIMIT 1",
        ] {
            if let Some(row) = tx.row(users, args![name.as_str()]).await? {
                return Err(StoreError::InUse {
                    what: "policy",
                    name: name.to_string(),
                    by: row.at(0)?,
                });
            }
        }
        tx.execute("DELETE FROM policy WHERE name = $1", args![name.as_str()])
            .await?;
        tag::remove_all(&mut tx, TaggedKind::Policy, name.as_str()).await?;
        tx.commit().await
    }

    /// Attaches a policy; once more changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the policy or the target; [`StoreError::Limit`] when the target has 10 (a certificate)
    /// or 2 (a group) already.
    pub async fn attach_policy(&self, name: &PolicyName, target: &PolicyTarget) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx, name).await?;
        match target {
            PolicyTarget::Certificate(id) => {
                if !certificate::lock(&mut tx, id).await? {
                    return Err(StoreError::not_found("certificate", id));
                }
                let insert = "INSERT INTO certificate_policy (certificate, policy) VALUES ($1, $2) \
                              ON CONFLICT (certificate, policy) DO NOTHING";
                tx.execute(insert, args![id.to_string(), name.as_str()]).await?;
                let count = "SELECT count(*) FROM certificate_policy WHERE certificate = $1";
                let found = tx.row(count, args![id.to_string()]).await?;
                refuse_more_than(N_POLICIES_OF_CERTIFICATE_MAX, "policies of a certificate", found)?;
            }
            PolicyTarget::Group(group) => attach_to_group(&mut tx, name, group).await?,
        }
        tx.commit().await
    }

    /// Detaches a policy; says whether it was attached.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn detach_policy(&self, name: &PolicyName, target: &PolicyTarget) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        let n_removed = match target {
            PolicyTarget::Certificate(id) => {
                let sql = "DELETE FROM certificate_policy WHERE certificate = $1 AND policy = $2";
                tx.execute(sql, args![id.to_string(), name.as_str()]).await?
            }
            PolicyTarget::Group(group) => {
                let sql = "DELETE FROM group_policy WHERE group_name = $1 AND policy = $2";
                tx.execute(sql, args![group.as_str(), name.as_str()]).await?
            }
        };
        tx.commit().await?;
        Ok(n_removed == 1)
    }

    /// The names of the next `n_max` policies attached to the target; with `is_recursive` also those of the groups above.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the target.
    pub async fn attached_policies(
        &self,
        target: &PolicyTarget,
        is_recursive: bool,
        after: Option<&PolicyName>,
        n_max: u32,
    ) -> Result<Vec<PolicyName>, StoreError> {
        let after = after.map_or("", PolicyName::as_str);
        let rows = match target {
            PolicyTarget::Certificate(id) => {
                if self.certificate(id).await?.is_none() {
                    return Err(StoreError::not_found("certificate", id));
                }
                let sql = "SELECT policy FROM certificate_policy WHERE certificate = $1 AND policy > $2 \
                           ORDER BY policy LIMIT $3";
                self.rows(sql, args![id.to_string(), after, n_max]).await?
            }
            PolicyTarget::Group(group) => {
                if self.group(group).await?.is_none() {
                    return Err(StoreError::not_found("thing group", group));
                }
                let sql = "WITH RECURSIVE above(name, parent) AS ( \
                               SELECT name, parent FROM thing_group WHERE name = $1 \
                               UNION SELECT g.name, g.parent FROM thing_group g JOIN above a ON g.name = a.parent WHERE $2 \
                           ) SELECT DISTINCT p.policy FROM group_policy p JOIN above a ON a.name = p.group_name \
                           WHERE p.policy > $3 ORDER BY p.policy LIMIT $4";
                self.rows(sql, args![group.as_str(), is_recursive, after, n_max])
                    .await?
            }
        };
        rows.iter().map(|row| row.parsed(0)).collect()
    }

    /// The next `n_max` targets that a policy is attached to after `after`: certificates by id, then groups by name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the policy.
    pub async fn targets_of_policy(
        &self,
        name: &PolicyName,
        after: Option<&PolicyTarget>,
        n_max: u32,
    ) -> Result<Vec<PolicyTarget>, StoreError> {
        self.expect_policy(name).await?;
        let (kind, key) = match after {
            None => ("", String::new()),
            Some(PolicyTarget::Certificate(id)) => (CERTIFICATE, id.to_string()),
            Some(PolicyTarget::Group(group)) => (GROUP, group.to_string()),
        };
        let sql = "SELECT kind, name FROM ( \
                       SELECT 'certificate' AS kind, certificate AS name FROM certificate_policy WHERE policy = $1 \
                       UNION ALL SELECT 'group', group_name FROM group_policy WHERE policy = $1 \
                   ) AS target WHERE kind > $2 OR (kind = $2 AND name > $3) ORDER BY kind, name LIMIT $4";
        let rows = self.rows(sql, args![name.as_str(), kind, key, n_max]).await?;
        rows.iter().map(target_of).collect()
    }

    /// The next `n_max` certificates that a policy is attached to, by id, from the end when not `is_ascending`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the policy.
    pub async fn certificates_of_policy(
        &self,
        name: &PolicyName,
        is_ascending: bool,
        after: Option<&CertificateId>,
        n_max: u32,
    ) -> Result<Vec<CertificateId>, StoreError> {
        self.expect_policy(name).await?;
        let (comparison, order) = if is_ascending { (">", "ASC") } else { ("<", "DESC") };
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT certificate FROM certificate_policy \
             WHERE policy = $1 AND ($2 IS NULL OR certificate {comparison} $2) ORDER BY certificate {order} LIMIT $3"
        ));
        let after = after.map(CertificateId::to_string);
        let rows = self.rows(sql, args![name.as_str(), after, n_max]).await?;
        rows.iter().map(|row| row.parsed(0)).collect()
    }

    /// The next `n_max` policies attached to a certificate, by name, from the end when not `is_ascending`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the certificate.
    pub async fn policies_of_certificate(
        &self,
        id: &CertificateId,
        is_ascending: bool,
        after: Option<&PolicyName>,
        n_max: u32,
    ) -> Result<Vec<PolicyName>, StoreError> {
        if self.certificate(id).await?.is_none() {
            return Err(StoreError::not_found("certificate", id));
        }
        let (comparison, order) = if is_ascending { (">", "ASC") } else { ("<", "DESC") };
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT policy FROM certificate_policy \
             WHERE certificate = $1 AND ($2 IS NULL OR policy {comparison} $2) ORDER BY policy {order} LIMIT $3"
        ));
        let after = after.map(PolicyName::as_str);
        let rows = self.rows(sql, args![id.to_string(), after, n_max]).await?;
        rows.iter().map(|row| row.parsed(0)).collect()
    }

    async fn expect_policy(&self, name: &PolicyName) -> Result<(), StoreError> {
        match self
            .row("SELECT 1 FROM policy WHERE name = $1", args![name.as_str()])
            .await?
        {
            Some(_) => Ok(()),
            None => Err(StoreError::not_found("policy", name)),
        }
    }
}

/// What stands in the database for each kind of target.
const CERTIFICATE: &str = "certificate";
const GROUP: &str = "group";

fn target_of(row: &Row) -> Result<PolicyTarget, StoreError> {
    let kind: String = row.at(0)?;
    if kind == GROUP {
        row.parsed(1).map(PolicyTarget::Group)
    } else {
        row.parsed(1).map(PolicyTarget::Certificate)
    }
}

/// Creates a policy unless there is one of that name; says whether it did.
pub(crate) async fn insert(tx: &mut Tx, name: &PolicyName, document: &str, at: Timestamp) -> Result<bool, StoreError> {
    let sql = "INSERT INTO policy (name, default_version, generation_id, created_at, modified_at) \
               VALUES ($1, 1, $2, $3, $3) ON CONFLICT (name) DO NOTHING";
    if tx
        .execute(sql, args![name.as_str(), generation_id(name, at), at.millis()])
        .await?
        == 0
    {
        return Ok(false);
    }
    let sql = "INSERT INTO policy_version (policy, version, document, created_at) VALUES ($1, 1, $2, $3)";
    tx.execute(sql, args![name.as_str(), document, at.millis()]).await?;
    Ok(true)
}

/// Attaches a policy to a group; once more changes nothing.
pub(crate) async fn attach_to_group(tx: &mut Tx, name: &PolicyName, group: &ThingGroupName) -> Result<(), StoreError> {
    if !group::lock(tx, group).await? {
        return Err(StoreError::not_found("thing group", group));
    }
    let insert = "INSERT INTO group_policy (group_name, policy) VALUES ($1, $2) \
                  ON CONFLICT (group_name, policy) DO NOTHING";
    tx.execute(insert, args![group.as_str(), name.as_str()]).await?;
    let count = "SELECT count(*) FROM group_policy WHERE group_name = $1";
    let found = tx.row(count, args![group.as_str()]).await?;
    refuse_more_than(N_POLICIES_OF_GROUP_MAX, "policies of a thing group", found)
}

/// Holds the policy until the transaction ends.
///
/// # Errors
/// [`StoreError::NotFound`]
pub(super) async fn lock(tx: &mut Tx, name: &PolicyName) -> Result<(), StoreError> {
    let sql = "UPDATE policy SET default_version = default_version WHERE name = $1";
    match tx.execute(sql, args![name.as_str()]).await? {
        0 => Err(StoreError::not_found("policy", name)),
        _ => Ok(()),
    }
}

fn refuse_more_than(n_max: u32, what: &'static str, found: Option<Row>) -> Result<(), StoreError> {
    let n_found = found.map_or(Ok(0), |row| row.count(0))?;
    if n_found > u64::from(n_max) {
        return Err(StoreError::Limit {
            what,
            n_max: n_max.into(),
        });
    }
    Ok(())
}

fn generation_id(name: &PolicyName, at: Timestamp) -> String {
    let half = |side: u8| xxh3_128(format!("policy\0{name}\0{}\0{side}", at.millis()).as_bytes());
    format!("{:032x}{:032x}", half(0), half(1))
}

fn policy_of(row: &Row) -> Result<Policy, StoreError> {
    Ok(Policy {
        name: row.parsed(0)?,
        default_version: row.at(1)?,
        document: row.at(2)?,
        generation_id: row.at(3)?,
        created_at: Timestamp::from_millis(row.at(4)?),
        modified_at: Timestamp::from_millis(row.at(5)?),
    })
}
