//! Quarantine and release.

use picket_model::name::{DeviceName, ThingGroupName, ThingName};
use picket_model::time::Timestamp;
use picket_model::violation::ViolationId;
use picket_store::access::AccessScope;
use picket_store::decisions::{Cause, DecisionFilter, NewDecision, Release};
use picket_store::registry::{Attributes, NewGroup, NewThing, Tags};
use picket_store::responses::{Quarantine, Response, Webhook, WebhookUrl, webhook_consumer};
use picket_store::{Db, OutboxItem, StoreError};

use crate::effects::{raised, write};
use crate::engines::on_each;

const AT: Timestamp = Timestamp::from_millis(1000);

fn by_response(thing: &str, violation: u8) -> NewDecision {
    NewDecision {
        thing: thing.parse().unwrap(),
        cause: Cause::Response {
            violation: ViolationId([violation; 16]),
            response: "isolate".parse().unwrap(),
        },
        group: Some(group()),
        at: AT,
        by: "response isolate".to_owned(),
    }
}

fn group() -> ThingGroupName {
    "IsolatedDevices".parse().unwrap()
}

async fn register(db: &Db, name: &str) -> ThingName {
    let thing = NewThing {
        name: name.parse().unwrap(),
        type_name: None,
        attributes: Attributes::default(),
    };
    db.create_thing(&thing, AT).await.unwrap();
    thing.name
}

async fn members(db: &Db) -> Vec<String> {
    let things = db.things_of_group(&group(), false, None, 10).await.unwrap();
    things.iter().map(ToString::to_string).collect()
}

fn device(name: &str) -> DeviceName {
    name.parse().unwrap()
}

