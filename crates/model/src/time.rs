//! Points in time.

use std::fmt;
use std::time::Duration;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, as the server saw it. Never a device's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The point `millis` milliseconds after (or, if negative, before) the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch: the unit of MQTT and alert payloads.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch with fraction: the unit of AWS API bodies.
    #[expect(clippy::cast_precision_loss, reason = "exact for any date before the year 287396")]
    pub fn secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The point `duration` later, held at the end of representable time.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// The point `duration` earlier, held at the start of representable time.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This point moved by `shift_millis`, which may be negative: used when the server's clock was set.
    pub fn shifted(self, shift_millis: i64) -> Self {
        Self(self.0.saturating_add(shift_millis))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
