//! Thing types, and what a thing may be because of its type.

use picket_model::name::{ThingName, ThingTypeName};
use picket_model::time::Timestamp;
use picket_store::registry::{
    Attributes, Change, NewThing, Tags, ThingFilter, ThingTypeProperties, ThingTypeUpdate, ThingUpdate,
};
use picket_store::{Db, StoreError};

use crate::engines::on_each;

const AT: Timestamp = Timestamp::from_millis(1_000_000);

fn later(ms: i64) -> Timestamp {
    Timestamp::from_millis(AT.millis() + ms)
}

fn lamp() -> ThingTypeName {
    "Lamp".parse().unwrap()
}

fn properties(description: &str) -> ThingTypeProperties {
    ThingTypeProperties {
        description: Some(description.to_owned()),
        searchable_attributes: ["watt", "model"].map(str::to_owned).into(),
        mqtt5_configuration: None,
    }
}

fn thing(name: &str, type_name: Option<ThingTypeName>, n_attributes: usize) -> NewThing {
    NewThing {
        name: name.parse().unwrap(),
        type_name,
        attributes: (0..n_attributes).map(|n| (format!("a{n}"), n.to_string())).collect(),
    }
}

async fn create(db: &Db, description: &str) -> Result<String, StoreError> {
    db.create_thing_type(&lamp(), &properties(description), &Tags::default(), AT)
        .await
        .map(|created| created.id())
}

#[tokio::test]
async fn a_type_goes_out_of_use_before_it_goes_away() {
    on_each(async |db: Db| {
        let id = create(&db, "bulb").await.unwrap();
        assert_eq!(create(&db, "bulb").await.unwrap(), id);
        assert!(matches!(create(&db, "tube").await, Err(StoreError::Exists { .. })));
        db.create_thing(&thing("one", Some(lamp()), 4), AT).await.unwrap();

        let delete = async |at| db.delete_thing_type(&lamp(), at).await;
        assert!(matches!(delete(later(0)).await, Err(StoreError::Rule { .. })), "in use");
        db.deprecate_thing_type(&lamp(), Some(later(10))).await.unwrap();
        db.deprecate_thing_type(&lamp(), Some(later(20))).await.unwrap();
        let found = db.thing_type(&lamp()).await.unwrap().unwrap();
        assert_eq!(found.deprecated_at, Some(later(10)), "since the first time");
        let two = db.create_thing(&thing("two", Some(lamp()), 0), AT).await;
        assert!(matches!(two, Err(StoreError::Rule { .. })), "{two:?}");
        assert_eq!(db.thing(&"two".parse().unwrap()).await.unwrap(), None);

        assert!(
            matches!(delete(later(300_009)).await, Err(StoreError::Rule { .. })),
            "too early"
        );
        assert!(matches!(delete(later(300_010)).await, Err(StoreError::InUse { .. })));
        let update = ThingUpdate {
            type_name: Change::Remove,
            attributes: Change::Set(Attributes::new()),
            ..ThingUpdate::default()
        };
        db.update_thing(&"one".parse().unwrap(), &update).await.unwrap();
        delete(later(300_010)).await.unwrap();
        assert!(matches!(delete(later(300_010)).await, Err(StoreError::NotFound { .. })));
        assert!(matches!(
            db.deprecate_thing_type(&lamp(), None).await,
            Err(StoreError::NotFound { .. })
        ));
        let again = db
            .create_thing_type(&lamp(), &properties("bulb"), &Tags::default(), later(1))
            .await
            .unwrap();
        assert_ne!(again.id(), id);
    })
    .await;
}

