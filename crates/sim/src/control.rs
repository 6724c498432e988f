//! From outside the process of a sensor: what it does, and how it ends.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::clock;
use crate::mode::{Order, Status};
use crate::say;
use crate::state::{self, State};

const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// Which sensor.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    state: state::DeviceOptions,
}

/// Which sensor, and how to print.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusOptions {
    #[command(flatten)]
    state: state::DeviceOptions,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `picket-sim heal`: there is no order any more.
pub(crate) async fn heal(options: Options) -> anyhow::Result<()> {
    let state = State::of(&options.state)?;
    match std::fs::remove_file(state.path(state::ORDER)) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(err).context("cannot remove the order"),
        _ => {}
    }
    if state.running()?.is_some() {
        let is_healthy = |status: &Status| status.compromise.is_none();
        if wait_for_status(&state, PATIENCE, is_healthy).await?.is_none() {
            bail!(
                "{} does not react, see {}",
                options.state.device,
                state.path(state::LOG).display()
            );
        }
    }
    Ok(say(&format!("{} is healthy", options.state.device))?)
}

/// `picket-sim status`: fails when there is no such sensor, not when it is stopped.
pub(crate) fn status(options: &StatusOptions) -> anyhow::Result<()> {
    let state = State::of(&options.state)?;
    let Some(device) = state.device()? else {
        bail!("there is no device in {}", state.folder().display());
    };
    let running = state.running()?;
    let status: Option<Status> = if running.is_some() {
        state.read_json(state::STATUS)?
    } else {
        None
    };
    let order: Option<Order> = state
        .read_json(state::ORDER)?
        .filter(|order: &Order| order.holds_at(clock::now()));
    if options.json {
        let answer = serde_json::json!({ "device": device, "pid": running, "status": status, "order": order });
        return Ok(say(&answer.to_string())?);
    }
    say(&format!("device        {} of {}", device.device, device.thing))?;
    let Some((pid, status)) = running.zip(status) else {
        return Ok(say("process       not running")?);
    };
    let connection = format!("{:?}", status.connection).to_lowercase();
    let reason = status.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    say(&format!("process       {pid}"))?;
    say(&format!("connection    {connection}{reason}"))?;
    say(&format!("readings      {} taken by the server", status.n_acknowledged))?;
    say(&format!(
        "last reading  {}",
        status.last_reading.as_deref().unwrap_or("none")
    ))?;
    say(&format!("refused       {} attempts", status.n_refused))?;
    let compromise = status
        .compromise
        .map_or_else(|| "healthy".to_owned(), |compromise| compromise.detail);
    Ok(say(&format!("behavior      {compromise}"))?)
}

/// `picket-sim stop`: waits until the process has gone.
pub(crate) async fn stop(options: Options) -> anyhow::Result<()> {
    let state = State::of(&options.state)?;
    let device = &options.state.device;
    let Some(pid) = state.running()? else {
        return Ok(say(&format!("{device} does not run"))?);
    };
    let process = Pid::from_raw(pid).with_context(|| format!("{pid} is no process id"))?;
    // It may have ended between the look and the signal.
    let _ = kill_process(process, Signal::TERM);
    let deadline = clock::instant() + PATIENCE;
    while state.running()?.is_some() {
        if deadline < clock::instant() {
            bail!("{device}, process {pid}, has not ended within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(say(&format!(
        "{device} is stopped; its files are in {}",
        state.folder().display()
    ))?)
}

/// Waits until a running sensor says something; `None` when it has not in time.
pub(crate) async fn wait_for_status(
    state: &State,
    patience: Duration,
    is_wanted: impl Fn(&Status) -> bool,
) -> anyhow::Result<Option<Status>> {
    let deadline = clock::instant() + patience;
    loop {
        let status: Option<Status> = state.read_json(state::STATUS)?;
        if let Some(status) = status.filter(&is_wanted) {
            return Ok(Some(status));
        }
        if deadline < clock::instant() {
            return Ok(None);
        }
        tokio::time::sleep(LOOK).await;
    }
}
