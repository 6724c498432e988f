//! Groups and their things, certificates and their things, and settings.

use std::collections::{BTreeMap, BTreeSet};

use picket_model::name::{ThingGroupName, ThingName};
use picket_model::time::Timestamp;
use picket_store::registry::{Attributes, Change, GroupFilter, GroupUpdate, NewGroup, NewThing, Setting, Tags};
use picket_store::{Db, OutboxItem, StoreError};

use crate::engines::on_each;

const AT: Timestamp = Timestamp::from_millis(1000);

fn group(text: &str) -> ThingGroupName {
    text.parse().unwrap()
}

fn groups(text: &str) -> BTreeSet<ThingGroupName> {
    text.split_whitespace().map(group).collect()
}

async fn create_group(db: &Db, name: &str, parent: Option<&str>) -> Result<(), StoreError> {
    let new = NewGroup {
        name: group(name),
        parent: parent.map(group),
        description: None,
        attributes: Attributes::new(),
    };
    db.create_group(&new, &Tags::default(), AT).await.map(drop)
}

async fn pump(db: &Db) -> ThingName {
    let thing = NewThing {
        name: "pump".parse().unwrap(),
        type_name: None,
        attributes: Attributes::new(),
    };
    db.create_thing(&thing, AT).await.unwrap().name
}

#[tokio::test]
async fn groups_of_a_thing_change_all_or_nothing() {
    on_each(async |db: Db| {
        let pump = pump(&db).await;
        for (name, parent) in [
            ("a", None),
            ("a1", Some("a")),
            ("a2", Some("a")),
            ("b", None),
            ("c", None),
        ] {
            create_group(&db, name, parent).await.unwrap();
        }
        for n in 0..9 {
            create_group(&db, &format!("more{n}"), None).await.unwrap();
        }
        let more = (0..9).map(|n| format!("more{n}")).collect::<Vec<_>>().join(" ");
        for (add, remove, expected, found) in [
            ("a1 b", "", Ok(true), "a1 b"),
            ("a1 b", "c", Ok(false), "a1 b"),
            ("a2", "", Err("same hierarchy"), "a1 b"),
            ("c a2", "b", Err("same hierarchy"), "a1 b"),
            ("a2", "a1", Ok(true), "a2 b"), // moved within the tree
            ("c nobody", "b", Err("does not exist"), "a2 b"),
            ("c", "nobody", Err("does not exist"), "a2 b"),
            (&more, "", Err("10 groups"), "a2 b"),
            ("", "a2 b", Ok(true), ""),
            (&more, "", Ok(true), &more),
            ("a", "", Ok(true), &format!("a {more}")),
            ("b", "more0", Ok(true), &format!("a b {}", &more[6..])),
            ("c", "", Err("10 groups"), &format!("a b {}", &more[6..])),
        ] {
            let changed = db.change_groups(&pump, &groups(add), &groups(remove)).await;
            let is_right = match (&changed, expected) {
                (Ok(changed), Ok(expected)) => *changed == expected,
                (Err(err), Err(part)) => err.to_string().contains(part),
                _ => false,
            };
            assert!(is_right, "{add} / {remove}: {changed:?}");
            let listed = db.groups_of_thing(&pump, None, 100).await.unwrap();
            assert_eq!(BTreeSet::from_iter(listed), groups(found), "{add} / {remove}");
        }
        let nobody = "nobody".parse().unwrap();
        let missing = db.change_groups(&nobody, &groups("a"), &groups("")).await;
        assert!(matches!(missing, Err(StoreError::NotFound { what: "thing", .. })));

        let told = db.outbox_after(0, 100).await.unwrap();
        let members: Vec<String> = told
            .iter()
            .filter_map(|(_, item)| match item {
                OutboxItem::Member(member) => Some(member.groups.iter().map(|name| format!("{name} ")).collect()),
                _ => None,
            })
            .collect();
        assert_eq!(
            members[..4],
            ["", "a a1 b ", "a a2 b ", ""],
            "once each, with the groups above"
        );
    })
    .await;
}

