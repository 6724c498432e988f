//! `picket demo`: a compromised device is detected, cut off and let back in, played with real processes on this machine.
//!
//! Reading order: [`story`] and [`incident`] are what happens, [`stage`] how its facts are waited for, [`cast`] the processes, [`screen`] what
//! the spectator sees; [`normal`] and [`alert`] are what the story must know about profiles and alerts.

mod alert;
mod cast;
mod clock;
mod incident;
mod normal;
mod screen;
mod stage;
mod story;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use cast::Cast;
use screen::Screen;
use stage::Stage;

/// How to play.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoOptions {
    /// Leave everything running at the end, and say what to try next and how to stop it
    #[arg(long)]
    keep: bool,
}

/// Plays the story; fails unless every fact of it was observed. Whatever happens, no process is left behind, unless it
/// was asked for.
pub(crate) fn run(options: DemoOptions) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("picket-demo-")
        .tempdir()
        .context("cannot make a folder to play in")?;
    let mut stage = Stage::open(Screen::of_stdout(), Cast::gather(folder.path())?)?;
    let outcome = story::play(&mut stage);
    stage.screen.quiet();
    match outcome {
        Ok(backdoor) if options.keep => {
            let kept = folder.keep();
            let told = tell_what_to_try(&mut stage, &kept, backdoor);
            stage.cast.leave_running();
            told
        }
        Ok(_) => {
            stage.cast.end();
            let secs = stage.elapsed().as_secs_f64();
            stage.screen.text(&format!(
                "\nEvery fact was observed, in {secs:.1} s. All processes have ended, and nothing is left on this machine."
            ))?;
            stage
                .screen
                .text("`make demo KEEP=1` leaves everything running, to try more.")
        }
        Err(error) => {
            let was_interrupted = stage.was_interrupted();
            // Who has ended may be why others failed.
            let error = match stage.cast.check() {
                Err(ended) if !was_interrupted => error.context(ended),
                _ => error,
            };
            // First of all: what follows may fail, too.
            stage.cast.end();
            if was_interrupted {
                return Err(error);
            }
            let kept = folder.keep();
            Err(error.context(format!(
                "the demo failed; what every process said is in {}: *.log, devices/*/sensor.log",
                kept.display()
            )))
        }
    }
}

/// Commands to copy, each exact.
fn tell_what_to_try(stage: &mut Stage, folder: &Path, backdoor: u16) -> anyhow::Result<()> {
    let relative = |path: &Path| -> PathBuf {
        let here = std::env::current_dir().unwrap_or_default();
        path.strip_prefix(here).unwrap_or(path).to_owned()
    };
    let data = folder.join("data");
    let picket = format!(
        "{} --credentials {}/operator.toml",
        relative(&stage.cast.picket).display(),
        data.display()
    );
    let sim = relative(&stage.cast.sim).display().to_string();
    let devices = folder.join("devices");
    let devices = devices.display();
    let folder = folder.display();
    let pids = stage.cast.pids().join(" ");
    let secs = stage.elapsed().as_secs_f64();
    let text = format!(
        "
Every fact was observed, in {secs:.1} s. Everything is still running. What this machine does counts as what {thing}
does, so a port that another program opens is an alarm, too. Try:

  {picket} violation list
  {picket} violation events --thing {thing}
  {picket} profile show {profile}
  {picket} response decisions
  {sim} compromise -d SensorDevice03 --state-dir {devices} --attack backdoor --port {backdoor}
  {sim} heal -d SensorDevice03 --state-dir {devices}
  {picket} thing quarantine {thing}
  {picket} thing release {thing}
  tail -f {folder}/alerts.log {folder}/agent.log {devices}/SensorDevice03/sensor.log

Stop it and remove its folder:

  for n in 01 02 03; do {sim} stop -d SensorDevice$n --state-dir {devices}; done; kill {pids}; rm -r {folder}",
        profile = story::PROFILE,
        thing = story::THING
    );
    stage.screen.text(&text)
}

/// How long a step may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
