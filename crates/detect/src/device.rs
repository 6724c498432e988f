//! What an engine remembers of one device.

use std::sync::Arc;
use std::time::Duration;

use picket_model::behavior::Behavior;
use picket_model::metric::ReportingMetric;
use picket_model::name::{DeviceName, ProfileName};
use picket_model::record::ReportRecord;
use picket_model::report::Report;
use picket_model::time::Timestamp;
use picket_model::violation::{ChangeKind, ViolationChange, ViolationId};

use crate::alarm::Alarm;
use crate::breach::Check;
use crate::conduct::{Conduct, Noticed};
use crate::judge::Judge;
use crate::moment::Moment;
use crate::outcome::Outcome;
use crate::presence::{Link, Presence};
use crate::rule::{Pace, Rule};
use crate::rulebook::{CohortId, Heir};
use crate::slot::{Known, Occasion, Slot};
use crate::source::{Amount, Source};

/// How long a device may be silent before its violations are invalidated: two days. Source: AWS's documentation of
/// Detect ("more than two days").
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(2 * 24 * 3600);

/// One device: registered or not.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// What it is called.
    pub(crate) name: DeviceName,
    /// Which rules apply to it.
    pub(crate) cohort: CohortId,
    /// When it last reported, duplicates included; `None` for a registered thing that never did.
    pub(crate) last_seen: Option<Moment>,
    /// When the last genuine report came.
    pub(crate) genuine_seen: Option<Moment>,
    /// How it reports, by genuine reports.
    pub(crate) conduct: Conduct,
    /// The same by all reports, once there are others.
    pub(crate) conduct_all: Option<Box<Conduct>>,
    /// Its connections, if it was ever a client.
    pub(crate) presence: Option<Box<Presence>>,
    /// Its last genuine reports.
    pub(crate) genuine: Memory,
    /// Its last other reports; most devices have none.
    pub(crate) forged: Option<Box<Memory>>,
    /// One slot to each rule of the cohort, in the same order.
    pub(crate) slots: Vec<Slot>,
    /// Violations from before it was registered or unregistered.
    pub(crate) former: Vec<Former>,
    /// When the engine looks after its deadlines next.
    pub(crate) wake: Option<Moment>,
}

/// A violation of a device that has since been registered or unregistered and so counts as another one.
///
/// As on AWS it stays open until the old identity has been silent for two days: nobody can report for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Former {
    /// The violation.
    pub(crate) id: ViolationId,
    /// Its profile.
    pub(crate) profile: ProfileName,
    /// Its behavior.
    pub(crate) behavior: Arc<Behavior>,
    /// Whether the old identity was registered.
    pub(crate) was_registered: bool,
    /// When it is invalidated.
    pub(crate) deadline: Moment,
}

/// The last reports of a device, to tell duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Memory {
    /// At most [`Memory::REPORTS_MAX`].
    #[n(0)]
    reports: Vec<Remembered>,
    /// Where the next one goes once all places are taken.
    #[n(1)]
    next: u8,
}

/// One report, as far as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
struct Remembered {
    /// Of its id and content.
    #[n(0)]
    fingerprint: u64,
    #[n(1)]
    #[cbor(with = "crate::snapshot::moment")]
    at: Moment,
}

impl Memory {
    /// How many reports are remembered.
    pub(crate) const REPORTS_MAX: u8 = 16;

    /// For how long: 24 h by receive time.
    pub(crate) const AGE_MAX: Duration = Duration::from_secs(24 * 3600);

    /// Whether the same report came before, lately.
    pub(crate) fn holds(&self, report_id: u64, payload_hash: &[u8; 16], now: Moment) -> bool {
        self.reports.iter().any(|report| {
            report.fingerprint == fingerprint(report_id, payload_hash) && now.since(report.at) <= Self::AGE_MAX
        })
    }

