//! `picket`: the server, the demo, and the operator's commands in one binary.
//!
//! This room parses the command line and hands over. It holds no rule and keeps no state; what the server does is in
//! `picket-server`, what the operator's commands do is in `picket-cli`.

use std::process::ExitCode;

use clap::Parser;

mod telemetry;
mod webhook;

/// Watches a fleet of IoT devices and stops the ones that have been compromised
#[derive(Debug, Parser)]
#[command(name = "picket", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// See alerts arrive
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Webhook(command) => webhook::run(command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::complain(&error);
            ExitCode::FAILURE
        }
    }
}
