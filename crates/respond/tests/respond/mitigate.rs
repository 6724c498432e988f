//! Quarantine: decided once for each violation and response, never lifted by accident, undone for good.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use picket_model::name::{DeviceName, ThingGroupName};
use picket_respond::{Clock, Enforcer, mitigate, notify, webhook_client};
use picket_store::Db;
use picket_store::access::AccessScope;
use picket_store::decisions::{Cause, Release};
use picket_store::registry::{Attributes, NewGroup, NewThing, Tags};
use picket_store::responses::{Response, Webhook};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::receiver::{DEADLINE, Receiver};
use crate::story::{AT, BACKOFF, Story, after_reads, cleared, eventually, isolating, never, raised, supported, things};

/// Remembers what it was told to read again, as the door would.
#[derive(Debug, Default)]
struct Door {
    told: Mutex<Vec<AccessScope>>,
    /// Whether the door is stuck, which holds up whoever tells it.
    is_stuck: bool,
    knocked: Notify,
}

impl Door {
    fn has_heard_of(&self, thing: &str) -> bool {
        let scope = AccessScope::Quarantine(thing.parse().unwrap());
        self.told.lock().unwrap().contains(&scope)
    }
}

impl Enforcer for Door {
    fn enforce(&self, scopes: Vec<AccessScope>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            self.knocked.notify_one();
            if self.is_stuck {
                std::future::pending::<()>().await;
            }
            tokio::task::yield_now().await;
            self.told.lock().unwrap().extend(scopes);
        })
    }
}

fn clock() -> Clock {
    Arc::new(|| AT)
}

/// Begins to mitigate; ends when what is returned is dropped.
fn mitigating(db: &Db, door: &Arc<Door>) -> JoinSet<()> {
    let mut task = JoinSet::new();
    let door: Arc<dyn Enforcer> = Arc::<Door>::clone(door);
    task.spawn(mitigate(db.clone(), door, clock(), never()));
    task
}

async fn register(db: &Db, name: &str) {
    let thing = NewThing {
        name: name.parse().unwrap(),
        type_name: None,
        attributes: Attributes::default(),
    };
    db.create_thing(&thing, AT).await.unwrap();
}

async fn members(db: &Db) -> Vec<String> {
    let group: ThingGroupName = "IsolatedDevices".parse().unwrap();
    let things = db.things_of_group(&group, false, None, 1_000).await.unwrap();
    things.iter().map(ToString::to_string).collect()
}

fn device(name: &str) -> DeviceName {
    name.parse().unwrap()
}

