//! The ends of aligned windows, and the fleet's percentiles that judge some of them.
//!
//! Windows end at multiples of five minutes of the server's clock, in every partition alike. A window is *whole* if the
//! server saw all of it: not if its clock was set, or it was down, or the rule began to apply meanwhile. What is not
//! whole gives no datapoint at its end; what it held may have broken an upper bound before.

use std::sync::Arc;
use std::time::Duration;

use picket_model::behavior::Statistic;
use picket_model::fleet::{FleetSample, Quantity, Threshold, WindowKey};
use picket_model::meter::Sizes;
use picket_model::time::Timestamp;
use picket_model::value::MetricValue;

use crate::device::Device;
use crate::engine::Engine;
use crate::fleet::DeviceKey;
use crate::moment::Moment;
use crate::outcome::{Export, Outcome};
use crate::rule::{Basis, Pace, Rule, STEP};
use crate::slot::Occasion;
use crate::source::{Amount, Source};

/// How often ages go out, as on AWS.
const AGES_GO_OUT_EVERY: Duration = Duration::from_secs(3600);

/// The values of windows that close, by rule: few rules, asked for by every device.
type Samples = Vec<(Arc<Rule>, FleetSample)>;

impl Engine {
    /// Closes the windows that end not after `at`.
    pub(crate) fn close_windows(&mut self, at: Timestamp, now: Moment, outcome: &mut Outcome) {
        let Some(end) = self.next_end else {
            // The first record: what ran before it is not known.
            (self.next_end, self.whole_since) = (Some(end_after(at)), now);
            return;
        };
        if at < end {
            return;
        }
        self.close(end, now, outcome);
        let next = end_after(at);
        if end.plus(STEP) < next && self.rulebook.is_timed() {
            // Nobody has heard anything for a whole window, although the engine asks to be told the time. Ends of
            // longer windows have passed too.
            self.whole_since = now;
            self.drop_buckets();
        }
        self.next_end = Some(next);
    }

    /// The clock was set: what runs now is not whole, and ends by the new clock.
    pub(crate) fn restart_windows(&mut self, new: Timestamp) {
        let now = self.clock.moment(new);
        self.whole_since = self.clock.now.map_or(now, |latest| latest.max(now));
        self.next_end = self.next_end.map(|_| end_after(new));
        self.drop_buckets();
    }

    /// What the running windows hold is not of one window.
    fn drop_buckets(&mut self) {
        for key in self.fleet.keys().collect::<Vec<_>>() {
            for slot in self
                .fleet
                .device_mut(key)
                .into_iter()
                .flat_map(|device| &mut device.slots)
            {
                slot.drop_bucket();
            }
        }
    }

    fn close(&mut self, end: Timestamp, now: Moment, outcome: &mut Outcome) {
        let mut samples = self.empty_samples(end);
        let (n_changes, n_exports) = (outcome.changes.len(), outcome.exports.len());
        for key in self.fleet.keys().collect::<Vec<_>>() {
            self.close_device(key, (end, now), &mut samples, outcome);
        }
        // The places of devices mean nothing, so the order is made anew; within a device it stays.
        if let Some(fresh) = outcome.changes.get_mut(n_changes..) {
            fresh.sort_by(|a, b| a.thing.cmp(&b.thing));
        }
        if let Some(fresh) = outcome.exports.get_mut(n_exports..) {
            fresh.sort_by(|a, b| a.thing.cmp(&b.thing));
        }
        let sorted = samples.into_iter().map(|(_, mut sample)| {
            sample.values.sort_by(Quantity::compare);
            sample
        });
        outcome.samples.extend(sorted);
    }

