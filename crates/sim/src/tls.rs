//! A device's side of TLS.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Trusts the certificates in `ca`, and proves its identity with `certificate` and `key`; all of them PEM files.
pub(crate) fn device(ca: &Path, certificate: &Path, key: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let own = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read a key from {}", key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca)?)
        .with_client_auth_cert(own, key)
        .with_context(|| format!("the key is not that of {}", certificate.display()))?;
    Ok(Arc::new(config))
}

/// Trusts the certificates in `ca`, or nobody: then only plain connections are made.
pub(crate) fn operator(ca: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = ca.map_or_else(|| Ok(RootCertStore::empty()), roots)?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn roots(ca: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots
            .add(certificate)
            .with_context(|| format!("cannot trust what is in {}", ca.display()))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let certificates = read().with_context(|| format!("cannot read certificates from {}", path.display()))?;
    ensure!(
        !certificates.is_empty(),
        "{} holds no certificate, expected PEM",
        path.display()
    );
    Ok(certificates)
}
