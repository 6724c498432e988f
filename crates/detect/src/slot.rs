//! What an engine remembers of one behavior on one device.
//!
//! # Genuine and forged reports
//!
//! A loose policy lets a device report in another's name, so a report is *genuine* only if it came over a certificate
//! attached to the thing. Every behavior is judged twice:
//!
//! - over all reports, as AWS does;
//! - over the genuine reports alone, as if the others had never been sent.
//!
//! A violation is open while *either* judge is in alarm, and it is *supported* once the genuine one was. It follows
//! that forged reports can raise an alarm, which alerts, but never one that is supported, which may quarantine; that
//! they cannot clear a supported violation, nor thin out a run of genuine breaches; and that they can keep a violation
//! open by breaching themselves.
//!
//! As long as a device sends genuine reports only, both judges are the same, and only one is kept.

use std::sync::Arc;

use picket_model::name::DeviceName;
use picket_model::time::Timestamp;
use picket_model::violation::{ChangeKind, ViolationChange, ViolationId};

use crate::alarm::Alarm;
use crate::breach::Reading;
use crate::explain::{Breach, Measured};
use crate::moment::Moment;
use crate::rule::Rule;
use crate::window::Window;

/// What is remembered of one behavior on one device.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Slot {
    /// Judges all reports.
    #[n(0)]
    pub(crate) all: Judge,
    /// Judges the genuine reports; `None` while that gives the same.
    #[n(1)]
    apart: Option<Box<Judge>>,
    /// The newest datapoint over all reports.
    #[n(2)]
    #[cbor(with = "crate::snapshot::optional_datapoint")]
    pub(crate) latest: Option<(Timestamp, Measured)>,
    /// `Some` while breaches run or a violation is open.
    #[n(3)]
    pub(crate) run: Option<Box<Run>>,
    /// The time that the newest violation's id was made from. Boxed, as few slots ever see one.
    #[n(4)]
    #[cbor(with = "crate::snapshot::boxed_timestamp")]
    named_at: Option<Box<Timestamp>>,
}

/// One alarm with the window that it looks at.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Judge {
    /// Raised or quiet.
    #[n(0)]
    pub(crate) alarm: Alarm,
    /// `Some` exactly for volumes.
    #[n(1)]
    pub(crate) window: Option<Box<Window>>,
}

/// Breaches in a row, and the violation that they raised.
#[derive(Clone, Debug, Default, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Run {
    /// The breaches that led to the alarm, or may yet; oldest first, at most [`Run::BREACHES_MAX`].
    #[n(0)]
    pub(crate) breaches: Vec<Breach>,
    /// The open violation.
    #[n(1)]
    pub(crate) open: Option<Open>,
}

/// An open violation.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Open {
    /// Its id.
    #[n(0)]
    #[cbor(with = "crate::snapshot::violation_id")]
    pub(crate) id: ViolationId,
    /// When it was raised.
    #[n(1)]
    #[cbor(with = "crate::snapshot::timestamp")]
    pub(crate) raised_at: Timestamp,
    /// Whether the genuine reports alone have been in alarm since.
    #[n(2)]
    pub(crate) is_supported: bool,
}

/// A report, or another record, as it concerns one device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occasion<'a> {
    /// The device.
    pub(crate) thing: &'a DeviceName,
    /// The record's stamp.
    pub(crate) at: Timestamp,
    /// The same in engine time.
    pub(crate) now: Moment,
}

/// Since when a device's reports are known: `None` if it has not reported yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// Any report.
    pub(crate) all: Option<Moment>,
    /// A genuine report.
    pub(crate) genuine: Option<Moment>,
}

/// One datapoint, judged.
#[derive(Clone, Copy, Debug)]
struct Verdict<'r> {
    value: Reading<'r>,
    is_breach: bool,
}

impl Run {
    /// The most breaches that are remembered: the longest run that raises an alarm.
    pub(crate) const BREACHES_MAX: usize = 10;
}

impl Slot {
    /// The state before the first report since the behavior began to apply.
    pub(crate) fn begun(rule: &Rule, known: Known) -> Self {
        let all = Judge::begun(rule, known.all);
        let genuine = Judge::begun(rule, known.genuine);
        Self {
            apart: (genuine != all).then(|| Box::new(genuine)),
            all,
            latest: None,
            run: None,
            named_at: None,
        }
    }

    /// The same state after the criteria changed: a violation stays open, runs and windows start again.
    pub(crate) fn restarted(self, rule: &Rule, known: Known) -> Self {
        let (all, genuine) = (self.all.alarm, self.genuine().alarm);
        let fresh = Self::begun(rule, known);
        let mut restarted = Self {
            latest: self.latest,
            run: self.run.filter(|run| run.open.is_some()),
            named_at: self.named_at,
            ..fresh
        };
        let mut apart = restarted.genuine().clone();
        restarted.all.alarm = all.recounted();
        apart.alarm = genuine.recounted();
        restarted.apart = (apart != restarted.all).then(|| Box::new(apart));
        restarted
    }

    /// The state of a device that counts as another one from here on. Only the time of the newest id stays, so that
    /// no two violations get the same.
    pub(crate) fn reborn(self, rule: &Rule, known: Known) -> Self {
        Self {
            named_at: self.named_at,
            ..Self::begun(rule, known)
        }
    }

    /// Whether a violation is open.
    pub(crate) fn open(&self) -> Option<&Open> {
        self.run.as_ref()?.open.as_ref()
    }

    /// The judge of the genuine reports.
    pub(crate) fn genuine(&self) -> &Judge {
        self.apart.as_deref().unwrap_or(&self.all)
    }

