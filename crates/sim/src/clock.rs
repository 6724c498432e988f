//! The only place in this room that reads clocks.

use std::time::Instant;

use picket_model::time::Timestamp;

/// Now, by this machine's wall clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}

/// Now, for measuring how long something takes.
#[expect(
    clippy::disallowed_methods,
    reason = "this room may read clocks, and does so here only"
)]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// Now as text, for a line of a log.
pub(crate) fn stamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
