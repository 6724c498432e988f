//! The engine's own time, in which downtime and corrections of the clock do not exist.

use std::time::Duration;

use picket_model::time::Timestamp;

/// A point in engine time: milliseconds that only ever pass while the server runs and its clock is not being set.
///
/// Deadlines and windows are kept in it, so a [`picket_model::record::Record::Clock`] shifts them all by moving one
/// offset, and a downtime can neither raise, clear nor invalidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(i64);

impl Moment {
    /// The point `millis` after the origin.
    pub(crate) const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds after the origin.
    pub(crate) const fn millis(self) -> i64 {
        self.0
    }

    /// The point `duration` later, held at the end of representable time.
    pub(crate) fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// The point `duration` earlier, held at the start of representable time.
    pub(crate) fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Turns stamps into engine time and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EngineClock {
    /// A stamp minus this is its moment.
    pub(crate) offset_millis: i64,
    /// The latest moment that a record brought; `None` before the first.
    pub(crate) now: Option<Moment>,
}

impl EngineClock {
    /// The moment of a record stamped `at`. Never earlier than the moment of the record before it.
    pub(crate) fn advance(&mut self, at: Timestamp) -> Moment {
        let moment = self.moment(at);
        let now = self.now.map_or(moment, |now| now.max(moment));
        self.now = Some(now);
        now
    }

    /// The moment at which the server's clock shows this, as it is set now.
    pub(crate) fn moment(&self, at: Timestamp) -> Moment {
        Moment(at.millis().saturating_sub(self.offset_millis))
    }

    /// The server's clock said, or would have said, `old`, and says `new` from here on.
    pub(crate) fn set(&mut self, old: Timestamp, new: Timestamp) {
        let step = new.millis().saturating_sub(old.millis());
        self.offset_millis = self.offset_millis.saturating_add(step);
    }

    /// What the server's clock shows at `moment`, if it is not set until then.
    pub(crate) fn timestamp(&self, moment: Moment) -> Timestamp {
        Timestamp::from_millis(moment.0.saturating_add(self.offset_millis))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_stands_still_in_engine_time() {
        let at = Timestamp::from_millis;
        let mut clock = EngineClock::default();
        assert_eq!(clock.advance(at(1_000)), Moment(1_000));
        clock.set(at(1_000), at(9_000));
        assert_eq!(clock.advance(at(9_500)), Moment(1_500));
        assert_eq!(clock.timestamp(Moment(1_500)), at(9_500));
        clock.set(at(9_500), at(500));
        assert_eq!(clock.advance(at(600)), Moment(1_600));
        assert_eq!(clock.advance(at(0)), Moment(1_600), "never goes back");
        clock.set(at(i64::MIN), at(i64::MAX));
        clock.advance(at(i64::MIN));
    }
}
