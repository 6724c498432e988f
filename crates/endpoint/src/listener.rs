//! The sockets: who connects, gets through TLS, and is served.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use picket_mqtt::link::Link;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::doors::{Clock, Doorkeeper, Inbox, Ledger};
use crate::handle::Handle;
use crate::ids::ConnectionIds;
use crate::limits::Limits;
use crate::live::Peer;
use crate::rights::Cut;
use crate::session;
use crate::shared::{Doors, Shared};
use crate::tls;

/// How long to wait after the operating system has refused a connection, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where to listen, as whom, and within which limits.
pub struct EndpointConfig {
    /// The address for MQTT, port 8883 by custom.
    pub listen: SocketAddr,
    /// A second address for clients that use port 443 and ALPN `x-amzn-mqtt-ca`; the same is spoken on both.
    pub listen_alpn: Option<SocketAddr>,
    /// The server's certificate, and those between it and the root that devices trust.
    pub certificate_chain: Vec<CertificateDer<'static>>,
    /// The key of the first certificate.
    pub private_key: PrivateKeyDer<'static>,
    /// The bounds.
    pub limits: Limits,
    /// Tells the time.
    pub clock: Clock,
}

impl std::fmt::Debug for EndpointConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointConfig")
            .field("listen", &self.listen)
            .field("listen_alpn", &self.listen_alpn)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The certificate and the key cannot be used.
    #[error("certificate or key of the endpoint is not usable")]
    Tls(#[source] rustls::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address as configured.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// An endpoint that listens, and serves once it runs.
pub struct Endpoint {
    shared: Arc<Shared>,
    tls: TlsAcceptor,
    listener: TcpListener,
    alpn_listener: Option<TcpListener>,
    addresses: (SocketAddr, Option<SocketAddr>),
    handshakes: Arc<Handshakes>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Listens. Peers wait in the operating system's queue until [`Endpoint::run`].
    ///
    /// # Errors
    /// The certificate, the key or an address cannot be used.
    pub async fn bind(
        config: EndpointConfig,
        doorkeeper: Arc<impl Doorkeeper>,
        inbox: Arc<impl Inbox>,
        ledger: Arc<impl Ledger>,
    ) -> Result<Self, BindError> {
        let doorkeeper: Arc<dyn Doorkeeper> = doorkeeper;
        let tls: Arc<ServerConfig> =
            tls::server_config(Arc::clone(&doorkeeper), config.certificate_chain, config.private_key)
                .map_err(BindError::Tls)?;
        let (listener, address) = listen(config.listen).await?;
        let alpn = match config.listen_alpn {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let (alpn_listener, alpn_address) = alpn.unzip();
        let ids = ConnectionIds::starting((config.clock)(), tls::random().map_err(BindError::Tls)?);
        let doors = Doors {
            doorkeeper,
            inbox,
            ledger,
        };
        Ok(Self {
            handshakes: Arc::new(Handshakes::new(&config.limits)),
            shared: Arc::new(Shared::new(config.limits, config.clock, ids, doors)),
            tls: TlsAcceptor::from(tls),
            listener,
            alpn_listener,
            addresses: (address, alpn_address),
        })
    }

    /// The address for MQTT, with the port that was chosen if it was to be any.
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses.0
    }

    /// The second address, if there is one.
    pub fn local_alpn_addr(&self) -> Option<SocketAddr> {
        self.addresses.1
    }

    /// How the rest of the server reaches the sessions.
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Serves until `shutdown` is done; then tells every client, and returns when they are gone.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let shared = Arc::clone(&self.shared);
        let serve = async {
            tokio::join!(
                self.accept(Some(&self.listener)),
                self.accept(self.alpn_listener.as_ref()),
                sweep(&shared)
            );
        };
        tokio::select! {
            () = serve => {}
            () = shutdown => {}
        }
        let patience = shared.limits.goodbye_timeout * 2;
        // Those who do not go in time are dropped with the runtime.
        drop(tokio::time::timeout(patience, dismiss(&shared)).await);
    }

    async fn accept(&self, listener: Option<&TcpListener>) {
        let Some(listener) = listener else { return };
        loop {
            let Ok(place) = Arc::clone(&self.handshakes.places).acquire_owned().await else {
                return;
            };
            let (tcp, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // An IPv4 peer of a dual-stack socket is known by its IPv4 address.
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            let Some(turn) = Handshakes::begin(&self.handshakes, address.ip(), place) else {
                self.shared.counters.handshakes_shed.add_one();
                continue;
            };
            tokio::spawn(arrive(Arc::clone(&self.shared), self.tls.clone(), tcp, address, turn));
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |source| BindError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn arrive(shared: Arc<Shared>, tls: TlsAcceptor, tcp: TcpStream, address: SocketAddr, turn: Turn) {
    // Boxed: a handshake's state is large, and it is gone when the session begins.
    let Some((stream, peer)) = Box::pin(shake_hands(&shared, tls, tcp, address)).await else {
        shared.counters.handshakes_failed.add_one();
        return;
    };
    // Boxed: a future keeps what it was given twice, once as argument and once as its own.
    session::serve(shared, Box::new(Link::new(stream)), peer, turn).await;
}

async fn shake_hands(
    shared: &Shared,
    tls: TlsAcceptor,
    tcp: TcpStream,
    address: SocketAddr,
) -> Option<(TlsStream<TcpStream>, Peer)> {
    tcp.set_nodelay(true).ok()?;
    let target = tcp.local_addr().ok()?;
    let stream = tokio::time::timeout(shared.limits.handshake_timeout, tls.accept(tcp)).await;
    let stream = match stream {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, %address, "TLS handshake failed");
            return None;
        }
        Err(_) => return None,
    };
    let (_, connection) = stream.get_ref();
    // Present whether the handshake was full or resumed.
    let der = connection.peer_certificates()?.first()?;
    let certificate = tls::certificate_id(der);
    // Read once here: policies that ask for it may come while the session lives.
    let fields = picket_pki::fields(der).ok();
    let domain_name = connection.server_name().map(Into::into);
    let peer = Peer {
        certificate,
        address: address.ip(),
        port: address.port(),
        target: SocketAddr::new(target.ip().to_canonical(), target.port()),
        domain_name,
        fields: fields.map(|fields| Arc::new(fields.into_iter().collect())),
    };
    Some((stream, peer))
}

async fn sweep(shared: &Shared) {
    let mut tick = tokio::time::interval(shared.limits.sweep_interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for expired in shared.table.expire() {
            shared.router.forget(&expired);
        }
        shared.router.retained.expire();
        shared.counters.retained.set(shared.router.retained.len());
    }
}

async fn dismiss(shared: &Shared) {
    while 0 < shared.counters.connections.value() {
        for live in shared.table.all_live() {
            live.cut(Cut::ShuttingDown);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Handshakes and CONNECTs under way: bounded in all, and for each address.
#[derive(Debug)]
struct Handshakes {
    places: Arc<Semaphore>,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    n_per_address_max: usize,
}

/// A handshake or a CONNECT under way: over when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    handshakes: Arc<Handshakes>,
    address: IpAddr,
    _place: OwnedSemaphorePermit,
}

impl Handshakes {
    fn new(limits: &Limits) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limits.n_handshakes_max)),
            by_address: Mutex::default(),
            n_per_address_max: limits.n_handshakes_per_address_max,
        }
    }

    /// `None`: the address has too many.
    fn begin(this: &Arc<Self>, address: IpAddr, place: OwnedSemaphorePermit) -> Option<Turn> {
        let address = site(address);
        let mut by_address = this.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let n_begun = by_address.entry(address).or_default();
        if this.n_per_address_max <= *n_begun {
            return None;
        }
        *n_begun += 1;
        Some(Turn {
            handshakes: Arc::clone(this),
            address,
            _place: place,
        })
    }
}

