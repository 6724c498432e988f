//! Latencies of many messages in little memory.

use std::time::Duration;

use serde::Serialize;

/// Below this many microseconds each has a bucket of its own; above, each doubling is cut into as many.
const N_STEPS: u32 = 64;
const STEP_BITS: u32 = N_STEPS.trailing_zeros();
/// 64 doublings are more than a `u64` of microseconds has.
const N_BUCKETS: usize = (N_STEPS as usize) * 60;

/// Counts of latencies; a bucket is less than 1.6 % wide.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    counts: Box<[u64]>,
    micros_max: u64,
}

/// What is told of latencies, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; N_BUCKETS].into_boxed_slice(),
            micros_max: 0,
        }
    }
}

impl Latencies {
    pub(crate) fn count(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(micros)) {
            *count += 1;
        }
        self.micros_max = self.micros_max.max(micros);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.counts
            .iter_mut()
            .zip(&other.counts)
            .for_each(|(own, other)| *own += other);
        self.micros_max = self.micros_max.max(other.micros_max);
    }

    /// Zeros when nothing was counted.
    pub(crate) fn summary(&self) -> Summary {
        Summary {
            p50: self.percentile(50),
            p99: self.percentile(99),
            max: millis(self.micros_max),
        }
    }

    /// The upper end of the bucket that holds the nearest rank.
    fn percentile(&self, percent: u64) -> f64 {
        let n: u64 = self.counts.iter().sum();
        let rank = (n * percent).div_ceil(100).max(1);
        let mut n_below = 0;
        let found = self.counts.iter().position(|count| {
            n_below += count;
            rank <= n_below
        });
        found.map_or(0.0, |bucket| millis(upper_end(bucket).min(self.micros_max)))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a latency needs no 53 bits")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

fn bucket(micros: u64) -> usize {
    let doublings = micros.checked_ilog2().unwrap_or(0).saturating_sub(STEP_BITS - 1);
    let step = micros >> doublings;
    // From the first doubling on, only the upper half of the steps is in use.
    let at = u64::from(doublings * (N_STEPS / 2)) + step;
    usize::try_from(at).unwrap_or(usize::MAX).min(N_BUCKETS - 1)
}

/// The greatest number of microseconds in a bucket.
fn upper_end(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
    let half = u64::from(N_STEPS / 2);
    if bucket < 2 * half {
        return bucket;
    }
    let doublings = bucket / half - 1;
    let step = bucket % half + half;
    ((step + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(micros: impl IntoIterator<Item = u64>) -> Summary {
        let mut latencies = Latencies::default();
        micros
            .into_iter()
            .for_each(|micros| latencies.count(Duration::from_micros(micros)));
        latencies.summary()
    }

    #[test]
    fn every_latency_is_in_its_bucket() {
        let mut before = 0;
        for micros in (0..5000).chain((5000..100_000_000).step_by(9973)) {
            let bucket = bucket(micros);
            assert!(before <= bucket, "{micros}");
            assert!(
                micros <= upper_end(bucket) && (bucket == 0 || upper_end(bucket - 1) < micros),
                "{micros}"
            );
            before = bucket;
        }
        assert_eq!(bucket(u64::MAX), bucket(u64::MAX - 1));
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        for (micros, p50, p99, max) in [
            (vec![], 0.0, 0.0, 0.0),
            (vec![7], 0.007, 0.007, 0.007),
            ((1..=50).collect(), 0.025, 0.05, 0.05),
            (vec![10, 10, 10, 2_000_000], 0.01, 2000.0, 2000.0),
        ] {
            assert_eq!(summary(micros), Summary { p50, p99, max });
        }
        let Summary { p50, p99, .. } = summary(1..=100_000);
        assert!(
            (50.0..51.0).contains(&p50) && (99.0..101.0).contains(&p99),
            "{p50} {p99}"
        );
    }
}