#[tokio::test]
async fn what_is_given_replaces_what_is_there() {
    on_each(async |db: Db| {
        create(&db, "bulb").await.unwrap();
        let json = r#"{"propagatingAttributes":[]}"#;
        let update = ThingTypeUpdate {
            mqtt5_configuration: Some(json.to_owned()),
            ..ThingTypeUpdate::default()
        };
        db.update_thing_type(&lamp(), &update).await.unwrap();
        let found = db.thing_type(&lamp()).await.unwrap().unwrap().properties;
        let expected = ThingTypeProperties {
            mqtt5_configuration: Some(json.to_owned()),
            ..properties("bulb")
        };
        assert_eq!(found, expected);
        let missing = db.update_thing_type(&"Nobody".parse().unwrap(), &update).await;
        assert!(matches!(missing, Err(StoreError::NotFound { .. })));

        for n in 0..3 {
            let name = format!("Type{n}").parse().unwrap();
            db.create_thing_type(&name, &ThingTypeProperties::default(), &Tags::default(), AT)
                .await
                .unwrap();
        }
        let names = async |only: Option<&ThingTypeName>, after: Option<&ThingTypeName>| -> Vec<String> {
            let types = db.thing_types(only, after, 2).await.unwrap();
            types.iter().map(|found| found.name.to_string()).collect()
        };
        assert_eq!(names(None, None).await, ["Lamp", "Type0"]);
        assert_eq!(names(None, Some(&"Type0".parse().unwrap())).await, ["Type1", "Type2"]);
        assert_eq!(names(Some(&lamp()), None).await, ["Lamp"]);
        assert_eq!(names(Some(&lamp()), Some(&lamp())).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_thing_without_a_type_has_three_attributes_and_one_with_a_type_fifty() {
    on_each(async |db: Db| {
        create(&db, "bulb").await.unwrap();
        for (n, type_name, is_possible) in [
            (3, None, true),
            (4, None, false),
            (50, Some(lamp()), true),
            (51, Some(lamp()), false),
        ] {
            let created = db.create_thing(&thing(&format!("thing{n}"), type_name, n), AT).await;
            let found = created
                .as_ref()
                .map(|_| ())
                .map_err(|err| matches!(err, StoreError::Rule { .. }));
            assert_eq!(found, if is_possible { Ok(()) } else { Err(true) }, "{n}: {created:?}");
        }
        let nobody = thing("nobody", Some("Nobody".parse().unwrap()), 0);
        assert!(matches!(
            db.create_thing(&nobody, AT).await,
            Err(StoreError::NotFound { .. })
        ));

        let (many, few): (ThingName, ThingName) = ("thing50".parse().unwrap(), "thing3".parse().unwrap());
        let more = Change::Merge(Attributes::from([("more".to_owned(), "1".to_owned())]));
        for (name, type_name, attributes, is_possible) in [
            (&many, Change::Remove, Change::Keep, false),
            (&many, Change::Keep, more.clone(), false),
            (&few, Change::Keep, more.clone(), false),
            (&few, Change::Set("Nobody".parse().unwrap()), Change::Keep, false),
            (&few, Change::Set(lamp()), more, true),
            (
                &few,
                Change::Remove,
                Change::Set(Attributes::from([("a".to_owned(), String::new())])),
                true,
            ),
        ] {
            let update = ThingUpdate {
                type_name,
                attributes,
                expected_version: None,
            };
            let updated = db.update_thing(name, &update).await;
            assert_eq!(updated.is_ok(), is_possible, "{update:?}: {updated:?}");
        }
        let few = db.thing(&few).await.unwrap().unwrap();
        assert_eq!((few.type_name, few.attributes.len(), few.version), (None, 0, 3));
        let filter = ThingFilter {
            type_name: Some(lamp()),
            attribute: None,
        };
        assert_eq!(db.things(&filter, None, 10).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_type_that_goes_away_has_no_things() {
    on_each(async |db: Db| {
        for n in 0..20 {
            create(&db, "bulb").await.unwrap();
            let new = thing(&format!("thing{n}"), Some(lamp()), 0);
            db.deprecate_thing_type(&lamp(), Some(AT)).await.unwrap();
            let undo = async {
                db.deprecate_thing_type(&lamp(), None).await.map(drop).ok();
                db.create_thing(&new, AT).await
            };
            let lamp = lamp();
            let (deleted, created) = tokio::join!(db.delete_thing_type(&lamp, later(300_000)), undo);
            assert!(deleted.is_err() || created.is_err(), "{n}: {deleted:?} {created:?}");
            let is_there = db.thing_type(&lamp).await.unwrap().is_some();
            assert_eq!(is_there, deleted.is_err());
            if let Ok(created) = created {
                db.delete_thing(&created.name, None).await.unwrap();
            }
        }
    })
    .await;
}
