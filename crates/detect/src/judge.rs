//! One alarm with the window that it looks at.

use picket_model::name::CertificateId;

use crate::alarm::Alarm;
use crate::breach::Reading;
use crate::bucket::Bucket;
use crate::moment::Moment;
use crate::rule::{Basis, Rule};
use crate::source::Amount;
use crate::window::Window;

/// One alarm with the window that it looks at.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Judge {
    /// Raised or quiet.
    #[n(0)]
    pub(crate) alarm: Alarm,
    /// `None` for what has no window, and while an aligned one is empty.
    #[n(1)]
    pub(crate) span: Option<Box<Span>>,
}

/// What a window holds.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) enum Span {
    /// The reports of a sliding one.
    #[n(0)]
    Sliding(#[n(0)] Window),
    /// The running one of those that are aligned.
    #[n(1)]
    Aligned(#[n(0)] Bucket),
}

/// One datapoint, judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict<'r> {
    pub(crate) value: Reading<'r>,
    pub(crate) is_breach: bool,
}

impl Judge {
    /// A judge that has seen nothing; `since` as in [`Window::begun`].
    pub(crate) fn begun(rule: &Rule, since: Option<Moment>) -> Self {
        let window = rule.sliding().map(|_| Box::new(Span::Sliding(Window::begun(since))));
        Self {
            alarm: Alarm::QUIET,
            span: window,
        }
    }

    /// Judges a value.
    pub(crate) fn judge<'r>(&mut self, rule: &Rule, value: Reading<'r>) -> Option<Verdict<'r>> {
        let is_breach = rule.check()?.is_breach(value);
        Some(self.step(rule, value, is_breach))
    }

    /// Takes a value that is a breach or not.
    pub(crate) fn step<'r>(&mut self, rule: &Rule, value: Reading<'r>, is_breach: bool) -> Verdict<'r> {
        (self.alarm, _) = self.alarm.step(is_breach, rule.patience);
        Verdict { value, is_breach }
    }

    /// Takes what a report says; `None` while a window is too young for a lower bound, and where nothing is judged.
    pub(crate) fn take<'r>(&mut self, rule: &Rule, reading: Reading<'r>, now: Moment) -> Option<Verdict<'r>> {
        let check = rule.check()?;
        let value = match (reading, rule.sliding(), self.sliding_mut()) {
            (Reading::Count(amount), Some(duration), Some(window)) => {
                let sum = window.add(now, amount, duration);
                if check.is_lower_bound() && !window.is_ripe(now, duration) {
                    return None;
                }
                Reading::Count(sum)
            }
            _ => reading,
        };
        self.judge(rule, value)
    }

    /// Puts an amount into the running window.
    pub(crate) fn add(&mut self, amount: Amount<'_>, certificate: Option<CertificateId>) {
        match self.span.as_deref_mut() {
            Some(Span::Aligned(bucket)) => bucket.add(amount, certificate),
            _ => self.span = Some(Box::new(Span::Aligned(Bucket::of(amount, certificate)))),
        }
    }

    /// What the running window holds, taken out.
    pub(crate) fn empty(&mut self) -> Option<Bucket> {
        match self.span.take().map(|span| *span) {
            Some(Span::Aligned(bucket)) => Some(bucket),
            other => {
                self.span = other.map(Box::new);
                None
            }
        }
    }

    /// The running window is not what it would have been: it ends unjudged.
    pub(crate) fn drop_bucket(&mut self) {
        drop(self.empty());
    }

    /// The running window.
    pub(crate) fn bucket(&self) -> Option<&Bucket> {
        match self.span.as_deref() {
            Some(Span::Aligned(bucket)) => Some(bucket),
            _ => None,
        }
    }

    /// The sliding window.
    pub(crate) fn sliding(&self) -> Option<&Window> {
        match self.span.as_deref() {
            Some(Span::Sliding(window)) => Some(window),
            _ => None,
        }
    }

    fn sliding_mut(&mut self) -> Option<&mut Window> {
        match self.span.as_deref_mut() {
            Some(Span::Sliding(window)) => Some(window),
            _ => None,
        }
    }

    /// If the running window breaks the rule whatever it will still hold: what it holds, once, as its only datapoint.
    pub(crate) fn break_early(&mut self, rule: &Rule) -> Option<Bucket> {
        if !rule.breaks_early() {
            return None;
        }
        let Some(Span::Aligned(bucket)) = self.span.as_deref_mut() else {
            return None;
        };
        if bucket.is_told || !rule.check()?.is_breach(bucket.reading(rule)) {
            return None;
        }
        bucket.is_told = true;
        let bucket = bucket.clone();
        (self.alarm, _) = self.alarm.step(true, rule.patience);
        Some(bucket)
    }

    /// Judges a window at its end. `None` where it had its datapoint before, is not whole, or waits for the fleet.
    pub(crate) fn close<'r>(&mut self, rule: &Rule, bucket: &'r Bucket, is_whole: bool) -> Option<Verdict<'r>> {
        if bucket.is_told || !is_whole {
            return None;
        }
        let value = bucket.reading(rule);
        match &rule.basis {
            Basis::Fixed(_) => self.judge(rule, value),
            // There is a value, and nothing to hold it against.
            Basis::Learned | Basis::Collected => Some(Verdict {
                value,
                is_breach: false,
            }),
            Basis::Fleet(..) => None,
        }
    }
}
