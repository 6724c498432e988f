//! The devices of a load: who they are, and how all of them get connected.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use picket_mqtt::ConnectOptions;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{Semaphore, watch};

use crate::tls;

/// The most connections of one process.
pub(crate) const N_CONNECTIONS_MAX: u32 = 50_000;
/// How many shake hands at once: more would only wait in the server's queue, and time out there.
const N_HANDSHAKES_MAX: usize = 64;
const CONNECT_TIME_MAX: Duration = Duration::from_secs(60);

/// Where to connect, and who does.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("who").args(["cert", "fleet_file"]).required(true))]
pub(crate) struct PoolOptions {
    /// The server
    #[arg(long, default_value = "localhost", value_name = "HOST")]
    host: String,
    /// Its port
    #[arg(long, default_value_t = crate::state::MQTT_PORT_DEFAULT, value_name = "PORT")]
    port: u16,
    /// The certificate that the server's must go back to, PEM
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// One certificate for all connections, PEM
    #[arg(long, requires = "key", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, requires = "cert", value_name = "FILE")]
    key: Option<PathBuf>,
    /// A line `client_id thing certificate key` for each connection
    #[arg(long, value_name = "FILE")]
    fleet_file: Option<PathBuf>,
    /// How many connections; with a fleet file, the first lines of it [default: 1, or all of the file]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(N_CONNECTIONS_MAX)), value_name = "N")]
    connections: Option<u32>,
    /// What a client id begins with; a number follows
    #[arg(long, default_value = "load-client-", value_name = "TEXT")]
    client_prefix: String,
    /// What a thing's name begins with; the same number follows
    #[arg(long, default_value = "load-thing-", value_name = "TEXT")]
    thing_prefix: String,
    /// The longest silence of a connection; 0 for no limit
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    keep_alive_secs: u16,
}

/// One device.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) client_id: String,
    pub(crate) thing: String,
    /// How it proves its identity; `None` only where nobody connects.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
}

impl Member {
    #[cfg(test)]
    pub(crate) fn new(client_id: &str, thing: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            thing: thing.to_owned(),
            tls: None,
        }
    }
}

impl PoolOptions {
    /// All devices.
    pub(crate) fn members(&self) -> anyhow::Result<Vec<Member>> {
        match (&self.fleet_file, &self.cert, &self.key) {
            (Some(file), ..) => self.listed(file),
            (None, Some(certificate), Some(key)) => {
                let tls = tls::device(&self.ca, certificate, key)?;
                let member = |at| Member {
                    client_id: format!("{}{at}", self.client_prefix),
                    thing: format!("{}{at}", self.thing_prefix),
                    tls: Some(Arc::clone(&tls)),
                };
                Ok((0..self.connections.unwrap_or(1)).map(member).collect())
            }
            _ => bail!("no certificate: give --cert and --key, or --fleet-file"),
        }
    }

    fn listed(&self, file: &Path) -> anyhow::Result<Vec<Member>> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let n_max = usize::try_from(self.connections.unwrap_or(N_CONNECTIONS_MAX))?;
        let lines = text.lines().filter(|line| !line.trim().is_empty()).take(n_max);
        let members: Vec<Member> = lines
            .map(|line| self.member(line, file))
            .collect::<anyhow::Result<_>>()?;
        ensure!(
            !members.is_empty(),
            "{} is empty, expected `client_id thing certificate key`",
            file.display()
        );
        Ok(members)
    }

    fn member(&self, line: &str, file: &Path) -> anyhow::Result<Member> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[client_id, thing, certificate, key] = words.as_slice() else {
            bail!(
                "{} has a line {line:?}, expected `client_id thing certificate key`",
                file.display()
            );
        };
        let tls = tls::device(&self.ca, Path::new(certificate), Path::new(key))?;
        Ok(Member {
            client_id: client_id.to_owned(),
            thing: thing.to_owned(),
            tls: Some(tls),
        })
    }

    /// How one of them connects.
    pub(crate) fn connect_options(&self, member: &Member) -> ConnectOptions {
        ConnectOptions {
            keep_alive: Duration::from_secs(self.keep_alive_secs.into()),
            connect_timeout: CONNECT_TIME_MAX,
            n_in_flight_max: u16::MAX,
            ..ConnectOptions::new(self.host.as_str(), self.port, member.client_id.as_str())
        }
    }
}

/// Lets so many devices connect at once, and counts those that have been through, connected or not.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    handshakes: Arc<Semaphore>,
    n_passed: watch::Sender<usize>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            handshakes: Arc::new(Semaphore::new(N_HANDSHAKES_MAX)),
            n_passed: watch::Sender::new(0),
        }
    }

    /// Runs one attempt to connect.
    pub(crate) async fn pass<T>(&self, attempt: impl Future<Output = T>) -> T {
        // The semaphore is never closed; without a permit the attempt would only be less polite.
        let _permit = self.handshakes.acquire().await;
        let outcome = attempt.await;
        self.n_passed.send_modify(|n| *n += 1);
        outcome
    }

    /// Waits until so many attempts are over.
    pub(crate) async fn all_passed(&self, n: usize) {
        // The sender is this value's own: it cannot be gone.
        let _ = self.n_passed.subscribe().wait_for(|n_passed| n <= *n_passed).await;
    }
}

/// Each connection is an open file: takes as many as the system permits, and says if that is too few.
pub(crate) fn raise_file_limit(n_connections: usize) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    // Failing, the old limit stays, and the check below is against what it really is.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    let n_wanted = u64::try_from(n_connections)?.saturating_add(64);
    match getrlimit(Resource::Nofile).current {
        Some(n_permitted) if n_permitted < n_wanted => {
            bail!("{n_permitted} open files are permitted, expected {n_wanted}: raise `ulimit -Hn`")
        }
        _ => Ok(()),
    }
}
