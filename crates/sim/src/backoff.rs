//! How long to wait before the next attempt.

use std::time::Duration;

const WAIT_MIN: Duration = Duration::from_millis(250);

/// Doubles with every failure up to a bound. Each wait is a random one between half of it and the whole, so that a fleet
/// that was cut off at once does not come back at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    wait: Duration,
    wait_max: Duration,
}

impl Backoff {
    pub(crate) fn new(wait_max: Duration) -> Self {
        Self {
            wait: WAIT_MIN.min(wait_max),
            wait_max,
        }
    }

    /// The wait after a failure. `fraction` is random, from 0 to below 1.
    pub(crate) fn after_failure(&mut self, fraction: f64) -> Duration {
        let wait = self.wait.mul_f64(0.5 + fraction / 2.0);
        self.wait = (self.wait * 2).min(self.wait_max);
        wait
    }

    /// It worked: the next failure is the first again.
    pub(crate) fn after_success(&mut self) {
        *self = Self::new(self.wait_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let waits =
            |backoff: &mut Backoff, fraction: f64| [(); 4].map(|()| backoff.after_failure(fraction).as_millis());
        assert_eq!(waits(&mut backoff, 0.0), [125, 250, 500, 500]);
        backoff.after_success();
        assert_eq!(waits(&mut backoff, 1.0), [250, 500, 1000, 1000]);
        let mut hasty = Backoff::new(Duration::from_millis(10));
        assert_eq!(waits(&mut hasty, 1.0), [10; 4]);
    }
}
