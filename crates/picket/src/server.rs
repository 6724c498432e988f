//! `picket serve`.

use picket_server::config::ServeOptions;
use picket_server::serve::Server;
use tokio::signal::unix::{SignalKind, signal};

use crate::telemetry;

/// Serves until SIGINT or SIGTERM.
pub(crate) fn run(options: ServeOptions) -> anyhow::Result<()> {
    telemetry::start()?;
    let config = options.checked()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut server = Server::start(config).await?;
        telemetry::say(&format!("ready api={} mqtt={}", server.api_addr(), server.mqtt_addr()))?;
        let outcome = tokio::select! {
            _ = interrupted.recv() => Ok(()),
            _ = terminated.recv() => Ok(()),
            failure = server.failed() => Err(failure),
        };
        tracing::info!("stopping");
        server.stop().await;
        outcome
    })
}
