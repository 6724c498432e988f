//! What an engine remembers of one device.

use std::sync::Arc;
use std::time::Duration;

use picket_model::behavior::Behavior;
use picket_model::name::{DeviceName, ProfileName};
use picket_model::time::Timestamp;
use picket_model::violation::{ChangeKind, ViolationChange, ViolationId};

use crate::moment::Moment;
use crate::rule::Rule;
use crate::rulebook::{CohortId, Heir};
use crate::slot::{Known, Occasion, Slot};

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
    /// Whether a genuine report ever came.
    pub(crate) is_genuine_seen: bool,
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

/// One report, as far as it is remembered: of the hash the first eight bytes, which tell the reports of one device that
/// have the same id apart as well as all sixteen would.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
struct Remembered {
    #[n(0)]
    report_id: u64,
    #[n(1)]
    payload_hash: u64,
    #[n(2)]
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
            report.report_id == report_id
                && report.payload_hash == first_half(payload_hash)
                && now.since(report.at) <= Self::AGE_MAX
        })
    }

    /// Remembers a report, in the place of the oldest if need be.
    pub(crate) fn add(&mut self, report_id: u64, payload_hash: [u8; 16], now: Moment) {
        let report = Remembered {
            report_id,
            payload_hash: first_half(&payload_hash),
            at: now,
        };
        match self.reports.get_mut(usize::from(self.next)) {
            Some(oldest) => *oldest = report,
            None => self.reports.push(report),
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
            is_genuine_seen: false,
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
        self.is_genuine_seen |= is_genuine;
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

    /// Goes over to other rules. `heirs` says for each new rule what becomes of its slot; slots of the old rules that
    /// no rule inherits are invalidated.
    pub(crate) fn change_rules(
        &mut self,
        (old, new): (&[Arc<Rule>], &[Arc<Rule>]),
        heirs: &[Heir],
        (at, now): (Timestamp, Moment),
        changes: &mut Vec<ViolationChange>,
    ) {
        let known = self.known(now);
        let mut inherited: Vec<Option<Slot>> = std::mem::take(&mut self.slots).into_iter().map(Some).collect();
        let mut take = |nth: usize| inherited.get_mut(nth).and_then(Option::take);
        self.slots = heirs
            .iter()
            .zip(new)
            .map(|(heir, rule)| match *heir {
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
        let known = self.known(now);
        let deadline = silence_deadline(self.last_seen.unwrap_or(now));
        let occasion = Occasion {
            thing: &self.name,
            at,
            now,
        };
        for (slot, rule) in self.slots.iter_mut().zip(rules) {
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

    /// Since when reports of this device are known to a rule that begins to apply now.
    fn known(&self, now: Moment) -> Known {
        Known {
            all: self.last_seen.map(|_| now),
            genuine: self.is_genuine_seen.then_some(now),
        }
    }

    /// When the next violation falls to silence.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        let is_open = self.slots.iter().any(|slot| slot.open().is_some());
        let own = self.last_seen.filter(|_| is_open).map(silence_deadline);
        self.former.iter().map(|former| former.deadline).chain(own).min()
    }

    /// Invalidates what has been silent for too long.
    pub(crate) fn invalidate_silent(
        &mut self,
        rules: &[Arc<Rule>],
        (at, now): (Timestamp, Moment),
        changes: &mut Vec<ViolationChange>,
    ) {
        self.end_former((at, now), changes, |former| former.deadline <= now);
        if self
            .last_seen
            .is_some_and(|last_seen| silence_deadline(last_seen) <= now)
        {
            self.invalidate_open(rules, (at, now), changes);
        }
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

fn first_half(&[a, b, c, d, e, f, g, h, ..]: &[u8; 16]) -> u64 {
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
