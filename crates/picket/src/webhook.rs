//! `picket webhook listen`: a receiver that shows each alert as it arrives, for trying a webhook out and for the demo.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::post;

use crate::telemetry;

/// The most bytes of one alert.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// What to do with webhooks.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum WebhookCommand {
    /// Receive alerts and print each body as one line
    Listen {
        /// Where to listen; port 0 takes any
        #[arg(long, default_value = "127.0.0.1:9090", value_name = "ADDR")]
        listen: SocketAddr,
    },
}

/// Prints `ready ADDR`, then one line for each alert, until it is stopped.
pub(crate) fn run(command: WebhookCommand) -> anyhow::Result<()> {
    let WebhookCommand::Listen { listen } = command;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        telemetry::say(&format!("ready {}", listener.local_addr()?))?;
        let router = Router::new()
            .fallback(post(receive))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
        axum::serve(listener, router).await.context("cannot go on listening")
    })
}

/// One line per alert: control characters stand in JSON only between its members, where a space does as well.
async fn receive(body: String) -> StatusCode {
    let line: String = body.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match telemetry::say(&line) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
