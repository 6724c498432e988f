//! Versions of policies, what they are attached to, and what the door reads of the registry.

use picket_model::name::{CertificateId, PolicyName};
use picket_model::time::Timestamp;
use picket_store::access::AccessTables;
use picket_store::registry::{
    CertificateMode, CertificateStatus, NewCertificate, NewGroup, NewThing, PolicyTarget, Tags, ThingTypeProperties,
    ThingUpdate,
};
use picket_store::registry::{Change, PolicyVersion};
use picket_store::{Db, StoreError};

use crate::engines::on_each;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

async fn certificate(db: &Db, byte: u8) -> CertificateId {
    let new = NewCertificate {
        id: CertificateId::from_bytes([byte; 32]),
        pem: "pem".to_owned(),
        status: CertificateStatus::Active,
        mode: CertificateMode::Default,
        ca: None,
        not_before: at(0),
        not_after: at(1),
    };
    db.create_certificate(&new, at(5)).await.unwrap().id
}

async fn group(db: &Db, name: &str, parent: Option<&str>) -> PolicyTarget {
    let new = NewGroup {
        name: name.parse().unwrap(),
        parent: parent.map(|parent| parent.parse().unwrap()),
        description: None,
        attributes: [].into(),
    };
    PolicyTarget::Group(db.create_group(&new, &Tags::default(), at(5)).await.unwrap().name)
}

#[tokio::test]
async fn a_policy_has_five_versions_and_one_of_them_is_in_force() {
    on_each(async |db| {
        let name: PolicyName = "P".parse().unwrap();
        db.create_policy(&name, "one", &Tags::default(), at(1)).await.unwrap();
        let second = db.create_policy_version(&name, "two", true, at(2)).await.unwrap();
        let expected = PolicyVersion {
            version: 2,
            document: "two".to_owned(),
            is_default: true,
            created_at: at(2),
        };
        assert_eq!(second, expected);
        let policy = db.policy(&name).await.unwrap().unwrap();
        assert_eq!((policy.document.as_str(), policy.modified_at), ("two", at(2)));
        for document in ["three", "four", "five"] {
            let version = db.create_policy_version(&name, document, false, at(3)).await.unwrap();
            assert!(!version.is_default);
        }
        let full = db.create_policy_version(&name, "six", true, at(3)).await;
        assert!(matches!(full, Err(StoreError::Limit { n_max: 5, .. })), "{full:?}");
        let in_force = db.delete_policy_version(&name, 2).await;
        assert!(matches!(in_force, Err(StoreError::InUse { .. })), "{in_force:?}");
        db.delete_policy_version(&name, 5).await.unwrap();
        assert_eq!(
            db.create_policy_version(&name, "six", false, at(4))
                .await
                .unwrap()
                .version,
            6
        );
        db.set_default_policy_version(&name, 1, at(9)).await.unwrap();
        db.set_default_policy_version(&name, 1, at(10)).await.unwrap();
        let policy = db.policy(&name).await.unwrap().unwrap();
        assert_eq!((policy.document.as_str(), policy.modified_at), ("one", at(9)));
        let lost = db.set_default_policy_version(&name, 5, at(11)).await;
        assert!(matches!(lost, Err(StoreError::NotFound { .. })), "{lost:?}");
        let versions = db.policy_versions(&name).await.unwrap();
        let numbers: Vec<i64> = versions.iter().map(|version| version.version).collect();
        assert_eq!(numbers, [6, 4, 3, 2, 1]);
    })
    .await;
}

#[tokio::test]
async fn what_a_policy_is_attached_to_is_listed_page_by_page() {
    on_each(async |db| {
        let name: PolicyName = "P".parse().unwrap();
        db.create_policy(&name, "{}", &Tags::default(), at(1)).await.unwrap();
        let ids = [certificate(&db, 1).await, certificate(&db, 2).await];
        let group = group(&db, "G", None).await;
        let expected = [
            PolicyTarget::Certificate(ids[0]),
            PolicyTarget::Certificate(ids[1]),
            group,
        ];
        for target in &expected {
            db.attach_policy(&name, target).await.unwrap();
        }
        let mut found = Vec::new();
        loop {
            let page = db.targets_of_policy(&name, found.last(), 1).await.unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected);
        assert_eq!(
            db.certificates_of_policy(&name, true, Some(&ids[0]), 9).await.unwrap(),
            [ids[1]]
        );
        assert_eq!(
            db.certificates_of_policy(&name, false, None, 9).await.unwrap(),
            [ids[1], ids[0]]
        );
        assert_eq!(
            db.certificates_of_policy(&name, false, Some(&ids[1]), 9).await.unwrap(),
            [ids[0]]
        );
        assert_eq!(
            db.policies_of_certificate(&ids[0], false, None, 9).await.unwrap(),
            [name]
        );
    })
    .await;
}

#[tokio::test]
async fn the_door_reads_types_and_attributes_and_the_same_of_one_certificate() {
    on_each(async |db| {
        let id = certificate(&db, 1).await;
        certificate(&db, 2).await;
        let top = group(&db, "Top", None).await;
        let PolicyTarget::Group(below) = group(&db, "Below", Some("Top")).await else {
            panic!("a group is a group")
        };
        group(&db, "Other", None).await;
        let kind = "pump".parse().unwrap();
        db.create_thing_type(&kind, &ThingTypeProperties::default(), &Tags::default(), at(1))
            .await
            .unwrap();
        let new = NewThing {
            name: "pump-7".parse().unwrap(),
            type_name: Some("pump".parse().unwrap()),
            attributes: [("site".to_owned(), "north".to_owned())].into(),
        };
        let thing = db.create_thing(&new, at(2)).await.unwrap().name;
        let other = NewThing {
            name: "pump-8".parse().unwrap(),
            type_name: None,
            attributes: [].into(),
        };
        db.create_thing(&other, at(2)).await.unwrap();
        db.attach_principal(&thing, &id, None).await.unwrap();
        db.add_to_group(&thing, &below).await.unwrap();
        for (name, target) in [("A", PolicyTarget::Certificate(id)), ("B", top)] {
            let name = name.parse().unwrap();
            db.create_policy(&name, name.as_str(), &Tags::default(), at(2))
                .await
                .unwrap();
            db.attach_policy(&name, &target).await.unwrap();
        }
        let all = db.access_all().await.unwrap();
        assert_eq!(all.things.len(), 2);
        assert_eq!(all.things[0].type_name.as_deref(), Some("pump"));
        assert_eq!(all.things[0].attributes.unpack().unwrap(), new.attributes);
        assert_eq!(all.things[1].attributes.unpack().unwrap(), [].into());
        let mut around = db.access_around(Some(&id), None).await.unwrap();
        around.groups.sort_by(|left, right| left.name.cmp(&right.name));
        let expected = AccessTables {
            certificates: all.certificates.into_iter().filter(|access| access.id == id).collect(),
            things: vec![all.things[0].clone()],
            groups: all
                .groups
                .into_iter()
                .filter(|group| group.name.as_str() != "Other")
                .collect(),
            ..all
        };
        assert_eq!(around, expected);
        let update = ThingUpdate {
            type_name: Change::Remove,
            attributes: Change::Remove,
            expected_version: None,
        };
        db.update_thing(&thing, &update).await.unwrap();
        let thing = db.thing_access(&thing).await.unwrap().unwrap();
        assert_eq!(
            (thing.type_name, thing.attributes),
            (None, all.things[1].attributes.clone())
        );
    })
    .await;
}
