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
//! As long as a device sends genuine reports only, both judges are the same, and only one is kept. What the broker measures
//! of a client is genuine if the client may speak for the device.

mod aligned;

use std::sync::Arc;

use picket_model::name::{CertificateId, DeviceName};
use picket_model::time::Timestamp;
use picket_model::violation::{ChangeKind, ViolationChange, ViolationId};

use crate::alarm::Alarm;
use crate::breach::Reading;
use crate::explain::{Breach, Measured, Offender};
use crate::judge::{Judge, Verdict};
use crate::moment::Moment;
use crate::rule::{Pace, Rule};

use aligned::Aligned;

/// What is remembered of one behavior on one device.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Slot {
    /// Judges everything.
    #[n(0)]
    pub(crate) all: Judge,
    /// Judges what is genuine; `None` while that gives the same.
    #[n(1)]
    apart: Option<Box<Judge>>,
    /// The newest datapoint over everything.
    #[n(2)]
    #[cbor(with = "crate::snapshot::optional_datapoint")]
    pub(crate) latest: Option<(Timestamp, Measured)>,
    /// `Some` once breaches ran. Boxed, as few slots ever see one.
    #[n(3)]
    pub(crate) run: Option<Box<Run>>,
    /// What aligned windows need besides; boxed, as most rules have none.
    #[n(4)]
    aligned: Option<Box<Aligned>>,
}

/// Breaches in a row, and the violation that they raised. Without either, the time of the newest id is left.
#[derive(Clone, Debug, Default, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Run {
    /// The breaches that led to the alarm, or may yet; oldest first, at most [`Run::BREACHES_MAX`].
    #[n(0)]
    pub(crate) breaches: Vec<Breach>,
    /// The open violation.
    #[n(1)]
    pub(crate) open: Option<Open>,
    /// The elements of the newest breaching list that are not normal, and since when they were in every one.
    #[n(2)]
    pub(crate) offenders: Vec<Offender>,
    /// The time that the newest violation's id was made from.
    #[n(3)]
    #[cbor(with = "crate::snapshot::optional_timestamp")]
    named_at: Option<Timestamp>,
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
    /// Whether what is genuine alone has been in alarm since.
    #[n(2)]
    pub(crate) is_supported: bool,
    /// Whether it was raised before the end of its window.
    #[n(3)]
    pub(crate) is_eager: bool,
}

/// A record as it concerns one device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occasion<'a> {
    /// The device.
    pub(crate) thing: &'a DeviceName,
    /// The time of what it is about: the record's stamp, or the end of the window that it closes.
    pub(crate) at: Timestamp,
    /// The record's stamp in engine time.
    pub(crate) now: Moment,
}

/// Since when a device is known: `None` if nothing was heard of it yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Known {
    /// By any sign.
    #[n(0)]
    #[cbor(with = "crate::snapshot::optional_moment")]
    pub(crate) all: Option<Moment>,
    /// By a genuine one.
    #[n(1)]
    #[cbor(with = "crate::snapshot::optional_moment")]
    pub(crate) genuine: Option<Moment>,
}

/// What the two judges made of a datapoint, and what it came from.
#[derive(Clone, Copy, Debug)]
struct Finding<'r> {
    all: Option<Verdict<'r>>,
    genuine: Option<Verdict<'r>>,
    certificate: Option<CertificateId>,
    /// Whether its window goes on.
    is_early: bool,
}

impl Run {
    /// The most breaches that are remembered: the longest run that raises an alarm.
    pub(crate) const BREACHES_MAX: usize = 10;
}

impl Slot {
    /// The state before the first sign of the device since the behavior began to apply.
    pub(crate) fn begun(rule: &Rule, known: Known) -> Self {
        let all = Judge::begun(rule, known.all);
        let genuine = Judge::begun(rule, known.genuine);
        let aligned = Some(Aligned::begun(known)).filter(|_| matches!(rule.pace, Pace::Aligned(_)));
        Self {
            apart: (genuine != all).then(|| Box::new(genuine)),
            all,
            latest: None,
            run: None,
            aligned: aligned.filter(|aligned| *aligned != Aligned::default()).map(Box::new),
        }
    }

    /// The same state after the criteria changed: a violation stays open, runs and windows start again.
    pub(crate) fn restarted(self, rule: &Rule, known: Known) -> Self {
        let (all, genuine) = (self.all.alarm, self.genuine().alarm);
        let fresh = Self::begun(rule, known);
        let mut restarted = Self {
            latest: self.latest,
            run: self.run,
            ..fresh
        };
        if restarted.open().is_none() {
            restarted.end_run();
        }
        let mut apart = restarted.genuine().clone();
        restarted.all.alarm = all.recounted();
        apart.alarm = genuine.recounted();
        restarted.apart = (apart != restarted.all).then(|| Box::new(apart));
        restarted
    }

