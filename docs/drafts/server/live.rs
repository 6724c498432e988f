//! What a change in the registry or a decision does to sessions that are already there: it reaches them before the one
//! who made it gets the answer.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use picket_api::Live;
use picket_endpoint::{Handle, Recheck};
use picket_model::name::DeviceName;
use picket_respond::mitigate::Enforcer;
use picket_store::access::AccessScope;

use crate::directory::{Concerned, Directory};

/// Carries changes to the directory and from there to the sessions.
#[derive(Clone, Debug)]
pub(crate) struct LiveSessions {
    pub(crate) directory: Arc<Directory>,
    pub(crate) sessions: Handle,
}

impl LiveSessions {
    async fn apply(&self, scopes: &[AccessScope]) {
        for scope in scopes {
            match self.directory.refresh(scope).await {
                Ok(concerned) => self.recheck(concerned).await,
                Err(error) => tracing::error!(error = %error, "change could not be read back, live sessions keep their rights"),
            }
        }
    }

    async fn recheck(&self, concerned: Concerned) {
        match concerned {
            Concerned::Everybody => self.sessions.recheck(Recheck::All).await,
            Concerned::Certificates(ids) => {
                for id in ids {
                    self.sessions.recheck(Recheck::Certificate(id)).await;
                }
            }
            Concerned::Device { name, certificates } => {
                self.sessions.recheck(Recheck::Client(name)).await;
                for id in certificates {
                    self.sessions.recheck(Recheck::Certificate(id)).await;
                }
            }
        }
    }
}

impl Live for LiveSessions {
    fn changed(&self, scopes: Vec<AccessScope>) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.apply(&scopes).await })
    }
}

impl Enforcer for LiveSessions {
    fn enforce(&self, device: DeviceName) -> BoxFuture<'_, ()> {
        // Not read back from the database: a quarantine acts also when that fails.
        Box::pin(async move { self.recheck(self.directory.quarantine(&device)).await })
    }
}
