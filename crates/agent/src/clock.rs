//! The only place of the agent that reads the clock.

use std::time::SystemTime;

/// Milliseconds since 1970-01-01T00:00:00Z by the device's own clock, which may be wrong: it dates log lines and makes
/// report ids grow over restarts, and nothing else depends on it. 0 while the clock is set before 1970.
#[expect(clippy::disallowed_methods, reason = "the agent's one reader of the clock")]
pub(crate) fn epoch_millis() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
