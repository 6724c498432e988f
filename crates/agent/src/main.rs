//! `picket-agent`: collects what a device does and reports it over MQTT with mutual TLS.
//!
//! A report says what the kernel says; counters are deltas and never a spike. The agent executes nothing and listens on
//! nothing.
//!
//! Reading order: [`arguments`], [`settings`]; [`collect`] takes samples, [`meter`] makes differences of their counters,
//! [`reporter`] makes reports of them, [`send`] brings these to the server.

mod arguments;
mod backoff;
mod clock;
mod collect;
mod log;
mod meter;
mod reporter;
mod send;
mod settings;
mod tls;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use picket_model::report::{KeyStyle, Report};
use picket_model::topic::Format;
use tokio::signal::unix::{SignalKind, signal};

use arguments::Command;
use collect::Collector;
use reporter::Reporter;
use settings::{BadSettings, Given, Settings, Shape};

/// Exit status for wrong usage.
const USAGE: u8 = 2;

/// How long `--dryrun` counts traffic, so that there is something to show.
const DRY_RUN_TIME: Duration = Duration::from_millis(250);

fn main() -> ExitCode {
    let run = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => return print(arguments::HELP),
        Ok(Command::Version) => return print(&format!("picket-agent {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(Command::Run(run)) => run,
        Err(error) => return wrong_usage(&error.into()),
    };
    let given = match run.config.as_deref().map_or(Ok(Given::default()), Given::read) {
        Ok(file) => run.given.over(file),
        Err(error) => return failed(&error.into(), USAGE),
    };
    let done = if run.is_dry {
        given.shape().map(dry_run)
    } else {
        given.checked().map(|settings| report_for_ever(&settings))
    };
    match done {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => failed(&error, 1),
        Err(error @ BadSettings::Missing { .. }) => wrong_usage(&error.into()),
        Err(error) => failed(&error.into(), USAGE),
    }
}

/// Prints one report on stdout, indented JSON whatever the format. Neither key nor network is touched.
fn dry_run(shape: Shape) -> anyhow::Result<()> {
    let collector = Collector::new();
    let mut reporter = Reporter::new(shape);
    reporter.take(collector.collect());
    runtime()?.block_on(async { tokio::time::sleep(DRY_RUN_TIME).await });
    let sample = collector.collect();
    for trouble in &sample.troubles {
        log::line(format_args!("{trouble}"));
    }
    reporter.take(sample);
    let report = reporter
        .shown(clock::epoch_millis())
        .context("there is nothing to report")?;
    if shape.format == Format::Cbor {
        let size_bytes = report.to_cbor(shape.keys).len();
        log::line(format_args!(
            "shown as JSON; as CBOR this report has {size_bytes} bytes"
        ));
    }
    std::io::stdout()
        .write_all(indented(&report, shape.keys)?.as_bytes())
        .context("cannot write to stdout")
}

fn indented(report: &Report, keys: KeyStyle) -> anyhow::Result<String> {
    let value: serde_json::Value = serde_json::from_slice(&report.to_json(keys))?;
    Ok(format!("{value:#}\n"))
}

fn report_for_ever(settings: &Settings) -> anyhow::Result<()> {
    let tls = tls::configuration(settings)?;
    if tls::is_open_to_others(&settings.private_key) {
        let path = settings.private_key.display();
        log::line(format_args!("others can read the private key: use chmod 600 {path}"));
    }
    let runtime = runtime()?;
    let stopped = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        send::run(settings, tls, shutdown).await;
        Ok(())
    });
    // Without this a look-up of the server's name that nobody answers would hold up the end by many seconds.
    runtime.shutdown_background();
    stopped
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn wrong_usage(error: &anyhow::Error) -> ExitCode {
    let status = failed(error, USAGE);
    let _ = writeln!(std::io::stderr(), "Try picket-agent --help.");
    status
}

fn failed(error: &anyhow::Error, status: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "picket-agent: {error:#}");
    ExitCode::from(status)
}
