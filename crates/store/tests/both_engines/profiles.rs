//! Profiles, their targets, custom metrics, and the revisions that they make.

use picket_model::metric::CustomMetricType;
use picket_model::profile::{Behaviors, Target};
use picket_model::time::Timestamp;
use picket_store::custom_metrics::NewCustomMetric;
use picket_store::profiles::{NewProfile, ProfileFilter, ProfileUpdate};
use picket_store::registry::{Attributes, NewGroup, Tags};
use picket_store::requests::Request;
use picket_store::{Db, OutboxItem, StoreError};

use crate::engines::on_each;

const AT: Timestamp = Timestamp::from_millis(1000);
const LATER: Timestamp = Timestamp::from_millis(2000);

fn behaviors(json: &str) -> Behaviors {
    let custom = |_: &picket_model::name::MetricName| Some(CustomMetricType::Number);
    Behaviors::parse(serde_json::from_str(json).unwrap(), &custom).unwrap()
}

fn quiet() -> NewProfile {
    NewProfile {
        name: "Quiet".parse().unwrap(),
        description: Some("says little".to_owned()),
        behaviors: behaviors(
            r#"[{"name":"Bytes","metric":"aws:all-bytes-out","criteria":{"comparisonOperator":"less-than-equals",
                "value":{"count":200},"durationSeconds":300}}]"#,
        ),
        extras: r#"{"alertTargets":{}}"#.to_owned(),
    }
}

pub(crate) fn metric(name: &str, display_name: Option<&str>) -> NewCustomMetric {
    NewCustomMetric {
        name: name.parse().unwrap(),
        kind: CustomMetricType::Number,
        display_name: display_name.map(str::to_owned),
        request: Request {
            token: name.to_owned(),
            parameters: String::new(),
        },
    }
}

async fn revision(db: &Db) -> u64 {
    db.judging_revision().await.unwrap()
}

#[tokio::test]
async fn each_change_of_what_is_judged_is_a_revision() {
    on_each(async |db: Db| {
        assert_eq!(db.judging_config(0).await.unwrap().unwrap().profiles, []);
        let name = "Quiet".parse().unwrap();
        let profile = db.create_profile(&quiet(), &Tags::default(), AT).await.unwrap();
        assert_eq!((profile.version, profile.created_at, revision(&db).await), (1, AT, 1));
        assert!(matches!(
            db.create_profile(&quiet(), &Tags::default(), AT).await,
            Err(StoreError::Exists { .. })
        ));
        assert_eq!(db.profile(&name).await.unwrap(), Some(profile));

        update_words_and_rules(&db).await;
        db.attach_profile(&name, &Target::AllThings, AT).await.unwrap();
        db.attach_profile(&name, &Target::AllThings, AT).await.unwrap();
        assert!(
            db.create_custom_metric(&metric("batt", None), &Tags::default(), AT)
                .await
                .unwrap()
        );
        assert_eq!(revision(&db).await, 4);
        let config = db.judging_config(4).await.unwrap().unwrap();
        assert_eq!(
            (config.revision, config.profiles.len(), config.custom_metrics.len()),
            (4, 1, 1)
        );
        assert_eq!(config.profiles[0].targets, [Target::AllThings]);
        assert_eq!(
            db.judging_config(1).await.unwrap().unwrap().profiles[0].behaviors.len(),
            1,
            "as it was"
        );

        assert!(db.detach_profile(&name, &Target::AllThings).await.unwrap());
        assert!(!db.detach_profile(&name, &Target::AllThings).await.unwrap());
        assert!(matches!(
            db.delete_profile(&name, Some(9)).await,
            Err(StoreError::Version { .. })
        ));
        assert!(db.delete_profile(&name, Some(3)).await.unwrap());
        assert!(!db.delete_profile(&name, None).await.unwrap());
        assert_eq!(db.judging_config(6).await.unwrap().unwrap().profiles, []);
        let told: Vec<_> = db
            .outbox_after(0, 10)
            .await
            .unwrap()
            .into_iter()
            .map(|(_, item)| item)
            .collect();
        assert_eq!(
            told,
            (1..=6)
                .map(|revision| OutboxItem::Config { revision })
                .collect::<Vec<_>>()
        );

        db.trim_judging(100).await.unwrap();
        assert_eq!(db.judging_config(5).await.unwrap(), None);
        assert!(db.judging_config(6).await.unwrap().is_some(), "the newest stays");
    })
    .await;
}

async fn update_words_and_rules(db: &Db) {
    let name = "Quiet".parse().unwrap();
    let words = ProfileUpdate {
        description: Some("hush".to_owned()),
        ..ProfileUpdate::default()
    };
    let profile = db.update_profile(&name, &words, Some(1), LATER).await.unwrap();
    assert_eq!(
        (profile.version, profile.modified_at, profile.description.as_deref()),
        (2, LATER, Some("hush"))
    );
    assert_eq!(revision(db).await, 1, "words are not judged");
    let stale = db.update_profile(&name, &words, Some(1), LATER).await;
    assert!(matches!(
        stale,
        Err(StoreError::Version {
            found: 2,
            expected: 1,
            ..
        })
    ));
    let rules = ProfileUpdate {
        behaviors: Some(behaviors("[]")),
        ..ProfileUpdate::default()
    };
    db.update_profile(&name, &rules, None, LATER).await.unwrap();
}

