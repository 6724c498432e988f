//! CA certificates, what is registered with them, and the registration code.

use picket_model::name::CertificateId;
use picket_model::time::Timestamp;
use picket_store::registry::{
    CaCertificateUpdate, CertificateMode, CertificateStatus, NewCaCertificate, NewCertificate, RegistrationTemplate,
    Tagged, TaggedKind, Tags,
};
use picket_store::{Db, StoreError};

use crate::engines::on_each;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn id(byte: u8) -> CertificateId {
    CertificateId::from_bytes([byte; 32])
}

fn template(name: Option<&str>) -> RegistrationTemplate {
    RegistrationTemplate {
        json: r#"{"templateBody":"{}"}"#.to_owned(),
        template_name: name.map(str::to_owned),
    }
}

/// A CA of which only its id, its name and its template matter.
fn ca(byte: u8, subject: u8, template_name: Option<&str>) -> NewCaCertificate {
    NewCaCertificate {
        id: id(byte),
        pem: "pem".to_owned(),
        subject_digest: [subject; 32],
        is_active: true,
        is_auto_registering: false,
        registration_config: template_name.map(|name| template(Some(name))),
        mode: CertificateMode::Default,
        not_before: at(0),
        not_after: at(1),
    }
}

fn certificate(byte: u8, ca: Option<CertificateId>) -> NewCertificate {
    NewCertificate {
        id: id(byte),
        pem: "pem".to_owned(),
        status: CertificateStatus::Active,
        mode: CertificateMode::Default,
        ca,
        not_before: at(0),
        not_after: at(1),
    }
}

async fn ids(db: &Db, template_name: Option<&str>, after: Option<(Timestamp, CertificateId)>, n_max: u32) -> Vec<u8> {
    let found = db.ca_certificates(template_name, after, true, n_max).await.unwrap();
    found.iter().map(|ca| ca.id.as_bytes()[0]).collect()
}

