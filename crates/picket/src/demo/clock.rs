//! The only place in the demo that reads clocks: it measures other processes from outside.

use std::time::{Instant, SystemTime};

/// Now, seconds since the epoch, to be compared with what other processes on this machine write down.
#[expect(
    clippy::disallowed_methods,
    reason = "the demo says how long after the compromise something happened, and reads the clock here only"
)]
pub(super) fn now_secs() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// Now, for deadlines.
#[expect(
    clippy::disallowed_methods,
    reason = "the demo waits for facts with deadlines, and reads the clock here only"
)]
pub(super) fn instant() -> Instant {
    Instant::now()
}
