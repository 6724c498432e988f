//! What messages to people are signed by, so that they can see whom a message comes from.

use rcgen::{KeyPair, PKCS_RSA_SHA256, SigningKey as _};

use crate::authority::{Authority, PkiError};
use crate::facts::{CertificateFacts, fingerprint};

/// A key with a certificate of the fleet CA: RSA with 2048 bits, since that is what receivers of SNS's messages verify.
pub struct MessageSigner {
    key: KeyPair,
    certificate_pem: String,
    fingerprint: [u8; 32],
}

impl MessageSigner {
    /// A new key and its certificate.
    ///
    /// # Errors
    /// The system has no randomness, or `now_ms` is no date.
    pub fn create(authority: &Authority, name: &str, now_ms: i64) -> Result<Self, PkiError> {
        let make = |source| PkiError::Make { what: "a key", source };
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).map_err(make)?;
        let certificate = authority.certify_signer(name, &key, now_ms)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            fingerprint: fingerprint(certificate.der()),
            key,
        })
    }

    /// A key and certificate that were made before.
    ///
    /// # Errors
    /// One of the two is not PEM of the right kind, or they do not belong together.
    pub fn from_pem(certificate_pem: &str, private_key_pem: &str) -> Result<Self, PkiError> {
        let read = |source| PkiError::Read {
            what: "the private key that messages are signed by",
            source,
        };
        let key = KeyPair::from_pkcs8_pem_and_sign_algo(private_key_pem, &PKCS_RSA_SHA256).map_err(read)?;
        let facts = CertificateFacts::from_pem(certificate_pem)?;
        if facts.public_key_der != rcgen::PublicKeyData::subject_public_key_info(&key) {
            return Err(PkiError::Pair);
        }
        Ok(Self {
            key,
            certificate_pem: certificate_pem.to_owned(),
            fingerprint: facts.fingerprint,
        })
    }

    /// The certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// SHA-256 of the certificate's DER.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The private key, PKCS#8. A secret.
    pub fn private_key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The signature of a text: RSASSA-PKCS1-v1_5 with SHA-256.
    ///
    /// # Errors
    /// The key cannot be used.
    pub fn sign(&self, text: &[u8]) -> Result<Vec<u8>, PkiError> {
        self.key.sign(text).map_err(|source| PkiError::Make {
            what: "a signature",
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    #[test]
    fn signatures_are_those_of_the_certificate_before_and_after_a_restart() {
        let authority = Authority::create("fleet CA of a test", 1_700_000_000_000).unwrap();
        let made = MessageSigner::create(&authority, "alerts", 1_700_000_000_000).unwrap();
        let kept = MessageSigner::from_pem(made.certificate_pem(), &made.private_key_pem()).unwrap();
        assert_eq!(kept.fingerprint(), made.fingerprint());
        let (_, pem) = x509_parser::pem::parse_x509_pem(made.certificate_pem().as_bytes()).unwrap();
        let (_, certificate) = X509Certificate::from_der(&pem.contents).unwrap();
        for signer in [&made, &kept] {
            let signature = signer.sign(b"Message\nx\n").unwrap();
            let verified = |text: &[u8]| {
                let spki = certificate.public_key();
                let bits = x509_parser::der_parser::asn1_rs::BitString::new(0, &signature);
                let algorithm = x509_parser::x509::AlgorithmIdentifier::from_der(&SHA256_WITH_RSA)
                    .unwrap()
                    .1;
                x509_parser::verify::verify_signature(spki, &algorithm, &bits, text).is_ok()
            };
            assert!(verified(b"Message\nx\n"));
            assert!(!verified(b"Message\ny\n"));
        }
        let other = MessageSigner::create(&authority, "alerts", 1_700_000_000_000).unwrap();
        assert!(MessageSigner::from_pem(made.certificate_pem(), &other.private_key_pem()).is_err());
    }

    /// `sha256WithRSAEncryption` with NULL, DER (RFC 4055).
    const SHA256_WITH_RSA: [u8; 15] = [
        0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00,
    ];
}
