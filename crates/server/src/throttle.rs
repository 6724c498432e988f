//! How fast one thing may report: a token bucket per thing. A report seen before costs no token, since senders that lost
//! an answer must be able to ask again.

use std::collections::HashMap;
use std::collections::VecDeque;

use picket_model::name::DeviceName;
use picket_model::time::Timestamp;

use crate::config::ReportRate;

/// How many reports of a thing are remembered to know a repeated one.
const REMEMBERED_MAX: usize = 16;

/// How many things are remembered; beyond it those with a full bucket are forgotten, which changes nothing for them.
const THINGS_MAX: usize = 200_000;

/// How many may stay then: if there are more the others are forgotten too, so that it is not looked for again soon.
const THINGS_KEPT_MAX: usize = THINGS_MAX / 4 * 3;

/// The buckets of all things.
#[derive(Debug)]
pub(crate) struct Throttle {
    rate: ReportRate,
    buckets: HashMap<DeviceName, Bucket>,
    /// When somebody was here last.
    latest: Timestamp,
}

#[derive(Debug)]
struct Bucket {
    /// When the bucket will be full again.
    full_at: Timestamp,
    recent: VecDeque<Fingerprint>,
}

/// What makes a report the same report: its id and its payload's hash.
pub(crate) type Fingerprint = (u64, [u8; 16]);

impl Throttle {
    pub(crate) fn new(rate: ReportRate) -> Self {
        Self {
            rate,
            buckets: HashMap::new(),
            latest: Timestamp::default(),
        }
    }

    /// Whether the thing may report now. Server time goes back only when the clock was set: then all buckets are full.
    pub(crate) fn admits(&mut self, thing: &DeviceName, report: Fingerprint, now: Timestamp) -> bool {
        if now < self.latest {
            self.buckets.clear();
        }
        self.latest = now;
        self.bound(now);
        let interval = self.rate.interval;
        let bucket = match self.buckets.get_mut(thing) {
            Some(bucket) => bucket,
            None => self.buckets.entry(thing.clone()).or_insert(Bucket {
                full_at: now,
                recent: VecDeque::new(),
            }),
        };
        if bucket.recent.contains(&report) {
            return true;
        }
        let full_at = bucket.full_at.max(now).plus(interval);
        if interval * self.rate.burst < full_at.since(now) {
            return false;
        }
        bucket.full_at = full_at;
        if bucket.recent.len() == REMEMBERED_MAX {
            bucket.recent.pop_front();
        }
        bucket.recent.push_back(report);
        true
    }

    fn bound(&mut self, now: Timestamp) {
        if self.buckets.len() < THINGS_MAX {
            return;
        }
        self.buckets.retain(|_, bucket| now < bucket.full_at);
        if THINGS_KEPT_MAX < self.buckets.len() {
            self.buckets.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn tokens_run_out_and_come_back() {
        let thing: DeviceName = "pump-7".parse().unwrap();
        let mut throttle = Throttle::new(ReportRate {
            interval: Duration::from_secs(10),
            burst: 2,
        });
        // (report id, at second) -> admitted
        for (id, at_secs, is_admitted) in [
            (1, 0, true),
            (2, 0, true),
            (3, 0, false),
            (1, 0, true), // a repetition costs nothing
            (3, 9, false),
            (3, 10, true),
            (4, 11, false),
            (4, 1000, true),
            (5, 1000, true),
            (6, 1000, false),
            (6, 999, true), // the clock was set
        ] {
            let now = Timestamp::from_millis(at_secs * 1000);
            assert_eq!(
                throttle.admits(&thing, (id, [0; 16]), now),
                is_admitted,
                "report {id} at {at_secs} s"
            );
        }
    }

    #[test]
    fn things_are_forgotten_rarely_and_never_too_many_are_remembered() {
        let mut throttle = Throttle::new(ReportRate {
            interval: Duration::from_secs(295),
            burst: 1,
        });
        let mut n_forgotten = 0;
        for at in 0..THINGS_MAX * 2 {
            let thing: DeviceName = format!("pump-{at}").parse().unwrap();
            let n_before = throttle.buckets.len();
            // A thousand in a second, so that all buckets count for longer than it takes to fill the table.
            let now = Timestamp::from_millis(i64::try_from(at).unwrap());
            assert!(throttle.admits(&thing, (1, [0; 16]), now));
            n_forgotten += usize::from(throttle.buckets.len() < n_before);
            assert!(throttle.buckets.len() <= THINGS_MAX);
        }
        assert!(n_forgotten < 10, "{n_forgotten} times");
    }
}
