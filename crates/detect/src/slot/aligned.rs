//! Aligned windows of one behavior on one device: filled, broken early, closed, and compared with the fleet.

use picket_model::fleet::Quantity;
use picket_model::meter::Sizes;
use picket_model::name::CertificateId;
use picket_model::time::Timestamp;
use picket_model::value::MetricValue;
use picket_model::violation::ViolationChange;

use super::{Finding, Known, Occasion, Slot};
use crate::breach::{self, Reading};
use crate::bucket::Bucket;
use crate::judge::{Judge, Verdict};
use crate::moment::Moment;
use crate::rule::{Basis, Rule};
use crate::source::Amount;

/// What is remembered for aligned windows: there at the end of each, so it is one piece of memory, and no larger than a
/// window.
#[derive(Clone, Debug, Default, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Aligned {
    /// From when on everything is in, if the device was known before; mostly it was not.
    #[n(0)]
    since: Option<Box<Known>>,
    /// The newest window that has closed and waits for the fleet's percentile.
    #[n(1)]
    waiting: Option<Waiting>,
}

/// A window that has closed and waits for the fleet's percentile.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
struct Waiting {
    #[n(0)]
    #[cbor(with = "crate::snapshot::timestamp")]
    end: Timestamp,
    #[n(1)]
    #[cbor(with = "crate::snapshot::optional_quantity")]
    all: Option<Quantity>,
    #[n(2)]
    #[cbor(with = "crate::snapshot::optional_quantity")]
    genuine: Option<Quantity>,
    /// One that closed before and waits as well: at most [`Aligned::WAITING_MAX`] do.
    #[n(3)]
    before: Option<Box<Waiting>>,
}

/// A window that has closed, as it goes out and into the fleet's percentile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closed {
    /// The device's value for the fleet's percentile.
    pub(crate) sample: Option<Quantity>,
    /// Whether there was a datapoint.
    pub(crate) is_datapoint: bool,
    /// What goes out, if the rule's values do; message sizes as they are.
    pub(crate) exported: Option<(MetricValue, Option<Sizes>)>,
}

impl Aligned {
    /// Windows that may wait for the fleet: as long as a partition falls behind, thresholds come late.
    const WAITING_MAX: usize = 4;

    /// Before the first sign of the device; `since` as in [`Aligned::since`].
    pub(super) fn begun(since: Known) -> Self {
        Self {
            since: (since != Known::default()).then(|| Box::new(since)),
            waiting: None,
        }
    }

    fn push(&mut self, mut window: Waiting) {
        window.before = self.waiting.take().map(Box::new);
        let mut oldest = self.waiting.insert(window);
        for _ in 1..Self::WAITING_MAX {
            match &mut oldest.before {
                Some(before) => oldest = before,
                None => return,
            }
        }
        oldest.before = None;
    }

    /// The window that ended then. Those before it are left out: their percentile never came, or comes too late.
    fn pop(&mut self, end: Timestamp) -> Option<Waiting> {
        if self.waiting.as_ref()?.end == end {
            return self.waiting.take();
        }
        let mut place = &mut self.waiting.as_mut()?.before;
        while place.as_ref()?.end != end {
            place = &mut place.as_mut()?.before;
        }
        place.take().map(|window| *window)
    }
}

impl Slot {
    /// Takes what a record adds to the running window: `all` to that of everything, `genuine` to the other. Returns
    /// whether that gave the window its datapoint, before its end.
    pub(crate) fn measure(
        &mut self,
        rule: &Rule,
        (all, genuine): (Amount<'_>, Option<Amount<'_>>),
        certificate: Option<CertificateId>,
        occasion: Occasion<'_>,
        changes: &mut Vec<ViolationChange>,
    ) -> bool {
        self.part(genuine == Some(all));
        let certificate = certificate.filter(|_| rule.check().is_some());
        self.all.add(all, certificate);
        if let (Some(judge), Some(genuine)) = (&mut self.apart, genuine) {
            judge.add(genuine, certificate);
        }
        // Once in a window at most, so what it holds may be copied.
        let all = self.all.break_early(rule);
        let genuine = match &mut self.apart {
            Some(judge) => genuine.and_then(|_| judge.break_early(rule)),
            None => all.clone(),
        };
        self.join();
        let Some(first) = all.as_ref().or(genuine.as_ref()) else {
            return false;
        };
        let finding = Finding {
            all: all.as_ref().map(|bucket| breach_of(rule, bucket)),
            genuine: genuine.as_ref().map(|bucket| breach_of(rule, bucket)),
            certificate: first.certificate(),
            is_early: true,
        };
        self.settle(rule, finding, occasion, changes)
    }

