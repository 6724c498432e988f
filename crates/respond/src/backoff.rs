//! How long to wait before trying again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Doubling waits, each cut by up to half at random, so that many who wait do not come back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait at most.
    pub first: Duration,
    /// Any wait at most.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(300),
        }
    }
}

impl Backoff {
    /// The wait after `n_failures` failures in a row, counted from 1.
    pub(crate) fn wait(&self, n_failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(n_failures.saturating_sub(1).min(30));
        let whole = self.first.saturating_mul(doubled).min(self.longest);
        // The keys of the standard library's hash maps are the only random numbers that are needed here.
        let random = RandomState::new().hash_one(n_failures) % 1000;
        whole / 2 + (whole / 2000).saturating_mul(u32::try_from(random).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff::default();
        for (n_failures, whole) in [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (40, 300), (u32::MAX, 300)] {
            for _ in 0..100 {
                let wait = backoff.wait(n_failures);
                let whole = Duration::from_secs(whole);
                assert!(whole / 2 <= wait && wait <= whole, "{n_failures}: {wait:?}");
            }
        }
    }
}
