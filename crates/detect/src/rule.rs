//! A behavior made ready to be judged.

use std::sync::Arc;
use std::time::Duration;

use picket_model::behavior::{Behavior, Criteria, MetricDimension, NumericOperator, Statistic, Test};
use picket_model::metric::{Metric, ValueShape};
use picket_model::name::ProfileName;
use picket_model::profile::{JudgedProfile, JudgingConfig, RetainedMetric};

use crate::alarm::Patience;
use crate::breach::Check;
use crate::source::Source;

/// One behavior of one profile, made ready.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// The profile that it belongs to.
    pub(crate) profile: ProfileName,
    /// The behavior as configured.
    pub(crate) behavior: Arc<Behavior>,
    /// Of what is judged and how: the same in every partition.
    pub(crate) fingerprint: u64,
    /// Where the values come from.
    pub(crate) source: Source,
    /// When there is a datapoint.
    pub(crate) pace: Pace,
    /// What is normal.
    pub(crate) basis: Basis,
    /// How many datapoints in a row change the alarm.
    pub(crate) patience: Patience,
    /// Whether an alarm may come before the end of its window, when no end can be normal any more.
    pub(crate) is_eager: bool,
    /// Where values go out.
    pub(crate) export: Option<Export>,
}

/// When there is a datapoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At each report, of it alone.
    AtReport,
    /// At each report, over the reports in a sliding window.
    Sliding(Duration),
    /// At the end of each window that is aligned to the epoch.
    Aligned(Duration),
    /// Of something's age: every five minutes, and when it ends.
    Age,
}

/// What is normal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Basis {
    /// What passes a test that never changes.
    Fixed(Check),
    /// What compares so with the fleet's percentile in the same window.
    Fleet(NumericOperator, Statistic),
    /// What was learned: there are values, but nothing has been learned yet.
    Learned,
    /// Anything: values are collected.
    Collected,
}

/// Where values go out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Export {
    pub(crate) topic: Arc<str>,
    pub(crate) metric: Metric,
    pub(crate) dimension: Option<MetricDimension>,
}

/// The windows of what has no duration of its own: AWS judges what its broker measures every five minutes.
pub(crate) const STEP: Duration = Duration::from_secs(300);

impl Rule {
    /// Makes a behavior ready; `None` if nothing can be judged or sent out: without metric, of a custom metric or a
    /// dimension that does not exist, of a type that does not fit, or without criteria and not exported.
    pub(crate) fn of(profile: &JudgedProfile, behavior: &Arc<Behavior>, config: &JudgingConfig) -> Option<Self> {
        let source = Source::of(behavior, config)?;
        let metric = behavior.metric.clone()?;
        let export = export(
            profile,
            behavior.export_metric == Some(true),
            metric,
            behavior.dimension.as_ref(),
        );
        let (basis, pace) = match &behavior.criteria {
            None => (Basis::Collected, collecting(&source)),
            Some(criteria) => judging(criteria, &source)?,
        };
        if basis == Basis::Collected && export.is_none() {
            return None;
        }
        let filters = behavior
            .dimension
            .as_ref()
            .and_then(|one| config.dimensions.get(&one.name));
        Some(Self {
            profile: profile.name.clone(),
            behavior: Arc::clone(behavior),
            fingerprint: behavior.fingerprint(filters.map(Vec::as_slice)),
            source,
            pace,
            basis,
            patience: patience(behavior.criteria.as_ref()),
            is_eager: !config.strict_aws_timing,
            export,
        })
    }

    /// A metric that is collected, if its values go out.
    pub(crate) fn of_retained(
        profile: &JudgedProfile,
        retained: &RetainedMetric,
        config: &JudgingConfig,
    ) -> Option<Self> {
        let mut behavior = Behavior {
            name: "retained".parse().ok()?,
            metric: Some(retained.metric.clone()),
            dimension: retained.dimension.clone(),
            criteria: None,
            suppress_alerts: None,
            export_metric: Some(retained.is_exported),
        };
        // No two collected metrics of a profile have one name, and hardly a behavior has it.
        behavior.name = format!("retained:{:016x}", behavior.fingerprint(None)).parse().ok()?;
        Self::of(profile, &Arc::new(behavior), config)
    }

