//! Where the API is reached: in plain HTTP on this machine only, in HTTPS everywhere.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use picket_endpoint::web_server_config;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use crate::config::{ApiTls, Config};
use crate::first_start::CA_FILE;
use crate::identity::Identity;
use crate::stage::over;

/// The API's socket, and what is spoken there.
pub(crate) struct ApiDoor {
    pub(crate) addr: SocketAddr,
    /// The address that clients are given.
    pub(crate) url: String,
    /// The certificates that clients must trust, in the data directory; `None` when that is up to their systems.
    pub(crate) ca_file: Option<PathBuf>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl ApiDoor {
    /// Listens. `own` is the identity from the fleet CA, with the [`certificate_names`].
    pub(crate) async fn bind(config: &Config, own: Identity) -> anyhow::Result<Self> {
        let tls = match &config.api_tls {
            ApiTls::Off => None,
            ApiTls::FleetCa => Some(acceptor(own)?),
            ApiTls::Given { certificate, key } => {
                let made = given(certificate, key).and_then(acceptor);
                let what = || {
                    format!(
                        "api_certificate {} and api_key {} cannot be used",
                        certificate.display(),
                        key.display()
                    )
                };
                Some(made.with_context(what)?)
            }
        };
        let listener = TcpListener::bind(config.api_listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.api_listen))?;
        let addr = listener.local_addr()?;
        Ok(Self {
            addr,
            url: url(config, addr),
            ca_file: (config.api_tls == ApiTls::FleetCa).then(|| CA_FILE.into()),
            listener,
            tls,
        })
    }

    /// Serves until the shutdown.
    pub(crate) async fn serve(
        self,
        router: axum::Router,
        shutdown: watch::Receiver<bool>,
        failed: mpsc::Sender<anyhow::Error>,
    ) {
        let limits = picket_api::Limits::default();
        let served = picket_api::serve(self.listener, self.tls, router, limits, over(shutdown));
        if let Err(error) = served.await {
            // The first reason is enough.
            let _ = failed.try_send(anyhow::Error::from(error).context("the API cannot go on listening"));
        }
    }
}

/// The names that the server's certificate has beside this machine's own: those that devices use, and the address that
/// clients of the API use.
pub(crate) fn certificate_names(config: &Config) -> Vec<String> {
    let mut names = config.endpoint_names.clone();
    let ip = config.api_listen.ip();
    if config.api_tls == ApiTls::FleetCa && !ip.is_loopback() && !ip.is_unspecified() {
        let name = ip.to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn url(config: &Config, addr: SocketAddr) -> String {
    let is_given = match config.api_tls {
        ApiTls::Off => return format!("http://{addr}"),
        ApiTls::FleetCa => false,
        ApiTls::Given { .. } => true,
    };
    if !is_given && !addr.ip().is_unspecified() {
        return format!("https://{addr}");
    }
    // Whoever has a certificate has it for a name, and everywhere is no address to call.
    let host = |url: &&String| url.strip_prefix("https://").is_some_and(|host| !host.contains('/'));
    match config.api_url.as_ref().filter(host) {
        Some(url) if is_given => url.clone(),
        _ => {
            let name = config.endpoint_names.first().map_or("localhost", String::as_str);
            let port = addr.port();
            if name.parse::<Ipv6Addr>().is_ok() {
                format!("https://[{name}]:{port}")
            } else {
                format!("https://{name}:{port}")
            }
        }
    }
}

fn given(certificate: &Path, key: &Path) -> anyhow::Result<Identity> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    Identity::from_pem(&read(certificate)?, &read(key)?)
}

fn acceptor(identity: Identity) -> anyhow::Result<TlsAcceptor> {
    Ok(TlsAcceptor::from(web_server_config(identity.chain, identity.key)?))
}

#[cfg(test)]
mod tests {
    use crate::config::ServeOptions;

    use super::*;

    #[test]
    fn clients_are_given_an_address_that_the_certificate_is_for() {
        let given = ApiTls::Given {
            certificate: "c".into(),
            key: "k".into(),
        };
        for (listen, tls, name, api_url, expected, names) in [
            ("127.0.0.1:80", ApiTls::Off, "a", None, "http://127.0.0.1:80", "a"),
            ("[::1]:80", ApiTls::Off, "a", None, "http://[::1]:80", "a"),
            ("127.0.0.1:80", ApiTls::FleetCa, "a", None, "https://127.0.0.1:80", "a"),
            (
                "10.0.0.7:80",
                ApiTls::FleetCa,
                "a",
                None,
                "https://10.0.0.7:80",
                "a 10.0.0.7",
            ),
            (
                "10.0.0.7:80",
                ApiTls::FleetCa,
                "10.0.0.7",
                None,
                "https://10.0.0.7:80",
                "10.0.0.7",
            ),
            ("0.0.0.0:80", ApiTls::FleetCa, "a", None, "https://a:80", "a"),
            (
                "0.0.0.0:80",
                ApiTls::FleetCa,
                "a",
                Some("https://proxy"),
                "https://a:80",
                "a",
            ),
            (
                "[::]:80",
                ApiTls::FleetCa,
                "fd00::7",
                None,
                "https://[fd00::7]:80",
                "fd00::7",
            ),
            ("10.0.0.7:80", given.clone(), "a", None, "https://a:80", "a"),
            ("10.0.0.7:80", given.clone(), "a", Some("https://b"), "https://b", "a"),
            ("10.0.0.7:80", given, "a", Some("https://b/c"), "https://a:80", "a"),
        ] {
            let config = Config {
                api_listen: listen.parse().unwrap(),
                api_tls: tls,
                endpoint_names: vec![name.to_owned()],
                api_url: api_url.map(str::to_owned),
                ..ServeOptions::default().checked().unwrap()
            };
            assert_eq!(url(&config, config.api_listen), expected);
            assert_eq!(certificate_names(&config).join(" "), names, "{expected}");
        }
    }
}
