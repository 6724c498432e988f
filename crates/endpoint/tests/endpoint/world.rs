//! An endpoint that listens, with a registry and a log whose answers a test sets.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use bytes::Bytes;
use picket_endpoint::doors::{
    Access, Doorkeeper, Inbox, Ledger, Outcome, Pending, Refusal, Reply, Submission, Verdict,
};
use picket_endpoint::{CountersSnapshot, Endpoint, EndpointConfig, Handle, Limits, Recheck};
use picket_model::connection::DisconnectReason;
use picket_model::meter::{ClientMeter, Presence};
use picket_model::name::{CertificateId, DeviceName};
use picket_model::time::Timestamp;
use picket_mqtt::{Client, ConnectError, ConnectOptions, Incoming, Message};
use picket_pki::{Authority, CertificateFacts, Issued, KeyKind, fingerprint};
use picket_policy::{Context, PolicySet, Reach};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The most time for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// 2026-01-01: certificates are made as of then, and hold for twenty years.
const NOW_MS: i64 = 1_767_225_600_000;

/// Everything is allowed.
pub(crate) const ALLOW: &str = r#"{"Effect":"Allow","Action":"iot:*","Resource":"*"}"#;

/// A statement that denies an action on a resource, for example `topic/t/secret`.
pub(crate) fn deny(action: &str, resource: &str) -> String {
    format!(r#"{{"Effect":"Deny","Action":"iot:{action}","Resource":"arn:aws:iot:us-east-1:1:{resource}"}}"#)
}

/// Everything is allowed but an action on a resource.
pub(crate) fn all_but(action: &str, resource: &str) -> String {
    format!("{ALLOW},{}", deny(action, resource))
}

/// The default bounds, on a machine that may be busy with much else.
pub(crate) fn patient() -> Limits {
    Limits {
        handshake_timeout: PATIENCE,
        connect_timeout: PATIENCE,
        goodbye_timeout: Duration::from_secs(2),
        ..Limits::default()
    }
}

/// An endpoint that serves until this is dropped.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) alpn_address: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) gate: Arc<Gate>,
    pub(crate) inbox: Arc<Log>,
    pub(crate) book: Arc<Book>,
    pub(crate) authority: Authority,
    /// A device that is known and may do anything, unless a test says otherwise.
    pub(crate) device: Issued,
    pub(crate) tls: Arc<ClientConfig>,
    shutdown: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(patient()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let authority = Authority::create("test", NOW_MS).unwrap();
        let server = authority
            .issue_server(&["localhost".to_owned(), "127.0.0.1".to_owned()], NOW_MS)
            .unwrap();
        let device = authority.issue_device("device", KeyKind::P256, NOW_MS).unwrap();
        let (gate, inbox, book) = (Arc::new(Gate::default()), Arc::new(Log::default()), Arc::default());
        gate.register(&device.certificate_pem);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = endpoint_config(any, &server.certificate_pem, &server.private_key_pem, limits);
        let endpoint = Endpoint::bind(config, Arc::clone(&gate), Arc::clone(&inbox), Arc::clone(&book))
            .await
            .unwrap();
        let (address, handle) = (endpoint.local_addr(), endpoint.handle());
        let alpn_address = endpoint.local_alpn_addr().unwrap();
        let (shutdown, ordered) = oneshot::channel();
        let running = tokio::spawn(endpoint.run(async move {
            // An error means that the test is over.
            let _ = ordered.await;
        }));
        let tls = client_config(
            authority.certificate_pem(),
            &device.certificate_pem,
            &device.private_key_pem,
            VERSIONS,
        );
        Self {
            address,
            alpn_address,
            handle,
            gate,
            inbox,
            book,
            authority,
            device,
            tls,
            shutdown: Some(shutdown),
            running: Some(running),
        }
    }

    /// A device certificate that nobody knows yet.
    pub(crate) fn issue(&self, name: &str) -> Issued {
        self.authority.issue_device(name, KeyKind::P256, NOW_MS).unwrap()
    }

    /// What a device with this certificate connects with.
    pub(crate) fn tls_of(&self, device: &Issued) -> Arc<ClientConfig> {
        client_config(
            self.authority.certificate_pem(),
            &device.certificate_pem,
            &device.private_key_pem,
            VERSIONS,
        )
    }

    pub(crate) fn options(&self, client_id: &str) -> ConnectOptions {
        let mut options = ConnectOptions::new("127.0.0.1", self.address.port(), client_id);
        options.connect_timeout = PATIENCE;
        options
    }

    pub(crate) async fn connect(&self, client_id: &str) -> (Client, Incoming) {
        self.connect_with(&self.options(client_id)).await
    }

    pub(crate) async fn connect_with(&self, options: &ConnectOptions) -> (Client, Incoming) {
        Client::connect(options, Arc::clone(&self.tls)).await.unwrap()
    }

    pub(crate) async fn refusal(&self, options: &ConnectOptions) -> ConnectError {
        Client::connect(options, Arc::clone(&self.tls)).await.unwrap_err()
    }

    /// Gives a client other rights, at once.
    pub(crate) async fn set(&self, client_id: &str, statements: &str) {
        self.gate.set(client_id, statements);
        self.handle.recheck(Recheck::Client(client_id.parse().unwrap())).await;
    }

    pub(crate) fn count(&self, of: impl Fn(&CountersSnapshot) -> u64) -> u64 {
        of(&self.handle.counters())
    }

    /// Waits until a client has no connection, or has one.
    pub(crate) async fn until_connected(&self, client_id: &str, expected: bool) {
        let name: DeviceName = client_id.parse().unwrap();
        eventually(client_id, || {
            (self.handle.is_connected(&name) == expected).then_some(())
        })
        .await;
    }

    /// Stops the endpoint, and waits until it has.
    pub(crate) async fn stop(mut self) {
        drop(self.shutdown.take());
        within("the endpoint stops", self.running.take().unwrap())
            .await
            .unwrap();
    }
}

