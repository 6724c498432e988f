//! Which certificate belongs to which thing.

use picket_model::name::{CertificateId, ThingName};

use super::{certificate, thing};
use crate::sql::args;
use crate::{Db, StoreError};

impl Db {
    /// Attaches a certificate to a thing; once more changes nothing. With `is_exclusive` the certificate is for this
    /// thing alone from then on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the thing or the certificate; [`StoreError::Rule`] when the certificate is for one thing
    /// alone and this would make it two.
    pub async fn attach_principal(
        &self,
        thing: &ThingName,
        id: &CertificateId,
        is_exclusive: bool,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        if !thing::lock(&mut tx, thing).await? {
            return Err(StoreError::not_found("thing", thing));
        }
        if !certificate::lock(&mut tx, id).await? {
            return Err(StoreError::not_found("certificate", id));
        }
        let others = "SELECT thing, is_exclusive FROM thing_principal WHERE certificate = $1 AND thing <> $2";
        for row in tx.rows(others, args![id.to_string(), thing.as_str()]).await? {
            if is_exclusive || row.at(1)? {
                let other: String = row.at(0)?;
                let reason = format!("certificate {id} is attached to thing {other}, and one of the two is exclusive");
                return Err(StoreError::Rule { reason });
            }
        }
        let sql = "INSERT INTO thing_principal (thing, certificate, is_exclusive) VALUES ($1, $2, $3) \
                   ON CONFLICT (thing, certificate) DO UPDATE SET is_exclusive = excluded.is_exclusive";
        tx.execute(sql, args![thing.as_str(), id.to_string(), is_exclusive])
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

    /// The next `n_max` certificates of a thing, by id.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn principals_of_thing(
        &self,
        thing: &ThingName,
        after: Option<&CertificateId>,
        n_max: u32,
    ) -> Result<Vec<CertificateId>, StoreError> {
        let sql = "SELECT certificate FROM thing_principal WHERE thing = $1 AND certificate > $2 \
                   ORDER BY certificate LIMIT $3";
        let after = after.map(CertificateId::to_string).unwrap_or_default();
        let rows = self.rows(sql, args![thing.as_str(), after, n_max]).await?;
        rows.iter().map(|row| row.parsed(0)).collect()
    }

    /// The next `n_max` things of a certificate, by name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn things_of_principal(
        &self,
        id: &CertificateId,
        after: Option<&ThingName>,
        n_max: u32,
    ) -> Result<Vec<ThingName>, StoreError> {
        let sql = "SELECT thing FROM thing_principal WHERE certificate = $1 AND thing > $2 ORDER BY thing LIMIT $3";
        let after = after.map_or("", ThingName::as_str);
        let rows = self.rows(sql, args![id.to_string(), after, n_max]).await?;
        rows.iter().map(|row| row.parsed(0)).collect()
    }
}
