//! Behaviors that are valid and probably not meant.
//!
//! Reading order: here what is said and of what, `single` (bounds and percentiles of one behavior), `sets` (what its set
//! holds), `pairs` (behaviors of a profile beside each other).

mod pairs;
mod sets;
mod single;

use std::net::IpAddr;
use std::time::Duration;

use crate::behavior::{Behavior, Test};

/// What is known of the devices that a profile is about, beside what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// How many registered things the profile's targets hold; `None` if nobody counted. Counting may stop at
    /// [`Surroundings::N_DEVICES_FEW`].
    pub n_devices: Option<u64>,
    /// How long devices leave between reports.
    pub report_interval: Duration,
    /// Addresses by which devices reach the server, as far as they are known.
    pub server_addresses: Vec<IpAddr>,
}

impl Surroundings {
    /// Below this number of devices it is worth saying what a percentile means.
    pub const N_DEVICES_FEW: u64 = 10;

    /// How long AWS's agents leave between reports.
    pub const REPORT_INTERVAL: Duration = Duration::from_secs(300);
}

/// Nothing is known but what AWS's agents do.
impl Default for Surroundings {
    fn default() -> Self {
        Self {
            n_devices: None,
            report_interval: Self::REPORT_INTERVAL,
            server_addresses: Vec::new(),
        }
    }
}

/// What looks wrong about a behavior, in sentences. It is accepted all the same: AWS accepts it too.
///
/// Most of them come from reading a criterion as the alarm; it says what is normal.
pub fn lint(behavior: &Behavior, around: &Surroundings) -> Vec<String> {
    let Some(metric) = &behavior.metric else {
        return vec!["it names no metric, so it judges nothing".to_owned()];
    };
    let Some(criteria) = &behavior.criteria else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    match &criteria.test {
        Test::Threshold { operator, limit } => {
            findings.extend(single::threshold(metric, *operator, *limit));
            findings.extend(single::short_silence(metric, *limit, around.report_interval));
        }
        Test::Percentile { operator, statistic } => {
            findings.extend(single::percentile(metric, *operator, *statistic));
            findings.extend(
                around
                    .n_devices
                    .and_then(|n| single::tiny_fleet(*operator, *statistic, n)),
            );
        }
        Test::Ports { operator, ports } => findings.extend(sets::ports(*operator, ports)),
        Test::Cidrs { operator, cidrs } => {
            findings.extend(sets::cidrs(*operator, cidrs));
            findings.extend(sets::server_address(metric, *operator, cidrs, &around.server_addresses));
        }
        Test::Numbers { numbers, .. } => findings.extend(sets::repeated(numbers)),
        Test::Strings { strings, .. } => findings.extend(sets::repeated_texts(strings)),
        Test::Learned { .. } => {}
    }
    findings.extend(single::short_window(metric, criteria, around.report_interval));
    findings
}

/// What looks wrong about the behaviors of a profile, each by itself and beside the others. Each sentence names its
/// behavior.
pub fn lint_all(behaviors: &[Behavior], around: &Surroundings) -> Vec<String> {
    let of_one = |behavior: &Behavior| {
        let name = behavior.name.clone();
        let findings = lint(behavior, around).into_iter();
        findings.map(move |finding| format!("Behavior {name}: {finding}"))
    };
    behaviors
        .iter()
        .flat_map(of_one)
        .chain(pairs::pairs(behaviors))
        .collect()
}
