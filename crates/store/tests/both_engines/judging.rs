//! Revisions of what judging depends on: each reads as it was, whole or after any other; and what an older version kept.

use std::sync::Arc;

use picket_model::metric::CustomMetricType;
use picket_model::profile::{Behaviors, JudgedProfile, JudgingConfig, RetainedMetric, Target};
use picket_model::time::Timestamp;
use picket_store::dimensions::NewDimension;
use picket_store::profiles::{NewProfile, ProfileFilter, ProfileUpdate};
use picket_store::registry::{Attributes, NewGroup, Tags};
use picket_store::requests::Request;
use picket_store::{Db, StoreError};

use crate::engines::{execute, on_each, on_each_url};
use crate::profiles::metric;

const AT: Timestamp = Timestamp::from_millis(1000);

/// What can be changed, each by a number that says which of a few names, and to what.
const CHANGES: [&str; 11] = [
    "create",
    "update",
    "update",
    "delete",
    "attach",
    "attach",
    "detach",
    "group",
    "metric",
    "dimension",
    "timing",
];

#[tokio::test]
async fn each_revision_reads_as_it_was_whole_and_after_any_other() {
    on_each(async |db: Db| {
        let mut recorded = vec![JudgingConfig::default()];
        let mut random = 7_u64;
        for _ in 0..150 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let [what, which, how] = [33, 43, 53].map(|shift| usize::try_from(random >> shift & 0x3ff).unwrap());
            change(&db, CHANGES[what % CHANGES.len()], which, how).await;
            let newest = db.judging_revision().await.unwrap();
            let now = composed(&db, newest).await;
            if recorded.len() as u64 <= newest {
                recorded.push(now);
            } else {
                assert_eq!(recorded.last(), Some(&now), "no revision, so nothing has changed");
            }
        }
        assert!(60 < recorded.len(), "{} revisions", recorded.len());
        check(&db, &recorded, 0).await;

        let newest = recorded.len() - 1;
        for below in [newest / 2, newest / 3, newest + 5] {
            db.trim_judging(below as u64).await.unwrap();
            check(&db, &recorded, below.max(newest / 2).min(newest)).await;
        }
        assert_eq!(
            db.judging_config(recorded.len() as u64).await.unwrap(),
            None,
            "never was"
        );
    })
    .await;
}

/// Every revision from `first` on is as recorded, whoever asks; those before are given up.
async fn check(db: &Db, recorded: &[JudgingConfig], first: usize) {
    for (revision, expected) in recorded.iter().enumerate() {
        let whole = db.judging_config(revision as u64).await.unwrap();
        if 0 < revision && revision < first {
            assert_eq!(whole, None, "revision {revision} is given up");
            continue;
        }
        assert_eq!(whole.as_ref(), Some(expected), "revision {revision}");
        // Also by who knows one that is given up, or a later one.
        for known in recorded.iter().step_by(7) {
            let after = db.judging_config_after(known, revision as u64).await.unwrap();
            assert_eq!(after.as_ref(), Some(expected), "{revision} after {}", known.revision);
        }
    }
}

#[tokio::test]
async fn what_has_not_changed_is_shared() {
    on_each(async |db: Db| {
        for which in 0..3 {
            change(&db, "create", which, 0).await;
        }
        let known = db.judging_config(3).await.unwrap().unwrap();
        change(&db, "attach", 1, 0).await;
        let next = db.judging_config_after(&known, 4).await.unwrap().unwrap();
        let is_same = |at: usize| Arc::ptr_eq(&known.profiles[at], &next.profiles[at]);
        assert_eq!([0, 1, 2].map(is_same), [true, false, true]);
        let [before, after] = [&known, &next].map(|config| &config.profiles[1].behaviors[0]);
        assert!(Arc::ptr_eq(before, after), "its rules are the same");
        assert_eq!(known.profiles[1].targets, [], "who reads goes on with what it has");
    })
    .await;
}

/// Revisions of a version that kept them whole are read as they were; from then on there are parts.
#[tokio::test]
async fn whole_revisions_of_an_older_version_are_carried_over() {
    on_each_url(async |url| {
        let db = Db::open(&url).await.unwrap();
        for (what, which) in [
            ("create", 0),
            ("create", 1),
            ("attach", 0),
            ("metric", 0),
            ("dimension", 0),
            ("timing", 1),
        ] {
            change(&db, what, which, 1).await;
        }
        // As it was: all revisions whole, and no parts. What the older version did not know is not in them.
        let mut recorded = vec![JudgingConfig::default()];
        let mut statements = vec![
            "DROP TABLE judging_part".to_owned(),
            "DELETE FROM counter WHERE name = 'judging_part'".to_owned(),
            "DELETE FROM _sqlx_migrations WHERE version = 12".to_owned(),
        ];
        for revision in 1..=6 {
            let mut config = db.judging_config(revision).await.unwrap().unwrap();
            for profile in &mut config.profiles {
                Arc::make_mut(profile).retained.clear();
            }
            let body = String::from_utf8(config.encode()).unwrap().replace('\'', "''");
            statements.push(format!(
                "INSERT INTO judging_config (revision, body) VALUES ({revision}, '{body}')"
            ));
            recorded.push(config);
        }
        db.close().await;
        for statement in statements {
            execute(&url, &statement).await;
        }

        let db = Db::open(&url).await.unwrap();
        check(&db, &recorded, 0).await;
        for (what, which, how) in [("update", 1, 2), ("attach", 1, 1), ("delete", 0, 0)] {
            change(&db, what, which, how).await;
            let newest = db.judging_revision().await.unwrap();
            recorded.push(composed(&db, newest).await);
        }
        assert_eq!(recorded.len(), 10);
        check(&db, &recorded, 0).await;
        for below in [4, 8, 9] {
            db.trim_judging(below).await.unwrap();
            check(&db, &recorded, usize::try_from(below).unwrap()).await;
        }
        db.close().await;
    })
    .await;
}