    /// A sample without values for each window that this partition has seen the whole of: it is handed in all the same,
    /// or nobody would ever know that all partitions are in.
    fn empty_samples(&self, end: Timestamp) -> Samples {
        let whole_since = self.whole_since;
        let sample = |(rule, since): (&Arc<Rule>, Moment)| {
            let (Pace::Aligned(duration), Basis::Fleet(_, statistic)) = (rule.pace, &rule.basis) else {
                return None;
            };
            let started_at = self.clock.moment(end.minus(duration));
            let is_whole = is_end(end, duration) && since.max(whole_since) <= started_at;
            is_whole.then(|| (Arc::clone(rule), sample(rule, *statistic, end)))
        };
        self.rulebook.statistical().filter_map(sample).collect()
    }

    fn close_device(
        &mut self,
        key: DeviceKey,
        (end, now): (Timestamp, Moment),
        samples: &mut Samples,
        outcome: &mut Outcome,
    ) {
        let whole_since = self.whole_since;
        let clock = self.clock;
        let Some(device) = self.fleet.device_mut(key) else {
            return;
        };
        let rules = Arc::clone(self.rulebook.rules(device.cohort));
        if !rules.iter().any(|rule| rule.is_timed()) {
            return;
        }
        let n_before = outcome.changes.len();
        let mut n_datapoints = 0;
        for (nth, rule) in rules.iter().enumerate() {
            let is_datapoint = match rule.pace {
                Pace::Aligned(duration) if is_end(end, duration) => {
                    let started_at = clock.moment(end.minus(duration));
                    let started_at = (whole_since <= started_at).then_some(started_at);
                    device.close(nth, rule, (end, now), started_at, samples, outcome)
                }
                Pace::Age => device.note_age(nth, rule, (end, now), true, outcome),
                _ => false,
            };
            n_datapoints += u64::from(is_datapoint);
        }
        self.counters.n_datapoints += n_datapoints;
        if n_before < outcome.changes.len() {
            self.schedule(key);
        }
    }

    /// The fleet's percentile has come: judges the window that waited for it.
    pub(crate) fn compare(&mut self, now: Moment, threshold: Threshold, outcome: &mut Outcome) {
        let n_before = outcome.changes.len();
        for key in self.fleet.keys().collect::<Vec<_>>() {
            let Some(device) = self.fleet.device_mut(key) else {
                continue;
            };
            let window = &threshold.window;
            let rules = self.rulebook.rules(device.cohort).iter();
            let is_it = |rule: &Rule| {
                rule.fingerprint == window.fingerprint
                    && rule.behavior.name == window.behavior
                    && rule.profile == window.profile
            };
            let Some((slot, rule)) = device.slots.iter_mut().zip(rules).find(|(_, rule)| is_it(rule)) else {
                continue;
            };
            let occasion = Occasion {
                thing: &device.name,
                at: window.end,
                now,
            };
            let n_changes = outcome.changes.len();
            let is_datapoint = slot.compare(rule, threshold.value, occasion, &mut outcome.changes);
            self.counters.n_datapoints += u64::from(is_datapoint);
            if n_changes < outcome.changes.len() {
                self.schedule(key);
            }
        }
        if let Some(fresh) = outcome.changes.get_mut(n_before..) {
            fresh.sort_by(|a, b| a.thing.cmp(&b.thing));
        }
        self.rulebook.note_threshold(threshold);
    }
}

impl Device {
    /// Ends a window of one rule; `started_at` is `None` if it is not whole.
    fn close(
        &mut self,
        nth: usize,
        rule: &Arc<Rule>,
        (end, now): (Timestamp, Moment),
        started_at: Option<Moment>,
        samples: &mut Samples,
        outcome: &mut Outcome,
    ) -> bool {
        let idle = self.idle(rule);
        let Some(slot) = self.slots.get_mut(nth) else {
            return false;
        };
        let occasion = Occasion {
            thing: &self.name,
            at: end,
            now,
        };
        let closed = slot.close(rule, idle, started_at, occasion, &mut outcome.changes);
        if let Some(value) = closed.sample {
            let is_its = |(one, _): &&mut (Arc<Rule>, FleetSample)| Arc::ptr_eq(one, rule);
            if let Some((_, sample)) = samples.iter_mut().find(is_its) {
                sample.values.push(value);
            }
        }
        if let (Some((value, sizes)), Source::Broker(..)) = (closed.exported, &rule.source) {
            export_window(rule, occasion, (value, sizes), &mut outcome.exports);
        }
        closed.is_datapoint
    }