    /// Remembers a report, in the place of the oldest if need be.
    pub(crate) fn add(&mut self, report_id: u64, payload_hash: [u8; 16], now: Moment) {
        let report = Remembered {
            fingerprint: fingerprint(report_id, &payload_hash),
            at: now,
        };
        match self.reports.get_mut(usize::from(self.next)) {
            Some(oldest) => *oldest = report,
            None => {
                // All at once: growing step by step would leave holes in memory, for each of a million devices.
                self.reports
                    .reserve_exact(usize::from(Self::REPORTS_MAX) - self.reports.len());
                self.reports.push(report);
            }
        }
        self.next = self.next.wrapping_add(1) % Self::REPORTS_MAX;
    }
}

impl Device {
    /// A device that has not reported yet.
    pub(crate) fn new(name: DeviceName, cohort: CohortId, rules: &[Arc<Rule>]) -> Self {
        Self {
            name,
            cohort,
            last_seen: None,
            genuine_seen: None,
            conduct: Conduct::default(),
            conduct_all: None,
            presence: None,
            genuine: Memory::default(),
            forged: None,
            slots: rules.iter().map(|rule| Slot::begun(rule, Known::default())).collect(),
            former: Vec::new(),
            wake: None,
        }
    }

    /// Notes that a report came; whether it is new.
    ///
    /// A report is a duplicate if the same one is remembered, but a genuine report never is one of a forged report:
    /// else whoever copies a report and sends it first would take away its support.
    pub(crate) fn note_report(
        &mut self,
        report_id: u64,
        payload_hash: [u8; 16],
        is_genuine: bool,
        now: Moment,
    ) -> bool {
        self.last_seen = Some(now);
        if is_genuine {
            self.genuine_seen = Some(now);
        }
        let is_duplicate = self.genuine.holds(report_id, &payload_hash, now)
            || (!is_genuine
                && self
                    .forged
                    .as_ref()
                    .is_some_and(|forged| forged.holds(report_id, &payload_hash, now)));
        if is_duplicate {
            return false;
        }
        let memory = if is_genuine {
            &mut self.genuine
        } else {
            self.forged.get_or_insert_default()
        };
        memory.add(report_id, payload_hash, now);
        true
    }

    /// Judges a report that is no duplicate; says how many datapoints that were.
    pub(crate) fn take_report(
        &mut self,
        rules: &[Arc<Rule>],
        (at, now): (Timestamp, Moment),
        record: &ReportRecord,
        outcome: &mut Outcome,
    ) -> u64 {
        let sender = (record.sender.is_attached, record.sender.certificate);
        let noticed = self.notice(&record.report, sender.0);
        // This report has just been seen; it tells of the genuine silence only if it is genuine itself.
        let ages = (Some(0), sender.0.then_some(0));
        let occasion = Occasion {
            thing: &self.name,
            at,
            now,
        };
        let mut n_datapoints = 0;
        for (slot, rule) in self.slots.iter_mut().zip(rules) {
            let changes = &mut outcome.changes;
            let is_datapoint = match (rule.pace, &rule.source) {
                (_, Source::Broker(..)) => false,
                (Pace::Age, _) => slot.age(rule, ages, false, occasion, changes),
                (_, Source::Reporting(metric)) => {
                    let (all, genuine) = noticed;
                    let amount = |noticed: Noticed| Amount::Count(noticed.count(*metric));
                    let amounts = (amount(all), genuine.map(amount));
                    slot.measure(rule, amounts, Some(sender.1), occasion, changes)
                }
                (Pace::Aligned(_), source) => source.amount(&record.report).is_some_and(|amount| {
                    let amounts = (amount, sender.0.then_some(amount));
                    slot.measure(rule, amounts, Some(sender.1), occasion, changes)
                }),
                (Pace::AtReport | Pace::Sliding(_), source) => source
                    .read(&record.report)
                    .is_some_and(|reading| slot.take(rule, reading, sender, occasion, changes)),
            };
            n_datapoints += u64::from(is_datapoint);
            if rule.export.is_some()
                && let Some(reading) = rule.source.read(&record.report)
            {
                rule.export("", reading.to_value(), occasion, &mut outcome.exports);
            }
        }
        n_datapoints
    }

