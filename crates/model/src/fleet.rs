//! Percentiles of a fleet: what the devices of each partition contribute, and what came of it.

use std::cmp::Ordering;

use crate::behavior::Statistic;
use crate::name::{BehaviorName, ProfileName};
use crate::time::Timestamp;

/// One window of one behavior that judges by percentile.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowKey {
    /// The profile.
    pub profile: ProfileName,
    /// The behavior in it.
    pub behavior: BehaviorName,
    /// Of what is judged and how: partitions that go by different criteria have nothing in common.
    pub fingerprint: u64,
    /// The end of the window, aligned to the epoch by its length.
    pub end: Timestamp,
}

/// What the devices of one partition measured in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetSample {
    /// Which window.
    pub window: WindowKey,
    /// Which percentile is asked for.
    pub statistic: Statistic,
    /// One value for each device that has one, in no order that means anything.
    pub values: Vec<Quantity>,
}

/// The fleet's percentile in a window: only this judges the window.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// Which window.
    pub window: WindowKey,
    /// The percentile by nearest rank; `None` if there is none: fewer than two devices, or a value below zero.
    pub value: Option<Quantity>,
    /// How many devices had a value.
    pub n_devices: u64,
}

/// A number that a device measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantity {
    /// A whole number.
    Count(u64),
    /// A custom number, finite.
    Number(f64),
}

impl Threshold {
    /// The fewest devices that have percentiles. AWS names no number; of a single device every percentile is its own
    /// value.
    pub const N_DEVICES_MIN: usize = 2;

    /// The percentile of the samples of all partitions in one window, by nearest rank: the smallest value that is not
    /// below so many of all values. It is always one of the values, so the device in the middle never breaches
    /// `less-than-equals p50`.
    pub fn of(window: WindowKey, statistic: Statistic, mut values: Vec<Quantity>) -> Self {
        let n_devices = values.len();
        let has_negative = values
            .iter()
            .any(|value| matches!(value, Quantity::Number(number) if *number < 0.0));
        let rank = statistic.nearest_rank(n_devices);
        let value = if n_devices < Self::N_DEVICES_MIN || has_negative {
            None
        } else {
            let (_, value, _) = values.select_nth_unstable_by(rank - 1, Quantity::compare);
            Some(*value)
        };
        Self {
            window,
            value,
            n_devices: u64::try_from(n_devices).unwrap_or(u64::MAX),
        }
    }
}

impl Quantity {
    /// The order of values, total: all values of one window are of one kind.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Count(own), Self::Count(other)) => own.cmp(other),
            (Self::Number(own), Self::Number(other)) => own.total_cmp(other),
            (Self::Count(_), Self::Number(_)) => Ordering::Less,
            (Self::Number(_), Self::Count(_)) => Ordering::Greater,
        }
    }
}

impl Statistic {
    /// The rank, from 1, of the percentile among `n` sorted values, at least one: the smallest rank that is not below
    /// the percentile's part of `n`.
    pub fn nearest_rank(self, n: usize) -> usize {
        let n = n.max(1);
        let hundredths = u128::from(self.hundredths_of_percent());
        let rank = (hundredths * n as u128).div_ceil(10_000);
        usize::try_from(rank).unwrap_or(n).clamp(1, n)
    }

    /// The percentile in hundredths of a percent: `p99.9` is 9,990.
    const fn hundredths_of_percent(self) -> u32 {
        match self {
            Self::P0 => 0,
            Self::P0_1 => 10,
            Self::P0_01 => 1,
            Self::P1 => 100,
            Self::P10 => 1_000,
            Self::P50 => 5_000,
            Self::P90 => 9_000,
            Self::P99 => 9_900,
            Self::P99_9 => 9_990,
            Self::P99_99 => 9_999,
            Self::P100 => 10_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(statistic: Statistic, values: &[Quantity]) -> Option<Quantity> {
        let window = WindowKey {
            profile: "p".parse().unwrap(),
            behavior: "b".parse().unwrap(),
            fingerprint: 1,
            end: Timestamp::from_millis(300_000),
        };
        Threshold::of(window, statistic, values.to_vec()).value
    }

    #[test]
    fn percentiles_are_values_by_nearest_rank() {
        let counts = |values: &[u64]| values.iter().copied().map(Quantity::Count).collect::<Vec<_>>();
        let hundred: Vec<u64> = (1..=100).rev().collect();
        for (statistic, values, expected) in [
            (Statistic::P50, &[30, 3_000, 20][..], Some(30)), // three devices: the one in the middle
            (Statistic::P50, &[2, 1], Some(1)),
            (Statistic::P0, &[2, 1], Some(1)),
            (Statistic::P100, &[2, 1], Some(2)),
            (Statistic::P90, &hundred, Some(90)),
            (Statistic::P99, &hundred, Some(99)),
            (Statistic::P99_9, &hundred, Some(100)),
            (Statistic::P1, &hundred, Some(1)),
            (Statistic::P0_01, &hundred, Some(1)),
            (Statistic::P10, &hundred, Some(10)),
            (Statistic::P50, &[7], None),
            (Statistic::P50, &[], None),
        ] {
            let found = threshold(statistic, &counts(values));
            assert_eq!(
                found,
                expected.map(Quantity::Count),
                "{statistic:?} of {} values",
                values.len()
            );
        }
        let numbers = [1.5, -0.5, 2.5].map(Quantity::Number);
        assert_eq!(threshold(Statistic::P50, &numbers), None, "not with values below zero");
        assert_eq!(threshold(Statistic::P50, &numbers[..1]), None);
        assert_eq!(
            threshold(Statistic::P50, &[1.5, 0.5, 2.5].map(Quantity::Number)),
            Some(Quantity::Number(1.5))
        );
    }
}