#[tokio::test]
async fn two_that_change_the_same_groups_do_not_wait_for_each_other() {
    on_each(async |db: Db| {
        let pump = pump(&db).await;
        create_group(&db, "a", None).await.unwrap();
        create_group(&db, "b", None).await.unwrap();
        for _ in 0..20 {
            let (one, other, a, b) = (groups("a"), groups("b"), groups("a"), groups("b"));
            let (first, second) = tokio::join!(db.change_groups(&pump, &one, &other), db.change_groups(&pump, &b, &a));
            first.unwrap();
            second.unwrap();
            assert_eq!(db.groups_of_thing(&pump, None, 10).await.unwrap().len(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn what_people_say_of_a_group_changes_with_its_version() {
    on_each(async |db: Db| {
        create_group(&db, "g", None).await.unwrap();
        let attributes = |pairs: &[(&str, &str)]| -> Attributes {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let update = |description: Option<&str>, attributes, expected_version| GroupUpdate {
            description: description.map(str::to_owned),
            attributes,
            expected_version,
        };
        for (update, expected) in [
            (
                update(Some("first"), Change::Keep, Some(1)),
                Some(("first", attributes(&[]))),
            ),
            (update(Some("no"), Change::Keep, Some(1)), None),
            (
                update(None, Change::Set(attributes(&[("a", "1"), ("b", "2")])), None),
                Some(("first", attributes(&[("a", "1"), ("b", "2")]))),
            ),
            (
                update(None, Change::Merge(attributes(&[("a", ""), ("c", "3")])), Some(3)),
                Some(("first", attributes(&[("b", "2"), ("c", "3")]))),
            ),
            (
                update(Some(""), Change::Set(attributes(&[("d", "4")])), None),
                Some(("", attributes(&[("d", "4")]))),
            ),
            (
                update(
                    None,
                    Change::Merge((0..50).map(|n| (n.to_string(), n.to_string())).collect()),
                    None,
                ),
                None,
            ),
        ] {
            let old = db.group(&group("g")).await.unwrap().unwrap();
            let changed = db.update_group(&group("g"), &update).await;
            let new = db.group(&group("g")).await.unwrap().unwrap();
            match expected {
                None => assert_eq!((changed.is_err(), new), (true, old), "{update:?}"),
                Some((description, attributes)) => {
                    assert_eq!(changed.unwrap(), old.version + 1);
                    assert_eq!(new.version, old.version + 1);
                    assert_eq!(
                        (new.description.as_deref(), new.attributes),
                        (Some(description), attributes)
                    );
                }
            }
        }
        let missing = db.update_group(&group("nobody"), &GroupUpdate::default()).await;
        assert!(matches!(missing, Err(StoreError::NotFound { .. })));
    })
    .await;
}

#[tokio::test]
async fn groups_are_listed_by_place_and_name() {
    on_each(async |db: Db| {
        for (name, parent) in [
            ("a", None),
            ("ab", Some("a")),
            ("abc", Some("ab")),
            ("b", None),
            ("ba", Some("b")),
        ] {
            create_group(&db, name, parent).await.unwrap();
        }
        for (parent, prefix, is_recursive, expected) in [
            (None, None, None, "a ab abc b ba"),
            (None, None, Some(true), "a ab abc b ba"),
            (None, None, Some(false), "a b"),
            (None, Some("ab"), None, "ab abc"),
            (None, Some("a"), Some(false), "a"),
            (Some("a"), None, None, "ab"),
            (Some("a"), None, Some(false), "ab"),
            (Some("a"), None, Some(true), "ab abc"),
            (Some("a"), Some("abc"), Some(true), "abc"),
            (Some("abc"), None, Some(true), ""),
        ] {
            let filter = GroupFilter {
                parent: parent.map(group),
                name_prefix: prefix.map(str::to_owned),
                is_recursive,
            };
            let mut found = Vec::new();
            while let [name] = &db.groups(&filter, found.last(), 1).await.unwrap()[..] {
                found.push(name.clone());
            }
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expected, "{filter:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn settings_are_kept_as_they_were_given() {
    on_each(async |db: Db| {
        assert_eq!(db.setting(Setting::Logging).await.unwrap(), None);
        let append = |more: &'static str| {
            move |old: Option<&str>| Ok::<_, StoreError>(format!("{}{more}", old.unwrap_or("begin ")))
        };
        let refused = |_: Option<&str>| {
            Err(StoreError::Rule {
                reason: "no".to_owned(),
            })
        };
        assert!(db.change_setting(Setting::Logging, refused).await.is_err());
        assert_eq!(db.setting(Setting::Logging).await.unwrap(), None);
        let (one, other) = tokio::join!(
            db.change_setting(Setting::Logging, append("x")),
            db.change_setting(Setting::Logging, append("x"))
        );
        assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
        assert_eq!(db.setting(Setting::Logging).await.unwrap().as_deref(), Some("begin xx"));
        assert_eq!(db.setting(Setting::V2Logging).await.unwrap(), None);

        assert_eq!(db.event_settings().await.unwrap(), BTreeMap::new());
        let set = async |text: &str, is_enabled, ms| {
            let events = BTreeMap::from([(text.to_owned(), is_enabled)]);
            db.set_events(&events, Timestamp::from_millis(ms)).await.unwrap();
        };
        set("THING", true, 1).await;
        set("JOB", true, 2).await;
        set("THING", false, 3).await;
        let found = db.event_settings().await.unwrap();
        let thing = found["THING"];
        assert_eq!((found.len(), thing.is_enabled), (2, false));
        assert_eq!((thing.created_at.millis(), thing.modified_at.millis()), (1, 3));
    })
    .await;
}
