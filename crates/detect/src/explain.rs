//! Why an alarm is as it is, in figures.

use std::sync::Arc;

use picket_model::behavior::Behavior;
use picket_model::name::{BehaviorName, DeviceName, ProfileName};
use picket_model::time::Timestamp;
use picket_model::value::MetricValue;
use picket_model::violation::ViolationId;

use crate::alarm::Alarm;
use crate::breach::{Check, Reading};
use crate::engine::Engine;
use crate::moment::EngineClock;
use crate::rule::Rule;
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
    /// For volumes: what the newest datapoint is the sum of.
    pub window: Option<WindowContents>,
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
    /// Whether the report came over a certificate attached to the thing.
    #[n(3)]
    pub is_genuine: bool,
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

    pub(crate) fn of(check: &Check, reading: Reading<'_>, at: Timestamp, is_genuine: bool) -> Self {
        let mut offending = check.offending(reading, Self::ELEMENTS_MAX);
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
            window: slot.all.window.as_ref().map(|window| contents(window, &self.clock)),
            clearing: slot.open().map(|_| clearing(slot, rule, &self.clock)),
        })
    }
}

fn state(slot: &Slot, rule: &Rule) -> State {
    match (slot.open(), slot.all.alarm) {
        (Some(open), _) => State::InAlarm {
            violation: open.id,
            raised_at: open.raised_at,
            is_supported: open.is_supported,
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
    let entry = |entry: &crate::window::Entry| WindowEntry {
        from: clock.timestamp(entry.first()),
        to: clock.timestamp(entry.last),
        amount: entry.amount,
    };
    WindowContents {
        since: window.since.map(|since| clock.timestamp(since)),
        sum: window.sum(),
        entries: window.entries.iter().map(entry).collect(),
    }
}

fn clearing(slot: &Slot, rule: &Rule, clock: &EngineClock) -> Clearing {
    let missing = |alarm| match alarm {
        Alarm::Raised { n_normal } => rule.patience.to_clear.saturating_sub(n_normal),
        Alarm::Quiet { .. } => 0,
    };
    let genuine = slot.genuine();
    Clearing {
        n_normal: missing(slot.all.alarm).max(missing(genuine.alarm)).max(1),
        is_by_genuine_only: genuine.alarm.is_raised(),
        window_empties_at: slot
            .all
            .window
            .as_ref()
            .and_then(|window| empties_at(window, rule))
            .map(|moment| clock.timestamp(moment)),
    }
}

/// When enough entries will have left the window for the rest to be normal; `None` if the sum is too small rather than
/// too large, or normal already.
fn empties_at(window: &Window, rule: &Rule) -> Option<crate::moment::Moment> {
    let duration = rule.window.filter(|_| !rule.check.is_lower_bound())?;
    let rest = |n_left: usize| {
        let rest = window.entries.iter().skip(n_left);
        rest.fold(0, |sum: u64, entry| sum.saturating_add(entry.amount))
    };
    let is_breach = |n_left: usize| rule.check.is_breach(Reading::Count(rest(n_left)));
    let n_left = (0..=window.entries.len()).find(|&n_left| !is_breach(n_left))?;
    let last_to_leave = window.entries.get(n_left.checked_sub(1)?)?;
    Some(last_to_leave.last.plus(Window::reach(duration)))
}
