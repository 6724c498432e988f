//! `picket-sim idle`: holds connections that do nothing.

use picket_mqtt::Client;
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

use super::pool::{self, Gate};
use crate::sensor::chain;

/// How many, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pool: pool::PoolOptions,
}

/// Prints `ready N` when all attempts are over, N of them connected; holds them until stdin ends or a signal comes; then
/// prints one line of JSON. Fails if none could be connected.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let members = options.pool.members()?;
    let n_wanted = members.len();
    pool::raise_file_limit(n_wanted)?;
    let gate = Gate::new();
    let mut attempts = JoinSet::new();
    for member in members {
        let (gate, connect) = (gate.clone(), options.pool.connect_options(&member));
        attempts.spawn(async move {
            let tls = member.tls.ok_or_else(|| "no certificate".to_owned())?;
            gate.pass(Client::connect(&connect, tls))
                .await
                .map_err(|err| chain(&err))
        });
    }
    let mut clients = Vec::with_capacity(n_wanted);
    let mut lost = JoinSet::new();
    let mut first_error = None;
    while let Some(attempt) = attempts.join_next().await {
        match attempt? {
            Ok((client, mut incoming)) => {
                clients.push(client);
                lost.spawn(async move { while incoming.next().await.is_ok() {} });
            }
            Err(err) => first_error = first_error.or(Some(err)),
        }
    }
    let n_connected = clients.len();
    if n_connected == 0 {
        anyhow::bail!("no connection: {}", first_error.unwrap_or_default());
    }
    crate::say(&format!("ready {n_connected}"))?;
    let mut n_lost = 0_usize;
    let end = released();
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            Some(_) = lost.join_next() => n_lost += 1,
        }
    }
    let outcome = serde_json::json!({
        "nWanted": n_wanted, "nConnected": n_connected, "nLost": n_lost, "firstError": first_error,
    });
    Ok(crate::say(&outcome.to_string())?)
}

/// Until stdin ends, or SIGINT or SIGTERM comes.
async fn released() {
    let stdin_ends = async {
        let mut stdin = tokio::io::stdin();
        let mut byte = [0; 64];
        while stdin.read(&mut byte).await.is_ok_and(|n_bytes| 0 < n_bytes) {}
    };
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut terminated) => drop(terminated.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stdin_ends => {}
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