/// Whose handshakes are counted together: a site has 2^64 addresses of IPv6 to come from.
fn site(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut by_address = self
            .handshakes
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(n_begun) = by_address.get_mut(&self.address) {
            *n_begun -= 1;
            if *n_begun == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_counted_per_site_until_they_are_over() {
        let limits = Limits {
            n_handshakes_per_address_max: 2,
            ..Limits::default()
        };
        let handshakes = Arc::new(Handshakes::new(&limits));
        let mut turns = Vec::new();
        for (address, is_begun) in [
            ("192.0.2.1", true),
            ("192.0.2.1", true),
            ("192.0.2.1", false),
            ("192.0.2.2", true),
            ("2001:db8::1", true),
            ("2001:db8::2:1", true),
            ("2001:db8::3:0:0:1", false), // the same /64
            ("2001:db8:0:1::1", true),
        ] {
            let place = Arc::clone(&handshakes.places).try_acquire_owned().unwrap();
            let turn = Handshakes::begin(&handshakes, address.parse().unwrap(), place);
            assert_eq!(turn.is_some(), is_begun, "{address}");
            turns.extend(turn);
        }
        assert_eq!(handshakes.places.available_permits(), limits.n_handshakes_max - 6);
        turns.clear();
        assert_eq!(handshakes.places.available_permits(), limits.n_handshakes_max);
        assert!(handshakes.by_address.lock().unwrap().is_empty());
    }
}