    /// Whether the other rule is about the same metric, so that an alarm of the one may go on as one of the other.
    pub(crate) fn is_about_the_same(&self, other: &Self) -> bool {
        self.source.is_same_metric(&other.source)
    }

    /// Whether the other rule judges the same values alike; names, alerting and export may differ.
    pub(crate) fn judges_like(&self, other: &Self) -> bool {
        self.source == other.source
            && self.basis == other.basis
            && self.patience == other.patience
            && self.pace == other.pace
    }

    /// The check of a fixed limit.
    pub(crate) fn check(&self) -> Option<&Check> {
        match &self.basis {
            Basis::Fixed(check) => Some(check),
            Basis::Fleet(..) | Basis::Learned | Basis::Collected => None,
        }
    }

    /// The sliding window.
    pub(crate) fn sliding(&self) -> Option<Duration> {
        match self.pace {
            Pace::Sliding(duration) => Some(duration),
            Pace::AtReport | Pace::Aligned(_) | Pace::Age => None,
        }
    }

    /// Whether time alone brings datapoints, so that the engine must be told the time.
    pub(crate) fn is_timed(&self) -> bool {
        matches!(self.pace, Pace::Aligned(_) | Pace::Age)
    }

    /// Whether a running window may break the rule for good: an upper bound, or a set.
    pub(crate) fn breaks_early(&self) -> bool {
        self.is_eager && self.check().is_some_and(|check| !check.is_lower_bound())
    }
}

fn judging(criteria: &Criteria, source: &Source) -> Option<(Basis, Pace)> {
    let duration = criteria.duration.map(|window| window.duration());
    let basis = match &criteria.test {
        Test::Percentile { operator, statistic } => Basis::Fleet(*operator, *statistic),
        Test::Learned { .. } => Basis::Learned,
        fixed => Basis::Fixed(Check::of(fixed)?),
    };
    let is_number = matches!(source.shape(), ValueShape::Count | ValueShape::Number);
    let (fits, pace) = match &basis {
        Basis::Fixed(check) => {
            let pace = match source {
                _ if source.is_age() => Pace::Age,
                // The API refuses a volume without a duration: there is no window to sum.
                Source::Device(_) if source.is_volume() => Pace::Sliding(duration?),
                Source::Device(_) | Source::Custom(..) => Pace::AtReport,
                Source::Broker(..) | Source::Reporting(_) => Pace::Aligned(duration.unwrap_or(STEP)),
            };
            (fits(check, source.shape()), pace)
        }
        Basis::Fleet(..) => (is_number && !source.is_age(), Pace::Aligned(duration?)),
        Basis::Learned | Basis::Collected => (is_number && !source.is_age(), Pace::Aligned(STEP)),
    };
    fits.then_some((basis, pace))
}

/// How what is not judged is collected: as AWS sends it out.
fn collecting(source: &Source) -> Pace {
    match source {
        _ if source.is_age() => Pace::Age,
        Source::Device(_) | Source::Custom(..) => Pace::AtReport,
        Source::Broker(..) | Source::Reporting(_) => Pace::Aligned(STEP),
    }
}

fn export(
    profile: &JudgedProfile,
    is_exported: bool,
    metric: Metric,
    dimension: Option<&MetricDimension>,
) -> Option<Export> {
    let topic = profile.export_topic.as_deref().filter(|_| is_exported)?;
    Some(Export {
        topic: topic.into(),
        metric,
        dimension: dimension.cloned(),
    })
}

fn fits(check: &Check, shape: ValueShape) -> bool {
    matches!(
        (check, shape),
        (Check::Threshold(..), ValueShape::Count | ValueShape::Number)
            | (Check::Ports(..), ValueShape::Ports)
            | (Check::Addresses(..), ValueShape::Addresses)
            | (Check::Numbers(..), ValueShape::Numbers)
            | (Check::Strings(..), ValueShape::Strings)
    )
}

fn patience(criteria: Option<&Criteria>) -> Patience {
    Patience {
        to_raise: criteria.map_or(1, Criteria::n_to_alarm),
        to_clear: criteria.map_or(1, Criteria::n_to_clear),
    }
}
