//! Signing requests, PKCS#10.

use rcgen::{DistinguishedName, DnType, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Name;

/// The most bytes of a request that are read.
const PEM_BYTES_MAX: usize = 65_536;

/// What is taken of a request: who wants to be certified, and with which key. Wished extensions are left aside.
pub(crate) struct SigningRequest {
    pub(crate) subject: DistinguishedName,
    pub(crate) public_key: SubjectPublicKeyInfo,
}

/// Why a text is no signing request, or none that can be granted.
#[derive(Debug, thiserror::Error)]
pub enum BadRequest {
    /// Too long to be one.
    #[error("signing request has {found} bytes, at most {PEM_BYTES_MAX} are read")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// There is no PEM block of a request.
    #[error("signing request is not PEM with a CERTIFICATE REQUEST block: {detail}")]
    Pem {
        /// What the reader stumbled over.
        detail: String,
    },
    /// The DER cannot be read.
    #[error("signing request is not PKCS#10: {detail}")]
    Der {
        /// What the reader stumbled over.
        detail: String,
    },
    /// Whoever sent it does not hold the key.
    #[error("signing request is not signed by its own key, or in a way that is not trusted")]
    Signature,
    /// Neither RSA nor ECDSA on a curve of those.
    #[error(
        "signing request has a key of another kind, expected RSA with 2048 bits or more, or ECDSA on P-256 or P-384"
    )]
    Key,
}

impl SigningRequest {
    pub(crate) fn from_pem(text: &str) -> Result<Self, BadRequest> {
        if PEM_BYTES_MAX < text.len() {
            return Err(BadRequest::Length { found: text.len() });
        }
        // Older tools write the label so.
        let text = text.replace(" NEW CERTIFICATE REQUEST-----", " CERTIFICATE REQUEST-----");
        let der = CertificateSigningRequestDer::from_pem_slice(text.as_bytes());
        let der = der.map_err(|error| BadRequest::Pem {
            detail: error.to_string(),
        })?;
        let bad = |detail: String| BadRequest::Der { detail };
        let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|error| bad(error.to_string()))?;
        if !rest.is_empty() {
            return Err(bad(format!("{} bytes follow the request", rest.len())));
        }
        let info = &request.certification_request_info;
        // The kind of key first: a weak key's signature is not looked at, and the reason would be hidden.
        let public_key = public_key_of(&info.subject_pki)?;
        request.verify_signature().map_err(|_| BadRequest::Signature)?;
        Ok(Self {
            subject: subject_of(&info.subject),
            public_key,
        })
    }
}

/// The key, of a kind that is certified: as on AWS.
fn public_key_of(key: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> Result<SubjectPublicKeyInfo, BadRequest> {
    const RSA_BITS_MIN: usize = 2048;
    let is_allowed = match key.parsed().map_err(|_| BadRequest::Key)? {
        PublicKey::RSA(rsa) => RSA_BITS_MIN <= rsa.key_size(),
        PublicKey::EC(_) => {
            let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
            curve.is_some_and(|curve| [OID_EC_P256, OID_NIST_EC_P384].contains(&curve))
        }
        _ => false,
    };
    if !is_allowed {
        return Err(BadRequest::Key);
    }
    SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| BadRequest::Key)
}

/// The attributes that are text, each kind once.
fn subject_of(name: &X509Name<'_>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    for attribute in name.iter_attributes() {
        if let (Some(kind), Ok(text)) = (attribute.attr_type().iter(), attribute.as_str()) {
            subject.push(DnType::from_oid(&kind.collect::<Vec<u64>>()), text);
        }
    }
    subject
}
