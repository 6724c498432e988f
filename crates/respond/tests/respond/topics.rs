//! Alerts of profiles, published to their topics and delivered to whoever is subscribed: once each, in order, whatever the
//! target and the process do.

use std::pin::Pin;
use std::sync::Arc;

use picket_model::behavior::wire::Behavior;
use picket_model::profile::Behaviors;
use picket_model::sns::{SubscriptionId, SubscriptionProtocol, TopicArn};
use picket_model::violation::ViolationChange;
use picket_respond::{Letterhead, Signature, Signer, Unsigned, deliver, publish, webhook_client};
use picket_store::Db;
use picket_store::profiles::NewProfile;
use picket_store::registry::Tags;
use picket_store::topics::{Confirmation, NewSubscription, Publication};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::receiver::{Answer, Receiver, Reserved};
use crate::story::{AT, BACKOFF, Story, after_reads, behavior, cleared, eventually, never, raised, things};

const ACCOUNT: &str = "123456789012";

/// Signs with the text itself, so that a test sees what was signed.
struct Plain;

impl Signer for Plain {
    fn sign(&self, text: String) -> Pin<Box<dyn Future<Output = Result<Signature, Unsigned>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(Signature {
            bytes: text.into_bytes(),
            certificate_id: "known".to_owned(),
        })))
    }
}

fn topic() -> TopicArn {
    format!("arn:aws:sns:eu-central-1:{ACCOUNT}:Alerts").parse().unwrap()
}

/// Whoever publishes and delivers, until they are stopped.
async fn at_work(db: &Db, shutdown: impl Future<Output = ()>) {
    let letterhead = Letterhead {
        base_url: "http://picket.test".to_owned(),
        signer: Arc::new(Plain),
    };
    let now: picket_respond::Clock = Arc::new(|| AT);
    let client = webhook_client(None).unwrap();
    let publishing = publish(db.clone(), ACCOUNT.to_owned(), BACKOFF, Arc::clone(&now), never());
    let delivering = deliver(db.clone(), client, BACKOFF, letterhead, now, never());
    tokio::select! {
        () = publishing => {}
        () = delivering => {}
        () = shutdown => {}
    }
}

fn working(db: &Db) -> JoinSet<()> {
    let mut task = JoinSet::new();
    let db = db.clone();
    task.spawn(async move { at_work(&db, never()).await });
    task
}

/// A database in which the story's profile alerts to this target.
async fn alerting_to(target: &str) -> Story {
    let story = Story::begin().await;
    story.db.create_topic(&topic().name, &[].into(), AT).await.unwrap();
    let written: Vec<Behavior> = Vec::new();
    let new = NewProfile {
        name: "NormalHTTPTraffic".parse().unwrap(),
        description: None,
        behaviors: Behaviors::parse(written, &|_| None).unwrap(),
        extras: json!({"alertTargets": {"SNS": {"alertTargetArn": target, "roleArn": "arn:aws:iam::1:role/any"}}})
            .to_string(),
    };
    story.db.create_profile(&new, &Tags::default(), AT).await.unwrap();
    story
}

/// Subscribes a URL that has said yes already.
async fn subscribe(story: &Story, nth: u8, url: &str, is_raw: bool) -> SubscriptionId {
    let new = NewSubscription {
        id: SubscriptionId::from_random([nth; 16]),
        topic: topic(),
        protocol: SubscriptionProtocol::Http,
        endpoint: url.to_owned(),
        is_raw,
        token: format!("token {nth}"),
        is_confirmed: true,
    };
    story.db.subscribe(&new, AT).await.unwrap().id
}

/// The devices of the alerts that a target took, repeats included.
fn told(target: &Receiver) -> Vec<String> {
    let taken = target
        .requests()
        .into_iter()
        .filter(|request| request.answer == Answer::Status(200));
    taken
        .map(|request| alert(&request.body)["thingName"].as_str().unwrap().to_owned())
        .collect()
}

/// The alert in an envelope.
fn alert(body: &Value) -> Value {
    serde_json::from_str(body["Message"].as_str().unwrap()).unwrap()
}

