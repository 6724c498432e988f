//! Device certificates: who may open a connection.

use std::fmt;
use std::str::FromStr;

use picket_model::name::CertificateId;
use picket_model::time::Timestamp;

use super::{ca_certificate, id_of};
use crate::sql::{Row, args};
use crate::{Db, StoreError, Tx};

/// What a certificate is good for. Only an active one opens a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateStatus {
    /// `ACTIVE`
    Active,
    /// `INACTIVE`
    Inactive,
    /// `REVOKED`
    Revoked,
    /// `PENDING_TRANSFER`
    PendingTransfer,
    /// `REGISTER_INACTIVE`
    RegisterInactive,
    /// `PENDING_ACTIVATION`
    PendingActivation,
}

/// How a certificate was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateMode {
    /// `DEFAULT`: made here, or signed by a known CA.
    Default,
    /// `SNI_ONLY`: registered without its CA.
    SniOnly,
}

/// A registered certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of its DER.
    pub id: CertificateId,
    /// The certificate in PEM.
    pub pem: String,
    /// What it is good for.
    pub status: CertificateStatus,
    /// How it was registered.
    pub mode: CertificateMode,
    /// The CA that it was registered with.
    pub ca: Option<CertificateId>,
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

/// A certificate to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCertificate {
    /// SHA-256 of its DER.
    pub id: CertificateId,
    /// The certificate in PEM.
    pub pem: String,
    /// What it is good for from the start.
    pub status: CertificateStatus,
    /// How it is registered.
    pub mode: CertificateMode,
    /// The CA that it is registered with.
    pub ca: Option<CertificateId>,
    /// First moment of validity, as the certificate says.
    pub not_before: Timestamp,
    /// Last moment of validity, as the certificate says.
    pub not_after: Timestamp,
}

pub(super) const COLUMNS: &str =
    "id, pem, status, mode, not_before, not_after, version, generation_id, created_at, modified_at, ca";

impl Db {
    /// Registers a certificate.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when it is registered already; [`StoreError::State`] when its CA is not active.
    pub async fn create_certificate(&self, new: &NewCertificate, at: Timestamp) -> Result<Certificate, StoreError> {
        let mut tx = self.begin_write().await?;
        let id = new.id.to_string();
        if let Some(ca) = &new.ca {
            ca_certificate::lock_active(&mut tx, ca).await?;
        }
        let sql = "INSERT INTO certificate \
                   (id, pem, status, mode, not_before, not_after, version, generation_id, created_at, modified_at, ca) \
                   VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8, $8, $9) ON CONFLICT (id) DO NOTHING";
        let values = args![
            id.as_str(),
            new.pem.as_str(),
            new.status.as_str(),
            new.mode.as_str(),
            new.not_before.millis(),
            new.not_after.millis(),
            id_of("certificate", &id, at),
            at.millis(),
            new.ca.as_ref().map(CertificateId::to_string),
        ];
        if tx.execute(sql, values).await? == 0 {
            return Err(StoreError::exists("certificate", id));
        }
        let certificate = certificate_in(&mut tx, &new.id).await?;
        tx.commit().await?;
        Ok(certificate)
    }

    /// The certificate with that id.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn certificate(&self, id: &CertificateId) -> Result<Option<Certificate>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM certificate WHERE id = $1"));
        self.row(sql, args![id.to_string()])
            .await?
            .map(|row| certificate_of(&row))
            .transpose()
    }

    /// The next `n_max` certificates after `after`, by age, oldest first when `is_ascending`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn certificates(
        &self,
        after: Option<(Timestamp, CertificateId)>,
        is_ascending: bool,
        n_max: u32,
    ) -> Result<Vec<Certificate>, StoreError> {
        let (condition, order) = by_age(is_ascending);
        let (created_at, id) = age_after(after, is_ascending);
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM certificate WHERE {condition} ORDER BY {order} LIMIT $3"
        ));
        let rows = self.rows(sql, args![created_at, id, n_max]).await?;
        rows.iter().map(certificate_of).collect()
    }

    /// Changes what a certificate is good for.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::State`] while it is on its way to another account.
    pub async fn set_certificate_status(
        &self,
        id: &CertificateId,
        status: CertificateStatus,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "UPDATE certificate SET status = $1, modified_at = $2, version = version + 1 \
                   WHERE id = $3 AND status <> 'PENDING_TRANSFER'";
        let n_changed = tx
            .execute(sql, args![status.as_str(), at.millis(), id.to_string()])
            .await?;
        if n_changed == 0 {
            certificate_in(&mut tx, id).await?;
            return Err(StoreError::State {
                what: "certificate",
                name: id.to_string(),
                found: CertificateStatus::PendingTransfer.as_str(),
                expected: "ACTIVE, INACTIVE, REVOKED or PENDING_ACTIVATION",
            });
        }
        tx.commit().await
    }

    /// Removes a certificate. `is_forced` detaches its policies first; it must be inactive and without things in any case.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::State`] while it is active; [`StoreError::InUse`] while things, or policies
    /// unless `is_forced`, are attached.
    pub async fn delete_certificate(&self, id: &CertificateId, is_forced: bool) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        if !lock(&mut tx, id).await? {
            return Err(StoreError::not_found("certificate", id));
        }
        let certificate = certificate_in(&mut tx, id).await?;
        if certificate.status == CertificateStatus::Active {
            return Err(StoreError::State {
                what: "certificate",
                name: id.to_string(),
                found: certificate.status.as_str(),
                expected: "INACTIVE or REVOKED",
            });
        }
        let things = "SELECT 'thing ' || thing FROM thing_principal WHERE certificate = $1 LIMIT 1";
        refuse_while_used(&mut tx, id, things).await?;
        if !is_forced {
            let policies = "SELECT 'policy ' || policy FROM certificate_policy WHERE certificate = $1 LIMIT 1";
            refuse_while_used(&mut tx, id, policies).await?;
        }
        tx.execute("DELETE FROM certificate WHERE id = $1", args![id.to_string()])
            .await?;
        tx.commit().await
    }
}

