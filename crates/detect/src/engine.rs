//! The engine of one partition of the report log.

use std::collections::BTreeSet;
use std::sync::Arc;

use picket_model::name::DeviceName;
use picket_model::profile::JudgingConfig;
use picket_model::record::{Input, Member, Record, ReportRecord};
use picket_model::time::Timestamp;
use picket_model::violation::ViolationChange;

use crate::device::Device;
use crate::fleet::{DeviceKey, Fleet};
use crate::moment::{EngineClock, Moment};
use crate::outcome::Outcome;
use crate::rulebook::{Membership, Rulebook, Succession};

/// Judges the devices of one partition of the report log.
///
/// The same inputs in the same order give the same changes, however they are batched, and wherever the engine was
/// replaced by one restored from its [snapshot](Engine::snapshot).
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) clock: EngineClock,
    pub(crate) rulebook: Rulebook,
    pub(crate) fleet: Fleet,
    /// When to look after the deadlines of which device: never later than its next one, perhaps earlier.
    pub(crate) wakes: BTreeSet<(Moment, DeviceKey)>,
    pub(crate) n_strangers_max: usize,
    /// The next end of aligned windows; `None` before the first record.
    pub(crate) next_end: Option<Timestamp>,
    /// Windows that began before are not whole: the server was not there, or its clock was set.
    pub(crate) whole_since: Moment,
    /// The newest time that a slot made an id from which is gone: ids of its successors come after.
    pub(crate) named_until: Option<Timestamp>,
    pub(crate) counters: Counters,
}

