//! How much was sent and received since the last report: differences of counters that only ever grow.
//!
//! The kernel's counters are cumulative, so nothing is lost while reports do not get through: what was not reported is
//! kept and goes out with the next report. What must never happen is a spike, a number that was not sent since: the first
//! sample says nothing, and a counter that went backwards says nothing either.

use picket_model::report::NetworkStats;

use crate::collect::{Counters, Interface};

/// Sums of differences.
pub(crate) type Traffic = Counters;

/// Makes differences of samples.
#[derive(Debug)]
pub(crate) struct Meter {
    counts_loopback: bool,
    width: Width,
    previous: Option<Vec<Interface>>,
    unreported: Option<Traffic>,
    has_lost_count: bool,
}

/// How many bits a counter has before it begins again at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// A 32-bit kernel's, on drivers that count in machine words: 4 GiB are soon reached.
    May32,
    /// A 64-bit kernel's: the age of the universe is not enough.
    Always64,
}

impl Width {
    /// The width on this device. A 64-bit program has a 64-bit kernel; under a 32-bit program it may be either.
    pub(crate) const HERE: Self = if cfg!(target_pointer_width = "64") {
        Self::Always64
    } else {
        Self::May32
    };

    /// How far a counter has come. `None` if it was reset: then nobody knows.
    fn step(self, from: u64, to: u64) -> Option<u64> {
        const HALF_TURN_OF_32: u64 = 1 << 31;
        const TURN_OF_32: u64 = 1 << 32;
        if from <= to {
            return Some(to - from);
        }
        // Half a turn tells a counter that began again by itself, near its end, from one that was set to zero.
        (self == Self::May32 && from < TURN_OF_32)
            .then(|| TURN_OF_32 - from + to)
            .filter(|&step| step < HALF_TURN_OF_32)
    }
}

impl Meter {
    /// A meter that has seen nothing.
    pub(crate) fn new(counts_loopback: bool, width: Width) -> Self {
        Self {
            counts_loopback,
            width,
            previous: None,
            unreported: None,
            has_lost_count: false,
        }
    }

    /// Adds what was counted since the last reading.
    pub(crate) fn read(&mut self, mut now: Vec<Interface>) {
        now.retain(|interface| self.counts_loopback || !interface.is_loopback());
        if let Some(previous) = self.previous.take() {
            let mut sum = self.unreported.unwrap_or_default();
            for interface in &now {
                match self.since(&previous, interface) {
                    Some(traffic) => add(&mut sum, traffic),
                    None => self.has_lost_count = true,
                }
            }
            self.unreported = Some(sum);
        }
        self.previous = Some(now);
    }

    /// What a report is to say, which then counts as said. `None` before two readings, and once after a counter was reset
    /// (on a running system: by its driver): what the others counted meanwhile goes out one report later, and nothing is
    /// made up for the one that was reset.
    pub(crate) fn take(&mut self) -> Option<Traffic> {
        if std::mem::take(&mut self.has_lost_count) {
            return None;
        }
        self.unreported.take()
    }

    /// Takes back what a report said that does not count after all.
    pub(crate) fn give_back(&mut self, traffic: Traffic) {
        add(self.unreported.get_or_insert_default(), traffic);
    }

    /// What one interface counted since the previous reading; `None` if its counters were reset.
    fn since(&self, previous: &[Interface], now: &Interface) -> Option<Traffic> {
        let same = |earlier: &&Interface| match (earlier.index, now.index) {
            // A name may go to another interface (renamed, or removed and made again), an index does not.
            (Some(earlier), Some(now)) => earlier == now,
            _ => earlier.name == now.name,
        };
        // An interface that was not there is younger than the previous reading: all that it counted is since then.
        let from = previous
            .iter()
            .find(same)
            .map_or(Counters::default(), |earlier| earlier.counters);
        Some(Traffic {
            bytes_in: self.width.step(from.bytes_in, now.counters.bytes_in)?,
            bytes_out: self.width.step(from.bytes_out, now.counters.bytes_out)?,
            packets_in: self.width.step(from.packets_in, now.counters.packets_in)?,
            packets_out: self.width.step(from.packets_out, now.counters.packets_out)?,
        })
    }
}

/// The block of a report.
pub(crate) fn network_stats(traffic: Traffic) -> NetworkStats {
    NetworkStats {
        bytes_in: Some(traffic.bytes_in),
        bytes_out: Some(traffic.bytes_out),
        packets_in: Some(traffic.packets_in),
        packets_out: Some(traffic.packets_out),
    }
}

