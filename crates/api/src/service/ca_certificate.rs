//! CA certificates. They vouch for certificates when these are registered, and never when a device connects.

use picket_aws::arn::Resource;
use picket_aws::error::ApiErrorCode;
use picket_aws::wire;
use picket_model::name::CertificateId;
use picket_model::time::Timestamp;
use picket_pki::CertificateFacts;
use picket_store::registry::{
    CaCertificate, CaCertificateUpdate, CertificateMode, NewCaCertificate, RegistrationTemplate,
};
use serde_json::{Value, json};

use super::certificate::facts_of;
use super::place::Age;
use super::tags;
use crate::error::ApiError;
use crate::keys::random;
use crate::page::Page;
use crate::state::{Api, ApiState, Caller};

/// Registers a CA certificate. In mode `DEFAULT` a certificate that it has signed, with the registration code as common name,
/// shows that the caller has its key.
///
/// # Errors
/// `CertificateValidationException` when it is no certificate of a CA, or its time is over, or the verification certificate
/// is not of it; `RegistrationCodeValidationException` when that carries another code; `ResourceAlreadyExistsException`.
pub async fn register(
    api: Api,
    caller: Caller,
    input: wire::RegisterCACertificate,
) -> Result<wire::RegisteredCertificate, ApiError> {
    let facts = facts_of(&input.ca_certificate)?;
    check_ca(&facts, api.now())?;
    let mode = match input.certificate_mode.as_deref() {
        Some("SNI_ONLY") => CertificateMode::SniOnly,
        _ => CertificateMode::Default,
    };
    match (mode, input.verification_certificate.as_deref()) {
        (CertificateMode::Default, Some(pem)) => check_possession(&api, &facts, pem).await?,
        (CertificateMode::Default, None) => {
            return Err(ApiError::invalid(
                "verificationCertificate is absent, expected one unless certificateMode is SNI_ONLY",
            ));
        }
        (CertificateMode::SniOnly, None) => {}
        (CertificateMode::SniOnly, Some(_)) => {
            return Err(ApiError::invalid(
                "verificationCertificate is given, expected none when certificateMode is SNI_ONLY",
            ));
        }
    }
    let id = CertificateId::from_bytes(facts.fingerprint);
    let tags = tags::at_creation(input.tags)?;
    let new = NewCaCertificate {
        id,
        pem: input.ca_certificate,
        subject_digest: facts.subject_digest,
        is_active: input.set_as_active.unwrap_or_default(),
        is_auto_registering: input.allow_auto_registration.unwrap_or_default(),
        registration_config: input.registration_config.map(template_of),
        mode,
        not_before: Timestamp::from_millis(facts.not_before_ms),
        not_after: Timestamp::from_millis(facts.not_after_ms),
    };
    let arn = api.arn(&caller, Resource::CaCertificate(id));
    let created = api.db.create_ca_certificate(&new, &tags, api.now()).await;
    created.map_err(|err| ApiError::from(err).about(id, arn.clone()))?;
    Ok(wire::RegisteredCertificate {
        certificate_arn: arn,
        certificate_id: id.to_string(),
    })
}

/// Changes a CA certificate. Certificates that were registered with it stay as they are.
///
/// # Errors
/// `ResourceNotFoundException`; `InvalidRequestException` when auto-registration is both set and removed.
pub async fn update(api: Api, _: Caller, input: wire::UpdateCACertificate) -> Result<wire::Done, ApiError> {
    let is_removed = input.remove_auto_registration.unwrap_or_default();
    let enables = input.new_auto_registration_status.as_deref() == Some("ENABLE");
    if is_removed && (enables || input.registration_config.is_some()) {
        return Err(ApiError::invalid(
            "removeAutoRegistration is true, expected neither registrationConfig nor newAutoRegistrationStatus ENABLE with it",
        ));
    }
    let update = if is_removed {
        CaCertificateUpdate {
            is_active: input.new_status.map(|status| status == "ACTIVE"),
            is_auto_registering: Some(false),
            registration_config: Some(None),
        }
    } else {
        CaCertificateUpdate {
            is_active: input.new_status.map(|status| status == "ACTIVE"),
            is_auto_registering: input.new_auto_registration_status.map(|_| enables),
            registration_config: input.registration_config.map(template_of).map(Some),
        }
    };
    api.db
        .update_ca_certificate(&input.certificate_id, &update, api.now())
        .await?;
    Ok(wire::Done {})
}