/// An endpoint on this address and, for those who name the protocol, on any other.
pub(crate) fn endpoint_config(
    listen: SocketAddr,
    certificate_pem: &str,
    private_key_pem: &str,
    limits: Limits,
) -> EndpointConfig {
    EndpointConfig {
        listen,
        listen_alpn: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        certificate_chain: CertificateDer::pem_slice_iter(certificate_pem.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap(),
        private_key: PrivateKeyDer::from_pem_slice(private_key_pem.as_bytes()).unwrap(),
        limits,
        clock: Arc::new(|| Timestamp::from_millis(1_767_323_045_000)),
    }
}

/// Both versions of TLS.
pub(crate) const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// What a client connects with: roots, its own certificate, versions.
pub(crate) fn client_config(
    ca_pem: &str,
    certificate_pem: &str,
    private_key_pem: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(private_key_pem.as_bytes()).unwrap();
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let shown = Shown(Arc::new(CertifiedKey::new(vec![certificate], key)));
    let mut config = client_builder(ca_pem, versions).with_client_cert_resolver(Arc::new(shown));
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Shows a certificate and signs with a key that need not be its own: rustls itself would look into the certificate, and
/// refuse one of version 1.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The same without the client's certificate.
pub(crate) fn client_builder(
    ca_pem: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap())
        .unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
}

/// Leaves what a client connects with in a folder, as `ca.pem`, `cert.pem` and `key.pem`.
pub(crate) fn write_credentials(folder: &Path, world: &World, certificate_pem: &str, private_key_pem: &str) {
    for (name, text) in [
        ("ca.pem", world.authority.certificate_pem()),
        ("cert.pem", certificate_pem),
        ("key.pem", private_key_pem),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

/// The identity of a certificate.
pub(crate) fn certificate_id(certificate_pem: &str) -> CertificateId {
    CertificateId::from_bytes(fingerprint(&CertificateFacts::from_pem(certificate_pem).unwrap().der))
}

/// A registry whose answers a test sets.
pub(crate) struct Gate {
    tables: RwLock<Tables>,
    /// What a client may do for whom no test has said anything: everything.
    default: PolicySet,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            tables: RwLock::default(),
            default: policies(ALLOW),
        }
    }
}

#[derive(Default)]
struct Tables {
    /// Whether a registered certificate is ACTIVE.
    certificates: HashMap<CertificateId, bool>,
    /// Statements by client id; a client without any may do everything.
    policies: HashMap<String, PolicySet>,
    quarantined: HashSet<String>,
    /// Names that are somebody else's.
    borrowed: HashSet<String>,
}

impl Gate {
    pub(crate) fn register(&self, certificate_pem: &str) {
        self.set_active(&certificate_id(certificate_pem), true);
    }

    pub(crate) fn set_active(&self, certificate: &CertificateId, is_active: bool) {
        self.tables
            .write()
            .unwrap()
            .certificates
            .insert(*certificate, is_active);
    }

    pub(crate) fn forget(&self, certificate: &CertificateId) {
        self.tables.write().unwrap().certificates.remove(certificate);
    }

    pub(crate) fn set(&self, client_id: &str, statements: &str) {
        self.tables
            .write()
            .unwrap()
            .policies
            .insert(client_id.to_owned(), policies(statements));
    }

    pub(crate) fn quarantine(&self, client_id: &str) {
        self.tables.write().unwrap().quarantined.insert(client_id.to_owned());
    }

    pub(crate) fn borrow(&self, client_id: &str) {
        self.tables.write().unwrap().borrowed.insert(client_id.to_owned());
    }

    pub(crate) fn release(&self, client_id: &str) {
        self.tables.write().unwrap().quarantined.remove(client_id);
    }
}

fn policies(statements: &str) -> PolicySet {
    let document = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    PolicySet::new(vec![(Arc::new(document.parse().unwrap()), Reach::Full)])
}

impl Doorkeeper for Gate {
    fn knows(&self, certificate: &CertificateId) -> bool {
        self.tables.read().unwrap().certificates.get(certificate) == Some(&true)
    }

    fn admit(&self, certificate: &CertificateId, client_id: &DeviceName) -> Result<Access, Refusal> {
        let tables = self.tables.read().unwrap();
        match tables.certificates.get(certificate) {
            None => return Err(Refusal::UnknownCertificate),
            Some(false) => return Err(Refusal::InactiveCertificate),
            Some(true) => {}
        }
        if tables.quarantined.contains(client_id.as_str()) {
            return Err(Refusal::Quarantined);
        }
        Ok(Access {
            policies: tables
                .policies
                .get(client_id.as_str())
                .cloned()
                .unwrap_or_else(|| self.default.clone()),
            context: Context {
                client_id: client_id.as_str().into(),
                ..Context::default()
            },
            things: Vec::new(),
        })
    }

    fn is_genuine(&self, _: &CertificateId, client_id: &DeviceName) -> bool {
        !self.tables.read().unwrap().borrowed.contains(client_id.as_str())
    }
}

/// What the endpoint has said of clients.
#[derive(Default)]
pub(crate) struct Book {
    entries: Mutex<Vec<Entry>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Connected(Presence),
    Disconnected(Presence, DisconnectReason),
    Refused(ClientMeter),
}

impl Book {
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }

    fn note(&self, entry: Entry) {
        self.entries.lock().unwrap().push(entry);
    }
}

