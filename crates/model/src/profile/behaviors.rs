//! The behaviors of one profile.

use std::collections::HashSet;

use crate::behavior::{BadBehavior, Behavior, Test, wire};
use crate::metric::CustomMetricType;
use crate::name::{BehaviorName, MetricName};

/// The behaviors of one profile, in the order written: at most [`Behaviors::N_MAX`], each name once, with at most
/// [`Behaviors::N_ELEMENTS_MAX`] elements in their values together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Behaviors(Vec<Behavior>);

/// Why a list of behaviors was refused; the text goes back to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBehaviors {
    /// One of them, by itself or beside the others.
    #[error(transparent)]
    Behavior(#[from] BadBehavior),
    /// Too many.
    #[error("a security profile has at most {} behaviors, found {found}", Behaviors::N_MAX)]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// Their values are too long.
    #[error(
        "the values of a security profile have at most {} elements, found {found}",
        Behaviors::N_ELEMENTS_MAX
    )]
    TooManyElements {
        /// How many there are: each address range, port, number and text is one.
        found: usize,
    },
}

impl Behaviors {
    /// AWS's quota.
    pub const N_MAX: usize = 100;
    /// AWS's quota.
    pub const N_ELEMENTS_MAX: usize = 1000;

    /// The behaviors that were written. `type_of` tells the type of a custom metric, `None` if there is no such metric.
    ///
    /// # Errors
    /// All rules that they break, at least one; at most one for each behavior.
    pub fn parse(
        written: Vec<wire::Behavior>,
        type_of: &dyn Fn(&MetricName) -> Option<CustomMetricType>,
    ) -> Result<Self, Vec<BadBehaviors>> {
        if Self::N_MAX < written.len() {
            return Err(vec![BadBehaviors::TooMany { found: written.len() }]);
        }
        let mut behaviors = Vec::with_capacity(written.len());
        let mut broken = Vec::new();
        let mut names = HashSet::new();
        for behavior in written {
            match Behavior::parse(behavior, type_of) {
                Ok(behavior) if names.insert(behavior.name.clone()) => behaviors.push(behavior),
                Ok(behavior) => broken.push(BadBehaviors::Behavior(BadBehavior {
                    name: behavior.name.to_string(),
                    reason: "another behavior of the security profile has this name".to_owned(),
                })),
                Err(bad) => broken.push(bad.into()),
            }
        }
        let found = behaviors.iter().map(n_elements).sum();
        if Self::N_ELEMENTS_MAX < found {
            broken.push(BadBehaviors::TooManyElements { found });
        }
        if broken.is_empty() {
            Ok(Self(behaviors))
        } else {
            Err(broken)
        }
    }

    /// The first behavior that exports its metric, for which the profile needs a `metricsExportConfig`.
    pub fn exporting(&self) -> Option<&BehaviorName> {
        self.0
            .iter()
            .find(|behavior| behavior.export_metric == Some(true))
            .map(|behavior| &behavior.name)
    }

    /// The behaviors.
    pub fn as_slice(&self) -> &[Behavior] {
        &self.0
    }

    /// The behaviors, moved out.
    pub fn into_vec(self) -> Vec<Behavior> {
        self.0
    }
}

fn n_elements(behavior: &Behavior) -> usize {
    match behavior.criteria.as_ref().map(|criteria| &criteria.test) {
        Some(Test::Threshold { .. }) => 1,
        Some(Test::Ports { ports, .. }) => ports.len(),
        Some(Test::Cidrs { cidrs, .. }) => cidrs.len(),
        Some(Test::Numbers { numbers, .. }) => numbers.len(),
        Some(Test::Strings { strings, .. }) => strings.len(),
        Some(Test::Percentile { .. } | Test::Learned { .. }) | None => 0,
    }
}