#[tokio::test]
async fn a_violation_and_a_response_meet_once() {
    on_each(async |db: Db| {
        let thing = register(&db, "pump-7").await;
        let end = *db.outbox_signal().borrow();
        let decided = db.quarantine(&by_response("pump-7", 1)).await.unwrap().unwrap();
        let decision = &decided.decisions[0];
        assert!(decision.is_mirrored && decision.mirror_failure.is_none() && decision.released.is_none());
        for scope in [
            AccessScope::Quarantine(device("pump-7")),
            AccessScope::Group(group()),
            AccessScope::Thing(thing.clone()),
        ] {
            assert!(decided.scopes.contains(&scope), "{scope:?} of {:?}", decided.scopes);
        }
        assert_eq!(db.quarantined().await.unwrap(), [device("pump-7")]);
        assert!(db.is_quarantined(&device("pump-7")).await.unwrap());
        assert_eq!(members(&db).await, ["pump-7"]);
        let access = db.group_access(&group()).await.unwrap().unwrap();
        let document = db.policy_document(&access.policies[0]).await.unwrap().unwrap();
        assert!(
            document.contains(r#""Effect":"Deny","Action":"iot:*","Resource":"*""#),
            "{document}"
        );
        let told = db.outbox_after(end, 10).await.unwrap();
        assert!(
            matches!(&told[..], [(_, OutboxItem::Member(member))] if member.groups == [group()]),
            "{told:?}"
        );

        assert_eq!(
            db.quarantine(&by_response("pump-7", 1)).await.unwrap(),
            None,
            "told twice"
        );
        let released = db.release(&Release::Decision(decision.id), "alice", AT).await.unwrap();
        assert_eq!(released.decisions[0].released, Some((AT, "alice".to_owned())));
        assert!(released.scopes.contains(&AccessScope::Thing(thing)));
        assert_eq!((db.quarantined().await.unwrap(), members(&db).await), (vec![], vec![]));
        assert_eq!(
            db.quarantine(&by_response("pump-7", 1)).await.unwrap(),
            None,
            "while the violation is open"
        );
        assert!(
            db.quarantine(&by_response("pump-7", 2)).await.unwrap().is_some(),
            "another violation"
        );
    })
    .await;
}

#[tokio::test]
async fn a_device_is_free_when_its_last_decision_is_released() {
    on_each(async |db: Db| {
        register(&db, "pump-7").await;
        let first = db
            .quarantine(&by_response("pump-7", 1))
            .await
            .unwrap()
            .unwrap()
            .decisions[0]
            .id;
        let second = db
            .quarantine(&by_response("pump-7", 2))
            .await
            .unwrap()
            .unwrap()
            .decisions[0]
            .id;
        db.release(&Release::Decision(first), "alice", AT).await.unwrap();
        assert_eq!(members(&db).await, ["pump-7"], "the second decision holds");
        db.release(&Release::Decision(second), "alice", AT).await.unwrap();
        assert_eq!((db.quarantined().await.unwrap(), members(&db).await), (vec![], vec![]));
        let again = db.release(&Release::Decision(second), "bob", AT).await.unwrap();
        assert!(again.decisions.is_empty() && again.scopes.is_empty());

        let operator = NewDecision {
            cause: Cause::Operator,
            ..by_response("pump-7", 0)
        };
        for _ in 0..2 {
            assert!(
                db.quarantine(&operator).await.unwrap().is_some(),
                "operators may repeat themselves"
            );
        }
        let released = db
            .release(&Release::Thing(device("pump-7")), "alice", AT)
            .await
            .unwrap();
        assert_eq!((released.decisions.len(), members(&db).await), (2, vec![]));
        let none = db.release(&Release::Decision("99".parse().unwrap()), "alice", AT).await;
        assert!(matches!(none, Err(StoreError::NotFound { what: "decision", .. })));

        let all = db.decisions(&DecisionFilter::default(), None, 3).await.unwrap();
        let rest = db
            .decisions(&DecisionFilter::default(), Some(all[2].id), 3)
            .await
            .unwrap();
        assert_eq!((all.len(), rest.len()), (3, 1));
        let in_force = DecisionFilter {
            is_in_force: Some(true),
            thing: Some(device("pump-7")),
        };
        assert_eq!(db.decisions(&in_force, None, 9).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_mirror_that_fails_does_not_lift_the_decision() {
    on_each(async |db: Db| {
        let decided = db
            .quarantine(&by_response("pümp nobody registered", 1))
            .await
            .unwrap()
            .unwrap();
        assert!(!decided.decisions[0].is_mirrored);
        let thing = register(&db, "pump-7").await;
        for (n, parent) in [("root", None), ("leaf", Some("root"))] {
            let new = NewGroup {
                name: n.parse().unwrap(),
                parent: parent.map(|p: &str| p.parse().unwrap()),
                description: None,
                attributes: Attributes::default(),
            };
            db.create_group(&new, &Tags::default(), AT).await.unwrap();
        }
        db.add_to_group(&thing, &"leaf".parse().unwrap()).await.unwrap();
        // A thing is in one group of a tree at most.
        let new = NewDecision {
            group: Some("root".parse().unwrap()),
            ..by_response("pump-7", 2)
        };
        let decided = db.quarantine(&new).await.unwrap().unwrap();
        let decision = &decided.decisions[0];
        assert!(
            !decision.is_mirrored && decision.mirror_failure.as_ref().unwrap().contains("leaf"),
            "{decision:?}"
        );
        assert_eq!(db.quarantined().await.unwrap().len(), 2);
        db.release(&Release::Thing(device("pump-7")), "alice", AT)
            .await
            .unwrap();
        let groups = db.groups_of_thing(&thing, None, 10).await.unwrap();
        assert_eq!(groups, ["leaf".parse().unwrap()], "what the operator did stays");
    })
    .await;
}

#[tokio::test]
async fn a_response_reads_what_happens_after_it_was_created() {
    on_each(async |db: Db| {
        write(&db, vec![raised("pump-7", 1000)]).await;
        let response = Response {
            name: "tell".parse().unwrap(),
            profiles: vec!["Quiet".parse().unwrap()],
            behaviors: vec!["BytesOut".parse().unwrap()],
            quarantine: Some(Quarantine { group: group() }),
            webhook: Some(Webhook {
                url: "http://127.0.0.1:9/alerts".parse().unwrap(),
            }),
            is_enabled: true,
            created_at: AT,
        };
        db.create_response(&response).await.unwrap();
        assert!(matches!(
            db.create_response(&response).await,
            Err(StoreError::Exists { .. })
        ));
        let consumer = webhook_consumer(&response.name);
        assert_eq!(db.cursor(&consumer).await.unwrap(), 1);
        assert_eq!(db.response(&response.name).await.unwrap().as_ref(), Some(&response));
        db.enable_response(&response.name, false).await.unwrap();
        assert_eq!(
            db.responses().await.unwrap(),
            [Response {
                is_enabled: false,
                ..response.clone()
            }]
        );
        assert!(db.delete_response(&response.name).await.unwrap());
        assert!(!db.delete_response(&response.name).await.unwrap());
        assert_eq!(db.cursor(&consumer).await.unwrap(), 0, "and nothing is kept for it");
    })
    .await;
}

#[test]
fn webhook_urls_have_a_scheme_and_a_host() {
    for (text, is_url) in [
        ("http://127.0.0.1:9000/x?y=1", true),
        ("https://example.com", true),
        ("ftp://example.com", false),
        ("https://", false),
        ("https:///x", false),
        ("https://exa mple.com", false),
        ("", false),
    ] {
        assert_eq!(text.parse::<WebhookUrl>().is_ok(), is_url, "{text:?}");
    }
}

#[tokio::test]
async fn a_decision_whose_caller_went_away_is_taken_once() {
    on_each(async |db: Db| {
        register(&db, "pump-7").await;
        for violation in 0..60 {
            let new = by_response("pump-7", violation);
            let reads = async {
                for _ in 0..violation % 20 {
                    db.cursor("pipeline").await.unwrap();
                }
            };
            tokio::select! {
                biased;
                () = reads => {}
                _ = db.quarantine(&new) => {}
            }
            db.quarantine(&new).await.unwrap();
            assert_eq!(db.quarantine(&new).await.unwrap(), None);
        }
        let decisions = db.decisions(&DecisionFilter::default(), None, 100).await.unwrap();
        assert_eq!(decisions.len(), 60);
        assert_eq!(members(&db).await, ["pump-7"]);
        let mirrors = decisions.iter().filter(|decision| decision.is_mirrored).count();
        assert_eq!(mirrors, 1, "one of them brought the thing into the group");
    })
    .await;
}