async fn until_told(target: &Receiver, thing: &str) {
    let is_it = |requests: &[crate::receiver::Request]| {
        requests
            .iter()
            .any(|request| request.answer == Answer::Status(200) && alert(&request.body)["thingName"] == thing)
    };
    target.until(thing, is_it).await;
}

#[tokio::test]
async fn a_profiles_alerts_reach_whoever_is_subscribed_in_snss_envelope() {
    let story = alerting_to(&topic().to_string()).await;
    let target = Receiver::willing().await;
    let raw = Receiver::willing().await;
    let id = subscribe(&story, 1, &target.url(), false).await;
    subscribe(&story, 2, &raw.url(), true).await;
    let _working = working(&story.db);
    let silent = ViolationChange {
        behavior: behavior(
            r#"{"name":"PacketsOut","metric":"aws:all-packets-out","suppressAlerts":true,
                "criteria":{"comparisonOperator":"less-than","value":{"count":100},"durationSeconds":300}}"#,
        ),
        ..raised("silent", 1, true)
    };
    story
        .write(vec![silent, raised("pump", 2, true), cleared("pump", 2, 3)])
        .await;
    target.until("both told", |requests| requests.len() == 2).await;
    raw.until("both told", |requests| requests.len() == 2).await;

    let requests = target.requests();
    for (request, event) in requests.iter().zip(["in-alarm", "alarm-cleared"]) {
        let body = &request.body;
        assert_eq!(alert(body)["violationEventType"], event);
        assert_eq!(alert(body)["thingName"], "pump");
        for (member, expected) in [
            ("Type", "Notification"),
            ("TopicArn", &topic().to_string()),
            ("Timestamp", "1970-01-01T00:00:01.000Z"),
            ("SignatureVersion", "2"),
            (
                "SigningCertURL",
                "http://picket.test/SimpleNotificationService-known.pem",
            ),
            (
                "UnsubscribeURL",
                &format!(
                    "http://picket.test/?Action=Unsubscribe&SubscriptionArn={}:{id}",
                    topic()
                ),
            ),
        ] {
            assert_eq!(body[member], expected, "{body}");
        }
        assert!(body["Signature"].as_str().unwrap().len() > 100, "{body}");
        assert!(body.get("Subject").is_none(), "an alert of AWS's has none: {body}");
        let id = body["MessageId"].as_str().unwrap();
        for header in [
            "content-type: text/plain; charset=utf-8".to_owned(),
            "x-amz-sns-message-type: notification".to_owned(),
            format!("x-amz-sns-message-id: {id}"),
            format!("x-amz-sns-topic-arn: {}", topic()).to_lowercase(),
            format!("x-amz-sns-subscription-arn: {}:", topic()).to_lowercase(),
        ] {
            assert!(
                request.head.contains(&format!("\r\n{header}")),
                "{header}: {}",
                request.head
            );
        }
    }
    let bare = &raw.requests()[0];
    assert_eq!(bare.body, alert(&requests[0].body), "the message as it is");
    assert!(
        bare.head.contains("\r\nx-amz-sns-rawdelivery: true\r\n"),
        "{}",
        bare.head
    );
}

#[tokio::test]
async fn whenever_it_is_stopped_each_alert_is_published_once_and_told_in_order() {
    let story = alerting_to(&topic().to_string()).await;
    let target = Receiver::willing().await;
    subscribe(&story, 1, &target.url(), false).await;
    let all = things("pump", 30);
    for (nth, one) in all.iter().enumerate() {
        story.raise(std::slice::from_ref(one)).await;
        for n_reads in [nth / 2, nth] {
            at_work(&story.db, after_reads(&story.db, n_reads)).await;
        }
    }
    let _working = working(&story.db);
    until_told(&target, all.last().unwrap()).await;
    let mut ids: Vec<String> = target
        .requests()
        .iter()
        .map(|request| request.body["MessageId"].as_str().unwrap().to_owned())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), all.len(), "one message an alert, however often it is sent");
    let mut told = told(&target);
    told.dedup();
    assert_eq!(told, all);
}

