//! An alarm: runs of datapoints raise it and clear it.

/// Whether an alarm is raised, and how far the run of datapoints that would change it has come.
///
/// A datapoint that does not belong to the run starts the count again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) enum Alarm {
    /// Not raised, after this many breaches in a row.
    #[n(0)]
    Quiet {
        /// 0 to one less than it takes to raise.
        #[n(0)]
        n_breaches: u8,
    },
    /// Raised, after this many normal datapoints in a row.
    #[n(1)]
    Raised {
        /// 0 to one less than it takes to clear.
        #[n(0)]
        n_normal: u8,
    },
}

/// How many datapoints in a row change an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// Breaches that raise it, 1 to 10.
    pub(crate) to_raise: u8,
    /// Normal datapoints that clear it, 1 to 10.
    pub(crate) to_clear: u8,
}

/// How an alarm changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It was quiet and is raised.
    Raise,
    /// It was raised and is quiet.
    Clear,
}

impl Alarm {
    /// Where every alarm begins.
    pub(crate) const QUIET: Self = Self::Quiet { n_breaches: 0 };

    /// Takes one datapoint; says how the alarm changed, if it did.
    pub(crate) fn step(self, is_breach: bool, patience: Patience) -> (Self, Option<Turn>) {
        const RAISED: Alarm = Alarm::Raised { n_normal: 0 };
        match (self, is_breach) {
            (Self::Quiet { .. }, false) => (Self::QUIET, None),
            (Self::Raised { .. }, true) => (RAISED, None),
            (Self::Quiet { n_breaches }, true) => match n_breaches.saturating_add(1) {
                n if patience.to_raise <= n => (RAISED, Some(Turn::Raise)),
                n_breaches => (Self::Quiet { n_breaches }, None),
            },
            (Self::Raised { n_normal }, false) => match n_normal.saturating_add(1) {
                n if patience.to_clear <= n => (Self::QUIET, Some(Turn::Clear)),
                n_normal => (Self::Raised { n_normal }, None),
            },
        }
    }

    /// Whether it is raised.
    pub(crate) fn is_raised(self) -> bool {
        matches!(self, Self::Raised { .. })
    }

    /// The same alarm with its run at the start: the criteria changed.
    pub(crate) fn recounted(self) -> Self {
        match self {
            Self::Quiet { .. } => Self::QUIET,
            Self::Raised { .. } => Self::Raised { n_normal: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(to_raise: u8, to_clear: u8, samples: &str) -> String {
        let mut alarm = Alarm::QUIET;
        let mut step = |sample| {
            let (next, turn) = alarm.step(sample == '!', Patience { to_raise, to_clear });
            alarm = next;
            match turn {
                Some(Turn::Raise) => 'R',
                Some(Turn::Clear) => 'C',
                None => '-',
            }
        };
        samples.chars().map(&mut step).collect()
    }

    #[test]
    fn alarms_follow_runs_of_datapoints() {
        for (to_raise, to_clear, samples, expected) in [
            (1, 1, "!.!.", "RCRC"),     // `!` breach, `.` normal; R raise, C clear, - no change
            (3, 1, "!!.!!!", "-----R"), // a normal datapoint starts the count again
            (1, 2, "!.!..", "R---C"),   // so does a breach while clearing
            (2, 2, "!!!!..!!", "-R---C-R"),
            (10, 10, "!!!!!!!!!!..........", "---------R---------C"),
            (1, 1, "....", "----"),
        ] {
            assert_eq!(
                run(to_raise, to_clear, samples),
                expected,
                "{to_raise}/{to_clear} {samples}"
            );
        }
    }

    #[test]
    fn a_recount_keeps_the_alarm_and_forgets_the_run() {
        assert_eq!(Alarm::Quiet { n_breaches: 2 }.recounted(), Alarm::QUIET);
        assert_eq!(Alarm::Raised { n_normal: 2 }.recounted(), Alarm::Raised { n_normal: 0 });
    }
}