fn add(sum: &mut Traffic, more: Traffic) {
    sum.bytes_in = sum.bytes_in.saturating_add(more.bytes_in);
    sum.bytes_out = sum.bytes_out.saturating_add(more.bytes_out);
    sum.packets_in = sum.packets_in.saturating_add(more.packets_in);
    sum.packets_out = sum.packets_out.saturating_add(more.packets_out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads `eth0#2=100 lo#1=5`: interfaces with index and bytes sent.
    fn reading(text: &str) -> Vec<Interface> {
        let interface = |word: &str| {
            let (name, bytes_out) = word.split_once('=').unwrap();
            let (name, index) = match name.split_once('#') {
                Some((name, index)) => (name, Some(index.parse().unwrap())),
                None => (name, None),
            };
            let bytes_out = bytes_out.parse().unwrap();
            Interface {
                name: name.to_owned(),
                index,
                counters: Counters {
                    bytes_out,
                    ..Counters::default()
                },
            }
        };
        text.split_whitespace().map(interface).collect()
    }

    fn run(width: Width, counts_loopback: bool, readings: &[&str]) -> String {
        let mut meter = Meter::new(counts_loopback, width);
        let says = |text: &&str| {
            meter.read(reading(text));
            meter
                .take()
                .map_or("-".to_owned(), |traffic| traffic.bytes_out.to_string())
        };
        readings.iter().map(says).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn reports_say_what_was_counted_since() {
        use Width::{Always64, May32};
        for (width, counts_loopback, readings, expected) in [
            (
                Always64,
                false,
                &["eth0#2=1000", "eth0#2=1010", "eth0#2=1010"][..],
                "- 10 0",
            ),
            (Always64, false, &["eth0#2=10 lo#1=5", "eth0#2=11 lo#1=99"], "- 1"),
            (Always64, true, &["eth0#2=10 lo#1=5", "eth0#2=11 lo#1=99"], "- 95"),
            // A reset says nothing once, and what others counted meanwhile comes with the next report.
            (Always64, false, &["eth0#2=1000", "eth0#2=10", "eth0#2=15"], "- - 5"),
            (
                Always64,
                false,
                &["a#2=1000 b#3=1", "a#2=10 b#3=8", "a#2=15 b#3=8"],
                "- - 12",
            ),
            (Always64, false, &["a#2=4294967290", "a#2=10", "a#2=11"], "- - 1"),
            // On 32 bits the counter may have begun again by itself.
            (May32, false, &["a#2=4294967290", "a#2=10", "a#2=11"], "- 16 1"),
            (May32, false, &["a#2=1000", "a#2=10"], "- -"),
            (May32, false, &["a#2=4294967297", "a#2=10"], "- -"),
            // Interfaces come and go; a new one under an old name began at zero.
            (
                Always64,
                false,
                &["a#2=10", "a#2=11 ppp0#3=40", "a#2=11 ppp0#4=7", "a#2=12"],
                "- 41 7 1",
            ),
            (Always64, false, &["eth0#2=1000", "wan#2=1005"], "- 5"),
            (Always64, false, &["", "eth0=3", "eth0=4"], "- 3 1"),
            (Always64, false, &["eth0=1000", "eth0=1005"], "- 5"),
        ] {
            assert_eq!(
                run(width, counts_loopback, readings),
                expected,
                "{width:?} {readings:?}"
            );
        }
    }

    #[test]
    fn what_does_not_count_is_said_again() {
        let mut meter = Meter::new(false, Width::HERE);
        meter.read(reading("eth0=10"));
        meter.read(reading("eth0=30"));
        let said = meter.take().unwrap();
        meter.give_back(said);
        meter.read(reading("eth0=35"));
        assert_eq!(meter.take().unwrap().bytes_out, 25);
    }

    proptest! {
        /// Whichever readings are reported, the reports add up to the truth.
        #[test]
        fn nothing_is_lost_and_nothing_said_twice(steps in prop::collection::vec((0_u64..1 << 40, any::<bool>(), any::<bool>()), 1..50)) {
            let mut meter = Meter::new(false, Width::HERE);
            let mut counter = 77;
            meter.read(reading(&format!("eth0#2={counter}")));
            let mut said = 0;
            for (step, is_reported, is_refused) in steps {
                counter += step;
                meter.read(reading(&format!("eth0#2={counter}")));
                if is_reported {
                    let traffic = meter.take().unwrap();
                    if is_refused {
                        meter.give_back(traffic);
                    } else {
                        said += traffic.bytes_out;
                    }
                }
            }
            said += meter.take().map_or(0, |traffic| traffic.bytes_out);
            prop_assert_eq!(said, counter - 77);
        }
    }
}
