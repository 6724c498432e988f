//! A session that has a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use picket_model::meter::Presence;
use picket_model::name::{CertificateId, DeviceName};
use picket_model::time::Timestamp;
use picket_policy::{Action, CertificateVariables, ConnectAttributes};
use tokio::sync::Notify;

use crate::doors::{Access, Clock, Doorkeeper, Refusal};
use crate::mailbox::Session;
use crate::metering::SessionMeter;
use crate::rights::{Cut, Rights};

/// Who is at the other end of a connection, as far as TLS can tell.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) certificate: CertificateId,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// The address of ours that it reached.
    pub(crate) target: SocketAddr,
    /// The name that the client asked for in the handshake.
    pub(crate) domain_name: Option<Box<str>>,
    /// What policies may ask of the certificate. `None`: it cannot be read, and policies are not told.
    pub(crate) fields: Option<Arc<CertificateVariables>>,
}

/// How a connection came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Timestamp,
    /// No other connection ever has the same.
    pub(crate) connection: u64,
    /// See [`crate::ConnectionFacts::version`].
    pub(crate) version: u64,
    pub(crate) keep_alive: Duration,
    /// Whether the client began with a new session.
    pub(crate) is_clean: bool,
    /// How long the session outlives this connection, seconds.
    pub(crate) keep_secs: u32,
}

/// A connection and the session it serves.
pub(crate) struct Live {
    pub(crate) client_id: DeviceName,
    pub(crate) peer: Peer,
    pub(crate) attributes: ConnectAttributes,
    pub(crate) arrival: Arrival,
    pub(crate) session: Arc<Session>,
    /// Tells the session's task that something waits: a message, or the order to end.
    pub(crate) wake: Arc<Notify>,
    /// The same as in `arrival`, unless the client or the API has changed it since.
    keep_secs: AtomicU32,
    is_genuine: AtomicBool,
    /// What the client has done and nobody has collected.
    pub(crate) meter: SessionMeter,
    rights: Mutex<Rights>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Why a session may not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// The doorkeeper says so.
    Refused(Refusal),
    /// Policy does not allow its connect.
    Denied,
}

impl Live {
    /// A live session without any rights yet.
    pub(crate) fn new(
        client_id: DeviceName,
        peer: Peer,
        attributes: ConnectAttributes,
        session: Arc<Session>,
        arrival: Arrival,
    ) -> Self {
        Self {
            client_id,
            peer,
            attributes,
            session,
            wake: Arc::new(Notify::new()),
            keep_secs: AtomicU32::new(arrival.keep_secs),
            is_genuine: AtomicBool::new(false),
            meter: SessionMeter::default(),
            arrival,
            rights: Mutex::default(),
        }
    }

    /// The rights, which nobody else changes while they are held.
    pub(crate) fn rights(&self) -> MutexGuard<'_, Rights> {
        self.rights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Orders the end. When this returns, nothing more happens in the session.
    pub(crate) fn cut(&self, cut: Cut) {
        self.rights().cut(cut);
        self.wake.notify_one();
    }

    /// Asks what the session may do now. If it may not be, it has no rights and is ordered to end when this returns.
    ///
    /// The doorkeeper is asked under the lock: of two changes, the later one is the last to be asked about.
    pub(crate) fn admit(&self, doorkeeper: &dyn Doorkeeper, clock: &Clock) -> Result<(), NotAdmitted> {
        let mut rights = self.rights();
        if rights.ordered_end().is_some() {
            return Ok(());
        }
        let is_genuine = doorkeeper.is_genuine(&self.peer.certificate, &self.client_id);
        self.is_genuine.store(is_genuine, Ordering::Relaxed);
        let admitted = match doorkeeper.admit(&self.peer.certificate, &self.client_id) {
            Err(refusal) => {
                rights.revoke(refusal);
                Err(NotAdmitted::Refused(refusal))
            }
            Ok(access) => {
                rights.grant(with_connection(access, &self.peer, self.attributes), clock);
                if rights.allows(Action::Connect, self.client_id.as_str()) {
                    Ok(())
                } else {
                    rights.cut(Cut::Denied);
                    Err(NotAdmitted::Denied)
                }
            }
        };
        if admitted.is_err() {
            self.wake.notify_one();
        }
        admitted
    }

    /// The rights, asked for once more: for what is done in the name of a session that ends. Whatever ended it, no recheck
    /// may have reached it since.
    pub(crate) fn rights_of_now(&self, doorkeeper: &dyn Doorkeeper, clock: &Clock) -> MutexGuard<'_, Rights> {
        let mut rights = self.rights();
        match doorkeeper.admit(&self.peer.certificate, &self.client_id) {
            Ok(access) => rights.grant(with_connection(access, &self.peer, self.attributes), clock),
            Err(refusal) => rights.revoke(refusal),
        }
        rights
    }

    /// Whether the client may speak for its name, as far as the doorkeeper has been asked.
    pub(crate) fn is_genuine(&self) -> bool {
        self.is_genuine.load(Ordering::Relaxed)
    }

    /// What is taken down of the connection.
    pub(crate) fn presence(&self) -> Presence {
        Presence {
            client_id: self.client_id.clone(),
            is_genuine: self.is_genuine(),
            connection: self.arrival.connection,
            certificate: self.peer.certificate,
            address: self.peer.address,
        }
    }

    pub(crate) fn keep_secs(&self) -> u32 {
        self.keep_secs.load(Ordering::Relaxed)
    }

    pub(crate) fn set_keep_secs(&self, secs: u32) {
        self.keep_secs.store(secs, Ordering::Relaxed);
    }
}

/// Fills in what only the connection knows.
pub(crate) fn with_connection(mut access: Access, peer: &Peer, attributes: ConnectAttributes) -> Access {
    access.context.source_ip = Some(peer.address);
    access.context.domain_name.clone_from(&peer.domain_name);
    access.context.connect = attributes;
    access.context.certificate.clone_from(&peer.fields);
    access
}