/// Shows a CA certificate.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn describe(
    api: Api,
    caller: Caller,
    input: wire::DescribeCACertificate,
) -> Result<wire::DescribedCaCertificate, ApiError> {
    let found = api.db.ca_certificate(&input.certificate_id).await?;
    let ca = found.ok_or_else(|| ApiError::not_found("CA certificate", input.certificate_id))?;
    let config = ca.registration_config.as_deref().map(serde_json::from_str);
    Ok(wire::DescribedCaCertificate {
        registration_config: config.transpose().map_err(ApiError::internal)?,
        certificate_description: wire::CaCertificateDescription {
            certificate_arn: api.arn(&caller, Resource::CaCertificate(ca.id)),
            certificate_id: ca.id.to_string(),
            status: status_of(&ca),
            certificate_pem: ca.pem,
            owned_by: api.account_id.clone(),
            creation_date: ca.created_at.into(),
            auto_registration_status: if ca.is_auto_registering { "ENABLE" } else { "DISABLE" }.to_owned(),
            last_modified_date: ca.modified_at.into(),
            customer_version: ca.version,
            generation_id: ca.generation_id,
            validity: wire::CertificateValidity {
                not_before: ca.not_before.into(),
                not_after: ca.not_after.into(),
            },
            certificate_mode: ca.mode.as_str().to_owned(),
        },
    })
}

/// Removes a CA certificate. Certificates that were registered with it stay.
///
/// # Errors
/// `ResourceNotFoundException`; `CertificateStateException` while it is active.
pub async fn delete(api: Api, _: Caller, input: wire::DeleteCACertificate) -> Result<wire::Done, ApiError> {
    api.db.delete_ca_certificate(&input.certificate_id).await?;
    Ok(wire::Done {})
}

/// Lists CA certificates by age, newest first unless `ascendingOrder`.
///
/// # Errors
/// `InvalidRequestException` for a marker of another list.
pub async fn list(api: Api, caller: Caller, input: wire::ListCACertificates) -> Result<wire::CaCertificates, ApiError> {
    let page: Page<Age> = Page::of("ListCACertificates", input.marker.as_deref(), input.page_size)?;
    let after = page.after.as_ref().map(Age::place);
    let is_ascending = input.ascending_order.unwrap_or_default();
    let read = api
        .db
        .ca_certificates(input.template_name.as_deref(), after, is_ascending, page.n_read())
        .await?;
    let (certificates, next_marker) = page.cut(read, |ca| Age::of(ca.created_at, ca.id));
    let summary = |ca: CaCertificate| wire::CaCertificateSummary {
        certificate_arn: api.arn(&caller, Resource::CaCertificate(ca.id)),
        certificate_id: ca.id.to_string(),
        status: status_of(&ca),
        creation_date: ca.created_at.into(),
    };
    Ok(wire::CaCertificates {
        certificates: certificates.into_iter().map(summary).collect(),
        next_marker,
    })
}

/// Says the registration code; makes one if there is none.
///
/// # Errors
/// When there is no randomness.
pub async fn registration_code(
    api: Api,
    _: Caller,
    _: wire::GetRegistrationCode,
) -> Result<wire::RegistrationCode, ApiError> {
    let new = picket_aws::percent::hex(&random::<32>().map_err(ApiError::internal)?);
    Ok(wire::RegistrationCode {
        registration_code: api.db.registration_code_or(&new).await?,
    })
}

/// Forgets the registration code: the next one is another.
///
/// # Errors
/// `ResourceNotFoundException` when there is none.
pub async fn delete_registration_code(
    api: Api,
    _: Caller,
    _: wire::DeleteRegistrationCode,
) -> Result<wire::Done, ApiError> {
    if api.db.delete_registration_code().await? {
        Ok(wire::Done {})
    } else {
        Err(ApiError::not_found("registration code", "of this account"))
    }
}

