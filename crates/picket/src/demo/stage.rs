//! Where facts are waited for: with a deadline each, while the spectator sees that something goes on and may interrupt.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::PATIENCE;
use super::cast::Cast;
use super::clock;
use super::screen::{Mark, Screen};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// The story's time, processes and spectator.
pub(super) struct Stage {
    pub(super) screen: Screen,
    pub(super) cast: Cast,
    began: Instant,
    interruptions: Receiver<&'static str>,
    was_interrupted: bool,
}

impl Stage {
    /// From here on a signal does not end this process, but the story.
    pub(super) fn open(screen: Screen, cast: Cast) -> anyhow::Result<Self> {
        Ok(Self {
            screen,
            cast,
            began: clock::instant(),
            interruptions: interruptions()?,
            was_interrupted: false,
        })
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn was_interrupted(&self) -> bool {
        self.was_interrupted
    }

    /// Tells a line of the timeline, dated now.
    pub(super) fn tell(&mut self, mark: Mark, text: &str) -> anyhow::Result<()> {
        let at = self.began.elapsed();
        self.screen.line(at, mark, text)
    }

    /// Waits for a fact.
    pub(super) fn until<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Cast) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let since = clock::instant();
        loop {
            if let Some(found) = look(&mut self.cast)? {
                return Ok(found);
            }
            self.cast.check()?;
            let waited = since.elapsed();
            if PATIENCE < waited {
                bail!("waited {} s in vain until {what}", PATIENCE.as_secs());
            }
            self.screen.progress(what, waited)?;
            match self.interruptions.recv_timeout(LOOK) {
                Ok(name) => {
                    self.was_interrupted = true;
                    bail!("interrupted by {name}; everything that was started has been ended");
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("signals are not waited for any more"),
            }
        }
    }
}

/// Says which signal asked this process to end.
fn interruptions() -> anyhow::Result<Receiver<&'static str>> {
    let (said, interruptions) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for signals")?;
    let _in_runtime = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    drop(_in_runtime);
    let wait = move || {
        runtime.block_on(async {
            loop {
                let name = tokio::select! {
                    _ = interrupt.recv() => "Ctrl-C",
                    _ = terminate.recv() => "SIGTERM",
                    _ = hang_up.recv() => "SIGHUP",
                };
                if said.send(name).is_err() {
                    return;
                }
            }
        });
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .context("cannot wait for signals")?;
    Ok(interruptions)
}
