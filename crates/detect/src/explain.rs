//! Why an alarm is as it is, in figures.

use std::sync::Arc;
use std::time::Duration;

use picket_model::behavior::Behavior;
use picket_model::fleet::Threshold;
use picket_model::name::{BehaviorName, CertificateId, DeviceName, ProfileName};
use picket_model::time::Timestamp;
use picket_model::value::MetricValue;
use picket_model::violation::ViolationId;

use crate::alarm::Alarm;
use crate::breach::{Check, Reading};
use crate::engine::Engine;
use crate::moment::EngineClock;
use crate::rule::{Pace, Rule};
use crate::slot::Slot;
use crate::window::Window;

/// Why the alarm of one behavior on one device is as it is, and what would clear it. Bounded: at most 10 breaches, 64
/// entries of a window, and 8 offending elements of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The device.
    pub thing: DeviceName,
    /// The profile.
    pub profile: ProfileName,
    /// The behavior as it is judged now: what is normal, and how many datapoints in a row change the alarm.
    pub behavior: Arc<Behavior>,
    /// Whether the device is in the registry, as far as this partition has been told.
    pub is_registered: bool,
    /// When the device last reported.
    pub last_seen: Option<Timestamp>,
    /// In alarm or not, and how far the run that would change it has come.
    pub state: State,
    /// The newest datapoint.
    pub latest: Option<Datapoint>,
    /// The breaches in a row that led to the alarm, or may yet, oldest first.
    pub breaches: Vec<Breach>,
    /// Of a list in alarm: the elements that are not normal, the first 8, and since when.
    pub offenders: Vec<Offender>,
    /// For volumes: what the newest datapoint is the sum of.
    pub window: Option<WindowContents>,
    /// For what is judged in windows aligned to the clock: the one that runs.
    pub running: Option<RunningWindow>,
    /// For percentiles: the fleet's newest.
    pub percentile: Option<Percentile>,
    /// What would clear the alarm; `None` if there is none.
    pub clearing: Option<Clearing>,
}

/// In alarm or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not in alarm.
    Quiet {
        /// Breaches in a row so far, over all reports.
        n_breaches: u8,
        /// How many it takes, 1 to 10.
        n_to_alarm: u8,
    },
    /// In alarm: a violation is open.
    InAlarm {
        /// Which.
        violation: ViolationId,
        /// Since when.
        raised_at: Timestamp,
        /// Whether genuine reports support it by themselves.
        is_supported: bool,
        /// Whether it was raised before the end of its window.
        is_eager: bool,
    },
}

/// A value with its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Datapoint {
    /// When the report was received.
    pub at: Timestamp,
    /// What was judged.
    pub value: Measured,
}

/// What was judged, of bounded size.
#[derive(Clone, Copy, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub enum Measured {
    /// A whole number: a total, or the sum of a window.
    #[n(0)]
    Count(#[n(0)] u64),
    /// A custom number.
    #[n(1)]
    Number(#[n(0)] f64),
    /// A list of so many elements, as reported.
    #[n(2)]
    Elements(#[n(0)] u64),
}

/// A datapoint that was not normal.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub struct Breach {
    /// When the report was received.
    #[n(0)]
    #[cbor(with = "crate::snapshot::timestamp")]
    pub at: Timestamp,
    /// What was judged.
    #[n(1)]
    pub value: Measured,
    /// Of a list: the elements that are not normal, the first 8. Texts are cut at 64 characters.
    #[n(2)]
    #[cbor(with = "crate::snapshot::optional_elements")]
    pub offending: Option<MetricValue>,
    /// Whether what the device may say for itself was a breach: its own reports, its own connections.
    #[n(3)]
    pub is_genuine: bool,
    /// The certificate behind it: evidence, not identity.
    #[n(4)]
    #[cbor(with = "crate::snapshot::optional_certificate")]
    pub certificate: Option<CertificateId>,
}

/// An element of a list that is not normal.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Offender {
    /// The port, address, number or text; a text is cut at 64 characters.
    #[n(0)]
    pub element: String,
    /// Since when it was in every list that was not normal.
    #[n(1)]
    #[cbor(with = "crate::snapshot::timestamp")]
    pub since: Timestamp,
}

