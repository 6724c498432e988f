//! `picket-sim`: plays healthy and compromised devices, and whole fleets for load.
//!
//! It attacks loopback only, and everything it does is bounded in count and time.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;

mod api;
mod attack;
mod backoff;
mod bootstrap;
mod clock;
mod compromise;
mod control;
mod load;
mod mode;
mod policy;
mod reading;
mod sensor;
mod state;
mod tls;

/// Plays healthy and compromised devices, and whole fleets for load
#[derive(Debug, Parser)]
#[command(
    name = "picket-sim",
    version,
    after_help = "Exit codes: 0 done, 1 failed (stderr says why), 2 the command line was not understood."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Register a temperature sensor with the server, write its files, and start it in the background
    Bootstrap(bootstrap::Options),
    /// Run a sensor that has been bootstrapped, in the foreground
    Sensor(sensor::Options),
    /// Let a running sensor behave as if somebody had broken in; on this machine's loopback only
    Compromise(compromise::Options),
    /// Let a compromised sensor behave normally again
    Heal(control::Options),
    /// Say what a sensor is doing
    Status(control::StatusOptions),
    /// Stop a sensor that runs in the background; its files stay
    Stop(control::Options),
    /// Publish from many devices at once, and measure
    Load(load::Options),
    /// Hold many idle connections until stdin ends
    Idle(load::idle::Options),
}

fn main() -> ExitCode {
    // With two providers in one build rustls cannot choose, and the HTTP client asks for a default.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            // If even stderr is gone there is nobody to tell.
            let _ = writeln!(io::stderr(), "error: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let runtime = match &command {
        // The load comes from all cores; a device is small.
        Command::Load(_) | Command::Idle(_) => tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
    };
    let outcome = runtime.block_on(async {
        match command {
            Command::Bootstrap(options) => bootstrap::run(options).await,
            Command::Sensor(options) => sensor::run(options).await,
            Command::Compromise(options) => compromise::run(options).await,
            Command::Heal(options) => control::heal(options).await,
            Command::Status(options) => control::status(&options),
            Command::Stop(options) => control::stop(options).await,
            Command::Load(options) => load::run(options).await,
            Command::Idle(options) => load::idle::run(options).await,
        }
    });
    // Somebody may still hold stdin open.
    runtime.shutdown_background();
    outcome
}

/// Writes one line of data to stdout.
fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn command_lines_are_understood_or_refused_as_usage() {
        for (line, is_understood) in [
            (
                "bootstrap -t temperature-device-03 -d SensorDevice03 --thing Thing03",
                true,
            ),
            (
                "bootstrap -t temperature-device-03 -d SensorDevice03 --interval-secs 0.5 --no-start",
                true,
            ),
            ("bootstrap -t a/+/b -d SensorDevice03", false),
            ("bootstrap -t t -d ../SensorDevice03", false),
            ("bootstrap -t t -d SensorDevice03 --interval-secs 0", false),
            ("sensor -d SensorDevice03", true),
            ("compromise -d SensorDevice03 --attack payload", true),
            (
                "compromise -d SensorDevice03 --attack backdoor --port 4444 --duration-secs 60",
                true,
            ),
            (
                "compromise -d SensorDevice03 --attack backdoor --duration-secs 86400",
                false,
            ),
            ("compromise -d SensorDevice03 --attack flood --rate 100000", false),
            ("compromise -d SensorDevice03 --attack phish", false),
            ("compromise -d SensorDevice03", false),
            ("compromise -d SensorDevice03 --attack payload --attack backdoor", true),
            ("heal -d SensorDevice03", true),
            ("status -d SensorDevice03 --json", true),
            ("stop -d SensorDevice03", true),
            (
                "load --ca c --cert c --key k --connections 4 --rate 100 --reports 10",
                true,
            ),
            (
                "load --ca c --cert c --key k --max --duration-secs 3 --acknowledged f",
                true,
            ),
            ("load --ca c --cert c --key k --max", false),
            ("load --ca c --cert c --key k --max --rate 1 --reports 1", false),
            ("load --ca c --fleet-file f --max --reports 1", true),
            ("load --ca c --max --reports 1", false),
            ("idle --ca c --cert c --key k --connections 2000", true),
        ] {
            let parsed = Arguments::try_parse_from(["picket-sim"].into_iter().chain(line.split(' ')));
            assert_eq!(parsed.is_ok(), is_understood, "{line}: {parsed:?}");
        }
    }
}
