//! Alerts: exactly AWS's JSON, in order, at least once, whatever the target and the process do.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use picket_model::time::Timestamp;
use picket_model::violation::{ChangeKind, ViolationChange};
use picket_respond::{notify, webhook_client};
use picket_store::Db;
use picket_store::responses::{Response, webhook_consumer};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::receiver::{Answer, Receiver, Reserved, thing};
use crate::story::{
    BACKOFF, Story, after_reads, behavior, change, cleared, eventually, never, raised, supported, telling, things,
};

/// Begins to tell; ends when what is returned is dropped.
fn telling_all(db: &Db) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn(notify(db.clone(), webhook_client(None).unwrap(), BACKOFF, never()));
    task
}

/// A client that gives up soon.
fn impatient_client() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_millis(300))
        .build()
        .unwrap()
}

#[tokio::test]
async fn an_alert_is_exactly_the_documented_message() {
    let story = Story::begin().await;
    let target = Receiver::willing().await;
    story.respond(telling("tell", &target.url())).await;
    let _telling = telling_all(&story.db);
    let learned = |change: ViolationChange| ViolationChange {
        behavior: behavior(
            r#"{"name":"PacketsOut","metric":"aws:all-packets-out",
                "criteria":{"consecutiveDatapointsToAlarm":1,"consecutiveDatapointsToClear":3,
                            "mlDetectionConfig":{"confidenceLevel":"HIGH"}}}"#,
        ),
        ..change
    };
    let changes = vec![
        raised("DefenderWorkshopThing", 1_542_682_300_000, true),
        cleared("DefenderWorkshopThing", 1_542_682_300_000, 1_542_682_416_515),
        raised("quiet", 5, false),
        change("quiet", 5, 6, ChangeKind::Invalidated),
        learned(raised("learned", 7, true)),
    ];
    let ids: Vec<String> = changes.iter().map(|change| change.id.to_string()).collect();
    story.write(changes).await;
    target.until("all told", |requests| requests.len() == 5).await;

    let packets = json!({"name": "PacketsOut", "metric": "aws:all-packets-out", "criteria":
        {"comparisonOperator": "less-than", "value": {"count": 100}, "durationSeconds": 300}});
    let message = |nth: usize, at: u64, thing: &str, event: &str| {
        json!({"violationEventTime": at, "thingName": thing, "behavior": packets, "violationEventType": event,
            "violationId": ids[nth], "securityProfileName": "NormalHTTPTraffic", "verificationState": "UNKNOWN"})
    };
    let with = |mut message: Value, members: Value| {
        let (Some(all), Value::Object(members)) = (message.as_object_mut(), members) else {
            panic!("objects")
        };
        all.extend(members);
        message
    };
    let expected = [
        with(
            message(0, 1_542_682_300_000, "DefenderWorkshopThing", "in-alarm"),
            json!({"metricValue": {"count": 900}}),
        ),
        with(
            message(1, 1_542_682_416_515, "DefenderWorkshopThing", "alarm-cleared"),
            json!({"metricValue": {"count": 29}}),
        ),
        with(
            message(2, 5, "quiet", "in-alarm"),
            json!({"metricValue": {"count": 900}}),
        ),
        message(3, 6, "quiet", "alarm-invalidated"),
        with(
            message(4, 7, "learned", "in-alarm"),
            json!({"metricValue": {"count": 900}, "violationEventAdditionalInfo": {"confidenceLevel": "HIGH"},
                "behavior": {"name": "PacketsOut", "metric": "aws:all-packets-out", "criteria":
                    {"consecutiveDatapointsToAlarm": 1, "consecutiveDatapointsToClear": 3,
                     "mlDetectionConfig": {"confidenceLevel": "HIGH"}}}}),
        ),
    ];
    for (request, expected) in target.requests().iter().zip(expected) {
        assert_eq!(request.body, expected);
        assert!(
            request.head.starts_with("post /alerts http/1.1\r\n"),
            "{}",
            request.head
        );
        assert!(
            request.head.contains("\r\ncontent-type: application/json\r\n"),
            "{}",
            request.head
        );
    }
}

#[tokio::test]
async fn alerts_come_in_the_order_of_events_and_once_to_a_target_that_takes_them() {
    let story = Story::begin().await;
    let target = Receiver::willing().await;
    story.respond(telling("tell", &target.url())).await;
    let before = things("before", 100);
    story.raise(&before).await;
    let _telling = telling_all(&story.db);
    let after = things("while", 50);
    for one in &after {
        story.raise(std::slice::from_ref(one)).await;
    }
    target.until("all told", |requests| 150 <= requests.len()).await;
    story.until_done(&webhook_consumer(&"tell".parse().unwrap())).await;
    assert_eq!(target.taken(), [before, after].concat());
}