    /// What is noticed of a report: beside all that came before, and, if it is genuine, beside the genuine ones.
    fn notice(&mut self, report: &Report, is_genuine: bool) -> (Noticed, Option<Noticed>) {
        if !is_genuine && self.conduct_all.is_none() {
            self.conduct_all = Some(Box::new(self.conduct.clone()));
        }
        let genuine = is_genuine.then(|| self.conduct.note(report, true));
        let all = match &mut self.conduct_all {
            Some(conduct) => conduct.note(report, is_genuine),
            None => genuine.unwrap_or_default(),
        };
        if is_genuine && self.conduct_all.as_deref() == Some(&self.conduct) {
            self.conduct_all = None;
        }
        (all, genuine)
    }

    /// The newest time that the id of a violation was made from.
    pub(crate) fn named_at(&self) -> Option<Timestamp> {
        self.slots.iter().filter_map(Slot::named_at).max()
    }

    /// Ids come from times after this one, if there is one.
    pub(crate) fn name_after(&mut self, named_until: Option<Timestamp>) {
        if let Some(named_until) = named_until {
            self.slots.iter_mut().for_each(|slot| slot.name_after(named_until));
        }
    }

    /// A report came that is no news but that the device is there.
    pub(crate) fn break_silence(
        &mut self,
        rules: &[Arc<Rule>],
        (at, now): (Timestamp, Moment),
        is_genuine: bool,
        outcome: &mut Outcome,
    ) -> u64 {
        let is_silence = |rule: &Rule| rule.source == Source::Reporting(ReportingMetric::SilenceDuration);
        let mut n_datapoints = 0;
        for (nth, rule) in rules.iter().enumerate().filter(|(_, rule)| is_silence(rule)) {
            n_datapoints += u64::from(self.note_age(nth, rule, (at, now), is_genuine, outcome));
        }
        n_datapoints
    }

    /// Goes over to other rules. `heirs` says for each new rule what becomes of its slot; slots of the old rules that
    /// no rule inherits are invalidated. Returns the newest time that one of those made an id from.
    pub(crate) fn change_rules(
        &mut self,
        (old, new): (&[Arc<Rule>], &[Arc<Rule>]),
        heirs: &[Heir],
        (at, now): (Timestamp, Moment),
        changes: &mut Vec<ViolationChange>,
    ) -> Option<Timestamp> {
        let known: Vec<Known> = new.iter().map(|rule| self.known(rule, now)).collect();
        let mut inherited: Vec<Option<Slot>> = std::mem::take(&mut self.slots).into_iter().map(Some).collect();
        let mut take = |nth: usize| inherited.get_mut(nth).and_then(Option::take);
        self.slots = heirs
            .iter()
            .zip(new)
            .zip(known)
            .map(|((heir, rule), known)| match *heir {
                Heir::Unchanged(nth) => take(nth).unwrap_or_else(|| Slot::begun(rule, known)),
                Heir::Edited(nth) => {
                    take(nth).map_or_else(|| Slot::begun(rule, known), |slot| slot.restarted(rule, known))
                }
                Heir::New => Slot::begun(rule, known),
            })
            .collect();
        let occasion = Occasion {
            thing: &self.name,
            at,
            now,
        };
        for (slot, rule) in inherited.iter_mut().zip(old) {
            if let Some(slot) = slot {
                slot.invalidate(rule, occasion, changes);
            }
        }
        inherited.iter().flatten().filter_map(Slot::named_at).max()
    }

    /// Counts as another device from here on, because it was registered or unregistered. Violations that could go on
    /// for the old identity (`lives_on`) stay open until that has been silent for long; others are invalidated.
    pub(crate) fn change_identity(
        &mut self,
        rules: &[Arc<Rule>],
        was_registered: bool,
        lives_on: impl Fn(&Rule) -> bool,
        (at, now): (Timestamp, Moment),
        changes: &mut Vec<ViolationChange>,
    ) {
        let known: Vec<Known> = rules.iter().map(|rule| self.known(rule, now)).collect();
        let deadlines: Vec<Moment> = rules
            .iter()
            .map(|rule| self.data_deadlines(rule).0.unwrap_or_else(|| silence_deadline(now)))
            .collect();
        let occasion = Occasion {
            thing: &self.name,
            at,
            now,
        };
        let each = self.slots.iter_mut().zip(rules).zip(known).zip(deadlines);
        for (((slot, rule), known), deadline) in each {
            match slot.open() {
                Some(open) if lives_on(rule) && self.former.len() < Self::FORMER_MAX => self.former.push(Former {
                    id: open.id,
                    profile: rule.profile.clone(),
                    behavior: Arc::clone(&rule.behavior),
                    was_registered,
                    deadline,
                }),
                _ => slot.invalidate(rule, occasion, changes),
            }
            *slot = slot.clone().reborn(rule, known);
        }
    }

