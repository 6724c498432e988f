//! `picket profile lint`: what is doubtful about a profile. A file is looked at here, without a server; a profile that is
//! stored, with what the server knows of its devices.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use picket_aws::call::Call;
use picket_model::behavior::{Behavior, Test, wire};
use picket_model::metric::{CustomMetricType, Metric};
use picket_model::name::{MetricName, ProfileName};
use picket_model::profile::Behaviors;
use picket_model::profile::lint::{Surroundings, lint_all};
use serde_json::{Value, json};

use crate::desk::{self, Desk};
use crate::failure::Failure;
use crate::output::Output;
use crate::profile::{CREATE_MEMBERS, profile_of};

/// What to look at, and what is known of the devices.
#[derive(Debug, clap::Args)]
pub struct Lint {
    /// A file as for create (`-` is stdin), or the name of a profile that is stored
    #[arg(value_name = "FILE|PROFILE", required_unless_present = "file")]
    what: Option<String>,
    /// A file, whatever its name
    #[arg(short, long, value_name = "FILE", conflicts_with = "what")]
    file: Option<PathBuf>,
    /// Seconds that devices leave between reports
    #[arg(long, value_name = "SECS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    report_interval_secs: u32,
}

impl Lint {
    /// The file to look at, if it is one: names of profiles hold neither `.` nor `/`, and a file that is there is meant.
    pub(crate) fn offline(&self) -> Option<&Path> {
        let is_file = |what: &&String| *what == "-" || what.contains(['.', '/']) || Path::new(what).is_file();
        self.file
            .as_deref()
            .or_else(|| self.what.as_ref().filter(is_file).map(Path::new))
    }

    /// Looks at a file, without a server.
    pub(crate) fn look_at(&self, file: &Path, output: Output) -> Result<(), Failure> {
        let unexpected = |found| Failure::Unexpected {
            what: file.display().to_string(),
            found,
            expected: "a JSON object as in AWS's CreateSecurityProfile, with `behaviors`",
        };
        let body = profile_of(desk::read_json(file)?, &CREATE_MEMBERS).map_err(unexpected)?;
        let written: Vec<wire::Behavior> = match &body["behaviors"] {
            Value::Null => Vec::new(),
            behaviors => serde_json::from_value(behaviors.clone()).map_err(|err| unexpected(err.to_string()))?,
        };
        tell(&self.warnings(written).map_err(unexpected)?, output)
    }

    /// Looks at a profile that is stored.
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        if let Some(file) = self.offline() {
            return self.look_at(file, desk.output);
        }
        let unexpected = |found| Failure::Unexpected {
            what: "the profile to look at".to_owned(),
            found,
            expected: "a file, or the name of a profile",
        };
        let name = self.what.clone().unwrap_or_default();
        let profile: ProfileName = name.parse().map_err(|err| unexpected(format!("{name:?}: {err}")))?;
        let call = Call::get(&["security-profiles", profile.as_str()]);
        let answer = desk.client.call(&call).await?;
        let told = answer["picketWarnings"].as_array().into_iter().flatten();
        let mut warnings: Vec<String> = told.filter_map(|text| text.as_str().map(str::to_owned)).collect();
        // The server does not know how often devices report. A newer one may know behaviors that we do not.
        let written = serde_json::from_value(answer["behaviors"].clone()).unwrap_or_default();
        let known: BTreeSet<String> = warnings.iter().cloned().collect();
        let own = self.warnings(written).unwrap_or_default();
        warnings.extend(own.into_iter().filter(|text| !known.contains(text)));
        tell(&warnings, desk.output)
    }

    fn warnings(&self, written: Vec<wire::Behavior>) -> Result<Vec<String>, String> {
        let behaviors = parsed(written)?;
        let around = Surroundings {
            report_interval: Duration::from_secs(self.report_interval_secs.into()),
            ..Surroundings::default()
        };
        Ok(lint_all(behaviors.as_slice(), &around))
    }
}

/// The behaviors, or all that is wrong with them. Custom metrics are taken to have the type that they are used with first.
fn parsed(written: Vec<wire::Behavior>) -> Result<Behaviors, String> {
    let alone: Vec<Behavior> = written
        .iter()
        .cloned()
        .filter_map(|behavior| behavior.try_into().ok())
        .collect();
    let type_of = |name: &MetricName| {
        let user = alone
            .iter()
            .find(|behavior| matches!(&behavior.metric, Some(Metric::Custom(metric)) if metric == name));
        Some(match user?.criteria.as_ref().map(|criteria| &criteria.test) {
            Some(Test::Cidrs { .. }) => CustomMetricType::IpAddressList,
            Some(Test::Numbers { .. }) => CustomMetricType::NumberList,
            Some(Test::Strings { .. }) => CustomMetricType::StringList,
            _ => CustomMetricType::Number,
        })
    };
    Behaviors::parse(written, &type_of).map_err(|broken| {
        let reasons: Vec<String> = broken.iter().map(ToString::to_string).collect();
        reasons.join("; ")
    })
}

fn tell(warnings: &[String], output: Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&json!({ "warnings": warnings }));
    }
    if warnings.is_empty() {
        output.talk("nothing is doubtful");
        return Ok(());
    }
    output.text(&warnings.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lint(what: Option<&str>, file: Option<&str>, report_interval_secs: u32) -> Lint {
        Lint {
            what: what.map(str::to_owned),
            file: file.map(PathBuf::from),
            report_interval_secs,
        }
    }

    #[test]
    fn files_are_told_from_profiles() {
        for (what, file, expected) in [
            (Some("Quiet"), None, None),
            (Some("Quiet.json"), None, Some("Quiet.json")),
            (Some("profiles/Quiet"), None, Some("profiles/Quiet")),
            (Some("-"), None, Some("-")),
            (None, Some("Quiet"), Some("Quiet")),
            // Tests run in the folder of the room.
            (Some("Cargo.toml"), None, Some("Cargo.toml")),
            (Some("src"), None, None),
        ] {
            let found = lint(what, file, 300);
            assert_eq!(found.offline(), expected.map(Path::new), "{what:?} {file:?}");
        }
    }

    #[test]
    fn a_file_is_looked_at_without_a_server() {
        let volume = |operator: &str, secs: u32| {
            json!([{
                "name": "Out",
                "metric": "aws:all-bytes-out",
                "criteria": { "comparisonOperator": operator, "value": { "count": 9 }, "durationSeconds": secs },
            }])
        };
        let custom = json!([{
            "name": "Peers",
            "metric": "peers",
            "criteria": { "comparisonOperator": "in-cidr-set", "value": { "cidrs": ["10.0.0.0/8"] } },
        }]);
        for (behaviors, interval, expected) in [
            (volume("less-than", 300), 300, Ok(vec![])),
            (volume("less-than", 300), 600, Ok(vec!["shorter than the 600 s"])),
            (volume("greater-than", 300), 300, Ok(vec!["did you mean"])),
            (custom, 300, Ok(vec![])),
            (volume("less-then", 300), 300, Err("less-then")),
            (volume("less-than", 301), 300, Err("durationSeconds 301")),
        ] {
            let written = serde_json::from_value(behaviors.clone()).unwrap();
            match (lint(None, None, interval).warnings(written), expected) {
                (Ok(found), Ok(expected)) => {
                    assert_eq!(found.len(), expected.len(), "{behaviors} {found:?}");
                    for (found, part) in found.iter().zip(expected) {
                        assert!(found.contains(part), "{behaviors}: {found}");
                    }
                }
                (Err(found), Err(part)) => assert!(found.contains(part), "{behaviors}: {found}"),
                (found, expected) => panic!("{behaviors}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
