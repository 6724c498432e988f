//! The only clocks of the server, and the rule by which records are stamped.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use picket_model::time::Timestamp;

/// How far wall clock and monotonic clock may part before everybody is told that the clock was set.
const STEP_MIN: Duration = Duration::from_secs(2);

/// Server time: the wall clock when the server started (or when it was last set) plus the monotonic clock since. So it
/// never goes back by itself, and a step of the wall clock is an event and not a surprise.
#[derive(Debug)]
pub(crate) struct Clock {
    base: Mutex<(Timestamp, Instant)>,
}

/// The wall clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// What server time would have been.
    pub(crate) old: Timestamp,
    /// What it is from now on.
    pub(crate) new: Timestamp,
}

impl Clock {
    /// A clock that starts from the wall clock.
    pub(crate) fn start() -> Self {
        Self {
            base: Mutex::new((wall(), monotonic())),
        }
    }

    /// Server time.
    pub(crate) fn now(&self) -> Timestamp {
        let (at, since) = *self.base();
        at.plus(monotonic().duration_since(since))
    }

    /// Follows the wall clock if it has been set by more than two seconds, and says so.
    pub(crate) fn follow_wall(&self) -> Option<Step> {
        let (old, new) = (self.now(), wall());
        let apart = old.since(new).max(new.since(old));
        if apart <= STEP_MIN {
            return None;
        }
        *self.base() = (new, monotonic());
        Some(Step { old, new })
    }

    fn base(&self) -> std::sync::MutexGuard<'_, (Timestamp, Instant)> {
        self.base.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this room reads the clocks, here and nowhere else"
)]
fn wall() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this room reads the clocks, here and nowhere else"
)]
fn monotonic() -> Instant {
    Instant::now()
}
