//! Mitigation actions and the tasks that apply them: what they refuse, and which violations they are about.

use std::sync::Arc;

use picket_model::behavior::Behavior;
use picket_model::name::TaskId;
use picket_model::time::Timestamp;
use picket_model::violation::ViolationId;
use picket_store::detect_tasks::{
    ExecutionFilter, NewDetectTask, RETENTION, TaskKey, TaskScope, TaskStatus, TaskStep, TaskTarget,
};
use picket_store::mitigation_actions::{ActionDefinition, ActionKind, ActionUpdate};
use picket_store::profiles::NewProfile;
use picket_store::registry::Tags;
use picket_store::requests::Request;
use picket_store::violations::ViolationFilter;
use picket_store::{Db, StoreError};

use crate::effects::{bytes_out, cleared, raised, write};
use crate::engines::on_each;

const AT: Timestamp = Timestamp::from_millis(9_000);

fn adding() -> ActionDefinition {
    ActionDefinition {
        kind: ActionKind::AddThingsToThingGroup,
        role_arn: "role".to_owned(),
        params: r#"{"addThingsToThingGroupParams":{"thingGroupNames":["Isolated"]}}"#.to_owned(),
    }
}

fn task(id: &str, scope: TaskScope) -> NewDetectTask {
    NewDetectTask {
        id: id.parse().unwrap(),
        scope,
        actions: vec!["isolate".parse().unwrap()],
        request: Request {
            token: id.to_owned(),
            parameters: String::new(),
        },
    }
}

fn about(profile: &str, behavior: Option<&str>) -> TaskScope {
    TaskScope {
        target: TaskTarget::Profile {
            profile: profile.parse().unwrap(),
            behavior: behavior.map(|name| name.parse().unwrap()),
        },
        range: None,
        only_active: false,
        with_suppressed: false,
    }
}

/// Does all steps of a task; says how many actions it tried.
async fn run(db: &Db, id: &str) -> usize {
    let id: TaskId = id.parse().unwrap();
    let mut n_tried = 0;
    loop {
        match db.advance_detect_task(&id, AT).await.unwrap() {
            TaskStep::Acted { executions, .. } => n_tried += executions.len(),
            TaskStep::Looked => {}
            TaskStep::Ended(_) => break,
            TaskStep::Over => panic!("{id} is over already"),
        }
    }
    assert_eq!(db.advance_detect_task(&id, AT).await.unwrap(), TaskStep::Over);
    n_tried
}

/// A profile named after those of the violations, with a behavior of the same name.
async fn prepare(db: &Db) -> (String, String) {
    let profile = raised("pump-1", 1000).profile;
    let behavior = bytes_out();
    let written = vec![picket_model::behavior::wire::Behavior::from(&*behavior)];
    let new = NewProfile {
        name: profile.clone(),
        description: None,
        behaviors: picket_model::profile::Behaviors::parse(written, &|_| None).unwrap(),
        extras: "{}".to_owned(),
    };
    db.create_profile(&new, &Tags::default(), AT).await.unwrap();
    db.create_mitigation_action(&"isolate".parse().unwrap(), &adding(), &Tags::default(), AT)
        .await
        .unwrap();
    (profile.to_string(), behavior.name.to_string())
}

fn active(scope: TaskScope) -> TaskScope {
    TaskScope {
        only_active: true,
        ..scope
    }
}

fn suppressed_too(scope: TaskScope) -> TaskScope {
    TaskScope {
        with_suppressed: true,
        ..scope
    }
}

fn between(from: i64, to: i64, scope: TaskScope) -> TaskScope {
    TaskScope {
        range: Some((Timestamp::from_millis(from), Timestamp::from_millis(to))),
        ..scope
    }
}

fn of_these(violations: Vec<ViolationId>, scope: TaskScope) -> TaskScope {
    TaskScope {
        target: TaskTarget::Violations(violations),
        ..scope
    }
}

