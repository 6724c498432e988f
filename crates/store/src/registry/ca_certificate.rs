//! CA certificates: whose signature registers a device's certificate. They decide nothing when a device connects.

use picket_model::name::CertificateId;
use picket_model::time::Timestamp;

use super::tag::{self, TaggedKind, Tags};
use super::{Certificate, CertificateMode, certificate, id_of};
use crate::sql::{Row, args};
use crate::{Db, StoreError, Tx};

/// CA certificates of one name: AWS's quota.
const N_OF_SUBJECT_MAX: u32 = 10;

/// A registered CA certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaCertificate {
    /// SHA-256 of its DER.
    pub id: CertificateId,
    /// The certificate in PEM.
    pub pem: String,
    /// Whether device certificates can be registered with it.
    pub is_active: bool,
    /// Whether devices with a certificate of it are registered when they connect first. Kept, not acted on.
    pub is_auto_registering: bool,
    /// The template of what is made then, as JSON.
    pub registration_config: Option<String>,
    /// How it was registered; device certificates get the same.
    pub mode: CertificateMode,
    /// First moment of validity, as the certificate says.
    pub not_before: Timestamp,
    /// Last moment of validity, as the certificate says.
    pub not_after: Timestamp,
    /// 1 at first, one more with each change.
    pub version: i64,
    /// In the form of a UUID.
    pub generation_id: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub modified_at: Timestamp,
}

/// A CA certificate to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCaCertificate {
    /// SHA-256 of its DER.
    pub id: CertificateId,
    /// The certificate in PEM.
    pub pem: String,
    /// SHA-256 of its subject's DER.
    pub subject_digest: [u8; 32],
    /// Whether device certificates can be registered with it from the start.
    pub is_active: bool,
    /// Whether devices are registered when they connect first.
    pub is_auto_registering: bool,
    /// The template of what is made then.
    pub registration_config: Option<RegistrationTemplate>,
    /// How it is registered.
    pub mode: CertificateMode,
    /// First moment of validity, as the certificate says.
    pub not_before: Timestamp,
    /// Last moment of validity, as the certificate says.
    pub not_after: Timestamp,
}

/// What is made of a device that is registered when it connects first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationTemplate {
    /// All of it, as JSON.
    pub json: String,
    /// The name of the template in it, for filters.
    pub template_name: Option<String>,
}

/// What to change of a CA certificate; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaCertificateUpdate {
    /// Whether device certificates can be registered with it.
    pub is_active: Option<bool>,
    /// Whether devices are registered when they connect first.
    pub is_auto_registering: Option<bool>,
    /// The template; `Some(None)` removes it.
    pub registration_config: Option<Option<RegistrationTemplate>>,
}

const COLUMNS: &str = "id, pem, is_active, is_auto_registering, registration_config, mode, not_before, not_after, version, \
                       generation_id, created_at, modified_at";

impl Db {
    /// Registers a CA certificate, with tags.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when it is registered already; [`StoreError::Limit`] when ten of that name are.
    pub async fn create_ca_certificate(
        &self,
        new: &NewCaCertificate,
        tags: &Tags,
        at: Timestamp,
    ) -> Result<CaCertificate, StoreError> {
        let mut tx = self.begin_write().await?;
        let id = new.id.to_string();
        let template = new.registration_config.clone();
        let (json, template_name) =
            template.map_or((None, None), |template| (Some(template.json), template.template_name));
        let subject = hex(&new.subject_digest);
        let insert = "INSERT INTO ca_certificate (id, pem, subject_digest, is_active, is_auto_registering, \
                      registration_config, template_name, mode, not_before, not_after, version, generation_id, created_at, \
                      modified_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11, $12, $12) \
                      ON CONFLICT (id) DO NOTHING";
        let values = args![
            id.as_str(),
            new.pem.as_str(),
            subject.as_str(),
            new.is_active,
            new.is_auto_registering,
            json,
            template_name,
            new.mode.as_str(),
            new.not_before.millis(),
            new.not_after.millis(),
            id_of("CA certificate", &id, at),
            at.millis(),
        ];
        if tx.execute(insert, values).await? == 0 {
            return Err(StoreError::exists("CA certificate", id));
        }
        let count = "SELECT count(*) FROM ca_certificate WHERE subject_digest = $1";
        let found = tx.row(count, args![subject]).await?;
        if u64::from(N_OF_SUBJECT_MAX) < found.map_or(Ok(0), |row| row.count(0))? {
            return Err(StoreError::Limit {
                what: "CA certificates of one name",
                n_max: N_OF_SUBJECT_MAX.into(),
            });
        }
        tag::put(&mut tx, TaggedKind::CaCertificate, &id, tags).await?;
        let ca = ca_in(&mut tx, &new.id).await?;
        tx.commit().await?;
        Ok(ca)
    }

