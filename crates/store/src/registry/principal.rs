//! Which certificate belongs to which thing.

use picket_model::name::{CertificateId, ThingName};

use super::{certificate, thing};
use crate::sql::{Row, args};
use crate::{Db, StoreError};

/// Whether a certificate is for one thing alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    /// For the thing that it is attached to, and no other.
    Exclusive,
    /// For any number of things.
    NonExclusive,
}

impl PrincipalKind {
    const fn is_exclusive(self) -> bool {
        matches!(self, Self::Exclusive)
    }

    const fn of(is_exclusive: bool) -> Self {
        if is_exclusive {
            Self::Exclusive
        } else {
            Self::NonExclusive
        }
    }
}

impl Db {
    /// Attaches a certificate to a thing; once more changes no more than its kind. Without a kind it is not exclusive, or as
    /// it is when it is attached already.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the thing or the certificate; [`StoreError::Rule`] when the certificate is for one thing
    /// alone and this would make it two.
    pub async fn attach_principal(
        &self,
        thing: &ThingName,
        id: &CertificateId,
        kind: Option<PrincipalKind>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        if !thing::lock(&mut tx, thing).await? {
            return Err(StoreError::not_found("thing", thing));
        }
        if !certificate::lock(&mut tx, id).await? {
            return Err(StoreError::not_found("certificate", id));
        }
        let is_exclusive = kind.is_some_and(PrincipalKind::is_exclusive);
        let others = "SELECT thing, is_exclusive FROM thing_principal WHERE certificate = $1 AND thing <> $2";
        for row in tx.rows(others, args![id.to_string(), thing.as_str()]).await? {
            if is_exclusive || row.at(1)? {
                let other: String = row.at(0)?;
                let reason = format!("certificate {id} is attached to thing {other}, and one of the two is exclusive");
                return Err(StoreError::Rule { reason });
            }
        }
        let sql = "INSERT INTO thing_principal (thing, certificate, is_exclusive) VALUES ($1, $2, $3) \
                   ON CONFLICT (thing, certificate) DO UPDATE SET is_exclusive = COALESCE($4, thing_principal.is_exclusive)";
        let kind = kind.map(PrincipalKind::is_exclusive);
        tx.execute(sql, args![thing.as_str(), id.to_string(), is_exclusive, kind])
            .await?;
        tx.commit().await
    }

    /// Detaches a certificate from a thing; says whether it was attached.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the thing.
    pub async fn detach_principal(&self, thing: &ThingName, id: &CertificateId) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        if !thing::lock(&mut tx, thing).await? {
            return Err(StoreError::not_found("thing", thing));
        }
        let sql = "DELETE FROM thing_principal WHERE thing = $1 AND certificate = $2";
        let n_removed = tx.execute(sql, args![thing.as_str(), id.to_string()]).await?;
        tx.commit().await?;
        Ok(n_removed == 1)
    }

    /// The next `n_max` certificates of a thing, by id; only those of a kind when one is given.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn principals_of_thing(
        &self,
        thing: &ThingName,
        only: Option<PrincipalKind>,
        after: Option<&CertificateId>,
        n_max: u32,
    ) -> Result<Vec<(CertificateId, PrincipalKind)>, StoreError> {
        let sql = "SELECT certificate, is_exclusive FROM thing_principal WHERE thing = $1 AND certificate > $2 \
                   AND ($3 IS NULL OR is_exclusive = $3) ORDER BY certificate LIMIT $4";
        let after = after.map(CertificateId::to_string).unwrap_or_default();
        let only = only.map(PrincipalKind::is_exclusive);
        let rows = self.rows(sql, args![thing.as_str(), after, only, n_max]).await?;
        let pair = |row: &Row| Ok((row.parsed(0)?, PrincipalKind::of(row.at(1)?)));
        rows.iter().map(pair).collect()
    }

    /// The next `n_max` things of a certificate, by name; only those that it is attached to in one way when one is given.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn things_of_principal(
        &self,
        id: &CertificateId,
        only: Option<PrincipalKind>,
        after: Option<&ThingName>,
        n_max: u32,
    ) -> Result<Vec<(ThingName, PrincipalKind)>, StoreError> {
        let sql = "SELECT thing, is_exclusive FROM thing_principal WHERE certificate = $1 AND thing > $2 \
                   AND ($3 IS NULL OR is_exclusive = $3) ORDER BY thing LIMIT $4";
        let after = after.map_or("", ThingName::as_str);
        let only = only.map(PrincipalKind::is_exclusive);
        let rows = self.rows(sql, args![id.to_string(), after, only, n_max]).await?;
        let pair = |row: &Row| Ok((row.parsed(0)?, PrincipalKind::of(row.at(1)?)));
        rows.iter().map(pair).collect()
    }
}
