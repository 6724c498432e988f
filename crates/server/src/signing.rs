//! What messages to subscribers are signed by: made when it is needed first, kept in the data directory.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use picket_api::MessageCertificate;
use picket_aws::percent;
use picket_pki::{Authority, MessageSigner};
use picket_respond::{Signature, Signer, Unsigned};
use tokio::sync::OnceCell;

use crate::clock::Clock;
use crate::first_start::DataDir;

/// Digits of the certificate's fingerprint that are its id.
const ID_LEN: usize = 32;

/// The key, as soon as somebody has asked for it.
pub(crate) struct Signing {
    data: DataDir,
    authority: Arc<Authority>,
    clock: Arc<Clock>,
    signer: OnceCell<Arc<MessageSigner>>,
}

impl Signing {
    pub(crate) fn new(data: DataDir, authority: Arc<Authority>, clock: Arc<Clock>) -> Self {
        Self {
            data,
            authority,
            clock,
            signer: OnceCell::new(),
        }
    }

    /// The key, made now if there is none. An RSA key takes a while, so others go on meanwhile.
    async fn signer(&self) -> anyhow::Result<&Arc<MessageSigner>> {
        let load = async || {
            let (data, authority, now) = (self.data.clone(), Arc::clone(&self.authority), self.clock.now());
            let load = move || match data.message_signer()? {
                Some(signer) => anyhow::Ok(signer),
                None => data.new_message_signer(&authority, now),
            };
            tokio::task::spawn_blocking(load).await?.map(Arc::new)
        };
        self.signer.get_or_try_init(load).await
    }

    async fn signature(&self, text: String) -> anyhow::Result<Signature> {
        let signer = Arc::clone(self.signer().await?);
        let certificate_id = id_of(&signer);
        let bytes = tokio::task::spawn_blocking(move || signer.sign(text.as_bytes())).await??;
        Ok(Signature { bytes, certificate_id })
    }
}

impl Signer for Signing {
    fn sign(&self, text: String) -> Pin<Box<dyn Future<Output = Result<Signature, Unsigned>> + Send + '_>> {
        Box::pin(async move {
            self.signature(text).await.map_err(|error| Unsigned {
                reason: format!("{error:#}"),
            })
        })
    }
}

impl MessageCertificate for Signing {
    fn pem<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<String>> {
        Box::pin(async move {
            // Who asks for a certificate has seen a message: nobody else makes us make one.
            if !self.signer.initialized() && !self.data.has_message_signer() {
                return None;
            }
            match self.signer().await {
                Ok(signer) => (id_of(signer) == id).then(|| signer.certificate_pem().to_owned()),
                Err(error) => {
                    tracing::error!("the certificate that messages are signed by cannot be read: {error:#}");
                    None
                }
            }
        })
    }
}

fn id_of(signer: &MessageSigner) -> String {
    let mut id = percent::hex(&signer.fingerprint());
    id.truncate(ID_LEN);
    id
}