    /// Takes what a report says of the metric. Returns whether that was a datapoint.
    pub(crate) fn take(
        &mut self,
        rule: &Rule,
        reading: Reading<'_>,
        is_genuine: bool,
        occasion: Occasion<'_>,
        changes: &mut Vec<ViolationChange>,
    ) -> bool {
        if !is_genuine && self.apart.is_none() {
            self.apart = Some(Box::new(self.all.clone()));
        }
        let all = self.all.take(rule, reading, occasion.now);
        let genuine = match &mut self.apart {
            None => all,
            Some(judge) if is_genuine => judge.take(rule, reading, occasion.now),
            Some(_) => None,
        };
        if is_genuine && self.apart.as_deref() == Some(&self.all) {
            self.apart = None;
        }
        // Whatever the genuine judge has seen the other has seen too: without a datapoint here there is none there.
        let Some(all) = all else { return false };
        self.latest = Some((occasion.at, Measured::of(all.value)));
        let breach = [Some(all), genuine].into_iter().flatten().find(|one| one.is_breach);
        if let Some(breach) = breach {
            let run = self.run.get_or_insert_default();
            if run.open.is_none() {
                if run.breaches.len() == Run::BREACHES_MAX {
                    run.breaches.remove(0);
                }
                let breach = Breach::of(&rule.check, breach.value, occasion.at, is_genuine);
                run.breaches.push(breach);
            }
        }
        if self.run.is_some() {
            self.follow(rule, all, breach, genuine, occasion, changes);
        }
        true
    }

    /// Brings the violation in line with the two alarms.
    fn follow(
        &mut self,
        rule: &Rule,
        all: Verdict<'_>,
        breach: Option<Verdict<'_>>,
        genuine: Option<Verdict<'_>>,
        occasion: Occasion<'_>,
        changes: &mut Vec<ViolationChange>,
    ) {
        let is_supported = self.genuine().alarm.is_raised();
        let is_raised = is_supported || self.all.alarm.is_raised();
        let is_calm = self.all.alarm == Alarm::QUIET && self.genuine().alarm == Alarm::QUIET;
        let mut tell = |id, kind| changes.push(change(rule, id, occasion, kind));
        let Some(run) = &mut self.run else { return };
        match &mut run.open {
            None if is_raised => {
                let value = breach.unwrap_or(all).value.to_value();
                let id = next_id(rule, occasion, &mut self.named_at);
                run.open = Some(Open {
                    id,
                    raised_at: occasion.at,
                    is_supported,
                });
                tell(
                    id,
                    ChangeKind::Raised {
                        value,
                        is_supported,
                        is_eager: false,
                    },
                );
            }
            Some(open) if is_raised => {
                if let Some(breach) = breach {
                    let value = breach.value.to_value();
                    tell(open.id, ChangeKind::Continued { value });
                }
                if is_supported && !open.is_supported {
                    open.is_supported = true;
                    let value = genuine.unwrap_or(all).value.to_value();
                    tell(open.id, ChangeKind::Supported { value });
                }
            }
            Some(open) => {
                // If it was the genuine judge that gave in, over a sum that forged reports swell, its value tells why.
                let normal = [Some(all), genuine].into_iter().flatten().find(|one| !one.is_breach);
                let value = normal.unwrap_or(all).value.to_value();
                tell(open.id, ChangeKind::Cleared { value });
                run.open = None;
                run.breaches.clear();
            }
            None => {}
        }
        if is_calm {
            self.run = None;
        }
    }

    /// Nobody judges it any more, or nothing was heard for too long: an open violation ends, the alarms are quiet.
    pub(crate) fn invalidate(&mut self, rule: &Rule, occasion: Occasion<'_>, changes: &mut Vec<ViolationChange>) {
        if let Some(open) = self.open() {
            changes.push(change(rule, open.id, occasion, ChangeKind::Invalidated));
        }
        self.run = None;
        self.all.alarm = Alarm::QUIET;
        if let Some(judge) = &mut self.apart {
            judge.alarm = Alarm::QUIET;
        }
    }
}

impl Judge {
    fn begun(rule: &Rule, since: Option<Moment>) -> Self {
        Self {
            alarm: Alarm::QUIET,
            window: rule.window.map(|_| Box::new(Window::begun(since))),
        }
    }

    /// Takes what a report says; `None` while a window is too young for a lower bound.
    fn take<'r>(&mut self, rule: &Rule, reading: Reading<'r>, now: Moment) -> Option<Verdict<'r>> {
        let value = match (reading, rule.window, &mut self.window) {
            (Reading::Count(amount), Some(duration), Some(window)) => {
                let sum = window.add(now, amount, duration);
                if rule.check.is_lower_bound() && !window.is_ripe(now, duration) {
                    return None;
                }
                Reading::Count(sum)
            }
            _ => reading,
        };
        let is_breach = rule.check.is_breach(value);
        (self.alarm, _) = self.alarm.step(is_breach, rule.patience);
        Some(Verdict { value, is_breach })
    }
}

/// The id of a violation raised now. Two of one behavior in one millisecond, or at one time of a clock that was set
/// back, would get the same: the later one is named after the millisecond that follows.
fn next_id(rule: &Rule, occasion: Occasion<'_>, named_at: &mut Option<Box<Timestamp>>) -> ViolationId {
    let at = match named_at {
        Some(before) => occasion.at.max(before.shifted(1)),
        None => occasion.at,
    };
    *named_at = Some(Box::new(at));
    ViolationId::derive(occasion.thing, &rule.profile, &rule.behavior.name, at)
}

fn change(rule: &Rule, id: ViolationId, occasion: Occasion<'_>, kind: ChangeKind) -> ViolationChange {
    ViolationChange {
        id,
        thing: occasion.thing.clone(),
        profile: rule.profile.clone(),
        behavior: Arc::clone(&rule.behavior),
        at: occasion.at,
        kind,
    }
}
