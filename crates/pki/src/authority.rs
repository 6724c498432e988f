//! The fleet CA: it vouches for the server towards devices, and for devices that were made here.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData,
};
use time::{Duration, OffsetDateTime};

use crate::facts::{BadCertificate, CertificateFacts, fingerprint};
use crate::key::{KeyKind, private_key_pem};
use crate::request::{BadRequest, SigningRequest};

/// Clocks of devices and servers differ; a certificate counts from a day before it was made.
const EARLIER: Duration = Duration::days(1);

/// How long certificates last: the CA outlives what it signs.
const CA_YEARS: i64 = 30;
const LEAF_YEARS: i64 = 20;

/// The most characters of a common name.
const COMMON_NAME_CHARS_MAX: usize = 64;

/// A certificate authority with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    private_key_pem: String,
}

/// A certificate that was just made.
pub struct Issued {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// The private key, PEM: PKCS#8 for P-256, PKCS#1 for RSA as on AWS. Empty if the requester kept the key.
    pub private_key_pem: String,
    /// The public key, PEM (SubjectPublicKeyInfo).
    pub public_key_pem: String,
    /// SHA-256 of the certificate's DER.
    pub fingerprint: [u8; 32],
}

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The certificate or key in hand is not usable.
    #[error("cannot read {what}")]
    Read {
        /// What was being read.
        what: &'static str,
        /// Why not.
        source: rcgen::Error,
    },
    /// Making a key or a signature failed.
    #[error("cannot make {what}")]
    Make {
        /// What was being made.
        what: &'static str,
        /// Why not.
        source: rcgen::Error,
    },
    /// A certificate is not one.
    #[error(transparent)]
    Certificate(#[from] BadCertificate),
    /// The CA's key is another's.
    #[error("the CA's private key does not belong to its certificate")]
    Pair,
    /// A signing request is not one, or cannot be granted.
    #[error(transparent)]
    Request(#[from] BadRequest),
    /// The time is outside of what certificates can say.
    #[error("time is {now_ms} ms since the epoch, expected a date between 1950 and 9999")]
    Time {
        /// The time as given.
        now_ms: i64,
    },
}

impl Authority {
    /// A new CA: ECDSA on P-256, self-signed, for 30 years.
    ///
    /// # Errors
    /// The system has no randomness, or `now_ms` is no date.
    pub fn create(name: &str, now_ms: i64) -> Result<Self, PkiError> {
        let key = KeyKind::P256.generate()?;
        let mut params = params(name, now_ms, CA_YEARS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let make = |source| PkiError::Make {
            what: "the CA's certificate",
            source,
        };
        let certificate_pem = params.self_signed(&key).map_err(make)?.pem();
        let private_key_pem = key.serialize_pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate_pem,
            private_key_pem,
        })
    }

    /// A CA that was made before.
    ///
    /// # Errors
    /// One of the two is not PEM of the right kind, or they do not belong together.
    pub fn from_pem(certificate_pem: &str, private_key_pem: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(private_key_pem).map_err(|source| PkiError::Read {
            what: "the CA's private key",
            source,
        })?;
        if CertificateFacts::from_pem(certificate_pem)?.public_key_der != key.subject_public_key_info() {
            return Err(PkiError::Pair);
        }
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key).map_err(|source| PkiError::Read {
            what: "the CA's certificate",
            source,
        })?;
        Ok(Self {
            issuer,
            certificate_pem: certificate_pem.to_owned(),
            private_key_pem: private_key_pem.to_owned(),
        })
    }

    /// The CA's certificate: what devices trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The CA's private key, PKCS#8. A secret.
    pub fn private_key_pem(&self) -> &str {
        &self.private_key_pem
    }

    /// A certificate for a server that is reached by `names`: host names and addresses.
    ///
    /// # Errors
    /// A name cannot stand in a certificate.
    pub fn issue_server(&self, names: &[String], now_ms: i64) -> Result<Issued, PkiError> {
        let make = |source| PkiError::Make {
            what: "the server's certificate",
            source,
        };
        let mut params = params(names.first().map_or("picket", String::as_str), now_ms, LEAF_YEARS)?;
        params.subject_alt_names = CertificateParams::new(names).map_err(make)?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, KeyKind::P256)
    }

    /// A certificate for a device, with a new key. The name is for people; it decides nothing.
    ///
    /// # Errors
    /// The system has no randomness, or `now_ms` is no date.
    pub fn issue_device(&self, name: &str, kind: KeyKind, now_ms: i64) -> Result<Issued, PkiError> {
        let mut params = params(name, now_ms, LEAF_YEARS)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, kind)
    }

    /// A certificate for a device that kept its key and sent a signing request (PKCS#10, PEM). Of the request only the
    /// subject and the key are taken.
    ///
    /// # Errors
    /// The request cannot be read, or its own signature is wrong.
    pub fn sign_request(&self, request_pem: &str, now_ms: i64) -> Result<Issued, PkiError> {
        let request = SigningRequest::from_pem(request_pem)?;
        let mut wanted = params("", now_ms, LEAF_YEARS)?;
        wanted.distinguished_name = request.subject;
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = self.certify(wanted, &request.public_key)?;
        let facts = CertificateFacts::from_der(certificate.der())?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            private_key_pem: String::new(),
            public_key_pem: facts.public_key_pem(),
            fingerprint: facts.fingerprint,
        })
    }

    /// A certificate for the key that messages to people are signed by. It opens no door: neither a server's nor a device's.
    pub(crate) fn certify_signer(&self, name: &str, key: &KeyPair, now_ms: i64) -> Result<Certificate, PkiError> {
        self.certify(params(name, now_ms, LEAF_YEARS)?, key)
    }

    fn issue(&self, params: CertificateParams, kind: KeyKind) -> Result<Issued, PkiError> {
        let key = kind.generate()?;
        let certificate = self.certify(params, &key)?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            private_key_pem: private_key_pem(&key, kind),
            public_key_pem: key.public_key_pem(),
            fingerprint: fingerprint(certificate.der()),
        })
    }

    fn certify(&self, mut params: CertificateParams, key: &impl PublicKeyData) -> Result<Certificate, PkiError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.signed_by(key, &self.issuer).map_err(|source| PkiError::Make {
            what: "the certificate",
            source,
        })
    }
}

fn params(name: &str, now_ms: i64, years: i64) -> Result<CertificateParams, PkiError> {
    let bad_time = || PkiError::Time { now_ms };
    let now = OffsetDateTime::from_unix_timestamp(now_ms.div_euclid(1000)).map_err(|_| bad_time())?;
    let mut params = CertificateParams::default();
    params.not_before = now.checked_sub(EARLIER).ok_or_else(bad_time)?;
    params.not_after = now.checked_add(Duration::days(365 * years)).ok_or_else(bad_time)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Picket");
    // X.520 bounds a common name, and some devices' TLS keeps to that.
    let name: String = name.chars().take(COMMON_NAME_CHARS_MAX).collect();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