impl Ledger for Book {
    fn connected(&self, presence: Presence) {
        self.note(Entry::Connected(presence));
    }

    fn disconnected(&self, presence: Presence, reason: DisconnectReason) {
        self.note(Entry::Disconnected(presence, reason));
    }

    fn refused(&self, attempt: ClientMeter) {
        self.note(Entry::Refused(attempt));
    }
}

/// A log whose answers a test sets.
#[derive(Default)]
pub(crate) struct Log {
    state: Mutex<LogState>,
}

#[derive(Default)]
struct LogState {
    mood: Mood,
    submitted: Vec<Submission>,
    held: Vec<(Bytes, oneshot::Sender<Verdict>)>,
}

/// What the log does with the next submissions.
#[derive(Clone, Copy, Default)]
pub(crate) enum Mood {
    /// Settled at once, answered on `.../accepted`.
    #[default]
    Accepts,
    /// Settled at once, answered on `.../rejected`.
    Rejects,
    /// Not stored, known at once, answered on `.../rejected`.
    IsFull,
    /// Known when [`Log::answer_next`] says so.
    Holds,
    /// Whoever was to answer goes away.
    Forgets,
}

impl Log {
    pub(crate) fn set(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    pub(crate) fn submitted(&self) -> Vec<Submission> {
        self.state.lock().unwrap().submitted.clone()
    }

    pub(crate) fn n_held(&self) -> usize {
        self.state.lock().unwrap().held.len()
    }

    pub(crate) fn forget(&self) {
        self.state.lock().unwrap().submitted.clear();
    }

    /// Answers the submission that waits at this place; says its payload.
    pub(crate) fn answer(&self, at: usize, verdict: Verdict) -> Bytes {
        let (payload, held) = self.state.lock().unwrap().held.remove(at);
        // A session that has gone does not take it.
        let _ = held.send(verdict);
        payload
    }
}

impl Inbox for Log {
    fn submit(&self, submission: Submission) -> Pending {
        let mut state = self.state.lock().unwrap();
        let topic = submission.topic.to_string();
        let payload = Bytes::copy_from_slice(&submission.payload);
        state.submitted.push(submission);
        match state.mood {
            Mood::Accepts => Pending::Ready(verdict(Outcome::Settled, &topic, "accepted")),
            Mood::Rejects => Pending::Ready(verdict(Outcome::Settled, &topic, "rejected")),
            Mood::IsFull => Pending::Ready(verdict(Outcome::NotStored, &topic, "rejected")),
            Mood::Holds => {
                let (sender, later) = oneshot::channel();
                state.held.push((payload, sender));
                Pending::Later(later)
            }
            Mood::Forgets => Pending::Later(oneshot::channel().1),
        }
    }
}

/// A verdict that answers on the topic below the report's.
pub(crate) fn verdict(outcome: Outcome, topic: &str, ending: &str) -> Verdict {
    Verdict {
        outcome,
        reply: Some(Reply {
            topic: format!("{topic}/{ending}"),
            payload: Bytes::from_static(b"{}"),
        }),
    }
}

/// Waits for a fact.
pub(crate) async fn eventually<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(found) = fact() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
}

/// Waits for something that must happen.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// The next messages, as `topic=payload`, until this one has come.
pub(crate) async fn until(incoming: &mut Incoming, last: &str) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != last) {
        texts.push(text_of(&next(incoming).await));
    }
    texts
}

pub(crate) async fn next(incoming: &mut Incoming) -> Message {
    within("a message", incoming.next()).await.unwrap()
}

pub(crate) fn text_of(message: &Message) -> String {
    format!("{}={}", message.topic, String::from_utf8_lossy(&message.payload))
}

/// Waits until the server has closed a connection.
pub(crate) async fn closed(incoming: &mut Incoming) {
    while within("the server closes", incoming.next()).await.is_ok() {}
}