    /// The most violations of former identities that are kept open: more come only from registering and
    /// unregistering over and over, and are invalidated at once.
    const FORMER_MAX: usize = 64;

    /// Since when this device is known to a rule that begins to apply now.
    pub(crate) fn known(&self, rule: &Rule, now: Moment) -> Known {
        let (all, genuine) = match rule.source {
            Source::Broker(..) => {
                let presence = self.presence.as_deref();
                (
                    presence.is_some(),
                    presence.is_some_and(|presence| presence.genuine.is_some()),
                )
            }
            Source::Device(_) | Source::Custom(..) | Source::Reporting(_) => {
                (self.last_seen.is_some(), self.genuine_seen.is_some())
            }
        };
        Known {
            all: all.then_some(now),
            genuine: genuine.then_some(now),
        }
    }

    /// When the device will have been silent for too long to be still in alarm about this, by any sign of it and by
    /// genuine ones; `None`: never, as things are.
    fn data_deadlines(&self, rule: &Rule) -> (Option<Moment>, Option<Moment>) {
        match rule.source {
            // Silence itself is what these tell.
            _ if rule.source.is_age() => (None, None),
            Source::Broker(..) => {
                let away = |link: &Link| link.connection.is_none().then(|| silence_deadline(link.active_at));
                let presence = self.presence.as_deref();
                let genuine = presence.and_then(|presence| presence.genuine.as_ref());
                (
                    presence.and_then(|presence| away(&presence.all)),
                    genuine.and_then(away),
                )
            }
            Source::Device(_) | Source::Custom(..) | Source::Reporting(_) => (
                self.last_seen.map(silence_deadline),
                self.genuine_seen.map(silence_deadline),
            ),
        }
    }

    /// The same where the judge is in alarm.
    fn silence_deadlines(&self, slot: &Slot, rule: &Rule) -> (Option<Moment>, Option<Moment>) {
        // Most slots are not in alarm, and this is asked of all of them.
        if slot.open().is_none() {
            return (None, None);
        }
        let (all, genuine) = self.data_deadlines(rule);
        (
            all.filter(|_| slot.all.alarm.is_raised()),
            genuine.filter(|_| slot.genuine().alarm.is_raised()),
        )
    }

    /// The age that the rule is about, in seconds: by any sign of the device, and by genuine ones.
    pub(crate) fn age_secs(&self, rule: &Rule, now: Moment) -> (Option<u64>, Option<u64>) {
        match rule.source {
            Source::Broker(..) => {
                let Some(presence) = &self.presence else {
                    return (None, None);
                };
                let genuine = presence.genuine.as_ref();
                (
                    presence.all.away_secs(now),
                    genuine.and_then(|link| link.away_secs(now)),
                )
            }
            _ => {
                let since = |seen: Option<Moment>| seen.map(|seen| now.since(seen).as_secs());
                (since(self.last_seen), since(self.genuine_seen))
            }
        }
    }

    /// When the age that the rule is about will first be more than is normal, for each judge that is not in alarm;
    /// `None` also while it does not grow.
    fn age_deadlines(&self, slot: &Slot, rule: &Rule) -> (Option<Moment>, Option<Moment>) {
        let limit = rule.check().filter(|_| rule.pace == Pace::Age && rule.breaks_early());
        let Some(limit) = limit.and_then(Check::first_breach) else {
            return (None, None);
        };
        let begun = match rule.source {
            Source::Broker(..) => {
                let left = |link: &Link| link.left_at.filter(|_| link.connection.is_none());
                let presence = self.presence.as_deref();
                let genuine = presence.and_then(|presence| presence.genuine.as_ref());
                (
                    presence.and_then(|presence| left(&presence.all)),
                    genuine.and_then(left),
                )
            }
            _ => (self.last_seen, self.genuine_seen),
        };
        let due = |judge: &Judge, begun: Option<Moment>| {
            let begun = begun.filter(|_| judge.alarm == Alarm::QUIET)?;
            Some(begun.plus(Duration::from_secs(limit)))
        };
        (due(&slot.all, begun.0), due(slot.genuine(), begun.1))
    }

