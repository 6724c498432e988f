//! What the service functions need, and who calls them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use picket_aws::arn::{Arn, Resource};
use picket_aws::service::Service;
use picket_model::name::{BehaviorName, DeviceName, ProfileName};
use picket_model::time::Timestamp;
use picket_pki::{Authority, KeyKind};
use picket_store::Db;
use picket_store::access::AccessScope;
use picket_store::history::History;
use serde_json::{Map, Value};

use crate::broker::Broker;
use crate::error::ApiError;
use crate::keys::KeyRing;

/// Carries changes to the sessions that are there already.
pub trait Live: Send + Sync {
    /// Called after the transaction and before the answer: when this returns, live sessions have been checked again.
    fn changed(&self, scopes: Vec<AccessScope>) -> BoxFuture<'_, ()>;
}

/// Knows why an alarm is as it is, from the engine that judges the device.
pub trait Explainer: Send + Sync {
    /// What the engine holds of one behavior on one device; `None` when it holds nothing.
    fn explain<'a>(
        &'a self,
        thing: &'a DeviceName,
        profile: &'a ProfileName,
        behavior: &'a BehaviorName,
    ) -> BoxFuture<'a, Option<Explanation>>;
}

/// Knows the certificate that messages to subscribers are signed by.
pub trait MessageCertificate: Send + Sync {
    /// The certificate of that id, PEM; `None` when messages are signed by no such certificate.
    fn pem<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<String>>;
}

/// What an engine says of an alarm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation {
    /// What would clear the alarm, in a sentence; `None` when the engine has no alarm.
    pub what_clears_it: Option<String>,
    /// The figures behind it, as JSON with AWS's style of names.
    pub facts: Map<String, Value>,
}

/// What the service functions need.
pub struct ApiState {
    /// The database.
    pub db: Db,
    /// What devices reported and did.
    pub history: Arc<History>,
    /// The sessions that are there.
    pub live: Arc<dyn Live>,
    /// Messages and connections.
    pub broker: Arc<dyn Broker>,
    /// The engines.
    pub explainer: Arc<dyn Explainer>,
    /// The certificate that messages to subscribers are signed by.
    pub message_certificate: Arc<dyn MessageCertificate>,
    /// The account in every ARN: 12 digits.
    pub account_id: String,
    /// The region of ARNs where the caller names none.
    pub region: String,
    /// The names that devices reach the endpoint by; the first is the one that is told.
    pub endpoint_names: Vec<String>,
    /// The port that devices connect to.
    pub mqtt_port: u16,
    /// The port for agents that ask for MQTT by ALPN, if there is one.
    pub mqtt_alpn_port: Option<u16>,
    /// The fleet CA, which issues the certificates of new keys.
    pub authority: Arc<Authority>,
    /// What kind of keys [`crate::service::certificate::create_keys`] makes.
    pub key_kind: KeyKind,
    /// The time.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Opens the stored secrets of access keys.
    pub keys: KeyRing,
}

/// The state, shared.
pub type Api = Arc<ApiState>;

/// Who calls an operation, of which service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The access key.
    pub access_key_id: String,
    /// The region of the credential, which the answer's ARNs carry.
    pub region: String,
    /// The service that the request is signed for: only operations of this one are found.
    pub service: Service,
}

impl ApiState {
    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The ARN of a resource, for this caller.
    pub(crate) fn arn(&self, caller: &Caller, resource: impl Into<Resource>) -> String {
        let arn = Arn {
            region: caller.region.clone(),
            account: self.account_id.clone(),
            resource: resource.into(),
        };
        arn.to_string()
    }

    /// What an ARN in a request names.
    pub(crate) fn own(&self, arn: Arn) -> Result<Resource, ApiError> {
        if arn.account == self.account_id {
            Ok(arn.resource)
        } else {
            let reason = format!("ARN is {arn}, expected one of account {}", self.account_id);
            Err(ApiError::invalid(reason))
        }
    }

    /// Tells live sessions.
    pub(crate) async fn changed(&self, scopes: impl IntoIterator<Item = AccessScope>) {
        self.live.changed(scopes.into_iter().collect()).await;
    }
}
