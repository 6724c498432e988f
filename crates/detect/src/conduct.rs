//! How a device reports: whether its agent began again, and whether its report ids go back.

use picket_model::metric::ReportingMetric;
use picket_model::name::MetricName;
use picket_model::report::{CustomValue, Report};

/// What is remembered of a device's reports to notice that.
#[derive(Clone, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Conduct {
    /// The id of the last report.
    #[n(0)]
    last_id: Option<u64>,
    /// The bits of what the agent last said of when it started.
    #[n(1)]
    started: Option<u64>,
}

/// What was noticed at one report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noticed {
    has_restarted: bool,
    has_gone_back: bool,
    is_unattached: bool,
}

/// The custom metric by which an agent says when it started: any number that differs from start to start.
pub(crate) const STARTED: &str = "picket:started";

impl Conduct {
    /// Takes a report. The agent has begun again if it says that it started at another time, or if the id is at most
    /// half of the one before: agents that count from their start begin near zero. An id that is lower otherwise has
    /// gone back.
    pub(crate) fn note(&mut self, report: &Report, is_genuine: bool) -> Noticed {
        let id = report.report_id;
        let before = self.last_id.replace(id);
        let began_anew = before.is_some_and(|before| id < before && id <= before / 2);
        let says_so = match said_start(report) {
            Some(now) => self.started.replace(now).is_some_and(|before| before != now),
            None => false,
        };
        Noticed {
            has_restarted: began_anew || says_so,
            has_gone_back: before.is_some_and(|before| id < before) && !began_anew && !says_so,
            is_unattached: !is_genuine,
        }
    }
}

impl Noticed {
    /// What that adds to a window of the metric.
    pub(crate) fn count(self, metric: ReportingMetric) -> u64 {
        match metric {
            ReportingMetric::SilenceDuration => 0,
            ReportingMetric::AgentRestarts => self.has_restarted.into(),
            ReportingMetric::ReportIdRegressions => self.has_gone_back.into(),
            ReportingMetric::UnattachedReports => self.is_unattached.into(),
        }
    }
}

fn said_start(report: &Report) -> Option<u64> {
    // Most reports carry no custom metric at all.
    if report.custom_metrics.is_empty() {
        return None;
    }
    let name: MetricName = STARTED.parse().ok()?;
    match report.custom_metrics.get(&name)? {
        CustomValue::Number(number) => Some(number.to_bits()),
        _ => None,
    }
}