fn profile_name(which: usize) -> picket_model::name::ProfileName {
    // Each begins as the one before: a target belongs to one of them only.
    ["P", "P-", "Pa", "Pa_b", "Q"][which % 5].parse().unwrap()
}

fn target(how: usize) -> Target {
    match how % 4 {
        0 => Target::AllThings,
        1 => Target::UnregisteredThings,
        n => Target::Group(format!("g{n}").parse().unwrap()),
    }
}

fn behaviors(how: usize) -> Behaviors {
    let json = format!(
        r#"[{{"name":"Bytes","metric":"aws:all-bytes-out","criteria":{{"comparisonOperator":"less-than-equals",
            "value":{{"count":{how}}},"durationSeconds":300}}}}]"#
    );
    Behaviors::parse(serde_json::from_str(&json).unwrap(), &|_| {
        Some(CustomMetricType::Number)
    })
    .unwrap()
}

fn extras(how: usize) -> String {
    let metrics = ["[]", r#"[{"metric":"aws:num-disconnects"}]"#][how % 2];
    format!(r#"{{"alertTargets":{{}},"additionalMetricsToRetainV2":{metrics}}}"#)
}

/// It was done, or is none of what can be done now.
fn refused_or<T>(done: Result<T, StoreError>) {
    match done {
        Ok(_) | Err(StoreError::NotFound { .. } | StoreError::Exists { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
}

/// Makes a change, if it can be made.
async fn change(db: &Db, what: &str, which: usize, how: usize) {
    let (name, target) = (profile_name(which), target(how));
    match what {
        "create" => {
            let new = NewProfile {
                name,
                description: None,
                behaviors: behaviors(how),
                extras: extras(how),
            };
            refused_or(db.create_profile(&new, &Tags::default(), AT).await);
        }
        "update" => {
            let update = ProfileUpdate {
                description: Some(how.to_string()),
                behaviors: (!how.is_multiple_of(3)).then(|| behaviors(how)),
                extras: (!how.is_multiple_of(5)).then(|| extras(how)),
            };
            refused_or(db.update_profile(&name, &update, None, AT).await);
        }
        "delete" => refused_or(db.delete_profile(&name, None).await),
        "attach" => {
            if let Target::Group(name) = &target {
                let group = NewGroup {
                    name: name.clone(),
                    parent: None,
                    description: None,
                    attributes: Attributes::default(),
                };
                refused_or(db.create_group(&group, &Tags::default(), AT).await);
            }
            refused_or(db.attach_profile(&name, &target, AT).await);
        }
        "detach" => refused_or(db.detach_profile(&name, &target).await),
        "group" => drop(
            db.delete_group(&format!("g{}", 2 + how % 2).parse().unwrap(), None)
                .await,
        ),
        "metric" => {
            let metric = metric(&format!("m{}", which % 3), None);
            if !db.delete_custom_metric(&metric.name).await.unwrap() {
                db.create_custom_metric(&metric, &Tags::default(), AT).await.unwrap();
            }
        }
        "dimension" => change_dimension(db, which, how).await,
        _ => db.set_strict_aws_timing(which % 2 == 1).await.unwrap(),
    }
}

async fn change_dimension(db: &Db, which: usize, how: usize) {
    let name = format!("d{}", which % 2).parse().unwrap();
    let filters = vec![format!("a/{how}/+")];
    if db.dimension(&name).await.unwrap().is_none() {
        let request = Request {
            token: how.to_string(),
            parameters: how.to_string(),
        };
        let new = NewDimension { name, filters, request };
        db.create_dimension(&new, &Tags::default(), AT).await.unwrap();
    } else if how.is_multiple_of(2) {
        db.update_dimension(&name, &filters, AT).await.unwrap();
    } else {
        db.delete_dimension(&name).await.unwrap();
    }
}

/// What the newest revision has to be, from what is stored by name.
async fn composed(db: &Db, revision: u64) -> JudgingConfig {
    let mut profiles = Vec::new();
    for name in db.profiles(&ProfileFilter::default(), None, 100).await.unwrap() {
        let profile = db.profile(&name).await.unwrap().unwrap();
        let mut targets = db.targets_of_profile(&name, None, 100).await.unwrap();
        targets.sort();
        let retained = profile.extras.contains("num-disconnects").then(|| RetainedMetric {
            metric: "aws:num-disconnects".parse().unwrap(),
            dimension: None,
            is_exported: false,
        });
        profiles.push(Arc::new(JudgedProfile {
            name,
            behaviors: profile.behaviors.into_iter().map(Arc::new).collect(),
            targets,
            retained: retained.into_iter().collect(),
            export_topic: None,
        }));
    }
    let metrics = db.custom_metrics().await.unwrap().into_iter();
    let dimensions = db.dimensions().await.unwrap().into_iter();
    JudgingConfig {
        revision,
        profiles,
        custom_metrics: metrics.map(|metric| (metric.name, metric.kind)).collect(),
        dimensions: dimensions
            .map(|dimension| (dimension.name, dimension.filters))
            .collect(),
        // Only a revision says it.
        strict_aws_timing: db.judging_config(revision).await.unwrap().unwrap().strict_aws_timing,
    }
}
