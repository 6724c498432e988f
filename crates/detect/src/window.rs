//! The sliding window of a volume: how much was reported lately.

use std::time::Duration;

use crate::moment::Moment;

/// What was reported of one volume (bytes, packets) lately, for one behavior.
///
/// At a report received at t the sum is that of the reports received in (t - D + D/20, t]. The slack of D/20 keeps
/// reports that come every D, with jitter, one to a window. The window is *young* until D - D/20 has passed since
/// the behavior was attached or its criteria changed, or, for a device unknown then, since its first report: so long
/// a small sum says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Window {
    /// From when on every report is in; `None` until the first report of a device that was unknown.
    #[n(0)]
    #[cbor(with = "crate::snapshot::optional_moment")]
    pub(crate) since: Option<Moment>,
    /// Where the entries' times count from.
    #[n(1)]
    #[cbor(with = "crate::snapshot::moment")]
    base: Moment,
    /// What was reported, oldest first, at most [`Window::ENTRIES_MAX`].
    #[n(2)]
    entries: Vec<Packed>,
}

/// An [`Entry`] as it is kept: there are many of them.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
struct Packed {
    /// When the first of the reports was received, milliseconds after the base.
    #[n(0)]
    first_millis: u32,
    /// How long after that the last of them was.
    #[n(1)]
    span_millis: u32,
    /// Their sum, held at the end of `u64`.
    #[n(2)]
    amount: u64,
}

/// One report's amount, or that of neighbours that were merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When the first of the reports was received.
    pub(crate) first: Moment,
    /// When the last of them was; the entry leaves the window by it.
    pub(crate) last: Moment,
    /// Their sum, held at the end of `u64`.
    pub(crate) amount: u64,
}

impl Window {
    /// The most entries of a window.
    ///
    /// When a report would make one more, the two neighbours that are closest become one. Among 65 entries in
    /// D - D/20 some neighbours lie within D/32 together, so a merged entry spans less than the slack of D/20 and the
    /// sum never reaches further back than D.
    pub(crate) const ENTRIES_MAX: usize = 64;

    /// The part of `duration` that a window covers: all but a twentieth.
    pub(crate) fn reach(duration: Duration) -> Duration {
        duration - duration / 20
    }

    /// A window of which every report from `since` on will be told; `None`: from the first report on.
    pub(crate) fn begun(since: Option<Moment>) -> Self {
        Self {
            since,
            ..Self::default()
        }
    }

    /// Takes a report received `now`, not before any other; the sum with it.
    pub(crate) fn add(&mut self, now: Moment, amount: u64, duration: Duration) -> u64 {
        self.since.get_or_insert(now);
        let cutoff = now.minus(Self::reach(duration));
        let base = self.base;
        let n_left = self.entries.partition_point(|entry| entry.at(base).last <= cutoff);
        self.entries.drain(..n_left);
        self.rebase(now);
        if self.entries.len() == self.entries.capacity() {
            // Most devices report a few times in a window: growing by doubling from four would waste most of it.
            self.entries.reserve_exact(1 + self.entries.len() / 4);
        }
        self.entries.push(Packed {
            first_millis: millis(now.since(self.base)),
            span_millis: 0,
            amount,
        });
        if Self::ENTRIES_MAX < self.entries.len() {
            self.merge_closest();
        }
        self.sum()
    }

    /// Whether D - D/20 has passed since the window began, so that a small sum counts.
    pub(crate) fn is_ripe(&self, now: Moment, duration: Duration) -> bool {
        self.since
            .is_some_and(|since| Self::reach(duration) <= now.since(since))
    }

    /// The sum of all entries, held at the end of `u64`.
    pub(crate) fn sum(&self) -> u64 {
        self.entries
            .iter()
            .fold(0, |sum: u64, entry| sum.saturating_add(entry.amount))
    }

    /// What was reported, oldest first.
    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = Entry> {
        self.entries.iter().map(|entry| entry.at(self.base))
    }

    /// Counts times from a later moment, if the distance to the present one has become too large. A window is shorter
    /// than that by far.
    fn rebase(&mut self, now: Moment) {
        let Some(first) = self.entries.first().map(|entry| entry.first_millis) else {
            self.base = now;
            return;
        };
        if now.since(self.base) < Duration::from_millis(u32::MAX.into()) {
            return;
        }
        self.base = self.base.plus(Duration::from_millis(first.into()));
        for entry in &mut self.entries {
            entry.first_millis = entry.first_millis.saturating_sub(first);
        }
    }

