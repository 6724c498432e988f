//! Certificates.

use picket_aws::arn::Resource;
use picket_aws::error::ApiErrorCode;
use picket_aws::wire;
use picket_model::name::CertificateId;
use picket_model::time::Timestamp;
use picket_pki::CertificateFacts;
use picket_store::access::AccessScope;
use picket_store::registry::{Certificate, CertificateMode, CertificateStatus, NewCertificate};

use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, Caller};

/// What stands in the subject of certificates that are made here: for people, it decides nothing.
const SUBJECT: &str = "Picket device";

/// Makes a key pair and a certificate for it. The private key is said only here.
///
/// # Errors
/// When there is no randomness, or it cannot be stored.
pub async fn create_keys(
    api: Api,
    caller: Caller,
    input: wire::CreateKeysAndCertificate,
) -> Result<wire::KeysAndCertificate, ApiError> {
    let now = api.now();
    let (authority, kind) = (api.authority.clone(), api.key_kind);
    // RSA keys take a tenth of a second and more: too long for a thread that serves others.
    let issued = tokio::task::spawn_blocking(move || authority.issue_device(SUBJECT, kind, now.millis()))
        .await
        .map_err(ApiError::internal)?
        .map_err(ApiError::internal)?;
    let status = if input.set_as_active.unwrap_or_default() {
        CertificateStatus::Active
    } else {
        CertificateStatus::Inactive
    };
    let facts = CertificateFacts::from_pem(&issued.certificate_pem).map_err(ApiError::internal)?;
    let new = new_certificate(&facts, &issued.certificate_pem, status, CertificateMode::Default);
    let certificate = api.db.create_certificate(&new, now).await?;
    api.changed([AccessScope::Certificate(certificate.id)]).await;
    Ok(wire::KeysAndCertificate {
        certificate_arn: api.arn(&caller, Resource::Certificate(certificate.id)),
        certificate_id: certificate.id.to_string(),
        certificate_pem: certificate.pem,
        key_pair: wire::KeyPair {
            public_key: issued.public_key_pem,
            private_key: issued.private_key_pem,
        },
    })
}

/// Registers a certificate of any CA, or of none: X.509 version 1 too.
///
/// # Errors
/// `CertificateValidationException` when it is none; `ResourceAlreadyExistsException` when it is registered.
pub async fn register(
    api: Api,
    caller: Caller,
    input: wire::RegisterCertificateWithoutCA,
) -> Result<wire::RegisteredCertificate, ApiError> {
    let facts = CertificateFacts::from_pem(&input.certificate_pem)
        .map_err(|err| ApiError::new(ApiErrorCode::CertificateValidationException, err.to_string()))?;
    let status = settable(input.status.as_deref().unwrap_or("INACTIVE"), "status")?;
    let new = new_certificate(&facts, &input.certificate_pem, status, CertificateMode::SniOnly);
    let arn = api.arn(&caller, Resource::Certificate(new.id));
    let created = api.db.create_certificate(&new, api.now()).await;
    let certificate = created.map_err(|err| ApiError::from(err).about(new.id, arn.clone()))?;
    api.changed([AccessScope::Certificate(certificate.id)]).await;
    Ok(wire::RegisteredCertificate {
        certificate_arn: arn,
        certificate_id: certificate.id.to_string(),
    })
}

/// Changes what a certificate is good for; live sessions notice before this returns.
///
/// # Errors
/// `ResourceNotFoundException`; `InvalidRequestException` for a status that only transfers and registrations lead to.
pub async fn update(api: Api, _: Caller, input: wire::UpdateCertificate) -> Result<wire::Done, ApiError> {
    let status = settable(&input.new_status, "newStatus")?;
    api.db
        .set_certificate_status(&input.certificate_id, status, api.now())
        .await?;
    api.changed([AccessScope::Certificate(input.certificate_id)]).await;
    Ok(wire::Done {})
}

