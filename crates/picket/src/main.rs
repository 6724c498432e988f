//! `picket`: the server, the operator's commands and the demo in one binary.
//!
//! This room parses the command line and hands over. It holds no rule and keeps no state; what the server does is in
//! `picket-server`, what the operator's commands do is in `picket-cli`. The demo plays with programs only, as anybody could.

use std::process::ExitCode;

use clap::Parser;

mod demo;
mod log;
mod server;
mod telemetry;
mod webhook;

/// Watches a fleet of IoT devices and stops the ones that have been compromised
#[derive(Debug, Parser)]
#[command(name = "picket", version, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    options: picket_cli::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Serve devices and the API, everything in one process
    Serve(Box<picket_server::config::ServeOptions>),
    /// See a compromised device be detected, cut off and let back in, all on this machine
    Demo(demo::DemoOptions),
    /// Work on a data directory while no server runs on it
    #[command(subcommand)]
    Log(log::LogCommand),
    /// See alerts arrive
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    #[command(flatten)]
    Operator(Box<picket_cli::Command>),
}

fn main() -> ExitCode {
    // With two providers in one build rustls cannot choose: everything else passes its own.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let Arguments { options, command } = Arguments::parse();
    let outcome = match command {
        Command::Serve(options) => server::run(*options),
        Command::Demo(options) => demo::run(options),
        Command::Log(command) => log::run(command),
        Command::Webhook(command) => webhook::run(command),
        Command::Operator(command) => return picket_cli::run(&options, *command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::complain(&error);
            ExitCode::FAILURE
        }
    }
}
