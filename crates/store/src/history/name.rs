//! Names of files: what is in a file is known by its name alone.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use jiff::civil::Date;
use object_store::path::Path;
use picket_model::time::Timestamp;

use crate::log::{PartitionId, Seq};

/// Milliseconds of an hour.
pub(super) const HOUR_MILLIS: i64 = 3_600_000;
/// Milliseconds of a day, of which every day of UTC has as many.
pub(super) const DAY_MILLIS: i64 = 24 * HOUR_MILLIS;

/// A file: `<kind>/<year>-<month>-<day>/p<partition>-<from>-<to>.h<hour>.parquet`, without the hour when it holds what was known
/// of a whole day. The records of the log from which its rows come are in its name, so writing it again is writing the same
/// file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileName {
    pub(super) shelf: Shelf,
    /// `None`: rows of the whole day.
    pub(super) hour: Option<u8>,
    pub(super) first: Seq,
    pub(super) last: Seq,
}

/// Files that hold rows of one kind, partition and day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Shelf {
    pub(super) partition: PartitionId,
    pub(super) kind: FileKind,
    pub(super) day: Day,
}

/// What rows a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum FileKind {
    Reports,
    Activity,
}

/// A day of UTC: days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Day(pub(super) i64);

impl FileKind {
    const fn folder(self) -> &'static str {
        match self {
            Self::Reports => "reports",
            Self::Activity => "activity",
        }
    }
}

impl Day {
    /// The day of a time. What no calendar of four digits knows is put on its first or last day.
    pub(super) fn of(at: Timestamp) -> Self {
        Self(at.millis().div_euclid(DAY_MILLIS).clamp(0, DAY_MAX))
    }

    /// The first millisecond after it.
    pub(super) fn end(self) -> Timestamp {
        Timestamp::from_millis((self.0 + 1) * DAY_MILLIS)
    }

    fn date(self) -> Date {
        // The calendar's bounds are wider than a day's, which the clamp keeps within four digits.
        EPOCH.saturating_add(SignedDuration::from_hours(self.0.clamp(0, DAY_MAX) * 24))
    }
}

/// 1970-01-01.
const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// 9999-12-31.
const DAY_MAX: i64 = 2_932_896;

/// The hour of its day that a time is in, 0 to 23.
pub(super) fn hour_of(at: Timestamp) -> u8 {
    u8::try_from(at.millis().div_euclid(HOUR_MILLIS).rem_euclid(24)).unwrap_or(0)
}

impl FileName {
    /// Where it lies.
    pub(super) fn path(&self) -> Path {
        Path::from(self.to_string())
    }

    /// Whether everything in `other` is in here, too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self != other
            && self.shelf == other.shelf
            && self.first <= other.first
            && other.last <= self.last
            && (self.hour.is_none() || self.hour == other.hour)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.date())
    }
}

impl FromStr for Day {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let date: Date = text.parse().map_err(drop)?;
        let day = Self(date.duration_since(EPOCH).as_hours() / 24);
        // What is spelled in another way is none of ours.
        if day.to_string() == text { Ok(day) } else { Err(()) }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shelf { partition, kind, day } = self.shelf;
        let (first, last) = (self.first.0, self.last.0);
        write!(f, "{}/{day}/p{:05}-{first:020}-{last:020}", kind.folder(), partition.0)?;
        if let Some(hour) = self.hour {
            write!(f, ".h{hour:02}")?;
        }
        f.write_str(".parquet")
    }
}

impl FromStr for FileName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let read = || {
            let (kind, rest) = [FileKind::Reports, FileKind::Activity].into_iter().find_map(|kind| {
                let rest = text.strip_prefix(kind.folder())?.strip_prefix('/')?;
                Some((kind, rest))
            })?;
            let (day, rest) = rest.split_once('/')?;
            let rest = rest.strip_prefix('p')?.strip_suffix(".parquet")?;
            let (rest, hour) = match rest.split_once(".h") {
                Some((rest, hour)) => (rest, Some(hour.parse().ok().filter(|hour| *hour < 24)?)),
                None => (rest, None),
            };
            let mut parts = rest.splitn(3, '-');
            let partition = PartitionId(parts.next()?.parse().ok()?);
            let first = Seq(parts.next()?.parse().ok()?);
            let last = Seq(parts.next()?.parse().ok()?);
            let shelf = Shelf {
                partition,
                kind,
                day: day.parse().ok()?,
            };
            Some(Self {
                shelf,
                hour,
                first,
                last,
            })
        };
        let name = read().ok_or(())?;
        // What is spelled in another way is none of ours.
        if name.to_string() == text { Ok(name) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (789, "1972-02-29"),
            (11_016, "2000-02-29"),
            (20_782, "2026-11-25"),
            (DAY_MAX, "9999-12-31"),
        ] {
            assert_eq!(Day(days).to_string(), expected);
            assert_eq!(expected.parse(), Ok(Day(days)));
        }
        for days in 0..DAY_MAX / 50 {
            let day = Day(days * 50);
            assert_eq!(day.to_string().parse(), Ok(day));
        }
        for text in ["2026-02-30", "2026-2-3", "2026-13-01", "x", "", "2026-01"] {
            assert_eq!(text.parse::<Day>(), Err(()), "{text}");
        }
        for (millis, expected) in [
            (-1, "1970-01-01"),
            (i64::MAX, "9999-12-31"),
            (DAY_MILLIS - 1, "1970-01-01"),
        ] {
            assert_eq!(Day::of(Timestamp::from_millis(millis)).to_string(), expected);
        }
    }

    #[test]
    fn names_read_back_and_say_what_covers_what() {
        let name = |text: &str| -> FileName { text.parse().unwrap() };
        let (from, to) = ("00000000000000000001", "00000000000000000300");
        let whole = format!("reports/2026-11-25/p00003-{from}-{to}.parquet");
        let hour = format!("reports/2026-11-25/p00003-{from}-{to}.h07.parquet");
        assert_eq!(name(&whole).to_string(), whole);
        assert_eq!(name(&hour).hour, Some(7));
        assert!(name(&whole).covers(&name(&hour)));
        assert!(!name(&hour).covers(&name(&whole)));
        assert!(!name(&whole).covers(&name(&whole)));
        for text in [
            "reports/2026-11-25/p00003-1-2.parquet",
            "damaged/reports/2026-11-25/x.parquet",
            "reports/2026-11-25/p00003-00000000000000000001-00000000000000000300.h24.parquet",
            "reports/2026-11-25/p00003-00000000000000000001-00000000000000000300.parquet#1",
            "",
        ] {
            assert!(text.parse::<FileName>().is_err(), "{text}");
        }
    }
}
