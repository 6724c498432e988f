//! Where the server's talk goes: stderr. Stdout is for data.

use std::io::Write as _;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging at the level that `PICKET_LOG` names (`error`, `warn`, `info`, `debug`, `trace`, or
/// `target=level,...`); `info` by default.
pub(crate) fn start() -> anyhow::Result<()> {
    let targets = match std::env::var("PICKET_LOG") {
        Ok(text) => text
            .parse::<Targets>()
            .map_err(|error| anyhow::anyhow!("PICKET_LOG is {text:?}: {error}"))?,
        Err(_) => Targets::new().with_default(LevelFilter::INFO),
    };
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        // It would say so on stderr, and panic when that is what is gone.
        .log_internal_errors(false);
    tracing_subscriber::registry().with(layer).with(targets).init();
    Ok(())
}

/// Says on stderr why the program failed, with the chain of causes.
pub(crate) fn complain(error: &anyhow::Error) {
    // If even stderr is gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
}

/// Writes one line of data to stdout.
pub(crate) fn say(line: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
