//! What the server proves who it is by.

use anyhow::{Context, bail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate, with those that it goes back to, and its key.
#[derive(Debug)]
pub(crate) struct Identity {
    /// At least one, the server's own first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(crate) fn from_pem(chain: &[u8], key: &[u8]) -> anyhow::Result<Self> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .context("certificate is not PEM")?;
        if chain.is_empty() {
            bail!("no certificate found, expected PEM");
        }
        let key =
            PrivateKeyDer::from_pem_slice(key).context("no private key found, expected PEM without a password")?;
        Ok(Self { chain, key })
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}