/// Holds the certificate until the transaction ends; says whether there is one.
pub(crate) async fn lock(tx: &mut Tx, id: &CertificateId) -> Result<bool, StoreError> {
    let sql = "UPDATE certificate SET version = version WHERE id = $1";
    Ok(tx.execute(sql, args![id.to_string()]).await? == 1)
}

/// The condition and the order of a list by age that goes on after `$1` (the time) and `$2` (the id).
pub(super) fn by_age(is_ascending: bool) -> (&'static str, &'static str) {
    if is_ascending {
        ("(created_at > $1 OR (created_at = $1 AND id > $2))", "created_at, id")
    } else {
        (
            "(created_at < $1 OR (created_at = $1 AND id < $2))",
            "created_at DESC, id DESC",
        )
    }
}

/// The time and the id that a list by age goes on after.
pub(super) fn age_after(after: Option<(Timestamp, CertificateId)>, is_ascending: bool) -> (i64, String) {
    match after {
        Some((created_at, id)) => (created_at.millis(), id.to_string()),
        None if is_ascending => (i64::MIN, String::new()),
        None => (i64::MAX, String::new()),
    }
}

async fn refuse_while_used(tx: &mut Tx, id: &CertificateId, users: &'static str) -> Result<(), StoreError> {
    match tx.row(users, args![id.to_string()]).await? {
        None => Ok(()),
        Some(row) => Err(StoreError::InUse {
            what: "certificate",
            name: id.to_string(),
            by: row.at(0)?,
        }),
    }
}

async fn certificate_in(tx: &mut Tx, id: &CertificateId) -> Result<Certificate, StoreError> {
    let sql = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM certificate WHERE id = $1"));
    match tx.row(sql, args![id.to_string()]).await? {
        Some(row) => certificate_of(&row),
        None => Err(StoreError::not_found("certificate", id)),
    }
}

pub(super) fn certificate_of(row: &Row) -> Result<Certificate, StoreError> {
    Ok(Certificate {
        id: row.parsed(0)?,
        pem: row.at(1)?,
        status: row.parsed(2)?,
        mode: row.parsed(3)?,
        not_before: Timestamp::from_millis(row.at(4)?),
        not_after: Timestamp::from_millis(row.at(5)?),
        version: row.at(6)?,
        generation_id: row.at(7)?,
        created_at: Timestamp::from_millis(row.at(8)?),
        modified_at: Timestamp::from_millis(row.at(9)?),
        ca: row.parsed_option(10)?,
    })
}

impl CertificateStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::Revoked => "REVOKED",
            Self::PendingTransfer => "PENDING_TRANSFER",
            Self::RegisterInactive => "REGISTER_INACTIVE",
            Self::PendingActivation => "PENDING_ACTIVATION",
        }
    }
}

impl CertificateMode {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "DEFAULT",
            Self::SniOnly => "SNI_ONLY",
        }
    }
}

/// Why a text is no status or mode of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, expected {expected}")]
pub struct BadCertificateStatus {
    /// The text as found.
    pub found: String,
    /// What there is.
    pub expected: &'static str,
}

impl FromStr for CertificateStatus {
    type Err = BadCertificateStatus;

    fn from_str(text: &str) -> Result<Self, BadCertificateStatus> {
        const ALL: [CertificateStatus; 6] = [
            CertificateStatus::Active,
            CertificateStatus::Inactive,
            CertificateStatus::Revoked,
            CertificateStatus::PendingTransfer,
            CertificateStatus::RegisterInactive,
            CertificateStatus::PendingActivation,
        ];
        ALL.into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| BadCertificateStatus {
                found: text.chars().take(100).collect(),
                expected: "ACTIVE, INACTIVE, REVOKED, PENDING_TRANSFER, REGISTER_INACTIVE or PENDING_ACTIVATION",
            })
    }
}

impl FromStr for CertificateMode {
    type Err = BadCertificateStatus;

    fn from_str(text: &str) -> Result<Self, BadCertificateStatus> {
        [Self::Default, Self::SniOnly]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| BadCertificateStatus {
                found: text.chars().take(100).collect(),
                expected: "DEFAULT or SNI_ONLY",
            })
    }
}

impl fmt::Display for CertificateStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