#[tokio::test]
async fn targets_are_groups_that_exist_and_five_profiles_at_most() {
    on_each(async |db: Db| {
        let names: Vec<_> = (0..6).map(|n| format!("P{n}").parse().unwrap()).collect();
        for name in &names {
            let new = NewProfile {
                name: Clone::clone(name),
                ..quiet()
            };
            db.create_profile(&new, &Tags::default(), AT).await.unwrap();
        }
        let pumps = Target::Group("pumps".parse().unwrap());
        let missing = db.attach_profile(&names[0], &pumps, AT).await;
        assert!(matches!(
            missing,
            Err(StoreError::NotFound {
                what: "thing group",
                ..
            })
        ));
        for (name, parent) in [("pumps", None), ("old-pumps", Some("pumps"))] {
            let group = NewGroup {
                name: name.parse().unwrap(),
                parent: parent.map(|name: &str| name.parse().unwrap()),
                description: None,
                attributes: Attributes::default(),
            };
            db.create_group(&group, &Tags::default(), AT).await.unwrap();
        }
        for name in &names[..5] {
            db.attach_profile(name, &pumps, AT).await.unwrap();
        }
        let sixth = db.attach_profile(&names[5], &pumps, AT).await;
        assert!(matches!(sixth, Err(StoreError::Limit { n_max: 5, .. })));
        let old_pumps = Target::Group("old-pumps".parse().unwrap());
        db.attach_profile(&names[5], &old_pumps, AT).await.unwrap();

        assert_eq!(
            db.targets_of_profile(&names[5], None, 10).await.unwrap(),
            std::slice::from_ref(&old_pumps)
        );
        assert_eq!(db.targets_of_profile(&names[0], Some(&pumps), 10).await.unwrap(), []);
        let page = db.profiles_of_target(&pumps, true, None, 4).await.unwrap();
        let rest = db.profiles_of_target(&pumps, true, page.last(), 4).await.unwrap();
        assert_eq!(page.len() + rest.len(), 6);
        assert_eq!(rest.last(), Some(&(names[5].clone(), old_pumps)));
        assert_eq!(db.profiles_of_target(&pumps, false, None, 10).await.unwrap().len(), 5);
        assert!(matches!(
            db.targets_of_profile(&"none".parse().unwrap(), None, 1).await,
            Err(StoreError::NotFound { .. })
        ));
    })
    .await;
}

#[tokio::test]
async fn a_custom_metric_that_is_judged_stays() {
    on_each(async |db: Db| {
        let new = metric("batt", Some("Battery"));
        assert!(db.create_custom_metric(&new, &Tags::default(), AT).await.unwrap());
        assert!(!db.create_custom_metric(&new, &Tags::default(), LATER).await.unwrap(), "the same request");
        for (token, parameters, name, expected) in [
            ("batt", "other", "batt", "other parameters"),
            ("other", "", "batt", "exists already"),
            ("batt", "", "volt", "other parameters"),
        ] {
            let mut other = metric(name, None);
            other.request = Request { token: token.to_owned(), parameters: parameters.to_owned() };
            let refused = db.create_custom_metric(&other, &Tags::default(), AT).await.unwrap_err().to_string();
            assert!(refused.contains(expected), "{token} {parameters} {name}: {refused}");
        }
        let metric = new.name;
        let new = NewProfile {
            behaviors: behaviors(
                r#"[{"name":"B","metric":"batt","criteria":{"comparisonOperator":"greater-than","value":{"number":9.5}}}]"#,
            ),
            ..quiet()
        };
        db.create_profile(&new, &Tags::default(), AT).await.unwrap();
        let filter = ProfileFilter { metric: Some(metric.clone()), dimension: None };
        assert_eq!(db.profiles(&filter, None, 10).await.unwrap(), std::slice::from_ref(&new.name));
        assert_eq!(db.profiles(&filter, Some(&new.name), 10).await.unwrap(), []);
        assert!(matches!(db.delete_custom_metric(&metric).await, Err(StoreError::InUse { .. })));
        db.delete_profile(&new.name, None).await.unwrap();
        let found = db.update_custom_metric(&metric, Some("Accumulator"), LATER).await.unwrap();
        assert_eq!((found.display_name.as_deref(), found.modified_at), (Some("Accumulator"), LATER));
        assert_eq!(db.custom_metrics().await.unwrap(), [found]);
        assert!(db.delete_custom_metric(&metric).await.unwrap());
        assert!(!db.delete_custom_metric(&metric).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn the_timing_of_alarms_is_part_of_what_judging_depends_on() {
    on_each(async |db: Db| {
        for (is_strict, expected) in [(false, 0), (true, 1), (true, 1), (false, 2), (true, 3)] {
            db.set_strict_aws_timing(is_strict).await.unwrap();
            let revision = db.judging_revision().await.unwrap();
            assert_eq!(revision, expected, "a revision when it changes");
            let config = db.judging_config(revision).await.unwrap().unwrap();
            assert_eq!(config.strict_aws_timing, is_strict);
        }
    })
    .await;
}