/// A task of this scope tries its action so many times. Nobody is registered, so that it fails each time.
async fn check_scope(db: &Db, id: &str, scope: TaskScope, expected: usize) {
    assert!(db.start_detect_task(&task(id, scope.clone()), AT).await.unwrap());
    assert_eq!(run(db, id).await, expected, "{scope:?}");
    let found = db.detect_task(&id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(found.scope, scope);
    let status = if expected == 0 {
        TaskStatus::Successful
    } else {
        TaskStatus::Failed
    };
    assert_eq!((found.status, found.n_failed), (status, expected as u64));
    let of_task = ExecutionFilter {
        task: Some(found.id),
        ..ExecutionFilter::default()
    };
    let all = db.detect_executions(&of_task, None, 10).await.unwrap();
    assert_eq!(all.len(), expected);
    if let Some(first) = all.first() {
        let rest = db.detect_executions(&of_task, Some(&first.key()), 10).await.unwrap();
        assert_eq!(rest, all[1..], "pages go on after the last one seen");
    }
}

#[tokio::test]
async fn a_task_is_about_what_its_scope_says() {
    on_each(async |db: Db| {
        let (profile, behavior) = prepare(&db).await;
        let mut suppressed = raised("pump-2", 1000);
        suppressed.behavior = Arc::new(Behavior {
            suppress_alerts: Some(true),
            ..(*bytes_out()).clone()
        });
        let mut late = raised("pump-4", 1000);
        late.at = Timestamp::from_millis(AT.millis() + 1);
        late.id.0[0] ^= 1;
        write(
            &db,
            vec![raised("pump-1", 1000), suppressed, raised("pump-3", 2000), late],
        )
        .await;
        write(&db, vec![cleared("pump-3", 2000, 5000)]).await;
        let scope = || about(&profile, Some(&behavior));
        let named = {
            let found = db
                .active_violations(&ViolationFilter::default(), None, 10)
                .await
                .unwrap();
            let of = |thing: &str| found.iter().find(|one| one.thing.as_str() == thing).unwrap().id;
            vec![of("pump-2"), of("pump-1")]
        };
        for (n, (scope, expected)) in [
            (scope(), 2),
            (about(&profile, None), 2),
            (active(scope()), 1),
            (suppressed_too(scope()), 3),
            (between(4000, 6000, scope()), 1),
            (between(0, 500, scope()), 0),
            (of_these(named, scope()), 2),
        ]
        .into_iter()
        .enumerate()
        {
            check_scope(&db, &format!("t{n}"), scope, expected).await;
        }
        let pump_1 = ExecutionFilter {
            thing: Some("pump-1".parse().unwrap()),
            ..ExecutionFilter::default()
        };
        assert_eq!(db.detect_executions(&pump_1, None, 100).await.unwrap().len(), 5);
        assert_eq!(db.trim_detect_tasks(AT, 100).await.unwrap(), 0);
        let later = Timestamp::from_millis(AT.millis() + i64::try_from(RETENTION.as_millis()).unwrap() + 1);
        while 0 < db.trim_detect_tasks(later, 3).await.unwrap() {}
        assert!(db.detect_task(&"t0".parse().unwrap()).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_done_is_refused() {
    on_each(async |db: Db| {
        let (profile, _) = prepare(&db).await;
        let deactivate = ActionDefinition {
            kind: ActionKind::UpdateDeviceCertificate,
            ..adding()
        };
        db.create_mitigation_action(&"deactivate".parse().unwrap(), &deactivate, &Tags::default(), AT)
            .await
            .unwrap();
        let with = |actions: &[&str]| NewDetectTask {
            actions: actions.iter().map(|name| name.parse().unwrap()).collect(),
            ..task("bad", about(&profile, None))
        };
        let unknown = of_these(vec!["00".repeat(16).parse().unwrap()], about(&profile, None));
        for (new, expected) in [
            (with(&["nobody"]), "mitigation action nobody does not exist"),
            (with(&["deactivate"]), "is of type UPDATE_DEVICE_CERTIFICATE"),
            (with(&["isolate", "isolate"]), "named twice"),
            (
                task("bad", about("nobody", None)),
                "security profile nobody does not exist",
            ),
            (
                task("bad", about(&profile, Some("nobody"))),
                "behavior nobody of security profile",
            ),
            (task("bad", unknown), "violation 0000"),
        ] {
            let refused = db.start_detect_task(&new, AT).await.unwrap_err();
            assert!(
                matches!(&refused, StoreError::Rule { reason } if reason.contains(expected)),
                "{refused}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn five_tasks_run_at_once_and_an_action_stays_while_one_applies_it() {
    on_each(async |db: Db| {
        let (profile, _) = prepare(&db).await;
        let isolate = "isolate".parse().unwrap();
        for n in 0..5 {
            let at = Timestamp::from_millis(AT.millis() + n);
            db.start_detect_task(&task(&format!("t{n}"), about(&profile, None)), at)
                .await
                .unwrap();
        }
        let sixth = db.start_detect_task(&task("t5", about(&profile, None)), AT).await;
        assert!(matches!(sixth, Err(StoreError::Limit { n_max: 5, .. })));
        let first = task("t0", about(&profile, None));
        assert!(
            !db.start_detect_task(&first, AT).await.unwrap(),
            "the same again is no sixth"
        );
        for (token, parameters) in [("other", ""), ("t0", "other"), ("t1", "")] {
            let request = Request {
                token: token.to_owned(),
                parameters: parameters.to_owned(),
            };
            let again = NewDetectTask {
                request,
                ..first.clone()
            };
            assert!(db.start_detect_task(&again, AT).await.is_err(), "{token} {parameters}");
        }
        assert!(matches!(
            db.delete_mitigation_action(&isolate).await,
            Err(StoreError::InUse { .. })
        ));
        let update = ActionUpdate {
            role_arn: Some("other".to_owned()),
            params: None,
        };
        db.update_mitigation_action(&isolate, &update, AT).await.unwrap();
        let running = db.detect_task(&first.id).await.unwrap().unwrap();
        assert_eq!(running.actions[0].definition.role_arn, "role", "as it was");

        db.cancel_detect_task(&first.id, AT).await.unwrap();
        assert!(matches!(
            db.cancel_detect_task(&first.id, AT).await,
            Err(StoreError::Rule { .. })
        ));
        let nobody = db.cancel_detect_task(&"nobody".parse().unwrap(), AT).await;
        assert!(matches!(nobody, Err(StoreError::NotFound { .. })));
        assert_eq!(db.advance_detect_task(&first.id, AT).await.unwrap(), TaskStep::Over);
        for n in 1..5 {
            assert_eq!(run(&db, &format!("t{n}")).await, 0);
        }
        assert!(db.delete_mitigation_action(&isolate).await.unwrap());
        assert!(!db.delete_mitigation_action(&isolate).await.unwrap());
        let span = (AT, Timestamp::from_millis(AT.millis() + 3));
        let page = db.detect_tasks(span, None, 2).await.unwrap();
        let key: TaskKey = page[1].key().to_string().parse().unwrap();
        let rest = db.detect_tasks(span, Some(&key), 10).await.unwrap();
        let ids: Vec<String> = page.iter().chain(&rest).map(|task| task.id.to_string()).collect();
        assert_eq!(ids, ["t3", "t2", "t1", "t0"]);
    })
    .await;
}