/// Shows a certificate.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn describe(
    api: Api,
    caller: Caller,
    input: wire::DescribeCertificate,
) -> Result<wire::DescribedCertificate, ApiError> {
    let found = api.db.certificate(&input.certificate_id).await?;
    let certificate = found.ok_or_else(|| ApiError::not_found("certificate", input.certificate_id))?;
    Ok(wire::DescribedCertificate {
        certificate_description: wire::CertificateDescription {
            certificate_arn: api.arn(&caller, Resource::Certificate(certificate.id)),
            certificate_id: certificate.id.to_string(),
            status: certificate.status.to_string(),
            certificate_pem: certificate.pem,
            owned_by: api.account_id.clone(),
            creation_date: certificate.created_at.into(),
            last_modified_date: certificate.modified_at.into(),
            customer_version: certificate.version,
            transfer_data: wire::Done {},
            generation_id: certificate.generation_id,
            validity: wire::CertificateValidity {
                not_before: certificate.not_before.into(),
                not_after: certificate.not_after.into(),
            },
            certificate_mode: certificate.mode.as_str().to_owned(),
        },
    })
}

/// Removes a certificate.
///
/// # Errors
/// `ResourceNotFoundException`; `CertificateStateException` while it is active; `DeleteConflictException` while things, or
/// policies unless `forceDelete`, are attached.
pub async fn delete(api: Api, _: Caller, input: wire::DeleteCertificate) -> Result<wire::Done, ApiError> {
    let is_forced = input.force_delete.unwrap_or_default();
    api.db.delete_certificate(&input.certificate_id, is_forced).await?;
    api.changed([AccessScope::Certificate(input.certificate_id)]).await;
    Ok(wire::Done {})
}

/// Lists certificates by age, newest first unless `ascendingOrder`.
///
/// # Errors
/// `InvalidRequestException` for a marker of another list.
pub async fn list(api: Api, caller: Caller, input: wire::ListCertificates) -> Result<wire::Certificates, ApiError> {
    let page: Page<Age> = Page::of("ListCertificates", input.marker.as_deref(), input.page_size)?;
    let after = page.after.as_ref().map(|age| (age.created_at, age.id));
    let is_ascending = input.ascending_order.unwrap_or_default();
    let read = api.db.certificates(after, is_ascending, page.n_read()).await?;
    let (certificates, next_marker) = page.cut(read, Age::of);
    let summary = |certificate: Certificate| wire::CertificateSummary {
        certificate_arn: api.arn(&caller, Resource::Certificate(certificate.id)),
        certificate_id: certificate.id.to_string(),
        status: certificate.status.to_string(),
        certificate_mode: certificate.mode.as_str().to_owned(),
        creation_date: certificate.created_at.into(),
    };
    Ok(wire::Certificates {
        certificates: certificates.into_iter().map(summary).collect(),
        next_marker,
    })
}

/// A certificate's place in the list.
struct Age {
    created_at: Timestamp,
    id: CertificateId,
}

impl Age {
    fn of(certificate: &Certificate) -> Self {
        Self {
            created_at: certificate.created_at,
            id: certificate.id,
        }
    }
}

impl std::fmt::Display for Age {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.created_at.millis(), self.id)
    }
}

impl std::str::FromStr for Age {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (created_at, id) = text.split_once(' ').ok_or(())?;
        Ok(Self {
            created_at: Timestamp::from_millis(created_at.parse().map_err(|_| ())?),
            id: id.parse().map_err(|_| ())?,
        })
    }
}

fn new_certificate(
    facts: &CertificateFacts,
    pem: &str,
    status: CertificateStatus,
    mode: CertificateMode,
) -> NewCertificate {
    NewCertificate {
        id: CertificateId::from_bytes(facts.fingerprint),
        pem: pem.to_owned(),
        status,
        mode,
        not_before: Timestamp::from_millis(facts.not_before_ms),
        not_after: Timestamp::from_millis(facts.not_after_ms),
    }
}

/// A status that callers may give: the others belong to transfers and just-in-time registration.
fn settable(status: &str, member: &str) -> Result<CertificateStatus, ApiError> {
    match status.parse() {
        Ok(status @ (CertificateStatus::Active | CertificateStatus::Inactive | CertificateStatus::Revoked)) => {
            Ok(status)
        }
        _ => Err(ApiError::invalid(format!(
            "{member} is {status}, expected ACTIVE, INACTIVE or REVOKED"
        ))),
    }
}
