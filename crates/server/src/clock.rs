//! The only clocks of the server, and the rule by which they follow the wall clock.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use picket_model::time::Timestamp;

/// How far wall clock and monotonic clock may part before everybody is told that the clock was set.
const STEP_MIN: Duration = Duration::from_secs(2);

/// Server time: the wall clock when the server started (or when it was last set) plus the monotonic clock since. So it
/// never goes back by itself, and a step of the wall clock is an event and not a surprise.
pub(crate) struct Clock {
    clocks: Box<dyn Clocks>,
    /// The wall clock, and the monotonic clock, when the one was last taken over.
    base: Mutex<(Timestamp, Duration)>,
}

/// What a machine has.
pub(crate) trait Clocks: Send + Sync {
    /// The time of day, which anybody may set.
    fn wall(&self) -> Timestamp;

    /// Time since some moment, which only grows.
    fn monotonic(&self) -> Duration;
}

/// The server's clock said, or would have said, `old`, and says `new` from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) old: Timestamp,
    pub(crate) new: Timestamp,
}

impl Clock {
    /// A clock that starts from the wall clock.
    pub(crate) fn start() -> Self {
        Self::of(Box::new(Machine { began: monotonic() }))
    }

    fn of(clocks: Box<dyn Clocks>) -> Self {
        let base = Mutex::new((clocks.wall(), clocks.monotonic()));
        Self { clocks, base }
    }

    /// Server time.
    pub(crate) fn now(&self) -> Timestamp {
        let (at, since) = *self.base();
        at.plus(self.clocks.monotonic().saturating_sub(since))
    }

    /// Whether the wall clock has been set by more than two seconds.
    pub(crate) fn is_apart(&self) -> bool {
        self.apart().is_some()
    }

    /// Follows the wall clock if it has been set by more than two seconds, and says so. Only whoever stamps records may
    /// call this: what is stamped by the new clock must come after the record that says that it was set.
    pub(crate) fn follow_wall(&self) -> Option<Step> {
        let step = self.apart()?;
        *self.base() = (step.new, self.clocks.monotonic());
        Some(step)
    }

    fn apart(&self) -> Option<Step> {
        let (old, new) = (self.now(), self.clocks.wall());
        let apart = old.since(new).max(new.since(old));
        (STEP_MIN < apart).then_some(Step { old, new })
    }

    fn base(&self) -> std::sync::MutexGuard<'_, (Timestamp, Duration)> {
        self.base.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Step {
    /// Both steps in one: what passed between them is no part of it.
    pub(crate) fn then(self, later: Self) -> Self {
        let by = later.new.millis().saturating_sub(later.old.millis());
        Self {
            old: self.old,
            new: Timestamp::from_millis(self.new.millis().saturating_add(by)),
        }
    }
}

/// This machine.
struct Machine {
    began: Instant,
}

impl Clocks for Machine {
    #[expect(
        clippy::disallowed_methods,
        reason = "this room reads the clocks, here and nowhere else"
    )]
    fn wall(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        monotonic().duration_since(self.began)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this room reads the clocks, here and nowhere else"
)]
fn monotonic() -> Instant {
    Instant::now()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;

    /// Clocks that a test sets.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct ByHand(Arc<Mutex<(i64, u64)>>);

    impl ByHand {
        /// A clock over these, where the wall clock says `wall_millis`.
        pub(crate) fn clock(wall_millis: i64) -> (Self, Clock) {
            let clocks = Self(Arc::new(Mutex::new((wall_millis, 0))));
            let clock = Clock::of(Box::new(clocks.clone()));
            (clocks, clock)
        }

        /// Time passes.
        pub(crate) fn pass(&self, millis: u32) {
            let mut both = self.0.lock().unwrap();
            both.0 += i64::from(millis);
            both.1 += u64::from(millis);
        }

        /// Somebody sets the wall clock.
        pub(crate) fn set_by(&self, millis: i64) {
            self.0.lock().unwrap().0 += millis;
        }
    }

    impl Clocks for ByHand {
        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(self.0.lock().unwrap().0)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0.lock().unwrap().1)
        }
    }

    #[test]
    fn the_clock_follows_the_wall_clock_when_that_is_set_by_more_than_two_seconds() {
        // (set by, passed since) -> (server time before it follows, after)
        for (set_by, passed, expected) in [
            (0, 500, None),
            (2_000, 500, None),
            (-2_000, 500, None),
            (2_001, 500, Some((1_000_500, 1_002_501))),
            (-2_001, 500, Some((1_000_500, 998_499))),
            (86_400_000, 0, Some((1_000_000, 87_400_000))),
            (-900_000, 60_000, Some((1_060_000, 160_000))),
        ] {
            let (clocks, clock) = ByHand::clock(1_000_000);
            clocks.set_by(set_by);
            clocks.pass(passed);
            let step = expected.map(|(old, new)| Step {
                old: Timestamp::from_millis(old),
                new: Timestamp::from_millis(new),
            });
            assert_eq!(clock.is_apart(), step.is_some(), "by {set_by}");
            assert_eq!(
                clock.now().millis(),
                1_000_000 + i64::from(passed),
                "not before it follows"
            );
            assert_eq!(clock.follow_wall(), step, "by {set_by}");
            assert_eq!(clock.follow_wall(), None, "once");
            clocks.pass(10);
            let now = expected.map_or(1_000_000 + i64::from(passed), |(_, new)| new) + 10;
            assert_eq!(clock.now().millis(), now, "and goes on from there");
        }
    }

    #[test]
    fn small_steps_add_up() {
        let (clocks, clock) = ByHand::clock(0);
        let followed = [1_500, 1_500].map(|by| {
            clocks.set_by(by);
            clock.follow_wall().is_some()
        });
        assert_eq!(followed, [false, true]);
        assert_eq!(clock.now().millis(), 3_000);
    }

    #[test]
    fn two_steps_in_one_leave_out_what_passed_between() {
        let step = |old, new| Step {
            old: Timestamp::from_millis(old),
            new: Timestamp::from_millis(new),
        };
        assert_eq!(step(100, 5_000).then(step(5_200, 4_200)), step(100, 4_000));
    }
}
