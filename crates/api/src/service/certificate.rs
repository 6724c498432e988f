//! Certificates.

use picket_aws::arn::Resource;
use picket_aws::error::ApiErrorCode;
use picket_aws::wire;
use picket_model::name::CertificateId;
use picket_model::time::Timestamp;
use picket_pki::{CertificateFacts, Issued, PkiError};
use picket_store::access::AccessScope;
use picket_store::registry::{Certificate, CertificateMode, CertificateStatus, NewCertificate};

use super::ca_certificate;
use super::place::Age;
use crate::error::ApiError;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

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
    let certificate = store(&api, &issued, input.set_as_active, now).await?;
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

/// Makes a certificate for a key that the caller has: RSA with 2048 bits or more, or ECDSA on P-256 or P-384. The subject is
/// that of the request; extensions that it wishes for are left aside.
///
/// # Errors
/// `InvalidRequestException` when the request cannot be granted.
pub async fn create_from_request(
    api: Api,
    caller: Caller,
    input: wire::CreateCertificateFromCsr,
) -> Result<wire::CertifiedRequest, ApiError> {
    let now = api.now();
    let authority = api.authority.clone();
    let request = input.certificate_signing_request;
    let issued = tokio::task::spawn_blocking(move || authority.sign_request(&request, now.millis()))
        .await
        .map_err(ApiError::internal)?;
    let issued = issued.map_err(|err| match err {
        PkiError::Request(bad) => ApiError::invalid(format!("certificateSigningRequest: {bad}")),
        other => ApiError::internal(other),
    })?;
    let certificate = store(&api, &issued, input.set_as_active, now).await?;
    Ok(wire::CertifiedRequest {
        certificate_arn: api.arn(&caller, Resource::Certificate(certificate.id)),
        certificate_id: certificate.id.to_string(),
        certificate_pem: certificate.pem,
    })
}

/// Registers a certificate of a registered, active CA: the one that is given, or the one that has signed it.
///
/// # Errors
/// `CertificateValidationException` when it is no certificate, or none of a registered CA; `CertificateStateException` when
/// the CA is not active; `CertificateConflictException` when several CAs could have signed it;
/// `ResourceAlreadyExistsException` when it is registered.
pub async fn register_with_ca(
    api: Api,
    caller: Caller,
    input: wire::RegisterCertificate,
) -> Result<wire::RegisteredCertificate, ApiError> {
    let default = if input.set_as_active.unwrap_or_default() {
        "ACTIVE"
    } else {
        "INACTIVE"
    };
    let status = settable(input.status.as_deref().unwrap_or(default), "status")?;
    let facts = facts_of(&input.certificate_pem)?;
    let ca = ca_certificate::issuer_of(&api, &facts, input.ca_certificate_pem.as_deref()).await?;
    let new = NewCertificate {
        ca: Some(ca.id),
        ..new_certificate(&facts, &input.certificate_pem, status, ca.mode)
    };
    register_new(&api, &caller, &new).await
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
    let facts = facts_of(&input.certificate_pem)?;
    let status = settable(input.status.as_deref().unwrap_or("INACTIVE"), "status")?;
    let new = new_certificate(&facts, &input.certificate_pem, status, CertificateMode::SniOnly);
    register_new(&api, &caller, &new).await
}

async fn register_new(
    api: &ApiState,
    caller: &Caller,
    new: &NewCertificate,
) -> Result<wire::RegisteredCertificate, ApiError> {
    let arn = api.arn(caller, Resource::Certificate(new.id));
    let created = api.db.create_certificate(new, api.now()).await;
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
            ca_certificate_id: certificate.ca.map(|ca| ca.to_string()),
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
    let after = page.after.as_ref().map(Age::place);
    let is_ascending = input.ascending_order.unwrap_or_default();
    let read = api.db.certificates(after, is_ascending, page.n_read()).await?;
    Ok(summaries(&api, &caller, &page, read))
}

/// Lists the certificates that were registered with a CA by age, newest first unless `ascendingOrder`; none when there is
/// no such CA.
///
/// # Errors
/// `InvalidRequestException` for a marker of another list.
pub async fn list_by_ca(
    api: Api,
    caller: Caller,
    input: wire::ListCertificatesByCA,
) -> Result<wire::Certificates, ApiError> {
    let page: Page<Age> = Page::of("ListCertificatesByCA", input.marker.as_deref(), input.page_size)?;
    let after = page.after.as_ref().map(Age::place);
    let is_ascending = input.ascending_order.unwrap_or_default();
    let read = api
        .db
        .certificates_by_ca(&input.ca_certificate_id, after, is_ascending, page.n_read())
        .await?;
    Ok(summaries(&api, &caller, &page, read))
}

fn summaries(api: &ApiState, caller: &Caller, page: &Page<Age>, read: Vec<Certificate>) -> wire::Certificates {
    let (certificates, next_marker) = page.cut(read, |certificate| Age::of(certificate.created_at, certificate.id));
    let summary = |certificate: Certificate| wire::CertificateSummary {
        certificate_arn: api.arn(caller, Resource::Certificate(certificate.id)),
        certificate_id: certificate.id.to_string(),
        status: certificate.status.to_string(),
        certificate_mode: certificate.mode.as_str().to_owned(),
        creation_date: certificate.created_at.into(),
    };
    wire::Certificates {
        certificates: certificates.into_iter().map(summary).collect(),
        next_marker,
    }
}

/// Registers what was made here.
async fn store(
    api: &ApiState,
    issued: &Issued,
    set_as_active: Option<bool>,
    now: Timestamp,
) -> Result<Certificate, ApiError> {
    let status = if set_as_active.unwrap_or_default() {
        CertificateStatus::Active
    } else {
        CertificateStatus::Inactive
    };
    let facts = CertificateFacts::from_pem(&issued.certificate_pem).map_err(ApiError::internal)?;
    let new = new_certificate(&facts, &issued.certificate_pem, status, CertificateMode::Default);
    let certificate = api.db.create_certificate(&new, now).await?;
    api.changed([AccessScope::Certificate(certificate.id)]).await;
    Ok(certificate)
}

/// What a certificate in a request says of itself.
///
/// # Errors
/// `CertificateValidationException` when it is none.
pub(super) fn facts_of(pem: &str) -> Result<CertificateFacts, ApiError> {
    CertificateFacts::from_pem(pem)
        .map_err(|err| ApiError::new(ApiErrorCode::CertificateValidationException, err.to_string()))
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
        ca: None,
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