impl Offender {
    /// The elements as texts.
    pub(crate) fn names(elements: &MetricValue) -> Vec<String> {
        match elements {
            MetricValue::Ports(ports) => ports.iter().map(ToString::to_string).collect(),
            MetricValue::Addresses(addresses) => addresses.iter().map(ToString::to_string).collect(),
            MetricValue::Numbers(numbers) => numbers.iter().map(ToString::to_string).collect(),
            MetricValue::Strings(strings) => strings.clone(),
            MetricValue::Count(_) | MetricValue::Number(_) => Vec::new(),
        }
    }
}

/// What a window holds.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowContents {
    /// Reports in it are counted from here on, for example because the behavior was attached then.
    pub since: Option<Timestamp>,
    /// The sum at the newest report.
    pub sum: u64,
    /// Oldest first.
    pub entries: Vec<WindowEntry>,
}

/// One report in a window, or several that came close together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowEntry {
    /// When the first of them was received.
    pub from: Timestamp,
    /// When the last of them was received.
    pub to: Timestamp,
    /// Their sum.
    pub amount: u64,
}

/// A window that runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunningWindow {
    /// When it began.
    pub from: Timestamp,
    /// When it ends, and so when its datapoint comes.
    pub to: Timestamp,
    /// What it holds so far; `None` if nothing.
    pub value: Option<Measured>,
    /// Whether it had its datapoint already: it broke its bound for good.
    pub is_told: bool,
}

/// The fleet's percentile in a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentile {
    /// The end of the window.
    pub at: Timestamp,
    /// The value; `None` if there was none: fewer than two devices, or values below zero.
    pub value: Option<Measured>,
    /// How many devices had a value.
    pub n_devices: u64,
}

/// What would clear an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clearing {
    /// So many more normal datapoints in a row, 1 to 10.
    pub n_normal: u8,
    /// Only reports over a certificate attached to the thing count: the alarm is supported by such.
    pub is_by_genuine_only: bool,
    /// For a volume above its limit: at a report then, the window will have emptied enough, if no report until then
    /// adds to it. Without a report nothing clears.
    pub window_empties_at: Option<Timestamp>,
    /// When the next datapoint comes by itself; `None` where only a report brings one.
    pub next_datapoint_at: Option<Timestamp>,
}

impl Measured {
    pub(crate) fn of(reading: Reading<'_>) -> Self {
        match (reading, reading.n_elements()) {
            (Reading::Count(count), _) => Self::Count(count),
            (Reading::Number(number), _) => Self::Number(number),
            (_, n_elements) => Self::Elements(n_elements.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)),
        }
    }
}

impl Breach {
    const ELEMENTS_MAX: usize = 8;
    const TEXT_CHARS_MAX: usize = 64;

    pub(crate) fn of(
        check: Option<&Check>,
        reading: Reading<'_>,
        at: Timestamp,
        (is_genuine, certificate): (bool, Option<CertificateId>),
    ) -> Self {
        let mut offending = check.and_then(|check| check.offending(reading, Self::ELEMENTS_MAX));
        if let Some(MetricValue::Strings(strings)) = &mut offending {
            for string in strings {
                *string = string.chars().take(Self::TEXT_CHARS_MAX).collect();
            }
        }
        Self {
            at,
            value: Measured::of(reading),
            offending,
            is_genuine,
            certificate,
        }
    }
}

impl Engine {
    /// Why the alarm of this behavior on this device is as it is. `None` if there is no such device, or the behavior
    /// is not judged on it.
    pub fn explain(&self, thing: &DeviceName, profile: &ProfileName, behavior: &BehaviorName) -> Option<Explanation> {
        let device = self.fleet.device(self.fleet.find(thing)?)?;
        let rules = self.rulebook.rules(device.cohort).iter();
        let (slot, rule) = device
            .slots
            .iter()
            .zip(rules)
            .find(|(_, rule)| rule.profile == *profile && rule.behavior.name == *behavior)?;
        Some(Explanation {
            thing: thing.clone(),
            profile: profile.clone(),
            behavior: Arc::clone(&rule.behavior),
            is_registered: self.rulebook.membership(device.cohort).is_registered,
            last_seen: device.last_seen.map(|moment| self.clock.timestamp(moment)),
            state: state(slot, rule),
            latest: slot.latest.map(|(at, value)| Datapoint { at, value }),
            breaches: slot.run.as_ref().map(|run| run.breaches.clone()).unwrap_or_default(),
            offenders: slot.run.as_ref().map(|run| run.offenders.clone()).unwrap_or_default(),
            window: slot.all.sliding().map(|window| contents(window, &self.clock)),
            running: self.running(slot, rule),
            percentile: self.rulebook.threshold(profile, behavior).map(percentile),
            clearing: slot.open().map(|_| self.clearing(slot, rule)),
        })
    }