/// What an engine has done since it was made or restored. Not part of its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reports taken, duplicates not included.
    pub n_reports: u64,
    /// Reports left out because the same came from the same thing before.
    pub n_duplicates: u64,
    /// Datapoints judged: one per report and behavior that the report has a value for.
    pub n_datapoints: u64,
    /// Reports that came over a certificate not attached to their thing.
    pub n_unattached: u64,
    /// Unregistered devices whose state was dropped because there were too many.
    pub n_dropped: u64,
    /// Configuration records left out because their revision, or a later one, was in force already.
    pub n_stale_configs: u64,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// How many unregistered devices there may be state of, over all partitions: beyond it, those least recently seen
    /// are dropped.
    pub const UNREGISTERED_MAX: usize = 100_000;

    /// An engine that has seen nothing, for a log of a single partition.
    pub fn new() -> Self {
        Self::bounded(Self::UNREGISTERED_MAX)
    }

    /// An engine that has seen nothing and keeps state of at most `n_unregistered_max` unregistered devices (at least
    /// one): [`Engine::UNREGISTERED_MAX`] divided by the number of partitions. The bound is part of the state.
    pub fn bounded(n_unregistered_max: usize) -> Self {
        Self {
            clock: EngineClock::default(),
            rulebook: Rulebook::default(),
            fleet: Fleet::default(),
            wakes: BTreeSet::new(),
            n_strangers_max: n_unregistered_max.max(1),
            next_end: None,
            whole_since: Moment::default(),
            named_until: None,
            counters: Counters::default(),
        }
    }

    /// Takes one record, which must be the next one of the partition. Returns what comes of it, in an order that depends
    /// on the records alone.
    pub fn apply(&mut self, input: Input) -> Outcome {
        let at = input.stamped.at;
        let mut outcome = Outcome::default();
        if let Record::Clock { old, new } = input.stamped.record {
            self.clock.set(old, new);
            self.restart_windows(new);
            for key in self.fleet.keys().collect::<Vec<_>>() {
                self.name_after(key, new);
            }
            return outcome;
        }
        let now = self.clock.advance(at);
        // Time passes with every record, not only with ticks: a tick is for when there is no other.
        self.close_windows(at, now, &mut outcome);
        self.meet_deadlines(at, now, &mut outcome.changes);
        match input.stamped.record {
            Record::Report(record) => self.report((at, now), *record, &mut outcome),
            Record::Config { revision } => {
                let config = input.config.filter(|config| config.revision == revision);
                self.configure((at, now), config, &mut outcome.changes);
            }
            Record::Member(member) => self.enrol((at, now), member, &mut outcome.changes),
            Record::Meter(meter) => self.meter((at, now), &meter, &mut outcome),
            Record::Connected(presence) => self.arrive((at, now), &presence, &mut outcome),
            Record::Disconnected(presence, _) => self.leave((at, now), &presence, &mut outcome),
            Record::SessionsEnded => self.end_sessions(now),
            Record::Threshold(threshold) => self.compare(now, threshold, &mut outcome),
            Record::Tick | Record::Clock { .. } => {}
        }
        outcome
    }

    /// When the engine next wants to be told the time, by any record stamped then or later. `None`: not before another
    /// report. At that time perhaps nothing is due after all.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let wake = self.wakes.first().map(|&(moment, _)| self.clock.timestamp(moment));
        let end = self.next_end.filter(|_| self.rulebook.is_timed());
        [wake, end].into_iter().flatten().min()
    }

    /// The judging revision in force; 0 before the first.
    pub fn revision(&self) -> u64 {
        self.rulebook.revision()
    }

    /// What was done since the engine was made or restored.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many devices there is state of, registered ones that never reported included.
    pub fn n_devices(&self) -> usize {
        self.fleet.n_devices()
    }

    /// How many of them are not registered.
    pub fn n_unregistered(&self) -> usize {
        self.fleet.n_strangers()
    }

    fn report(&mut self, (at, now): (Timestamp, Moment), record: ReportRecord, outcome: &mut Outcome) {
        let key = match self.fleet.find(&record.thing) {
            Some(key) => key,
            None => self.admit(record.thing.clone(), Membership::default(), at),
        };
        if self.fleet.is_stranger(key) {
            self.fleet.estrange(key);
        }
        let is_genuine = record.sender.is_attached;
        self.counters.n_unattached += u64::from(!is_genuine);
        let Some(device) = self.fleet.device_mut(key) else {
            return;
        };
        if !device.note_report(record.report.report_id, record.payload_hash, is_genuine, now) {
            self.counters.n_duplicates += 1;
            let rules = self.rulebook.rules(device.cohort);
            self.counters.n_datapoints += device.break_silence(rules, (at, now), is_genuine, outcome);
            self.schedule(key);
            return;
        }
        self.counters.n_reports += 1;
        let rules = self.rulebook.rules(device.cohort);
        self.counters.n_datapoints += device.take_report(rules, (at, now), &record, outcome);
        if !outcome.changes.is_empty() || self.rulebook.has_ages() {
            self.schedule(key);
        }
        self.drop_surplus((at, now), &mut outcome.changes);
    }

    /// Puts another configuration in force.
    fn configure(
        &mut self,
        (at, now): (Timestamp, Moment),
        config: Option<Arc<JudgingConfig>>,
        changes: &mut Vec<ViolationChange>,
    ) {
        let Some(config) = config.filter(|config| self.rulebook.revision() < config.revision) else {
            self.counters.n_stale_configs += 1;
            return;
        };
        let successions = self.rulebook.adopt(config, now);
        let n_before = changes.len();
        for key in self.fleet.keys().collect::<Vec<_>>() {
            let Some(device) = self.fleet.device_mut(key) else {
                continue;
            };
            if let Some(succession) = successions.get(&device.cohort) {
                let rules = (&*succession.old, &*succession.new);
                let named_at = device.change_rules(rules, &succession.heirs, (at, now), changes);
                self.named_until = self.named_until.max(named_at);
            }
            let rulebook = &self.rulebook;
            device.end_former((at, now), changes, |former| {
                rulebook
                    .behavior_without_groups(&former.profile, &former.behavior.name, former.was_registered)
                    .is_none()
            });
            for former in &mut device.former {
                let name = &former.behavior.name;
                if let Some(now) = rulebook.behavior_without_groups(&former.profile, name, former.was_registered) {
                    former.behavior = Arc::clone(now);
                }
            }
        }
        // The places of devices mean nothing, so the order is made anew; within a device it stays.
        if let Some(fresh) = changes.get_mut(n_before..) {
            fresh.sort_by(|a, b| a.thing.cmp(&b.thing));
        }
        for key in self.fleet.keys().collect::<Vec<_>>() {
            self.name_after(key, at);
            // A new rule may be about an age that grows already.
            self.schedule(key);
        }
    }

    /// Takes note of what the registry says of a thing.
    fn enrol(&mut self, (at, now): (Timestamp, Moment), member: Member, changes: &mut Vec<ViolationChange>) {
        let membership = Membership {
            is_registered: member.is_registered,
            groups: member.groups,
        };
        let name = DeviceName::from(member.thing);
        let Some(key) = self.fleet.find(&name) else {
            if membership != Membership::default() {
                self.admit(name, membership, at);
                self.drop_surplus((at, now), changes);
            }
            return;
        };
        let Some(device) = self.fleet.device_mut(key) else {
            return;
        };
        let old_cohort = device.cohort;
        let was_registered = self.rulebook.membership(old_cohort).is_registered;
        let old = Arc::clone(self.rulebook.rules(old_cohort));
        let is_registered = membership.is_registered;
        if was_registered != is_registered {
            let rulebook = &self.rulebook;
            let lives_on = |rule: &crate::rule::Rule| {
                rulebook
                    .behavior_without_groups(&rule.profile, &rule.behavior.name, was_registered)
                    .is_some()
            };
            device.change_identity(&old, was_registered, lives_on, (at, now), changes);
        }
        device.cohort = self.rulebook.join(membership);
        self.rulebook.leave(old_cohort);
        let succession = Succession::between(&old, self.rulebook.rules(device.cohort));
        let rules = (&*succession.old, &*succession.new);
        let named_at = device.change_rules(rules, &succession.heirs, (at, now), changes);
        self.named_until = self.named_until.max(named_at);
        let is_unknown = device.last_seen.is_none() && device.presence.is_none();
        let is_forgotten = !is_registered && is_unknown && device.former.is_empty();
        if is_forgotten {
            self.forget(key);
        } else if is_registered {
            self.fleet.acquaint(key);
        } else if was_registered {
            self.fleet.estrange(key);
        }
        self.name_after(key, at);
        self.schedule(key);
        self.drop_surplus((at, now), changes);
    }

    pub(crate) fn admit(&mut self, name: DeviceName, membership: Membership, at: Timestamp) -> DeviceKey {
        let is_registered = membership.is_registered;
        let cohort = self.rulebook.join(membership);
        let key = self
            .fleet
            .insert(Device::new(name, cohort, self.rulebook.rules(cohort)));
        if !is_registered {
            self.fleet.estrange(key);
        }
        self.name_after(key, at);
        key
    }

    /// Once the clock has been set back, ids may not be made from a time that had its ids before.
    fn name_after(&mut self, key: DeviceKey, at: Timestamp) {
        let named_until = self.named_until.filter(|named_until| at <= *named_until);
        if let Some(device) = self.fleet.device_mut(key) {
            device.name_after(named_until);
        }
    }

    fn forget(&mut self, key: DeviceKey) -> Option<Device> {
        let device = self.fleet.remove(key)?;
        self.named_until = self.named_until.max(device.named_at());
        self.rulebook.leave(device.cohort);
        if let Some(wake) = device.wake {
            self.wakes.remove(&(wake, key));
        }
        Some(device)
    }

    /// Drops the unregistered devices that are too many, least recently seen first. Nobody judges them any more, so
    /// their violations are invalidated.
    pub(crate) fn drop_surplus(&mut self, (at, now): (Timestamp, Moment), changes: &mut Vec<ViolationChange>) {
        while self.n_strangers_max < self.fleet.n_strangers() {
            let Some(key) = self.fleet.oldest_stranger() else {
                return;
            };
            let Some(cohort) = self.fleet.device(key).map(|device| device.cohort) else {
                return;
            };
            let rules = Arc::clone(self.rulebook.rules(cohort));
            let Some(mut device) = self.forget(key) else { return };
            device.invalidate_open(&rules, (at, now), changes);
            device.end_former((at, now), changes, |_| true);
            self.counters.n_dropped += 1;
        }
    }

    /// Sees to it that the engine wakes for the device's next deadline.
    pub(crate) fn schedule(&mut self, key: DeviceKey) {
        let Some(device) = self.fleet.device_mut(key) else {
            return;
        };
        let Some(deadline) = device.deadline(self.rulebook.rules(device.cohort)) else {
            return;
        };
        match device.wake {
            // Deadlines mostly move away: a wake that comes too early looks again, and costs nothing until then.
            Some(wake) if wake <= deadline => {}
            later => {
                if let Some(later) = later {
                    self.wakes.remove(&(later, key));
                }
                device.wake = Some(deadline);
                self.wakes.insert((deadline, key));
            }
        }
    }

    fn meet_deadlines(&mut self, at: Timestamp, now: Moment, changes: &mut Vec<ViolationChange>) {
        let n_before = changes.len();
        // Each device once: at the end of representable time a deadline may stay due.
        let mut due = Vec::new();
        while let Some((wake, key)) = self.wakes.first().copied().filter(|(wake, _)| *wake <= now) {
            self.wakes.remove(&(wake, key));
            due.push(key);
        }
        for key in due {
            let Some(device) = self.fleet.device_mut(key) else {
                continue;
            };
            device.wake = None;
            let rules = self.rulebook.rules(device.cohort);
            self.counters.n_datapoints += device.meet_deadlines(rules, (at, now), changes);
            self.schedule(key);
        }
        if let Some(fresh) = changes.get_mut(n_before..) {
            fresh.sort_by(|a, b| a.thing.cmp(&b.thing));
        }
    }
}