    /// The CA certificate with that id.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn ca_certificate(&self, id: &CertificateId) -> Result<Option<CaCertificate>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM ca_certificate WHERE id = $1"));
        let row = self.row(sql, args![id.to_string()]).await?;
        row.map(|row| ca_of(&row)).transpose()
    }

    /// The CA certificates with that subject, by id.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn ca_certificates_of_subject(&self, digest: &[u8; 32]) -> Result<Vec<CaCertificate>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM ca_certificate WHERE subject_digest = $1 ORDER BY id"
        ));
        self.rows(sql, args![hex(digest)]).await?.iter().map(ca_of).collect()
    }

    /// The next `n_max` CA certificates after `after`, by age, oldest first when `is_ascending`; with `template_name` only
    /// those whose registration template has that name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn ca_certificates(
        &self,
        template_name: Option<&str>,
        after: Option<(Timestamp, CertificateId)>,
        is_ascending: bool,
        n_max: u32,
    ) -> Result<Vec<CaCertificate>, StoreError> {
        let (condition, order) = certificate::by_age(is_ascending);
        let (created_at, id) = certificate::age_after(after, is_ascending);
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM ca_certificate WHERE (CAST($4 AS TEXT) IS NULL OR template_name = $4) AND {condition} \
             ORDER BY {order} LIMIT $3"
        ));
        let rows = self.rows(sql, args![created_at, id, n_max, template_name]).await?;
        rows.iter().map(ca_of).collect()
    }

    /// The next `n_max` certificates that were registered with a CA after `after`, by age, oldest first when
    /// `is_ascending`; none when there is no such CA.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn certificates_by_ca(
        &self,
        ca: &CertificateId,
        after: Option<(Timestamp, CertificateId)>,
        is_ascending: bool,
        n_max: u32,
    ) -> Result<Vec<Certificate>, StoreError> {
        let (condition, order) = certificate::by_age(is_ascending);
        let (created_at, id) = certificate::age_after(after, is_ascending);
        let columns = certificate::COLUMNS;
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {columns} FROM certificate WHERE ca = $4 AND {condition} ORDER BY {order} LIMIT $3"
        ));
        let rows = self.rows(sql, args![created_at, id, n_max, ca.to_string()]).await?;
        rows.iter().map(certificate::certificate_of).collect()
    }

    /// Changes a CA certificate. What was registered with it stays as it is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]
    pub async fn update_ca_certificate(
        &self,
        id: &CertificateId,
        update: &CaCertificateUpdate,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "UPDATE ca_certificate SET version = version + 1, modified_at = $1, \
                   is_active = COALESCE($2, is_active), is_auto_registering = COALESCE($3, is_auto_registering) \
                   WHERE id = $4";
        let values = args![
            at.millis(),
            update.is_active,
            update.is_auto_registering,
            id.to_string()
        ];
        if tx.execute(sql, values).await? == 0 {
            return Err(StoreError::not_found("CA certificate", id));
        }
        if let Some(template) = update.registration_config.clone() {
            let (json, name) = template.map_or((None, None), |template| (Some(template.json), template.template_name));
            let sql = "UPDATE ca_certificate SET registration_config = $1, template_name = $2 WHERE id = $3";
            tx.execute(sql, args![json, name, id.to_string()]).await?;
        }
        tx.commit().await
    }

    /// Removes a CA certificate. What was registered with it stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::State`] while it is active.
    pub async fn delete_ca_certificate(&self, id: &CertificateId) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "DELETE FROM ca_certificate WHERE id = $1 AND NOT is_active";
        if tx.execute(sql, args![id.to_string()]).await? == 0 {
            ca_in(&mut tx, id).await?;
            return Err(StoreError::State {
                what: "CA certificate",
                name: id.to_string(),
                found: "ACTIVE",
                expected: "INACTIVE",
            });
        }
        tag::remove_all(&mut tx, TaggedKind::CaCertificate, &id.to_string()).await?;
        tx.commit().await
    }

    /// The code that a verification certificate must carry; `new` becomes it if there is none yet.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn registration_code_or(&self, new: &str) -> Result<String, StoreError> {
        if let Some(code) = self.registration_code().await? {
            return Ok(code);
        }
        let mut tx = self.begin_write().await?;
        let insert = "INSERT INTO registration_code (id, code) VALUES (1, $1) ON CONFLICT (id) DO NOTHING";
        tx.execute(insert, args![new]).await?;
        let row = tx.row("SELECT code FROM registration_code", args![]).await?;
        let code = row.map_or_else(|| Ok(new.to_owned()), |row| row.at(0))?;
        tx.commit().await?;
        Ok(code)
    }

    /// The code, if there is one.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn registration_code(&self) -> Result<Option<String>, StoreError> {
        let row = self.row("SELECT code FROM registration_code", args![]).await?;
        row.map(|row| row.at(0)).transpose()
    }

    /// Forgets the code; says whether there was one.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn delete_registration_code(&self) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        let n_removed = tx.execute("DELETE FROM registration_code", args![]).await?;
        tx.commit().await?;
        Ok(n_removed == 1)
    }
}

