//! Tags come with a resource, and go with it.

use picket_model::metric::CustomMetricType;
use picket_model::profile::Behaviors;
use picket_model::time::Timestamp;
use picket_store::custom_metrics::NewCustomMetric;
use picket_store::dimensions::NewDimension;
use picket_store::mitigation_actions::{ActionDefinition, ActionKind};
use picket_store::profiles::NewProfile;
use picket_store::registry::{
    Attributes, BadTags, CertificateMode, NewCaCertificate, NewGroup, Tagged, TaggedKind, Tags, ThingTypeProperties,
};
use picket_store::requests::Request;
use picket_store::{Db, StoreError};

use crate::engines::on_each;

const AT: Timestamp = Timestamp::from_millis(1000);
const KINDS: [TaggedKind; 8] = [
    TaggedKind::Group,
    TaggedKind::ThingType,
    TaggedKind::Policy,
    TaggedKind::Profile,
    TaggedKind::Metric,
    TaggedKind::Dimension,
    TaggedKind::MitigationAction,
    TaggedKind::CaCertificate,
];

fn pairs(from: usize, to: usize) -> Tags {
    Tags::new((from..to).map(|n| (format!("k{n:02}"), n.to_string()))).unwrap()
}

fn request(name: &str) -> Request {
    Request {
        token: name.to_owned(),
        parameters: String::new(),
    }
}

/// Two names that such resources can have.
fn names(kind: TaggedKind) -> [String; 2] {
    match kind {
        TaggedKind::CaCertificate => ["1", "2"].map(|digit| digit.repeat(64)),
        _ => ["one", "other"].map(str::to_owned),
    }
}

async fn create(db: &Db, kind: TaggedKind, name: &str, tags: &Tags) {
    match kind {
        TaggedKind::Group => {
            let new = NewGroup {
                name: name.parse().unwrap(),
                parent: None,
                description: None,
                attributes: Attributes::new(),
            };
            db.create_group(&new, tags, AT).await.map(drop)
        }
        TaggedKind::ThingType => db
            .create_thing_type(&name.parse().unwrap(), &ThingTypeProperties::default(), tags, AT)
            .await
            .map(drop),
        TaggedKind::Policy => db.create_policy(&name.parse().unwrap(), "{}", tags, AT).await.map(drop),
        TaggedKind::Profile => {
            let none = Behaviors::parse(Vec::new(), &|_| None).unwrap();
            let new = NewProfile {
                name: name.parse().unwrap(),
                description: None,
                behaviors: none,
                extras: "{}".to_owned(),
            };
            db.create_profile(&new, tags, AT).await.map(drop)
        }
        TaggedKind::Metric => {
            let new = NewCustomMetric {
                name: name.parse().unwrap(),
                kind: CustomMetricType::Number,
                display_name: None,
                request: request(name),
            };
            db.create_custom_metric(&new, tags, AT).await.map(drop)
        }
        TaggedKind::Dimension => {
            let new = NewDimension {
                name: name.parse().unwrap(),
                filters: vec!["a".to_owned()],
                request: request(name),
            };
            db.create_dimension(&new, tags, AT).await.map(drop)
        }
        TaggedKind::MitigationAction => {
            let new = ActionDefinition {
                kind: ActionKind::EnableIotLogging,
                role_arn: "role".to_owned(),
                params: "{}".to_owned(),
            };
            db.create_mitigation_action(&name.parse().unwrap(), &new, tags, AT)
                .await
                .map(drop)
        }
        TaggedKind::CaCertificate => {
            let new = NewCaCertificate {
                id: name.parse().unwrap(),
                pem: "pem".to_owned(),
                subject_digest: [7; 32],
                is_active: false,
                is_auto_registering: false,
                registration_config: None,
                mode: CertificateMode::Default,
                not_before: AT,
                not_after: AT,
            };
            db.create_ca_certificate(&new, tags, AT).await.map(drop)
        }
    }
    .unwrap();
}

