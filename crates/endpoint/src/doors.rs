//! What the endpoint asks of the rest of the server. The traits are implemented in `server`; this room knows no registry,
//! no report and no log.

use std::sync::Arc;

use bytes::Bytes;
use picket_model::connection::DisconnectReason;
use picket_model::meter::{ClientMeter, Presence};
use picket_model::name::{CertificateId, DeviceName, ThingName};
use picket_model::time::Timestamp;
use picket_model::topic::DefenderTopic;
use picket_policy::{Context, PolicySet};
use tokio::sync::oneshot;

/// Tells the time that is told to others; what is measured here is measured otherwise.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Decides who may come in, from memory: neither call blocks.
pub trait Doorkeeper: Send + Sync + 'static {
    /// Whether the certificate is registered and ACTIVE: asked in the TLS handshake.
    fn knows(&self, certificate: &CertificateId) -> bool;

    /// What a session may do: asked at CONNECT, and again whenever [`crate::Handle::recheck`] names the session.
    ///
    /// # Errors
    /// Why the session may not exist; a live one is then cut.
    fn admit(&self, certificate: &CertificateId, client_id: &DeviceName) -> Result<Access, Refusal>;

    /// Whether the certificate may speak for the name: it is attached to the thing of that name, or there is no such thing.
    fn is_genuine(&self, certificate: &CertificateId, client_id: &DeviceName) -> bool;
}

/// Takes down who comes, who goes and who is refused, at once; no call blocks. What clients do meanwhile is collected with
/// [`crate::Handle::take_meters`].
pub trait Ledger: Send + Sync + 'static {
    /// A connection was accepted.
    fn connected(&self, presence: Presence);

    /// A connection that was accepted has ended; [`DisconnectReason::ServerInitiated`] when the endpoint stops.
    fn disconnected(&self, presence: Presence, reason: DisconnectReason);

    /// A client that shows a certificate and gives a name was refused: one attempt.
    fn refused(&self, attempt: ClientMeter);
}

/// What a session may do until it is asked again.
#[derive(Clone, Debug)]
pub struct Access {
    /// The policies of the certificate and of the groups of its things.
    pub policies: PolicySet,
    /// What the policies' variables stand for.
    pub context: Context,
    /// The things that the session counts as.
    pub things: Vec<ThingName>,
}

/// Why a session may not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The certificate is not registered.
    UnknownCertificate,
    /// The certificate is registered but not ACTIVE.
    InactiveCertificate,
    /// The certificate says itself that its time is over.
    ExpiredCertificate,
    /// One of the session's things is quarantined.
    Quarantined,
}

/// Takes reports.
pub trait Inbox: Send + Sync + 'static {
    /// Takes what was published on a defender topic, after policy allowed it. Returns at once.
    fn submit(&self, submission: Submission) -> Pending;
}

/// What was published on a defender topic.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The topic, parsed: thing and format.
    pub topic: DefenderTopic,
    /// The payload as received.
    pub payload: Bytes,
    /// The certificate of the connection.
    pub certificate: CertificateId,
    /// The client id of the connection.
    pub client_id: DeviceName,
}

/// The answer to a submission, now or when the report is durable.
#[derive(Debug)]
pub enum Pending {
    /// Known at once, for example a rejection.
    Ready(Verdict),
    /// Comes when the batch is durable. A sender that goes away means [`Outcome::NotStored`].
    Later(oneshot::Receiver<Verdict>),
}

/// What became of a submission.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Whether a QoS 1 sender is acknowledged.
    pub outcome: Outcome,
    /// What to publish to the device, through the same checks as any message.
    pub reply: Option<Reply>,
}

/// Whether a QoS 1 sender is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stored, or refused for good: PUBACK.
    Settled,
    /// The log could not take it: no PUBACK, the QoS 1 sender is disconnected (MQTT 5: 0x97) so that it sends again.
    NotStored,
}

/// A message to a device.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The topic, `.../accepted` or `.../rejected`.
    pub topic: String,
    /// The payload, in the format of the request.
    pub payload: Bytes,
}
