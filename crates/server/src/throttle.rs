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

/// The buckets of all things.
#[derive(Debug)]
pub(crate) struct Throttle {
    rate: ReportRate,
    buckets: HashMap<DeviceName, Bucket>,
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
        }
    }

    /// Whether the thing may report now.
    pub(crate) fn admits(&mut self, thing: &DeviceName, report: Fingerprint, now: Timestamp) -> bool {
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

    /// After the server's clock was set all buckets are full.
    pub(crate) fn forget(&mut self) {
        self.buckets.clear();
    }

    fn bound(&mut self, now: Timestamp) {
        if self.buckets.len() < THINGS_MAX {
            return;
        }
        self.buckets.retain(|_, bucket| now < bucket.full_at);
        if THINGS_MAX <= self.buckets.len() {
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
        ] {
            let now = Timestamp::from_millis(at_secs * 1000);
            assert_eq!(
                throttle.admits(&thing, (id, [0; 16]), now),
                is_admitted,
                "report {id} at {at_secs} s"
            );
        }
        throttle.forget();
        assert!(throttle.admits(&thing, (6, [0; 16]), Timestamp::from_millis(1_000_000)));
    }
}
