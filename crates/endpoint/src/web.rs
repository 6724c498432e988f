//! TLS for web clients, who prove who they are otherwise: the server has a certificate, and asks for none.

use std::sync::Arc;

use rustls::{Error, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The one version of HTTP that is spoken.
const ALPN_HTTP: &[u8] = b"http/1.1";

/// The configuration of a place for HTTPS: TLS 1.2 and 1.3, with this certificate and what it goes back to.
///
/// # Errors
/// The certificate cannot be read, or the key is not its own.
pub fn web_server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
    Ok(Arc::new(config))
}