    /// Ends a window: `idle` is what it holds, for both judges, if nothing happened in it. `started_at` is
    /// when it began, `None` if the engine has not seen the whole of it.
    pub(crate) fn close(
        &mut self,
        rule: &Rule,
        (idle, genuine_idle): (Option<Amount<'_>>, Option<Amount<'_>>),
        started_at: Option<Moment>,
        occasion: Occasion<'_>,
        changes: &mut Vec<ViolationChange>,
    ) -> Closed {
        let since = self.aligned.as_ref().and_then(|aligned| aligned.since.as_deref());
        let since = since.copied().unwrap_or_default();
        let is_whole =
            |since: Option<Moment>| started_at.is_some_and(|started_at| since.is_none_or(|since| since <= started_at));
        let (is_whole, is_genuine_whole) = (is_whole(since.all), is_whole(since.genuine));
        let bucket = |judge: &mut Judge, idle: Option<Amount<'_>>| {
            judge.empty().or_else(|| idle.map(|amount| Bucket::of(amount, None)))
        };
        self.part(idle == genuine_idle && is_whole == is_genuine_whole);
        let all_bucket = bucket(&mut self.all, idle);
        let genuine_bucket = match &mut self.apart {
            Some(judge) => bucket(judge, genuine_idle),
            None => all_bucket.clone(),
        };
        let all = all_bucket
            .as_ref()
            .and_then(|bucket| self.all.close(rule, bucket, is_whole));
        let genuine = match (&mut self.apart, &genuine_bucket) {
            (Some(judge), Some(bucket)) => judge.close(rule, bucket, is_genuine_whole),
            (Some(_), None) => None,
            (None, _) => all,
        };
        self.join();
        let value = |bucket: &Option<Bucket>| bucket.as_ref().and_then(|bucket| bucket.reading(rule).quantity());
        let mut closed = Closed {
            exported: all_bucket
                .as_ref()
                .filter(|_| rule.export.is_some())
                .map(|bucket| (bucket.reading(rule).to_value(), bucket.sizes())),
            ..Closed::default()
        };
        if matches!(rule.basis, Basis::Fleet(..)) {
            closed.sample = value(&all_bucket).filter(|_| is_whole);
            let genuine = value(&genuine_bucket).filter(|_| is_genuine_whole);
            self.wait(occasion.at, closed.sample, genuine);
        }
        let finding = Finding {
            all,
            genuine,
            certificate: all_bucket.as_ref().and_then(Bucket::certificate),
            is_early: false,
        };
        closed.is_datapoint = self.settle(rule, finding, occasion, changes);
        closed
    }

    fn wait(&mut self, end: Timestamp, all: Option<Quantity>, genuine: Option<Quantity>) {
        if all.is_none() && genuine.is_none() {
            return;
        }
        self.aligned.get_or_insert_default().push(Waiting {
            end,
            all,
            genuine,
            before: None,
        });
    }

    /// Judges a window that waited, by the fleet's percentile in it. Returns whether there was one.
    pub(crate) fn compare(
        &mut self,
        rule: &Rule,
        percentile: Option<Quantity>,
        occasion: Occasion<'_>,
        changes: &mut Vec<ViolationChange>,
    ) -> bool {
        let Basis::Fleet(operator, _) = rule.basis else {
            return false;
        };
        let Some(aligned) = &mut self.aligned else { return false };
        let window = aligned.pop(occasion.at);
        if **aligned == Aligned::default() {
            // Most of the time nothing waits.
            self.aligned = None;
        }
        let (Some(window), Some(percentile)) = (window, percentile) else {
            return false;
        };
        self.part(window.all == window.genuine);
        let judge = |judge: &mut Judge, value: Quantity| {
            judge.step(
                rule,
                Reading::of(value),
                breach::breaches_percentile(operator, value, percentile),
            )
        };
        let all = window.all.map(|value| judge(&mut self.all, value));
        let genuine = match (&mut self.apart, window.genuine) {
            (Some(apart), Some(value)) => Some(judge(apart, value)),
            (Some(_), None) => None,
            (None, _) => all,
        };
        self.join();
        let finding = Finding {
            all,
            genuine,
            certificate: None,
            is_early: false,
        };
        self.settle(rule, finding, occasion, changes)
    }

    /// Drops what the running window holds: it is not whole any more.
    pub(crate) fn drop_bucket(&mut self) {
        for judge in std::iter::once(&mut self.all).chain(self.apart.as_deref_mut()) {
            judge.drop_bucket();
        }
    }
}

fn breach_of<'r>(rule: &Rule, bucket: &'r Bucket) -> Verdict<'r> {
    Verdict {
        value: bucket.reading(rule),
        is_breach: true,
    }
}
