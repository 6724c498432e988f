//! TLS: who is let to CONNECT. Any certificate whose SHA-256 the doorkeeper knows, of any issuer and any X.509 version,
//! if the peer proves that it holds the key.
//!
//! webpki's end entity is not used, because it refuses X.509 version 1, which is what plain `openssl x509 -req` makes. The
//! handshake's signature is checked against the public key in the certificate instead.

use std::fmt;
use std::sync::Arc;

use picket_model::name::CertificateId;
use picket_pki::{CertificateFacts, fingerprint};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer, UnixTime};
use webpki::RawPublicKeyEntity;

use crate::doors::Doorkeeper;

/// What clients of port 443 must name, so that MQTT with certificates can share it.
const ALPN_MQTT_CA: &[u8] = b"x-amzn-mqtt-ca";

/// The configuration of the listeners.
pub(crate) fn server_config(
    doorkeeper: Arc<dyn Doorkeeper>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = KnownCertificates {
        doorkeeper,
        algorithms: provider.signature_verification_algorithms,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::<CryptoProvider>::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN_MQTT_CA.to_vec()];
    // Tickets keep the client's certificate, encrypted: a fleet that comes back resumes without a table here. Whether the
    // certificate may still come in is asked at CONNECT again.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// A number that nobody can guess.
pub(crate) fn random() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| Error::FailedToGetRandomBytes)?;
    Ok(u64::from_be_bytes(bytes))
}

/// The identity of a certificate.
pub(crate) fn certificate_id(certificate: &CertificateDer<'_>) -> CertificateId {
    CertificateId::from_bytes(fingerprint(certificate))
}

struct KnownCertificates {
    doorkeeper: Arc<dyn Doorkeeper>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for KnownCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownCertificates").finish_non_exhaustive()
    }
}

impl ClientCertVerifier for KnownCertificates {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.doorkeeper.knows(&certificate_id(end_entity)) {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let candidates = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signed.scheme)
            .map(|(_, algorithms)| *algorithms)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let key = public_key(certificate)?;
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
        // In TLS 1.2 a scheme does not tell the curve: each algorithm of the scheme may be the one.
        candidates
            .iter()
            .find_map(|algorithm| key.verify_signature(*algorithm, message, signed.signature()).ok())
            .map(|()| HandshakeSignatureValid::assertion())
            .ok_or_else(|| CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &public_key(certificate)?, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The public key of a certificate of any X.509 version.
fn public_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    let facts = CertificateFacts::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(SubjectPublicKeyInfoDer::from(facts.public_key_der))
}
