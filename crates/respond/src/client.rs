//! The HTTP client that posts alerts.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum BadClient {
    /// The extra certificates are no PEM.
    #[error("certificates to trust cannot be read")]
    Certificates(#[source] rustls::pki_types::pem::Error),
    /// TLS cannot be set up.
    #[error("TLS of webhooks cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The client cannot be set up.
    #[error("HTTP client of webhooks cannot be set up")]
    Http(#[source] reqwest::Error),
}

/// The time that one delivery may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client for webhooks: it trusts what the system trusts, and the certificates in `extra_roots` (PEM). It follows no
/// redirect, since an alert is for the target that an operator named, and gives up after 10 s.
///
/// # Errors
/// `extra_roots` is not PEM, or TLS does not work here.
pub fn webhook_client(extra_roots: Option<&[u8]>) -> Result<reqwest::Client, BadClient> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls(extra_roots)?)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .no_proxy()
        .user_agent(concat!("picket/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(BadClient::Http)
}

/// The provider is passed, never looked up: a program may be built with two of them.
fn tls(extra_roots: Option<&[u8]>) -> Result<rustls::ClientConfig, BadClient> {
    let extra: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(extra_roots.unwrap_or_default())
        .collect::<Result<_, _>>()
        .map_err(BadClient::Certificates)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(BadClient::Tls)?;
    match Verifier::new_with_extra_roots(extra, provider) {
        Ok(verifier) => Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth()),
        // A small container has no certificates; its webhooks may well be http.
        Err(rustls::Error::General(reason)) => {
            tracing::warn!(reason, "webhooks over https will not be trusted");
            let roots = rustls::RootCertStore::empty();
            Ok(builder.with_root_certificates(roots).with_no_client_auth())
        }
        Err(err) => Err(BadClient::Tls(err)),
    }
}
