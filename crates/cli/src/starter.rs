//! `picket profile starter`: a profile to begin with, whose alarms are worth a look on almost any fleet.

use picket_aws::call::Call;
use picket_model::name::ProfileName;
use serde_json::Value;

use crate::arn;
use crate::desk::{self, Desk};
use crate::failure::Failure;
use crate::output::Output;

/// What to do with the profile.
#[derive(Debug, clap::Args)]
pub struct Starter {
    /// Create it and judge all registered things by it, instead of printing it
    #[arg(long)]
    pub(crate) apply: bool,
    /// Its name
    #[arg(long, value_name = "PROFILE", default_value = "Starter")]
    name: ProfileName,
}

/// What CreateSecurityProfile takes.
const PROFILE: &str = include_str!("starter.json");

/// Whom it is about.
const TARGET: &str = "all/registered-things";

impl Starter {
    /// Prints the profile, without a server: to be changed, and then created.
    pub(crate) fn print(output: Output) -> Result<(), Failure> {
        output.text(PROFILE.trim_end())
    }

    /// Creates the profile and attaches it.
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        if !self.apply {
            return Self::print(desk.output);
        }
        let name = self.name;
        let call = Call::post(&["security-profiles", name.as_str()]).json(&body()?);
        let answer = desk.client.call(&call).await?;
        desk.warn(&answer);
        let own = desk::required(&answer, "securityProfileArn")?;
        let target = arn::sibling(own, TARGET).ok_or_else(|| Failure::Unexpected {
            what: "`securityProfileArn` in the server's answer".to_owned(),
            found: own.to_owned(),
            expected: "an ARN",
        })?;
        let call =
            Call::put(&["security-profiles", name.as_str(), "targets"]).query("securityProfileTargetArn", &target);
        desk.client.call(&call).await?;
        desk.output
            .done(&answer, &format!("created profile {name}, attached to {TARGET}"))
    }
}

fn body() -> Result<Value, Failure> {
    serde_json::from_str(PROFILE).map_err(|source| Failure::NotJson {
        path: "starter.json".into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use picket_model::behavior::wire;
    use picket_model::metric::{Metric, ReportingMetric};
    use picket_model::profile::Behaviors;
    use picket_model::profile::lint::{Surroundings, lint_all};

    use super::*;

    #[test]
    fn the_starter_profile_is_valid_and_not_doubtful() {
        let written: Vec<wire::Behavior> = serde_json::from_value(body().unwrap()["behaviors"].clone()).unwrap();
        let behaviors = Behaviors::parse(written, &|_| None).unwrap();
        assert_eq!(lint_all(behaviors.as_slice(), &Surroundings::default()), [""; 0]);
        for metric in ReportingMetric::ALL {
            let wanted = Some(Metric::Reporting(metric));
            let is_in = behaviors.as_slice().iter().any(|behavior| behavior.metric == wanted);
            assert!(is_in, "{metric:?}");
        }
        let page = include_str!("../../../docs/detection.md");
        for behavior in behaviors.as_slice() {
            assert_eq!(behavior.suppress_alerts, None, "{}", behavior.name);
            assert_eq!(behavior.not_judged(), None, "{}", behavior.name);
            let line = format!("| `{}` |", behavior.name);
            assert!(page.contains(&line), "the page says what {} is for", behavior.name);
        }
    }
}