async fn quarantined(db: &Db) -> Vec<String> {
    let devices = db.quarantined().await.unwrap();
    devices.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn an_alarm_quarantines_and_the_group_shows_it() {
    let story = Story::begin().await;
    let db = &story.db;
    register(db, "pump-7").await;
    story.respond(isolating("isolate")).await;
    let door = Arc::new(Door::default());
    let _mitigating = mitigating(db, &door);
    story
        .write(vec![raised("pump-7", 1, true), raised("stranger", 1, true)])
        .await;
    story.until_done("mitigate").await;
    assert_eq!(quarantined(db).await, ["pump-7", "stranger"]);
    assert_eq!(members(db).await, ["pump-7"], "who is not registered is in no group");
    let group = db
        .group_access(&"IsolatedDevices".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((group.parent, group.policies.len()), (None, 1));
    let document = db.policy_document(&group.policies[0]).await.unwrap().unwrap();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let denies = serde_json::json!([{"Effect": "Deny", "Action": "iot:*", "Resource": "*"}]);
    assert_eq!(document["Statement"], denies);
    for scope in [
        AccessScope::Quarantine(device("pump-7")),
        AccessScope::Quarantine(device("stranger")),
        AccessScope::Group("IsolatedDevices".parse().unwrap()),
        AccessScope::Thing("pump-7".parse().unwrap()),
    ] {
        assert!(door.told.lock().unwrap().contains(&scope), "{scope:?}");
    }
    let decisions = story.decisions().await;
    assert_eq!(decisions.len(), 2);
    for decision in decisions {
        assert_eq!((&*decision.decided_by, decision.decided_at), ("response isolate", AT));
        assert!(matches!(decision.cause, Cause::Response { .. }) && decision.mirror_failure.is_none());
    }
}

#[tokio::test]
async fn wherever_it_is_stopped_each_violation_and_response_meet_once() {
    let story = Story::begin().await;
    let db = &story.db;
    story.respond(isolating("first")).await;
    story.respond(isolating("second")).await;
    let all = things("pump", 20);
    for thing in all.iter().step_by(2) {
        register(db, thing).await;
    }
    let door = Arc::new(Door::default());
    for (nth, thing) in all.iter().enumerate() {
        story.raise(std::slice::from_ref(thing)).await;
        // What runs on the database when it is stopped may or may not be done afterwards.
        for n_reads in 0..nth {
            let door: Arc<dyn Enforcer> = Arc::<Door>::clone(&door);
            mitigate(db.clone(), door, clock(), after_reads(db, n_reads)).await;
        }
    }
    let _mitigating = mitigating(db, &door);
    story.until_done("mitigate").await;
    assert_eq!(quarantined(db).await, all);
    assert_eq!(members(db).await, all.iter().step_by(2).cloned().collect::<Vec<_>>());
    let mut pairs: Vec<_> = story
        .decisions()
        .await
        .into_iter()
        .map(|decision| match decision.cause {
            Cause::Response { violation, response } => (violation, response),
            Cause::Operator => panic!("no operator took part"),
        })
        .collect();
    assert_eq!(pairs.len(), 40);
    pairs.sort();
    pairs.dedup();
    assert_eq!(pairs.len(), 40, "each pair once");
    for thing in &all {
        assert!(door.has_heard_of(thing), "the door never heard of {thing}");
    }
}

#[tokio::test]
async fn a_release_while_the_violation_is_open_holds_also_when_the_news_comes_again() {
    let story = Story::begin().await;
    let db = &story.db;
    register(db, "pump-7").await;
    story.respond(isolating("isolate")).await;
    let stuck = Arc::new(Door {
        is_stuck: true,
        ..Door::default()
    });
    let mut mitigating_stuck = mitigating(db, &stuck);
    story.write(vec![raised("pump-7", 1, true)]).await;
    tokio::time::timeout(DEADLINE, stuck.knocked.notified()).await.unwrap();
    // Decided, but stopped before the cursor moved: the same news comes again, twice.
    mitigating_stuck.shutdown().await;
    assert_eq!(quarantined(db).await, ["pump-7"]);
    let door = Arc::new(Door::default());
    let mut again = mitigating(db, &stuck);
    tokio::time::timeout(DEADLINE, stuck.knocked.notified()).await.unwrap();
    again.shutdown().await;
    let released = db
        .release(&Release::Thing(device("pump-7")), "alice", AT)
        .await
        .unwrap();
    assert_eq!(released.decisions.len(), 1);
    assert!(members(db).await.is_empty());
    let _mitigating = mitigating(db, &door);
    story.until_done("mitigate").await;
    // Nor does more of the same violation change that.
    story.write(vec![supported("pump-7", 1, 2)]).await;
    story.until_done("mitigate").await;
    assert!(quarantined(db).await.is_empty() && members(db).await.is_empty());
    assert!(!door.has_heard_of("pump-7"));
    // Only the next violation does.
    story
        .write(vec![cleared("pump-7", 1, 3), raised("pump-7", 4, true)])
        .await;
    story.until_done("mitigate").await;
    assert_eq!(quarantined(db).await, ["pump-7"]);
    assert_eq!(members(db).await, ["pump-7"]);
    assert_eq!(story.decisions().await.len(), 2);
}

#[tokio::test]
async fn the_end_of_an_alarm_neither_quarantines_nor_releases() {
    let story = Story::begin().await;
    let db = &story.db;
    let door = Arc::new(Door::default());
    let _mitigating = mitigating(db, &door);
    // Raised before there was a response.
    story.write(vec![raised("early", 1, true)]).await;
    story.until_done("mitigate").await;
    story.respond(isolating("isolate")).await;
    story
        .write(vec![raised("kept", 1, true), raised("freed", 1, true)])
        .await;
    story.until_done("mitigate").await;
    db.release(&Release::Thing(device("freed")), "alice", AT).await.unwrap();
    let ends = ["early", "kept", "freed"].map(|thing| cleared(thing, 1, 2));
    story.write(ends.into()).await;
    story.until_done("mitigate").await;
    assert_eq!(quarantined(db).await, ["kept"]);
    assert_eq!(story.decisions().await.len(), 2);
}

#[tokio::test]
async fn forged_reports_alert_and_only_support_quarantines() {
    let story = Story::begin().await;
    let db = &story.db;
    register(db, "pump-7").await;
    let target = Receiver::willing().await;
    let both = Response {
        webhook: Some(Webhook {
            url: target.url().parse().unwrap(),
        }),
        ..isolating("both")
    };
    story.respond(both).await;
    let door = Arc::new(Door::default());
    let mut tasks = mitigating(db, &door);
    tasks.spawn(notify(db.clone(), webhook_client(None).unwrap(), BACKOFF, never()));
    story.write(vec![raised("pump-7", 1, false)]).await;
    target.until_taken("pump-7").await;
    story.until_done("mitigate").await;
    assert!(quarantined(db).await.is_empty());
    story
        .write(vec![supported("pump-7", 1, 2), raised("last", 3, false)])
        .await;
    target.until_taken("last").await;
    story.until_done("mitigate").await;
    assert_eq!(quarantined(db).await, ["pump-7"]);
    assert_eq!(members(db).await, ["pump-7"]);
    assert!(door.has_heard_of("pump-7"));
    assert_eq!(target.taken(), ["pump-7", "last"], "support is no event");
}

#[tokio::test]
async fn a_mirror_that_fails_does_not_lift_the_quarantine() {
    let story = Story::begin().await;
    let db = &story.db;
    register(db, "pump-7").await;
    // A thing can be in ten groups, and no more.
    for name in things("group", 10) {
        let group = NewGroup {
            name: name.parse().unwrap(),
            parent: None,
            description: None,
            attributes: Attributes::default(),
        };
        db.create_group(&group, &Tags::default(), AT).await.unwrap();
        db.add_to_group(&"pump-7".parse().unwrap(), &group.name).await.unwrap();
    }
    story.respond(isolating("isolate")).await;
    let door = Arc::new(Door::default());
    let _mitigating = mitigating(db, &door);
    story.write(vec![raised("pump-7", 1, true)]).await;
    story.until_done("mitigate").await;
    assert_eq!(quarantined(db).await, ["pump-7"]);
    assert!(door.has_heard_of("pump-7"));
    let decision = story.decisions().await.remove(0);
    let reason = decision.mirror_failure.unwrap();
    assert!(!decision.is_mirrored && reason.contains("10 groups"), "{reason}");
}

#[tokio::test]
async fn a_response_that_is_disabled_or_about_something_else_decides_nothing() {
    let story = Story::begin().await;
    let disabled = Response {
        is_enabled: false,
        ..isolating("disabled")
    };
    let elsewhere = Response {
        profiles: vec!["Elsewhere".parse().unwrap()],
        ..isolating("elsewhere")
    };
    story.respond(disabled).await;
    story.respond(elsewhere).await;
    let door = Arc::new(Door::default());
    let _mitigating = mitigating(&story.db, &door);
    story.write(vec![raised("pump-7", 1, true)]).await;
    story.until_done("mitigate").await;
    assert!(story.decisions().await.is_empty());
    // Enabled, it acts on what happens from then on: the idle loop hears of the next item by itself.
    story
        .db
        .enable_response(&"disabled".parse().unwrap(), true)
        .await
        .unwrap();
    story.write(vec![raised("pump-8", 1, true)]).await;
    eventually("pump-8 is kept out", async || {
        quarantined(&story.db).await == ["pump-8"]
    })
    .await;
}