    /// The state of a device that counts as another one from here on. Only the time of the newest id stays, so that
    /// no two violations get the same.
    pub(crate) fn reborn(mut self, rule: &Rule, known: Known) -> Self {
        self.end_run();
        Self {
            run: self.run,
            ..Self::begun(rule, known)
        }
    }

    /// The time that the newest violation's id was made from.
    pub(crate) fn named_at(&self) -> Option<Timestamp> {
        self.run.as_ref()?.named_at
    }

    /// Ids come from times after this one.
    pub(crate) fn name_after(&mut self, named_until: Timestamp) {
        if self.named_at() < Some(named_until) {
            self.run.get_or_insert_default().named_at = Some(named_until);
        }
    }

    /// No breaches run and no violation is open. Returns the one that was.
    fn end_run(&mut self) -> Option<Open> {
        let run = self.run.as_mut()?;
        let open = run.end();
        if run.named_at.is_none() {
            self.run = None;
        }
        open
    }

    /// Whether a violation is open.
    pub(crate) fn open(&self) -> Option<&Open> {
        self.run.as_ref()?.open.as_ref()
    }

    /// The judge of what is genuine.
    pub(crate) fn genuine(&self) -> &Judge {
        self.apart.as_deref().unwrap_or(&self.all)
    }

    /// Whether nothing is wrong, by either judge.
    pub(crate) fn is_calm(&self) -> bool {
        self.all.alarm == Alarm::QUIET && self.genuine().alarm == Alarm::QUIET
    }

    /// Takes what a report says of the metric. Returns whether that was a datapoint.
    pub(crate) fn take(
        &mut self,
        rule: &Rule,
        reading: Reading<'_>,
        (is_genuine, certificate): (bool, CertificateId),
        occasion: Occasion<'_>,
        changes: &mut Vec<ViolationChange>,
    ) -> bool {
        self.part(is_genuine);
        let all = self.all.take(rule, reading, occasion.now);
        let genuine = match &mut self.apart {
            None => all,
            Some(judge) if is_genuine => judge.take(rule, reading, occasion.now),
            Some(_) => None,
        };
        self.join();
        let finding = Finding {
            all,
            genuine,
            certificate: Some(certificate),
            is_early: false,
        };
        self.settle(rule, finding, occasion, changes)
    }

    /// Takes an age in seconds, by any sign of the device and by genuine ones. Returns whether that was a datapoint.
    pub(crate) fn age(
        &mut self,
        rule: &Rule,
        (all, genuine): (Option<u64>, Option<u64>),
        is_early: bool,
        occasion: Occasion<'_>,
        changes: &mut Vec<ViolationChange>,
    ) -> bool {
        self.part(all == genuine);
        let read = |age: Option<u64>| age.map(Reading::Count);
        let all = read(all).and_then(|age| self.all.judge(rule, age));
        let genuine = match &mut self.apart {
            Some(judge) => read(genuine).and_then(|age| judge.judge(rule, age)),
            None => all,
        };
        self.join();
        let finding = Finding {
            all,
            genuine,
            certificate: None,
            is_early,
        };
        self.settle(rule, finding, occasion, changes)
    }

    /// From here on the two judges may differ, unless they see the same.
    fn part(&mut self, is_same: bool) {
        if !is_same && self.apart.is_none() {
            self.apart = Some(Box::new(self.all.clone()));
        }
    }

    /// One judge is enough again if both are the same.
    fn join(&mut self) {
        if self.apart.as_deref() == Some(&self.all) {
            self.apart = None;
        }
    }

    /// Takes note of a datapoint that was judged, and brings the violation in line. Returns whether there was one.
    fn settle(
        &mut self,
        rule: &Rule,
        finding: Finding<'_>,
        occasion: Occasion<'_>,
        changes: &mut Vec<ViolationChange>,
    ) -> bool {
        let Some(main) = finding.all.or(finding.genuine) else {
            return false;
        };
        self.latest = Some((occasion.at, Measured::of(main.value)));
        let verdicts = [finding.all, finding.genuine];
        let breach = verdicts.into_iter().flatten().find(|one| one.is_breach);
        if let Some(breach) = breach {
            let is_genuine = finding.genuine.is_some_and(|one| one.is_breach);
            let run = self.run.get_or_insert_default();
            let breach = Breach::of(
                rule.check(),
                breach.value,
                occasion.at,
                (is_genuine, finding.certificate),
            );
            run.note(breach);
        }
        if self.run.is_some() {
            self.follow(rule, main, (breach, finding), occasion, changes);
        }
        true
    }