/// The registered CA that has signed a certificate: the one that is given, or the only active one
/// that fits.
///
/// # Errors
/// `CertificateValidationException` when there is none; `CertificateConflictException` when several active ones fit;
/// `CertificateStateException` when none that fits is active.
pub(super) async fn issuer_of(
    api: &ApiState,
    certificate: &CertificateFacts,
    given: Option<&str>,
) -> Result<CaCertificate, ApiError> {
    let invalid = |message: &str| ApiError::new(ApiErrorCode::CertificateValidationException, message);
    let given = given.map(facts_of).transpose()?;
    let candidates = match &given {
        Some(facts) => {
            let id = CertificateId::from_bytes(facts.fingerprint);
            let found = api.db.ca_certificate(&id).await?;
            vec![found.ok_or_else(|| invalid("caCertificatePem is no registered CA certificate"))?]
        }
        None => api.db.ca_certificates_of_subject(&certificate.issuer_digest).await?,
    };
    let has_signed =
        |ca: &CaCertificate| CertificateFacts::from_pem(&ca.pem).is_ok_and(|facts| certificate.is_signed_by(&facts));
    let (active, inactive): (Vec<_>, Vec<_>) = candidates.into_iter().filter(has_signed).partition(|ca| ca.is_active);
    let mut signers = active.into_iter();
    match (signers.next(), signers.next(), inactive.first()) {
        (Some(signer), None, _) => Ok(signer),
        (Some(_), Some(_), _) => Err(ApiError::new(
            ApiErrorCode::CertificateConflictException,
            "several active CA certificates have the name and the key that certificatePem is signed by: name one of them as \
             caCertificatePem",
        )),
        (None, _, Some(signer)) => {
            let message = format!("CA certificate {} is INACTIVE, expected ACTIVE", signer.id);
            Err(ApiError::new(ApiErrorCode::CertificateStateException, message))
        }
        (None, _, None) => Err(invalid(
            "certificatePem is not signed by a registered CA, in a way that is trusted; a certificate without its CA is \
             registered with RegisterCertificateWithoutCA",
        )),
    }
}

fn check_ca(facts: &CertificateFacts, now: Timestamp) -> Result<(), ApiError> {
    let reason = if !facts.is_ca {
        "caCertificate does not say that it is of a CA: expected the extension basicConstraints with CA:TRUE"
    } else if facts.not_after_ms < now.millis() {
        "caCertificate is not valid any more"
    } else {
        return Ok(());
    };
    Err(ApiError::new(ApiErrorCode::CertificateValidationException, reason))
}

/// Whether the caller has the CA's key.
async fn check_possession(api: &ApiState, ca: &CertificateFacts, verification: &str) -> Result<(), ApiError> {
    let verification = facts_of(verification)?;
    if !verification.is_signed_by(ca) {
        let message = "verificationCertificate is not signed by caCertificate, in a way that is trusted";
        return Err(ApiError::new(ApiErrorCode::CertificateValidationException, message));
    }
    let code = api.db.registration_code().await?;
    if code.is_none() || code != verification.common_name {
        let message = "verificationCertificate has another common name than the registration code";
        return Err(ApiError::new(
            ApiErrorCode::RegistrationCodeValidationException,
            message,
        ));
    }
    Ok(())
}

fn status_of(ca: &CaCertificate) -> String {
    if ca.is_active { "ACTIVE" } else { "INACTIVE" }.to_owned()
}

fn template_of(config: wire::RegistrationConfig) -> RegistrationTemplate {
    let members = [
        ("templateBody", config.template_body),
        ("roleArn", config.role_arn),
        ("templateName", config.template_name.clone()),
    ];
    let members = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
    RegistrationTemplate {
        json: json!(members.collect::<serde_json::Map<_, _>>()).to_string(),
        template_name: config.template_name,
    }
}
