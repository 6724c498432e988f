//! What a certificate says of itself. Nothing here vouches for it.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_parser::oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::key::pem;

/// The most bytes of a certificate that are read.
const PEM_BYTES_MAX: usize = 65_536;

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The certificate.
    pub der: Vec<u8>,
    /// SHA-256 of the DER: what the certificate is known by.
    pub fingerprint: [u8; 32],
    /// First moment of validity, milliseconds since the epoch.
    pub not_before_ms: i64,
    /// Last moment of validity, milliseconds since the epoch.
    pub not_after_ms: i64,
    /// The subject's distinguished name, for people.
    pub subject: String,
    /// The issuer's distinguished name, for people.
    pub issuer: String,
    /// X.509 version, 1 to 3. Plain `openssl x509 -req` makes version 1.
    pub version: u32,
    /// Whether it says that it may sign others.
    pub is_ca: bool,
    /// The public key: SubjectPublicKeyInfo in DER.
    pub public_key_der: Vec<u8>,
    /// SHA-256 of the subject's DER: two names are the same when these are.
    pub subject_digest: [u8; 32],
    /// The same of the issuer.
    pub issuer_digest: [u8; 32],
    /// The first common name of the subject.
    pub common_name: Option<String>,
}

/// Why bytes are no certificate.
#[derive(Debug, thiserror::Error)]
pub enum BadCertificate {
    /// Too long to be one.
    #[error("certificate has {found} bytes, at most {PEM_BYTES_MAX} are read")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// There is no PEM block of a certificate.
    #[error("certificate is not PEM with a CERTIFICATE block: {detail}")]
    Pem {
        /// What the reader stumbled over.
        detail: String,
    },
    /// The DER cannot be read.
    #[error("certificate is not X.509: {detail}")]
    Der {
        /// What the reader stumbled over.
        detail: String,
    },
}

impl CertificateFacts {
    /// Reads the first certificate in a PEM text.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn from_pem(text: &str) -> Result<Self, BadCertificate> {
        if PEM_BYTES_MAX < text.len() {
            return Err(BadCertificate::Length { found: text.len() });
        }
        let der = CertificateDer::from_pem_slice(text.as_bytes());
        Self::from_der(&der.map_err(|error| BadCertificate::Pem {
            detail: error.to_string(),
        })?)
    }

    /// Reads a certificate, of any X.509 version.
    ///
    /// # Errors
    /// It cannot be read, or something follows it.
    pub fn from_der(der: &[u8]) -> Result<Self, BadCertificate> {
        let bad = |detail: String| BadCertificate::Der { detail };
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| bad(error.to_string()))?;
        if !rest.is_empty() {
            return Err(bad(format!("{} bytes follow the certificate", rest.len())));
        }
        Ok(Self {
            der: der.to_vec(),
            fingerprint: fingerprint(der),
            not_before_ms: certificate.validity().not_before.timestamp().saturating_mul(1000),
            not_after_ms: certificate.validity().not_after.timestamp().saturating_mul(1000),
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            version: certificate.version().0.saturating_add(1),
            is_ca: certificate.is_ca(),
            public_key_der: certificate.public_key().raw.to_vec(),
            subject_digest: Sha256::digest(certificate.subject().as_raw()).into(),
            issuer_digest: Sha256::digest(certificate.issuer().as_raw()).into(),
            common_name: certificate
                .subject()
                .iter_common_name()
                .find_map(|name| name.as_str().ok().map(str::to_owned)),
        })
    }

    /// Whether the other's key has signed this certificate, and it says so. SHA-1 counts as no signature.
    pub fn is_signed_by(&self, issuer: &Self) -> bool {
        let parsed = |der| X509Certificate::from_der(der).map(|(_, certificate)| certificate);
        let (Ok(own), Ok(other)) = (parsed(&self.der), parsed(&issuer.der)) else {
            return false;
        };
        let algorithm = &own.signature_algorithm.algorithm;
        let is_sha1 = [OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA].contains(algorithm);
        self.issuer_digest == issuer.subject_digest
            && !is_sha1
            && own.verify_signature(Some(other.public_key())).is_ok()
    }

    /// The public key as PEM.
    pub fn public_key_pem(&self) -> String {
        pem("PUBLIC KEY", &self.public_key_der)
    }
}

/// What a certificate is known by: the SHA-256 of its DER.
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}