/// Holds the CA until the transaction ends.
///
/// # Errors
/// [`StoreError::State`] when it is not active, or gone.
pub(super) async fn lock_active(tx: &mut Tx, id: &CertificateId) -> Result<(), StoreError> {
    let sql = "UPDATE ca_certificate SET version = version WHERE id = $1 AND is_active";
    match tx.execute(sql, args![id.to_string()]).await? {
        0 => Err(StoreError::State {
            what: "CA certificate",
            name: id.to_string(),
            found: "INACTIVE",
            expected: "ACTIVE",
        }),
        _ => Ok(()),
    }
}

async fn ca_in(tx: &mut Tx, id: &CertificateId) -> Result<CaCertificate, StoreError> {
    let sql = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM ca_certificate WHERE id = $1"));
    match tx.row(sql, args![id.to_string()]).await? {
        Some(row) => ca_of(&row),
        None => Err(StoreError::not_found("CA certificate", id)),
    }
}

fn ca_of(row: &Row) -> Result<CaCertificate, StoreError> {
    Ok(CaCertificate {
        id: row.parsed(0)?,
        pem: row.at(1)?,
        is_active: row.at(2)?,
        is_auto_registering: row.at(3)?,
        registration_config: row.at(4)?,
        mode: row.parsed(5)?,
        not_before: Timestamp::from_millis(row.at(6)?),
        not_after: Timestamp::from_millis(row.at(7)?),
        version: row.at(8)?,
        generation_id: row.at(9)?,
        created_at: Timestamp::from_millis(row.at(10)?),
        modified_at: Timestamp::from_millis(row.at(11)?),
    })
}

fn hex(digest: &[u8; 32]) -> String {
    CertificateId::from_bytes(*digest).to_string()
}
