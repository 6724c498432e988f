//! Mitigation tasks: each action meets each violation once, in order, wherever the work is stopped.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use picket_model::time::Timestamp;
use picket_respond::{Clock, Enforcer, apply_tasks};
use picket_store::Db;
use picket_store::access::AccessScope;
use picket_store::detect_tasks::{
    DetectTask, Execution, ExecutionFilter, NewDetectTask, TaskScope, TaskStatus, TaskTarget,
};
use picket_store::mitigation_actions::{ActionDefinition, ActionKind};
use picket_store::registry::{Attributes, NewGroup, NewThing, Tags};
use picket_store::requests::Request;
use picket_store::violations::ViolationFilter;

use crate::story::{Story, after_reads, eventually, never, raised, things};

/// After everything that a story tells.
const AT: Timestamp = Timestamp::from_millis(9_000);

#[derive(Debug, Default)]
struct Door(Mutex<Vec<AccessScope>>);

impl Enforcer for Door {
    fn enforce(&self, scopes: Vec<AccessScope>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.0.lock().unwrap().extend(scopes);
        Box::pin(std::future::ready(()))
    }
}

fn clock() -> Clock {
    Arc::new(|| AT)
}

async fn group(db: &Db, name: &str, parent: Option<&str>) {
    let new = NewGroup {
        name: name.parse().unwrap(),
        parent: parent.map(|parent| parent.parse().unwrap()),
        description: None,
        attributes: Attributes::default(),
    };
    db.create_group(&new, &Tags::default(), AT).await.unwrap();
}

async fn action(db: &Db, name: &str, groups: &[&str]) {
    let definition = ActionDefinition {
        kind: ActionKind::AddThingsToThingGroup,
        role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
        params: serde_json::json!({ "addThingsToThingGroupParams": { "thingGroupNames": groups } }).to_string(),
    };
    db.create_mitigation_action(&name.parse().unwrap(), &definition, &Tags::default(), AT)
        .await
        .unwrap();
}

async fn register(db: &Db, name: &str) {
    let thing = NewThing {
        name: name.parse().unwrap(),
        type_name: None,
        attributes: Attributes::default(),
    };
    db.create_thing(&thing, AT).await.unwrap();
}

/// About all violations that there are, by their ids.
async fn start(db: &Db, id: &str, actions: &[&str]) {
    let violations = db
        .active_violations(&ViolationFilter::default(), None, 100)
        .await
        .unwrap();
    let new = NewDetectTask {
        id: id.parse().unwrap(),
        scope: TaskScope {
            target: TaskTarget::Violations(violations.iter().map(|violation| violation.id).collect()),
            range: None,
            only_active: false,
            with_suppressed: false,
        },
        actions: actions.iter().map(|name| name.parse().unwrap()).collect(),
        request: Request {
            token: id.to_owned(),
            parameters: String::new(),
        },
    };
    assert!(db.start_detect_task(&new, AT).await.unwrap());
    assert!(!db.start_detect_task(&new, AT).await.unwrap(), "the same request");
}

async fn task(db: &Db, id: &str) -> DetectTask {
    db.detect_task(&id.parse().unwrap()).await.unwrap().unwrap()
}

async fn executions(db: &Db) -> Vec<Execution> {
    db.detect_executions(&ExecutionFilter::default(), None, 1_000)
        .await
        .unwrap()
}

async fn members(db: &Db, group: &str) -> Vec<String> {
    let things = db
        .things_of_group(&group.parse().unwrap(), false, None, 1_000)
        .await
        .unwrap();
    things.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn wherever_it_is_stopped_each_action_meets_each_violation_once() {
    let story = Story::begin().await;
    let db = &story.db;
    let all = things("pump", 20);
    for thing in &all {
        register(db, thing).await;
    }
    story.raise(&all).await;
    group(db, "Isolated", None).await;
    group(db, "Watched", None).await;
    action(db, "isolate", &["Isolated"]).await;
    action(db, "watch", &["Watched"]).await;
    start(db, "t", &["isolate", "watch"]).await;
    let door = Arc::new(Door::default());
    let enforcer = || -> Arc<dyn Enforcer> { Arc::<Door>::clone(&door) };
    for n_reads in 0..10 {
        // What runs on the database when it is stopped may or may not be done afterwards.
        apply_tasks(db.clone(), enforcer(), clock(), after_reads(db, n_reads)).await;
    }
    let running = tokio::spawn(apply_tasks(db.clone(), enforcer(), clock(), never()));
    eventually("the task is done", async || task(db, "t").await.ended_at.is_some()).await;
    running.abort();
    let ended = task(db, "t").await;
    assert_eq!((ended.status, ended.ended_at), (TaskStatus::Successful, Some(AT)));
    assert_eq!((ended.n_executed, ended.n_skipped, ended.n_failed), (40, 0, 0));
    assert_eq!(executions(db).await.len(), 40);
    assert_eq!(members(db, "Isolated").await, all);
    assert_eq!(members(db, "Watched").await, all);
    let told = door.0.lock().unwrap().len();
    assert!((1..=all.len()).contains(&told), "the door heard {told} times");
}

#[tokio::test]
async fn after_a_failure_the_rest_is_skipped_and_other_violations_go_on() {
    let story = Story::begin().await;
    let db = &story.db;
    register(db, "pump-7").await;
    register(db, "pump-8").await;
    group(db, "Tree", None).await;
    group(db, "Child", Some("Tree")).await;
    group(db, "Isolated", None).await;
    // One thing of a tree that cannot be in two places of it.
    db.add_to_group(&"pump-8".parse().unwrap(), &"Child".parse().unwrap())
        .await
        .unwrap();
    action(db, "isolate", &["Isolated", "Tree"]).await;
    action(db, "again", &["Isolated"]).await;
    story
        .write(vec![
            raised("pump-7", 1, true),
            raised("pump-8", 1, true),
            raised("stranger", 1, true),
        ])
        .await;
    start(db, "t", &["isolate", "again"]).await;
    let running = tokio::spawn(apply_tasks(db.clone(), Arc::new(Door::default()), clock(), never()));
    eventually("the task is done", async || task(db, "t").await.ended_at.is_some()).await;
    let ended = task(db, "t").await;
    assert_eq!(ended.status, TaskStatus::Failed);
    assert_eq!((ended.n_executed, ended.n_skipped, ended.n_failed), (2, 2, 2));
    let mut found: Vec<String> = executions(db)
        .await
        .iter()
        .map(|done| {
            let code = done.failure.as_ref().map_or("-", |(code, _)| code);
            format!("{} {} {} {code}", done.thing, done.action, done.status.as_str())
        })
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "pump-7 again SUCCESSFUL -",
            "pump-7 isolate SUCCESSFUL -",
            "pump-8 again SKIPPED -",
            "pump-8 isolate FAILED InvalidRequestException",
            "stranger again SKIPPED -",
            "stranger isolate FAILED ResourceNotFoundException",
        ]
    );
    assert_eq!(
        members(db, "Isolated").await,
        ["pump-7"],
        "an action is done as a whole or not at all"
    );

    // Who waits is woken by the next one.
    db.remove_from_group(&"pump-8".parse().unwrap(), &"Child".parse().unwrap())
        .await
        .unwrap();
    start(db, "second", &["isolate"]).await;
    eventually("the second task is done", async || {
        task(db, "second").await.ended_at.is_some()
    })
    .await;
    assert_eq!(members(db, "Isolated").await, ["pump-7", "pump-8"]);
    running.abort();
}
