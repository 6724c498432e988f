//! What a change in the registry or a decision does to sessions that are already there: it reaches them before the one
//! who made it gets the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use picket_api::Live;
use picket_endpoint::{Handle, Recheck};
use picket_respond::Enforcer;
use picket_store::access::AccessScope;

use crate::directory::{Concerned, Directory};

/// How long to wait before reading a change again that the database did not tell.
const RETRY: Duration = Duration::from_millis(500);

/// Carries changes to the directory and from there to the sessions.
#[derive(Clone, Debug)]
pub(crate) struct LiveSessions {
    pub(crate) directory: Arc<Directory>,
    pub(crate) sessions: Handle,
}

impl LiveSessions {
    async fn apply(&self, scopes: Vec<AccessScope>) {
        for scope in scopes {
            match self.directory.refresh(&scope).await {
                Ok(concerned) => self.recheck(concerned).await,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "change could not be read back, trying again"
                    );
                    if let AccessScope::Quarantine(device) = &scope {
                        // Out until we know better.
                        self.recheck(self.directory.quarantine(device)).await;
                    }
                    tokio::spawn(self.clone().apply_later(scope));
                }
            }
        }
    }

    async fn apply_later(self, scope: AccessScope) {
        loop {
            tokio::time::sleep(RETRY).await;
            if let Ok(concerned) = self.directory.refresh(&scope).await {
                return self.recheck(concerned).await;
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
        Box::pin(self.apply(scopes))
    }
}

impl Enforcer for LiveSessions {
    fn enforce(&self, scopes: Vec<AccessScope>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.apply(scopes))
    }
}