#[tokio::test]
async fn a_target_that_is_down_delays_nobody_and_is_told_when_it_comes_back() {
    let story = alerting_to(&topic().to_string()).await;
    let down = Reserved::new();
    let hanging = Receiver::start(|_| Answer::Hang).await;
    let mut n_requests = 0;
    let moody = Receiver::start(move |_| {
        n_requests += 1;
        [
            Answer::Status(500),
            Answer::Cut,
            Answer::Status(302),
            Answer::Status(200),
        ][n_requests % 4]
    })
    .await;
    let alive = Receiver::willing().await;
    for (nth, url) in (1..).zip([down.url(), hanging.url(), moody.url(), alive.url()]) {
        subscribe(&story, nth, &url, false).await;
    }
    let _working = working(&story.db);
    let all = things("pump", 20);
    story.raise(&all).await;
    until_told(&alive, "pump-019").await;
    until_told(&moody, "pump-019").await;
    assert_eq!(told(&alive), all);
    assert_eq!(told(&moody), all, "nothing passes what was not taken");
    let target = down.listen(|_| Answer::Status(200));
    until_told(&target, "pump-019").await;
    assert_eq!(told(&target), all);
    hanging.until("tried", |requests| !requests.is_empty()).await;
}

#[tokio::test]
async fn a_message_that_is_never_taken_is_given_up_after_a_hundred_tries() {
    let story = alerting_to(&topic().to_string()).await;
    let target = Receiver::start(|body| match alert(body)["thingName"].as_str() {
        Some("bad") => Answer::Status(500),
        _ => Answer::Status(200),
    })
    .await;
    let id = subscribe(&story, 1, &target.url(), false).await;
    let _working = working(&story.db);
    story.raise(&["bad".to_owned(), "good".to_owned()]).await;
    until_told(&target, "good").await;
    assert_eq!(target.requests().len(), 101);
    eventually("nothing waits", async || {
        story.db.next_delivery(id).await.unwrap().is_none()
    })
    .await;
}

#[tokio::test]
async fn a_target_that_is_no_topic_here_holds_nothing_up() {
    let elsewhere = topic().to_string().replace(ACCOUNT, "210987654321");
    let unknown = topic().to_string().replace("Alerts", "Unknown");
    for target in ["no arn", elsewhere.as_str(), unknown.as_str()] {
        let story = alerting_to(target).await;
        let _working = working(&story.db);
        story.raise(&things("pump", 3)).await;
        story.until_done("publish").await;
    }
}

#[tokio::test]
async fn an_endpoint_is_asked_before_it_is_told_anything() {
    let story = alerting_to(&topic().to_string()).await;
    let target = Receiver::willing().await;
    let _working = working(&story.db);
    let new = NewSubscription {
        id: SubscriptionId::from_random([1; 16]),
        topic: topic(),
        protocol: SubscriptionProtocol::Http,
        endpoint: target.url(),
        is_raw: true,
        token: "secret".to_owned(),
        is_confirmed: false,
    };
    story.db.subscribe(&new, AT).await.unwrap();
    story.raise(&["too early".to_owned()]).await;
    story.until_done("publish").await;
    target.until("asked", |requests| requests.len() == 1).await;
    let question = &target.requests()[0];
    assert_eq!(
        question.body["Type"], "SubscriptionConfirmation",
        "in an envelope, or nobody could answer"
    );
    assert_eq!(question.body["Token"], "secret");
    let url = format!(
        "http://picket.test/?Action=ConfirmSubscription&TopicArn={}&Token=secret",
        topic()
    );
    assert_eq!(question.body["SubscribeURL"], url);
    assert!(
        question
            .head
            .contains("\r\nx-amz-sns-message-type: subscriptionconfirmation\r\n")
    );
    let confirmation = Confirmation {
        topic: &topic().name,
        token: "secret",
        is_guarded: false,
    };
    story.db.confirm_subscription(&confirmation, AT).await.unwrap();
    let publication = Publication {
        topic: topic(),
        subject: Some("Test".to_owned()),
        body: r#"{"default":"{}","http":"{\"hello\":1}"}"#.to_owned(),
        is_structured: true,
        attributes: None,
    };
    story.db.publish(&publication, AT).await.unwrap();
    target.until("told", |requests| requests.len() == 2).await;
    assert_eq!(target.requests()[1].body, json!({"hello": 1}));
}