async fn delete(db: &Db, kind: TaggedKind, name: &str) {
    match kind {
        TaggedKind::Group => db.delete_group(&name.parse().unwrap(), None).await.map(drop),
        TaggedKind::ThingType => {
            let name = name.parse().unwrap();
            db.deprecate_thing_type(&name, Some(AT)).await.unwrap();
            db.delete_thing_type(&name, Timestamp::from_millis(1_000_000)).await
        }
        TaggedKind::Policy => db.delete_policy(&name.parse().unwrap()).await,
        TaggedKind::Profile => db.delete_profile(&name.parse().unwrap(), None).await.map(drop),
        TaggedKind::Metric => db.delete_custom_metric(&name.parse().unwrap()).await.map(drop),
        TaggedKind::Dimension => db.delete_dimension(&name.parse().unwrap()).await.map(drop),
        TaggedKind::MitigationAction => db.delete_mitigation_action(&name.parse().unwrap()).await.map(drop),
        TaggedKind::CaCertificate => db.delete_ca_certificate(&name.parse().unwrap()).await,
    }
    .unwrap();
}

#[tokio::test]
async fn tags_live_as_long_as_their_resource() {
    on_each(async |db: Db| {
        for kind in KINDS {
            let (one, other): (Tagged, Tagged) = names(kind).map(|name| Tagged { kind, name }).into();
            let missing = db.tags(&one).await;
            assert!(
                matches!(missing, Err(StoreError::NotFound { .. })),
                "{kind:?} {missing:?}"
            );
            assert!(matches!(
                db.tag(&one, &pairs(0, 1)).await,
                Err(StoreError::NotFound { .. })
            ));
            assert!(matches!(db.untag(&one, &[]).await, Err(StoreError::NotFound { .. })));

            create(&db, kind, &one.name, &pairs(0, 2)).await;
            create(&db, kind, &other.name, &pairs(0, 1)).await;
            let changed = Tags::new([("k01".to_owned(), "new".to_owned())]).unwrap();
            db.tag(&one, &changed).await.unwrap();
            let found = db.tags(&one).await.unwrap();
            let expected = [("k00", "0"), ("k01", "new")].map(|(key, value)| (key.to_owned(), value.to_owned()));
            assert_eq!(found, expected.into(), "{kind:?}");
            db.untag(&one, &["k00".to_owned(), "never".to_owned()]).await.unwrap();
            assert_eq!(db.tags(&one).await.unwrap().len(), 1);

            delete(&db, kind, &one.name).await;
            assert!(matches!(db.tags(&one).await, Err(StoreError::NotFound { .. })));
            create(&db, kind, &one.name, &Tags::default()).await;
            assert!(db.tags(&one).await.unwrap().is_empty(), "{kind:?}");
            assert_eq!(db.tags(&other).await.unwrap().len(), 1, "{kind:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_resource_has_fifty_tags_at_most() {
    on_each(async |db: Db| {
        let (kind, name) = (TaggedKind::Group, "g".to_owned());
        create(&db, kind, &name, &pairs(0, 49)).await;
        let group = Tagged { kind, name };
        let two = db.tag(&group, &pairs(49, 51)).await;
        assert!(matches!(two, Err(StoreError::Limit { n_max: 50, .. })), "{two:?}");
        assert_eq!(db.tags(&group).await.unwrap().len(), 49);
        db.tag(&group, &pairs(48, 50)).await.unwrap();
        assert_eq!(db.tags(&group).await.unwrap().len(), 50);
    })
    .await;
}

#[test]
fn what_are_no_tags_is_refused() {
    let of = |pairs: &[(&str, &str)]| {
        Tags::new(
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        )
    };
    for (pairs, expected) in [
        (&[("a", "1"), ("b", ""), ("A", "1")][..], None),
        (&[("ü", "1"), ("awsome", "")], None),
        (&[("a", "1"), ("a", "2")], Some(BadTags::Twice { key: "a".to_owned() })),
        (
            &[("aws:x", "1")],
            Some(BadTags::Reserved {
                key: "aws:x".to_owned(),
            }),
        ),
        (
            &[("AWS:x", "1")],
            Some(BadTags::Reserved {
                key: "AWS:x".to_owned(),
            }),
        ),
        (&[("a", "\0")], Some(BadTags::Nul { key: "a".to_owned() })),
    ] {
        assert_eq!(of(pairs).err(), expected, "{pairs:?}");
    }
    let many = Tags::new((0..51).map(|n| (n.to_string(), String::new())));
    assert_eq!(many, Err(BadTags::TooMany { n_found: 51 }));
}