#[tokio::test]
async fn what_a_target_does_not_take_is_sent_again_and_nothing_passes_it() {
    let story = Story::begin().await;
    let reserved = Reserved::new();
    story.respond(telling("tell", &reserved.url())).await;
    let mut telling = JoinSet::new();
    telling.spawn(notify(story.db.clone(), impatient_client(), BACKOFF, never()));
    let all = things("pump", 12);
    story.raise(&all).await;
    // Nobody listens so far: connections are refused. Then every alert meets something else first.
    let troubles = [
        Answer::Status(500),
        Answer::Hang,
        Answer::Cut,
        Answer::Status(404),
        Answer::Status(302),
        Answer::Status(429),
    ];
    let mut n_tries: HashMap<String, usize> = HashMap::new();
    let target = reserved.listen(move |body| {
        let thing = body["thingName"].as_str().unwrap().to_owned();
        let (_, nth) = thing.rsplit_once('-').unwrap();
        let trouble = troubles[nth.parse::<usize>().unwrap() % troubles.len()];
        let n_tries = n_tries.entry(thing).or_default();
        *n_tries += 1;
        if *n_tries <= 2 { trouble } else { Answer::Status(200) }
    });
    target.until_taken(all.last().unwrap()).await;
    let sent: Vec<String> = target.requests().iter().map(thing).collect();
    for thing in &all {
        let n_sent = sent.iter().filter(|one| *one == thing).count();
        assert!(3 <= n_sent, "{thing} was sent {n_sent} times");
    }
    // An answer that came too late for this client makes a repeat, but nothing passes what was not taken.
    for mut things in [sent, target.taken()] {
        things.dedup();
        assert_eq!(things, all);
    }
    assert!(
        target
            .requests()
            .iter()
            .all(|request| request.head.starts_with("post /alerts "))
    );
}

#[tokio::test]
async fn a_restart_between_answer_and_note_tells_that_alert_again_and_goes_on() {
    let story = Story::begin().await;
    let all = things("pump", 3);
    let mut is_first = true;
    let target = Receiver::start(move |_| match std::mem::take(&mut is_first) {
        true => Answer::Hang,
        false => Answer::Status(200),
    })
    .await;
    story.respond(telling("tell", &target.url())).await;
    let mut telling = telling_all(&story.db);
    story.raise(&all).await;
    target.until("sent once", |requests| requests.len() == 1).await;
    // The target has it, and this process never hears of that.
    telling.shutdown().await;
    let mut telling = telling_all(&story.db);
    target.until_taken("pump-002").await;
    story.until_done(&webhook_consumer(&"tell".parse().unwrap())).await;
    telling.shutdown().await;
    let _telling = telling_all(&story.db);
    story.raise(&["last".to_owned()]).await;
    target.until_taken("last").await;
    assert_eq!(
        target.requests().iter().map(thing).collect::<Vec<_>>(),
        ["pump-000", "pump-000", "pump-001", "pump-002", "last"]
    );
}

#[tokio::test]
async fn whenever_it_is_stopped_nothing_is_left_out_and_at_most_the_last_is_repeated() {
    let story = Story::begin().await;
    let target = Receiver::willing().await;
    story.respond(telling("tell", &target.url())).await;
    let all = things("pump", 60);
    let client = webhook_client(None).unwrap();
    let mut n_starts = 0;
    for (nth, one) in all.iter().enumerate() {
        story.raise(std::slice::from_ref(one)).await;
        for n_reads in [nth / 2, nth] {
            notify(
                story.db.clone(),
                client.clone(),
                BACKOFF,
                after_reads(&story.db, n_reads),
            )
            .await;
            n_starts += 1;
        }
    }
    let _telling = telling_all(&story.db);
    target.until_taken(all.last().unwrap()).await;
    let mut taken = target.taken();
    assert!(taken.len() <= all.len() + n_starts);
    taken.dedup();
    assert_eq!(taken, all);
}

#[tokio::test]
async fn a_target_that_is_gone_is_left_alone_until_its_response_is_enabled_again() {
    let story = Story::begin().await;
    let gone = Receiver::start(|body| match body["thingName"].as_str() {
        Some("first") => Answer::Status(410),
        _ => Answer::Status(200),
    })
    .await;
    let other = Receiver::willing().await;
    story.respond(telling("gone", &gone.url())).await;
    story.respond(telling("other", &other.url())).await;
    let n_polls = Arc::new(AtomicUsize::new(0));
    let mut telling = JoinSet::new();
    let (db, counted) = (story.db.clone(), Arc::clone(&n_polls));
    telling.spawn(async move {
        let mut told = std::pin::pin!(notify(db, webhook_client(None).unwrap(), BACKOFF, never()));
        std::future::poll_fn(|context| {
            counted.fetch_add(1, Ordering::Relaxed);
            told.as_mut().poll(context)
        })
        .await;
    });
    let name = "gone".parse().unwrap();
    story.raise(&["first".to_owned(), "second".to_owned()]).await;
    eventually("it is stopped", async || {
        story.db.find_cursor(&webhook_consumer(&name)).await.unwrap().is_none()
    })
    .await;
    other.until_taken("second").await;
    let n_before = n_polls.load(Ordering::Relaxed);
    for _ in 0..500 {
        story.db.find_cursor(&webhook_consumer(&name)).await.unwrap();
    }
    let n_idle = n_polls.load(Ordering::Relaxed) - n_before;
    assert!(
        n_idle < 20,
        "a stopped webhook gives nothing to do, but it was polled {n_idle} times"
    );
    story.raise(&["third".to_owned()]).await;
    other.until_taken("third").await;
    story.db.enable_response(&name, true).await.unwrap();
    story.raise(&["fourth".to_owned()]).await;
    gone.until_taken("fourth").await;
    assert_eq!(
        gone.requests().iter().map(thing).collect::<Vec<_>>(),
        ["first", "fourth"]
    );
    other.until_taken("fourth").await;
    assert_eq!(other.taken(), ["first", "second", "third", "fourth"]);
}