    fn running(&self, slot: &Slot, rule: &Rule) -> Option<RunningWindow> {
        let Pace::Aligned(duration) = rule.pace else {
            return None;
        };
        let to = end_of(self.next_end?, duration);
        let bucket = slot.all.bucket();
        Some(RunningWindow {
            from: to.minus(duration),
            to,
            value: bucket.map(|bucket| Measured::of(bucket.reading(rule))),
            is_told: bucket.is_some_and(|bucket| bucket.is_told),
        })
    }

    fn clearing(&self, slot: &Slot, rule: &Rule) -> Clearing {
        let missing = |alarm| match alarm {
            Alarm::Raised { n_normal } => rule.patience.to_clear.saturating_sub(n_normal),
            Alarm::Quiet { .. } => 0,
        };
        let genuine = slot.genuine();
        let empties_at = slot.all.sliding().and_then(|window| empties_at(window, rule));
        Clearing {
            n_normal: missing(slot.all.alarm).max(missing(genuine.alarm)).max(1),
            is_by_genuine_only: genuine.alarm.is_raised(),
            window_empties_at: empties_at.map(|moment| self.clock.timestamp(moment)),
            next_datapoint_at: match rule.pace {
                Pace::Aligned(_) => self.running(slot, rule).map(|running| running.to),
                Pace::Age => self.next_end,
                Pace::AtReport | Pace::Sliding(_) => None,
            },
        }
    }
}

fn percentile(threshold: &Threshold) -> Percentile {
    Percentile {
        at: threshold.window.end,
        value: threshold.value.map(|value| Measured::of(Reading::of(value))),
        n_devices: threshold.n_devices,
    }
}

/// The end of the window of that length in which the five-minute window ends that runs.
fn end_of(next_end: Timestamp, duration: Duration) -> Timestamp {
    let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let n_windows = next_end.millis().saturating_add(millis - 1).div_euclid(millis);
    Timestamp::from_millis(n_windows.saturating_mul(millis))
}

fn state(slot: &Slot, rule: &Rule) -> State {
    match (slot.open(), slot.all.alarm) {
        (Some(open), _) => State::InAlarm {
            violation: open.id,
            raised_at: open.raised_at,
            is_supported: open.is_supported,
            is_eager: open.is_eager,
        },
        (None, Alarm::Quiet { n_breaches }) => State::Quiet {
            n_breaches,
            n_to_alarm: rule.patience.to_raise,
        },
        // An alarm is raised exactly while its violation is open.
        (None, Alarm::Raised { .. }) => State::Quiet {
            n_breaches: rule.patience.to_raise,
            n_to_alarm: rule.patience.to_raise,
        },
    }
}

fn contents(window: &Window, clock: &EngineClock) -> WindowContents {
    let entry = |entry: crate::window::Entry| WindowEntry {
        from: clock.timestamp(entry.first),
        to: clock.timestamp(entry.last),
        amount: entry.amount,
    };
    WindowContents {
        since: window.since.map(|since| clock.timestamp(since)),
        sum: window.sum(),
        entries: window.entries().map(entry).collect(),
    }
}

/// When enough entries will have left the window for the rest to be normal; `None` if the sum is too small rather than
/// too large, or normal already.
fn empties_at(window: &Window, rule: &Rule) -> Option<crate::moment::Moment> {
    let check = rule.check()?;
    let duration = rule.sliding().filter(|_| !check.is_lower_bound())?;
    let rest = |n_left: usize| {
        let rest = window.entries().skip(n_left);
        rest.fold(0, |sum: u64, entry| sum.saturating_add(entry.amount))
    };
    let is_breach = |n_left: usize| check.is_breach(Reading::Count(rest(n_left)));
    let n_left = (0..=window.entries().len()).find(|&n_left| !is_breach(n_left))?;
    let last_to_leave = window.entries().nth(n_left.checked_sub(1)?)?;
    Some(last_to_leave.last.plus(Window::reach(duration)))
}
