//! `picket-sim compromise`.

use std::time::Duration;

use anyhow::{bail, ensure};

use crate::mode::{Attack, Order, Status};
use crate::state::{self, State};
use crate::{attack, clock, control};

const PATIENCE: Duration = Duration::from_secs(10);

/// Which sensor, and what is done to it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    state: state::DeviceOptions,
    /// What the intruder does; may be given several times, and then all of it is done at once
    #[arg(long = "attack", value_enum, required = true, value_name = "ATTACK")]
    attacks: Vec<Attack>,
    /// When it ends by itself
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=attack::DURATION_SECS_MAX), value_name = "SECONDS")]
    duration_secs: u64,
    /// backdoor: where to listen; 0 takes any port
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// exfiltrate: how many bytes
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=attack::N_BYTES_MAX), value_name = "N")]
    bytes: u64,
    /// scan: how many addresses
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=i64::from(attack::N_REMOTES_MAX)), value_name = "N")]
    remotes: u16,
    /// flood: how many messages a second
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=i64::from(attack::N_MESSAGES_PER_SEC_MAX)), value_name = "N")]
    rate: u16,
}

/// Tells the sensor what to do, waits until it does it, and prints what it does.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let state = State::of(&options.state)?;
    ensure!(
        state.running()?.is_some(),
        "{} does not run: `picket-sim bootstrap` starts it",
        options.state.device
    );
    let at_millis = clock::now().millis();
    let order = Order {
        at_millis,
        attacks: options.attacks,
        until_millis: at_millis.saturating_add(i64::try_from(options.duration_secs)?.saturating_mul(1000)),
        port: options.port,
        n_bytes: options.bytes,
        n_remotes: options.remotes,
        n_messages_per_sec: options.rate,
    };
    state.write_json(state::ORDER, &order)?;
    let done = |status: &Status| {
        status
            .compromise
            .as_ref()
            .is_some_and(|compromise| compromise.at_millis == at_millis)
    };
    let status = control::wait_for_status(&state, PATIENCE, done).await?;
    let Some(compromise) = status.and_then(|status| status.compromise) else {
        bail!(
            "{} does not react, see {}",
            options.state.device,
            state.path(state::LOG).display()
        );
    };
    ensure!(!compromise.is_failed, "{}: {}", options.state.device, compromise.detail);
    let end = format!(
        "for {} s, or until `picket-sim heal -d {}`",
        options.duration_secs, options.state.device
    );
    Ok(crate::say(&format!(
        "{} {} {end}",
        options.state.device, compromise.detail
    ))?)
}