#[tokio::test]
async fn a_dead_target_delays_nobody_else() {
    let story = Story::begin().await;
    let hanging = Receiver::start(|_| Answer::Hang).await;
    let alive = Receiver::willing().await;
    let down = Reserved::new();
    story.respond(telling("a-hangs", &hanging.url())).await;
    story.respond(telling("b-down", &down.url())).await;
    story.respond(telling("c-lives", &alive.url())).await;
    let _telling = telling_all(&story.db);
    let all = things("pump", 100);
    for some in all.chunks(10) {
        story.raise(some).await;
    }
    alive.until_taken("pump-099").await;
    assert_eq!(alive.taken(), all);
    hanging.until("tried", |requests| !requests.is_empty()).await;
    assert_eq!(
        story
            .db
            .cursor(&webhook_consumer(&"b-down".parse().unwrap()))
            .await
            .unwrap(),
        0
    );
}

#[tokio::test]
async fn what_happens_while_a_response_is_disabled_is_not_made_up_for() {
    let story = Story::begin().await;
    let down = Reserved::new();
    story.respond(telling("tell", &down.url())).await;
    let name = "tell".parse().unwrap();
    let consumer = webhook_consumer(&name);
    let _telling = telling_all(&story.db);
    // One that is being tried when the response is disabled, and one that comes then.
    story.raise(&["before".to_owned()]).await;
    story.db.enable_response(&name, false).await.unwrap();
    story.raise(&["meanwhile".to_owned()]).await;
    story.until_done(&consumer).await;
    let target = down.listen(|_| Answer::Status(200));
    story.db.enable_response(&name, true).await.unwrap();
    story.raise(&["after".to_owned()]).await;
    target.until_taken("after").await;
    assert_eq!(target.taken(), ["after"]);
}

#[tokio::test]
async fn suppressed_alerts_and_other_profiles_and_mere_support_are_not_told() {
    let story = Story::begin().await;
    let target = Receiver::willing().await;
    story.respond(telling("tell", &target.url())).await;
    let elsewhere = Response {
        profiles: vec!["Elsewhere".parse().unwrap()],
        ..telling("elsewhere", &target.url())
    };
    story.respond(elsewhere).await;
    let _telling = telling_all(&story.db);
    let suppressed = ViolationChange {
        behavior: behavior(
            r#"{"name":"PacketsOut","metric":"aws:all-packets-out","suppressAlerts":true,
                "criteria":{"comparisonOperator":"less-than","value":{"count":100},"durationSeconds":300}}"#,
        ),
        ..raised("silent", 1, true)
    };
    story
        .write(vec![
            suppressed,
            raised("loud", 1, false),
            change(
                "loud",
                1,
                2,
                ChangeKind::Continued {
                    value: picket_model::value::MetricValue::Count(1),
                },
            ),
            supported("loud", 1, 3),
            raised("last", 4, true),
        ])
        .await;
    target.until_taken("last").await;
    assert_eq!(target.taken(), ["loud", "last"]);
}

#[tokio::test]
async fn a_response_that_comes_late_is_served_and_one_that_is_made_anew_starts_anew() {
    let story = Story::begin().await;
    let _telling = telling_all(&story.db);
    story.raise(&["nobody asked".to_owned()]).await;
    let down = Reserved::new();
    story.respond(telling("tell", &down.url())).await;
    story.raise(&["old".to_owned()]).await;
    let name = "tell".parse().unwrap();
    assert!(story.db.delete_response(&name).await.unwrap());
    let target = Receiver::willing().await;
    let anew = Response {
        created_at: Timestamp::from_millis(2_000),
        ..telling("tell", &target.url())
    };
    story.respond(anew).await;
    story.raise(&["new".to_owned()]).await;
    target.until_taken("new").await;
    assert_eq!(target.taken(), ["new"]);
}