    /// When something is next due: an age that is too high, a violation that falls to silence.
    pub(crate) fn deadline(&self, rules: &[Arc<Rule>]) -> Option<Moment> {
        let mut deadline = self.former.iter().map(|former| former.deadline).min();
        for (slot, rule) in self.slots.iter().zip(rules) {
            let silent = self.silence_deadlines(slot, rule);
            let aged = self.age_deadlines(slot, rule);
            deadline = [deadline, silent.0, silent.1, aged.0, aged.1]
                .into_iter()
                .flatten()
                .min();
        }
        deadline
    }

    /// Does what is due.
    pub(crate) fn meet_deadlines(
        &mut self,
        rules: &[Arc<Rule>],
        (at, now): (Timestamp, Moment),
        changes: &mut Vec<ViolationChange>,
    ) -> u64 {
        self.end_former((at, now), changes, |former| former.deadline <= now);
        let mut n_datapoints = 0;
        for (nth, rule) in rules.iter().enumerate() {
            let Some(slot) = self.slots.get(nth) else { continue };
            let is_due = |due: Option<Moment>| due.is_some_and(|due| due <= now);
            let (all, genuine) = self.silence_deadlines(slot, rule);
            let is_silent = (is_due(all), is_due(genuine));
            let (all, genuine) = self.age_deadlines(slot, rule);
            let is_aged = (is_due(all), is_due(genuine));
            let ages = self.age_secs(rule, now);
            let ages = (ages.0.filter(|_| is_aged.0), ages.1.filter(|_| is_aged.1));
            let Some(slot) = self.slots.get_mut(nth) else { continue };
            let occasion = Occasion {
                thing: &self.name,
                at,
                now,
            };
            if is_silent != (false, false) {
                slot.fall_silent(rule, is_silent, occasion, changes);
            }
            if is_aged != (false, false) {
                n_datapoints += u64::from(slot.age(rule, ages, true, occasion, changes));
            }
        }
        n_datapoints
    }

    /// Invalidates every open violation of the present identity.
    pub(crate) fn invalidate_open(
        &mut self,
        rules: &[Arc<Rule>],
        (at, now): (Timestamp, Moment),
        changes: &mut Vec<ViolationChange>,
    ) {
        let occasion = Occasion {
            thing: &self.name,
            at,
            now,
        };
        for (slot, rule) in self.slots.iter_mut().zip(rules) {
            if slot.open().is_some() {
                slot.invalidate(rule, occasion, changes);
            }
        }
    }

    /// Invalidates the violations of former identities that `is_over` picks.
    pub(crate) fn end_former(
        &mut self,
        (at, _): (Timestamp, Moment),
        changes: &mut Vec<ViolationChange>,
        is_over: impl Fn(&Former) -> bool,
    ) {
        let thing = &self.name;
        self.former.retain(|former| {
            let is_over = is_over(former);
            if is_over {
                changes.push(ViolationChange {
                    id: former.id,
                    thing: thing.clone(),
                    profile: former.profile.clone(),
                    behavior: Arc::clone(&former.behavior),
                    at,
                    kind: ChangeKind::Invalidated,
                });
            }
            !is_over
        });
    }
}

/// The first moment at which a device last seen then has been silent for more than two days.
fn silence_deadline(last_seen: Moment) -> Moment {
    last_seen.plus(SILENCE_MAX).plus(Duration::from_millis(1))
}

/// Tells the few reports of one device that are remembered apart. The id is in the payload, so that eight bytes of its
/// hash would do.
fn fingerprint(report_id: u64, &[a, b, c, d, e, f, g, h, ..]: &[u8; 16]) -> u64 {
    u64::from_be_bytes([a, b, c, d, e, f, g, h]).wrapping_add(report_id)
}