    fn merge_closest(&mut self) {
        let span = |pair: &[Packed]| pair[1].last_millis().saturating_sub(pair[0].first_millis.into());
        // `min_by_key` takes the first of equals: the oldest pair, so a replay merges the same.
        let closest = self.entries.windows(2).enumerate().min_by_key(|(_, pair)| span(pair));
        let Some((at, pair)) = closest else { return };
        let merged = Packed {
            first_millis: pair[0].first_millis,
            span_millis: u32::try_from(span(pair)).unwrap_or(u32::MAX),
            amount: pair[0].amount.saturating_add(pair[1].amount),
        };
        self.entries.splice(at..at + 2, [merged]);
    }
}

impl Packed {
    fn at(&self, base: Moment) -> Entry {
        Entry {
            first: base.plus(Duration::from_millis(self.first_millis.into())),
            last: base.plus(Duration::from_millis(self.last_millis())),
            amount: self.amount,
        }
    }

    fn last_millis(&self) -> u64 {
        u64::from(self.first_millis) + u64::from(self.span_millis)
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIN5: Duration = Duration::from_secs(300);

    fn at(secs: i64) -> Moment {
        Moment::from_millis(secs * 1000)
    }

    #[test]
    fn a_sum_reaches_back_a_window_less_its_slack() {
        let mut window = Window::begun(None);
        for (secs, amount, expected) in [
            (0, 10, 10),
            (100, 20, 30),
            (284, 40, 70),
            (285, 80, 140),  // the first is exactly D - D/20 old: out
            (384, 160, 300), // the second still in
            (385, 320, 600), // and now out
            (9_000, 1, 1),
        ] {
            assert_eq!(window.add(at(secs), amount, MIN5), expected, "at {secs} s");
        }
    }

    #[test]
    fn jitter_of_a_second_never_puts_two_reports_into_a_window() {
        let mut window = Window::begun(None);
        for (nth, jitter) in (1..200).zip([0, 1, -1, -1, 1, 0, 1].into_iter().cycle()) {
            assert_eq!(window.add(at(nth * 300 + jitter), 7, MIN5), 7, "report {nth}");
        }
    }

    #[test]
    fn a_window_is_young_until_its_reach_has_passed() {
        let mut known = Window::begun(Some(at(1_000)));
        known.add(at(1_100), 1, MIN5);
        assert!(!known.is_ripe(at(1_284), MIN5));
        assert!(known.is_ripe(at(1_285), MIN5));
        let mut unknown = Window::begun(None);
        assert!(!unknown.is_ripe(at(9_000), MIN5));
        unknown.add(at(9_000), 1, MIN5);
        assert!(!unknown.is_ripe(at(9_284), MIN5));
        assert!(unknown.is_ripe(at(9_285), MIN5));
    }

    #[test]
    fn sums_stay_at_the_end_of_their_range() {
        let mut window = Window::begun(None);
        for secs in 0..100 {
            window.add(at(secs), u64::MAX, MIN5);
        }
        assert_eq!(window.sum(), u64::MAX);
        window.add(Moment::from_millis(i64::MAX), 1, MIN5);
        assert_eq!(window.sum(), 1);
    }

    proptest! {
        #[test]
        fn merged_sums_lie_between_the_reach_and_the_duration(
            gaps in prop::collection::vec((0i64..9_000, 0u64..1_000), 1..400),
        ) {
            let mut window = Window::begun(None);
            let mut reports: Vec<(Moment, u64)> = Vec::new();
            let mut now = 0;
            for (gap, amount) in gaps {
                now += gap;
                let t = Moment::from_millis(now);
                reports.push((t, amount));
                let sum = window.add(t, amount, MIN5);
                let exact = |reach: Duration| -> u64 {
                    reports.iter().filter(|(at, _)| t.minus(reach) < *at).map(|(_, amount)| amount).sum()
                };
                prop_assert!(window.entries.len() <= Window::ENTRIES_MAX);
                prop_assert!(exact(Window::reach(MIN5)) <= sum && sum <= exact(MIN5));
            }
        }
    }
}
