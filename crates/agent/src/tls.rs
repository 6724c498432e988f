//! The TLS configuration: this device's certificate and key, and whom it trusts.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

use crate::settings::Settings;

/// AWS IoT serves several protocols on port 443, and takes MQTT with a client certificate by this ALPN name.
const ALPN_ON_443: &[u8] = b"x-amzn-mqtt-ca";

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadCredentials {
    /// A file cannot be read, or holds no PEM of what it should.
    #[error("cannot read the {what} in {path}")]
    File {
        /// In words.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// A file holds PEM that cannot be used.
    #[error("cannot use the {what} in {path}")]
    Content {
        /// In words.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The key is another certificate's.
    #[error("{private_key} is not the key of {certificate}")]
    Mismatch {
        /// The key's file.
        private_key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
}

/// Reads the files and makes a configuration that trusts the given root alone.
///
/// # Errors
/// A file is missing, or not what it should be.
pub(crate) fn configuration(settings: &Settings) -> Result<Arc<ClientConfig>, BadCredentials> {
    let provider = Arc::new(ring::default_provider());
    let roots = roots(&settings.root_ca)?;
    let identity = identity(settings, &provider)?;
    let mut configuration = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| bad("root certificate", &settings.root_ca, source))?
        .with_root_certificates(roots)
        .with_client_cert_resolver(identity);
    if settings.server.port == 443 {
        configuration.alpn_protocols = vec![ALPN_ON_443.to_vec()];
    }
    Ok(Arc::new(configuration))
}

/// Whether others than the owner may read the file.
pub(crate) fn is_open_to_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

fn roots(path: &Path) -> Result<RootCertStore, BadCredentials> {
    const WHAT: &str = "root certificate";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(WHAT, path)? {
        roots.add(certificate).map_err(|source| bad(WHAT, path, source))?;
    }
    Ok(roots)
}

fn identity(
    settings: &Settings,
    provider: &rustls::crypto::CryptoProvider,
) -> Result<Arc<dyn ResolvesClientCert>, BadCredentials> {
    const WHAT: &str = "private key";
    let path = &settings.private_key;
    let chain = certificates("device certificate", &settings.certificate)?;
    let der = PrivateKeyDer::from_pem_file(path).map_err(|source| unreadable(WHAT, path, source))?;
    let key = provider
        .key_provider
        .load_private_key(der)
        .map_err(|source| bad(WHAT, path, source))?;
    let identity = CertifiedKey::new(chain, key);
    // A certificate that cannot be compared may be X.509 v1, as openssl makes them by default, and servers take those.
    match identity.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => Err(BadCredentials::Mismatch {
            private_key: path.clone(),
            certificate: settings.certificate.clone(),
        }),
        _ => Ok(Arc::new(SingleCertAndKey::from(identity))),
    }
}

/// All certificates of a file, at least one.
fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, BadCredentials> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| unreadable(what, path, source))?;
    if certificates.is_empty() {
        return Err(unreadable(what, path, pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn unreadable(what: &'static str, path: &Path, source: pem::Error) -> BadCredentials {
    BadCredentials::File {
        what,
        path: path.to_owned(),
        source,
    }
}

fn bad(what: &'static str, path: &Path, source: rustls::Error) -> BadCredentials {
    BadCredentials::Content {
        what,
        path: path.to_owned(),
        source,
    }
}