    /// Brings the violation in line with the two alarms.
    fn follow(
        &mut self,
        rule: &Rule,
        main: Verdict<'_>,
        (breach, finding): (Option<Verdict<'_>>, Finding<'_>),
        occasion: Occasion<'_>,
        changes: &mut Vec<ViolationChange>,
    ) {
        let is_supported = self.genuine().alarm.is_raised();
        let is_raised = is_supported || self.all.alarm.is_raised();
        let is_calm = self.is_calm();
        let mut tell = |id, kind| changes.push(change(rule, id, occasion, kind));
        let Some(run) = &mut self.run else { return };
        match &mut run.open {
            None if is_raised => {
                let value = breach.unwrap_or(main).value.to_value();
                let id = next_id(rule, occasion, &mut run.named_at);
                let is_eager = finding.is_early;
                run.open = Some(Open {
                    id,
                    raised_at: occasion.at,
                    is_supported,
                    is_eager,
                });
                let raised = ChangeKind::Raised {
                    value,
                    is_supported,
                    is_eager,
                };
                tell(id, raised);
            }
            Some(open) if is_raised => {
                if let Some(breach) = breach {
                    let value = breach.value.to_value();
                    tell(open.id, ChangeKind::Continued { value });
                }
                if is_supported && !open.is_supported {
                    open.is_supported = true;
                    let value = finding.genuine.unwrap_or(main).value.to_value();
                    tell(open.id, ChangeKind::Supported { value });
                }
            }
            Some(open) => {
                // If it was the genuine judge that gave in, over a sum that forged reports swell, its value tells why.
                let verdicts = [finding.all, finding.genuine];
                let normal = verdicts.into_iter().flatten().find(|one| !one.is_breach);
                let value = normal.unwrap_or(main).value.to_value();
                tell(open.id, ChangeKind::Cleared { value });
                run.end();
            }
            None => {}
        }
        if is_calm {
            self.end_run();
        }
    }

    /// Nothing was heard for too long, by any sign or by genuine ones: those judges are in alarm no more, and with
    /// neither in alarm the violation ends. Breaches that were counted before an alarm still count.
    pub(crate) fn fall_silent(
        &mut self,
        rule: &Rule,
        (all, genuine): (bool, bool),
        occasion: Occasion<'_>,
        changes: &mut Vec<ViolationChange>,
    ) {
        self.part(all == genuine);
        if all {
            self.all.alarm = Alarm::QUIET;
        }
        if let Some(judge) = self.apart.as_mut().filter(|_| genuine) {
            judge.alarm = Alarm::QUIET;
        }
        self.join();
        let is_raised = self.all.alarm.is_raised() || self.genuine().alarm.is_raised();
        let is_calm = self.is_calm();
        let Some(run) = self.run.as_mut().filter(|_| !is_raised) else {
            return;
        };
        if let Some(open) = run.end() {
            changes.push(change(rule, open.id, occasion, ChangeKind::Invalidated));
        }
        if is_calm {
            self.end_run();
        }
    }

    /// Nobody judges it any more: an open violation ends, the alarms are quiet.
    pub(crate) fn invalidate(&mut self, rule: &Rule, occasion: Occasion<'_>, changes: &mut Vec<ViolationChange>) {
        if let Some(open) = self.open() {
            changes.push(change(rule, open.id, occasion, ChangeKind::Invalidated));
        }
        self.end_run();
        self.all.alarm = Alarm::QUIET;
        if let Some(judge) = &mut self.apart {
            judge.alarm = Alarm::QUIET;
        }
    }
}

impl Run {
    /// Ends the open violation; what led to it is forgotten.
    fn end(&mut self) -> Option<Open> {
        self.breaches.clear();
        self.offenders.clear();
        self.open.take()
    }

    /// Takes note of a breach. Those after the alarm are not kept, but whose fault it is.
    fn note(&mut self, breach: Breach) {
        let at = breach.at;
        let before = std::mem::take(&mut self.offenders);
        let names = breach.offending.as_ref().map(Offender::names).unwrap_or_default();
        self.offenders = names
            .into_iter()
            .map(|element| {
                let since = before
                    .iter()
                    .find(|one| one.element == element)
                    .map_or(at, |one| one.since);
                Offender { element, since }
            })
            .collect();
        if self.open.is_none() {
            if self.breaches.len() == Self::BREACHES_MAX {
                self.breaches.remove(0);
            }
            self.breaches.push(breach);
        }
    }
}

/// The id of a violation raised now. Two of one behavior in one millisecond, or at one time of a clock that was set
/// back, would get the same: the later one is named after the millisecond that follows.
fn next_id(rule: &Rule, occasion: Occasion<'_>, named_at: &mut Option<Timestamp>) -> ViolationId {
    let at = match named_at {
        Some(before) => occasion.at.max(before.shifted(1)),
        None => occasion.at,
    };
    *named_at = Some(at);
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
