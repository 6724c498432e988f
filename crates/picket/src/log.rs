//! `picket log`: looks into the report log of a data directory.

use std::path::PathBuf;

use anyhow::bail;
use picket_server::replay;

use crate::telemetry;

/// What to do with the log.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum LogCommand {
    /// Judge every record again from the first, print the violation events, and compare them with what is stored
    Replay {
        /// The server's data directory; no server may run on it
        #[arg(long, env = "PICKET_DATA", value_name = "DIR")]
        data: PathBuf,
    },
    /// Print what the log holds of clients: who came and went, and what they did
    Clients {
        /// The server's data directory; no server may run on it
        #[arg(long, env = "PICKET_DATA", value_name = "DIR")]
        data: PathBuf,
    },
    /// Print each report in the log: partition, position, thing and report id
    Reports {
        /// The server's data directory; no server may run on it
        #[arg(long, env = "PICKET_DATA", value_name = "DIR")]
        data: PathBuf,
    },
}

/// Prints one JSON object a line; fails if replay and store differ.
pub(crate) fn run(command: LogCommand) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            LogCommand::Replay { data } => {
                let replayed = replay::replay(&data).await?;
                for event in &replayed.events {
                    telemetry::say(event)?;
                }
                match replayed.differences.as_slice() {
                    [] => Ok(()),
                    [first, ..] => bail!(
                        "replay and store differ in {} events, first: {first}",
                        replayed.differences.len()
                    ),
                }
            }
            LogCommand::Clients { data } => replay::clients(&data, |line| Ok(telemetry::say(line)?)).await,
            LogCommand::Reports { data } => replay::reports(&data, |line| Ok(telemetry::say(line)?)).await,
        }
    })
}