#[tokio::test]
async fn a_ca_certificate_is_kept_changed_and_removed() {
    on_each(async |db| {
        let tags = Tags::new([("site".to_owned(), "north".to_owned())]).unwrap();
        let made = db.create_ca_certificate(&ca(1, 7, None), &tags, at(5)).await.unwrap();
        assert_eq!((made.version, made.is_active, made.created_at), (1, true, at(5)));
        let again = db.create_ca_certificate(&ca(1, 7, None), &tags, at(6)).await;
        assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
        let tagged = Tagged {
            kind: TaggedKind::CaCertificate,
            name: id(1).to_string(),
        };
        assert_eq!(db.tags(&tagged).await.unwrap()["site"], "north");

        let active = db.delete_ca_certificate(&id(1)).await;
        assert!(matches!(active, Err(StoreError::State { .. })), "{active:?}");
        let update = CaCertificateUpdate {
            is_active: Some(false),
            is_auto_registering: Some(true),
            registration_config: Some(Some(template(Some("T")))),
        };
        db.update_ca_certificate(&id(1), &update, at(9)).await.unwrap();
        let changed = db.ca_certificate(&id(1)).await.unwrap().unwrap();
        assert_eq!(
            (
                changed.is_active,
                changed.is_auto_registering,
                changed.version,
                changed.modified_at
            ),
            (false, true, 2, at(9))
        );
        assert_eq!(changed.registration_config, Some(template(None).json));
        assert_eq!((changed.generation_id, changed.created_at), (made.generation_id, at(5)));
        // What is not named stays.
        db.update_ca_certificate(&id(1), &CaCertificateUpdate::default(), at(10))
            .await
            .unwrap();
        let same = db.ca_certificate(&id(1)).await.unwrap().unwrap();
        assert_eq!((same.is_active, same.is_auto_registering), (false, true));
        assert!(same.registration_config.is_some());
        let removed = CaCertificateUpdate {
            registration_config: Some(None),
            ..CaCertificateUpdate::default()
        };
        db.update_ca_certificate(&id(1), &removed, at(11)).await.unwrap();
        assert_eq!(
            db.ca_certificate(&id(1)).await.unwrap().unwrap().registration_config,
            None
        );

        db.delete_ca_certificate(&id(1)).await.unwrap();
        assert_eq!(db.ca_certificate(&id(1)).await.unwrap(), None);
        for lost in [
            db.delete_ca_certificate(&id(1)).await,
            db.update_ca_certificate(&id(1), &CaCertificateUpdate::default(), at(12))
                .await,
            db.tags(&tagged).await.map(drop),
        ] {
            assert!(matches!(lost, Err(StoreError::NotFound { .. })), "{lost:?}");
        }
        // Tags went with it.
        db.create_ca_certificate(&ca(1, 7, None), &Tags::default(), at(13))
            .await
            .unwrap();
        assert!(db.tags(&tagged).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn ca_certificates_are_found_by_name_age_and_template() {
    on_each(async |db| {
        for (byte, template_name) in [(1, None), (2, Some("A")), (3, None), (4, Some("B")), (5, Some("A"))] {
            let new = ca(byte, 7, template_name);
            db.create_ca_certificate(&new, &Tags::default(), at(100 - i64::from(byte / 3)))
                .await
                .unwrap();
        }
        assert_eq!(ids(&db, None, None, 10).await, [3, 4, 5, 1, 2]);
        assert_eq!(ids(&db, None, Some((at(99), id(4))), 2).await, [5, 1]);
        assert_eq!(ids(&db, Some("A"), None, 10).await, [5, 2]);
        assert_eq!(ids(&db, Some("A"), Some((at(99), id(5))), 10).await, [2]);
        let newest_first = db.ca_certificates(None, None, false, 2).await.unwrap();
        assert_eq!(newest_first.iter().map(|ca| ca.id).collect::<Vec<_>>(), [id(2), id(1)]);

        assert_eq!(db.ca_certificates_of_subject(&[7; 32]).await.unwrap().len(), 5);
        assert!(db.ca_certificates_of_subject(&[8; 32]).await.unwrap().is_empty());
        for byte in 6..=10 {
            db.create_ca_certificate(&ca(byte, 7, None), &Tags::default(), at(1))
                .await
                .unwrap();
        }
        let eleventh = db
            .create_ca_certificate(&ca(11, 7, None), &Tags::default(), at(1))
            .await;
        assert!(
            matches!(eleventh, Err(StoreError::Limit { n_max: 10, .. })),
            "{eleventh:?}"
        );
        assert_eq!(db.ca_certificate(&id(11)).await.unwrap(), None);
        db.create_ca_certificate(&ca(11, 8, None), &Tags::default(), at(1))
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn certificates_name_the_active_ca_that_they_came_with() {
    on_each(async |db| {
        for (byte, subject) in [(1, 7), (2, 7)] {
            db.create_ca_certificate(&ca(byte, subject, None), &Tags::default(), at(5))
                .await
                .unwrap();
        }
        for (byte, ca) in [
            (21, Some(id(1))),
            (22, Some(id(1))),
            (23, Some(id(2))),
            (24, None),
            (25, Some(id(1))),
        ] {
            let made = db.create_certificate(&certificate(byte, ca), at(6)).await.unwrap();
            assert_eq!(made.ca, ca);
        }
        let by_ca = async |ca: u8, after: Option<u8>, is_ascending: bool, n_max: u32| {
            let after = after.map(|byte| (at(6), id(byte)));
            let found = db
                .certificates_by_ca(&id(ca), after, is_ascending, n_max)
                .await
                .unwrap();
            found
                .iter()
                .map(|certificate| certificate.id.as_bytes()[0])
                .collect::<Vec<u8>>()
        };
        assert_eq!(by_ca(1, None, true, 2).await, [21, 22]);
        assert_eq!(by_ca(1, Some(22), true, 2).await, [25]);
        assert_eq!(by_ca(1, None, false, 9).await, [25, 22, 21]);
        assert_eq!(by_ca(2, None, false, 9).await, [23]);
        assert!(by_ca(9, None, false, 9).await.is_empty());

        let inactive = CaCertificateUpdate {
            is_active: Some(false),
            ..CaCertificateUpdate::default()
        };
        db.update_ca_certificate(&id(1), &inactive, at(7)).await.unwrap();
        for ca in [id(1), id(3)] {
            let refused = db.create_certificate(&certificate(26, Some(ca)), at(8)).await;
            assert!(matches!(refused, Err(StoreError::State { .. })), "{refused:?}");
        }
        assert_eq!(db.certificate(&id(26)).await.unwrap(), None);
        // What came with it stays, as it was.
        db.delete_ca_certificate(&id(1)).await.unwrap();
        let kept = db.certificate(&id(21)).await.unwrap().unwrap();
        assert_eq!((kept.status, kept.ca), (CertificateStatus::Active, Some(id(1))));
        assert_eq!(by_ca(1, None, true, 9).await, [21, 22, 25]);
    })
    .await;
}

#[tokio::test]
async fn there_is_one_registration_code_until_it_is_forgotten() {
    on_each(async |db| {
        assert_eq!(db.registration_code().await.unwrap(), None);
        assert!(!db.delete_registration_code().await.unwrap());
        assert_eq!(db.registration_code_or("one").await.unwrap(), "one");
        assert_eq!(db.registration_code_or("two").await.unwrap(), "one");
        assert!(db.delete_registration_code().await.unwrap());
        assert_eq!(db.registration_code_or("two").await.unwrap(), "two");
        assert_eq!(db.registration_code().await.unwrap().as_deref(), Some("two"));
    })
    .await;
}