    /// What a window of the rule holds if the device did nothing but stay connected: over all connections, and over those
    /// that may speak for it.
    fn idle(&self, rule: &Rule) -> (Option<Amount<'static>>, Option<Amount<'static>>) {
        let Some(presence) = &self.presence else {
            return (None, None);
        };
        let idle =
            |connection: Option<(u64, std::net::IpAddr)>| connection.and_then(|(_, address)| rule.source.idle(address));
        let genuine = presence.genuine.as_ref().and_then(|link| link.connection);
        (idle(presence.all.connection), idle(genuine))
    }

    /// Gives a rule about an age its datapoint; what is forged gives the genuine judge none.
    pub(crate) fn note_age(
        &mut self,
        nth: usize,
        rule: &Rule,
        (at, now): (Timestamp, Moment),
        is_genuine: bool,
        outcome: &mut Outcome,
    ) -> bool {
        let (all, genuine) = self.age_secs(rule, now);
        let ages = (all, genuine.filter(|_| is_genuine));
        let Some(slot) = self.slots.get_mut(nth) else {
            return false;
        };
        let occasion = Occasion {
            thing: &self.name,
            at,
            now,
        };
        let is_datapoint = slot.age(rule, ages, false, occasion, &mut outcome.changes);
        let is_due = !is_end(at, STEP) || is_end(at, AGES_GO_OUT_EVERY);
        if let (Some(secs), Some(_), true) = (ages.0, &rule.export, is_due) {
            export_window(rule, occasion, (MetricValue::Count(secs), None), &mut outcome.exports);
        }
        is_datapoint
    }
}

fn sample(rule: &Rule, statistic: Statistic, end: Timestamp) -> FleetSample {
    let window = WindowKey {
        profile: rule.profile.clone(),
        behavior: rule.behavior.name.clone(),
        fingerprint: rule.fingerprint,
        end,
    };
    FleetSample {
        window,
        statistic,
        values: Vec::new(),
    }
}

fn export_window(rule: &Rule, occasion: Occasion<'_>, value: (MetricValue, Option<Sizes>), exports: &mut Vec<Export>) {
    let mut push = |suffix: &str, value: MetricValue| rule.export(suffix, value, occasion, exports);
    match value {
        (_, Some(sizes)) => {
            push(":min", MetricValue::Count(sizes.min_bytes.into()));
            push(":max", MetricValue::Count(sizes.max_bytes.into()));
            push(":sum", MetricValue::Count(sizes.sum_bytes));
        }
        (value, None) => push("", value),
    }
}

impl Rule {
    /// Sends a value out, if the rule's values go out.
    pub(crate) fn export(&self, suffix: &str, value: MetricValue, occasion: Occasion<'_>, exports: &mut Vec<Export>) {
        let Some(export) = &self.export else { return };
        exports.push(Export {
            topic: Arc::clone(&export.topic),
            thing: occasion.thing.clone(),
            metric: format!("{}{suffix}", export.metric),
            dimension: export.dimension.clone(),
            value,
            at: occasion.at,
        });
    }
}

/// Whether a window of that length ends then.
fn is_end(at: Timestamp, duration: Duration) -> bool {
    i64::try_from(duration.as_millis()).is_ok_and(|millis| at.millis().rem_euclid(millis) == 0)
}

/// The first end of a five-minute window after `at`: windows of all lengths end at some of these.
fn end_after(at: Timestamp) -> Timestamp {
    let step = i64::try_from(STEP.as_millis()).unwrap_or(i64::MAX);
    let n_ends = at.millis().div_euclid(step).saturating_add(1);
    Timestamp::from_millis(n_ends.saturating_mul(step))
}
