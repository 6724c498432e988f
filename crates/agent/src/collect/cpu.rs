//! How busy the processors are: the first line of `/proc/stat`.

/// Time since boot, in ticks of all processors together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuTicks {
    busy: u64,
    all: u64,
}

impl CpuTicks {
    /// Reads `/proc/stat`. Time of guests is part of user time, so it is not added.
    pub(super) fn parse(stat: &str) -> Option<Self> {
        let mut numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
        let mut ticks = [0_u64; 8];
        for tick in &mut ticks {
            *tick = numbers.next()?.parse().ok()?;
        }
        let [_, _, _, idle, waiting, ..] = ticks;
        let all = ticks.into_iter().try_fold(0_u64, u64::checked_add)?;
        Some(Self {
            busy: all - idle - waiting,
            all,
        })
    }

    #[cfg(test)]
    pub(crate) fn of(stat: &str) -> Self {
        Self::parse(stat).unwrap()
    }

    /// How much of the time since `earlier` was busy, in percent from 0 to 100. `None` if no time has passed.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a percentage, from ticks of some days at most"
    )]
    pub(crate) fn usage_since(self, earlier: Self) -> Option<f64> {
        let all = self.all.checked_sub(earlier.all).filter(|&all| 0 < all)?;
        let busy = self.busy.saturating_sub(earlier.busy).min(all);
        // To a tenth, as AWS's Python agent has it.
        Some((busy as f64 * 1000.0 / all as f64).round() / 10.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usage_is_what_was_neither_idle_nor_waiting() {
        for (earlier, later, expected) in [
            (
                "cpu  100 0 50 1000 10 0 5 1 0 0",
                "cpu  150 0 75 1100 35 0 5 1 0 0",
                Some(37.5),
            ),
            (
                "cpu  0 0 0 0 0 0 0 0 0 0",
                "cpu  1 0 0 2 0 0 0 0 0 0\ncpu0 1",
                Some(33.3),
            ),
            ("cpu  0 0 0 0 0 0 0 0", "cpu  7 0 0 0 0 0 0 0", Some(100.0)),
            ("cpu  0 0 0 9 0 0 0 0", "cpu  0 0 0 9 0 0 0 0", None),
            ("cpu  0 0 0 9 0 0 0 0", "cpu  0 0 0 8 0 0 0 0", None),
        ] {
            let ticks = |stat| CpuTicks::parse(stat).unwrap();
            assert_eq!(ticks(later).usage_since(ticks(earlier)), expected, "{earlier} {later}");
        }
        assert!(CpuTicks::parse(include_str!("../../tests/data/gateway/stat")).is_some());
    }

    #[test]
    fn another_shape_gives_nothing() {
        for stat in [
            "",
            "cpu",
            "cpu0 1 2 3 4 5 6 7 8",
            "cpu  1 2 3 4 5 6 7",
            "cpu  1 2 3 x 5 6 7 8",
        ] {
            assert_eq!(CpuTicks::parse(stat), None, "{stat:?}");
        }
        let huge = format!("cpu  {max} {max} 0 0 0 0 0 0", max = u64::MAX);
        assert_eq!(CpuTicks::parse(&huge), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(stat in "(cpu  )?[0-9 \\-\n]{0,80}") {
            let _ = CpuTicks::parse(&stat);
        }
    }
}
