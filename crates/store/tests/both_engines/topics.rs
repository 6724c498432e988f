//! Topics: who is subscribed, and what has still to be delivered.

use picket_model::sns::{SubscriptionId, SubscriptionProtocol, TopicArn};
use picket_model::time::Timestamp;
use picket_store::topics::{Confirmation, NewSubscription, PENDING_MILLIS_MAX, Publication, Subscription};
use picket_store::{Db, StoreError};

use crate::effects::{raised, write};
use crate::engines::on_each;

const AT: Timestamp = Timestamp::from_millis(1_000);

fn topic() -> TopicArn {
    "arn:aws:sns:eu-central-1:123456789012:Alerts".parse().unwrap()
}

fn wish(nth: u8, protocol: SubscriptionProtocol, endpoint: &str) -> NewSubscription {
    NewSubscription {
        id: SubscriptionId::from_random([nth; 16]),
        topic: topic(),
        protocol,
        endpoint: endpoint.to_owned(),
        is_raw: false,
        token: format!("token {nth}"),
        is_confirmed: false,
    }
}

fn saying(body: &str) -> Publication {
    Publication {
        topic: topic(),
        subject: None,
        body: body.to_owned(),
        is_structured: false,
        attributes: None,
    }
}

async fn confirmed(db: &Db, nth: u8) -> Subscription {
    let new = wish(nth, SubscriptionProtocol::Http, &format!("http://127.0.0.{nth}/"));
    db.subscribe(&new, AT).await.unwrap();
    let confirmation = Confirmation {
        topic: &topic().name,
        token: &new.token,
        is_guarded: false,
    };
    let found = db.confirm_subscription(&confirmation, AT).await.unwrap();
    let question = db.next_delivery(found.id).await.unwrap().unwrap();
    assert!(question.message.is_question);
    db.end_delivery(found.id, question.seq).await.unwrap();
    found
}

/// What a subscription is told next, until nothing is left.
async fn told(db: &Db, id: SubscriptionId) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(delivery) = db.next_delivery(id).await.unwrap() {
        bodies.push(delivery.message.body);
        db.end_delivery(id, delivery.seq).await.unwrap();
    }
    bodies
}

#[tokio::test]
async fn a_topic_is_made_once_and_goes_with_all_that_hangs_on_it() {
    on_each(async |db: Db| {
        let name = topic().name;
        let attributes = [("DisplayName".to_owned(), "alerts".to_owned())].into();
        db.create_topic(&name, &attributes, AT).await.unwrap();
        db.create_topic(&name, &attributes, AT).await.unwrap();
        db.create_topic(&name, &[].into(), AT).await.unwrap();
        let other = [("DisplayName".to_owned(), "other".to_owned())].into();
        let refused = db.create_topic(&name, &other, AT).await.unwrap_err();
        assert!(matches!(refused, StoreError::Exists { .. }), "{refused}");
        db.describe_topic(&name, "DisplayName", "other").await.unwrap();
        db.create_topic(&name, &other, AT).await.unwrap();

        let subscription = confirmed(&db, 1).await;
        db.subscribe(&wish(2, SubscriptionProtocol::Email, "a@example.com"), AT)
            .await
            .unwrap();
        let found = db.topic(&name).await.unwrap().unwrap();
        assert_eq!((found.n_confirmed, found.n_pending), (1, 1));
        db.publish(&saying("one"), AT).await.unwrap();
        assert_eq!(db.awaiting_subscriptions().await.unwrap(), [subscription.id]);
        assert!(db.delete_topic(&name).await.unwrap());
        assert!(!db.delete_topic(&name).await.unwrap());
        assert_eq!(db.awaiting_subscriptions().await.unwrap(), []);
        assert_eq!(db.subscriptions(None, None, 10).await.unwrap(), []);
        let refused = db.publish(&saying("two"), AT).await.unwrap_err();
        assert!(
            matches!(refused, StoreError::NotFound { what: "topic", .. }),
            "{refused}"
        );
    })
    .await;
}

#[tokio::test]
async fn nothing_is_delivered_before_the_endpoint_has_said_yes() {
    on_each(async |db: Db| {
        let name = topic().name;
        db.create_topic(&name, &[].into(), AT).await.unwrap();
        let new = wish(1, SubscriptionProtocol::Http, "http://127.0.0.1/");
        let first = db.subscribe(&new, AT).await.unwrap();
        db.publish(&saying("too early"), AT).await.unwrap();
        // Asked once more, it is asked with the same token.
        let again = NewSubscription {
            id: SubscriptionId::from_random([9; 16]),
            token: "token 9".to_owned(),
            ..new.clone()
        };
        let second = db.subscribe(&again, Timestamp::from_millis(2_000)).await.unwrap();
        assert_eq!((second.id, second.token.as_str()), (first.id, "token 1"));
        let with = |token| Confirmation {
            topic: &name,
            token,
            is_guarded: true,
        };
        let late = Timestamp::from_millis(2_000 + PENDING_MILLIS_MAX);
        for (token, at) in [("token 9", AT), ("", AT), ("token 1", late)] {
            let refused = db.confirm_subscription(&with(token), at).await.unwrap_err();
            assert!(matches!(refused, StoreError::Rule { .. }), "{token}: {refused}");
        }
        let yes = db.confirm_subscription(&with("token 1"), AT).await.unwrap();
        assert_eq!((yes.confirmed_at, yes.is_guarded), (Some(AT), true));
        assert_eq!(db.confirm_subscription(&with("token 1"), late).await.unwrap(), yes);
        db.publish(&saying("in time"), AT).await.unwrap();
        let bodies = told(&db, yes.id).await;
        assert_eq!(bodies.len(), 3, "two questions and a message: {bodies:?}");
        assert_eq!(bodies[2], "in time");
        // A subscription that is there stays what it is, in the form in which it is.
        assert_eq!(db.subscribe(&again, AT).await.unwrap(), yes);
        let raw = NewSubscription { is_raw: true, ..new };
        assert!(matches!(db.subscribe(&raw, AT).await, Err(StoreError::Exists { .. })));
        assert_eq!(told(&db, yes.id).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn who_does_not_confirm_is_forgotten() {
    on_each(async |db: Db| {
        db.create_topic(&topic().name, &[].into(), AT).await.unwrap();
        let late = Timestamp::from_millis(AT.millis() + PENDING_MILLIS_MAX);
        for (nth, protocol) in (1..).zip([SubscriptionProtocol::Http, SubscriptionProtocol::Email]) {
            db.subscribe(&wish(nth, protocol, "http://127.0.0.1/a@b"), AT)
                .await
                .unwrap();
        }
        db.forget_unconfirmed(Timestamp::from_millis(late.millis() - 1))
            .await
            .unwrap();
        assert_eq!(db.subscriptions(None, None, 10).await.unwrap().len(), 2);
        db.forget_unconfirmed(late).await.unwrap();
        let left = db.subscriptions(None, None, 10).await.unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].protocol, SubscriptionProtocol::Email);
        assert_eq!(db.awaiting_subscriptions().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn messages_wait_for_each_subscription_in_their_order() {
    on_each(async |db: Db| {
        db.create_topic(&topic().name, &[].into(), AT).await.unwrap();
        let (one, other) = (confirmed(&db, 1).await, confirmed(&db, 2).await);
        let signal = db.delivery_signal();
        let writers: Vec<_> = (0..8)
            .map(|nth| {
                let db = db.clone();
                tokio::spawn(async move { db.publish(&saying(&nth.to_string()), AT).await.unwrap() })
            })
            .collect();
        let mut ids = Vec::new();
        for writer in writers {
            ids.push(writer.await.unwrap());
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 8, "every message has an id of its own");
        assert!(signal.has_changed().unwrap());
        let delivery = db.next_delivery(one.id).await.unwrap().unwrap();
        assert_eq!(db.note_attempt(one.id, delivery.seq).await.unwrap(), 0);
        let again = db.next_delivery(one.id).await.unwrap().unwrap();
        assert_eq!((again.seq, again.n_attempts), (delivery.seq, 1));
        let bodies = told(&db, one.id).await;
        assert_eq!(bodies.len(), 8);
        assert_eq!(
            told(&db, other.id).await,
            bodies,
            "both hear the same in the same order"
        );
        db.publish(&saying("last"), AT).await.unwrap();
        assert!(db.unsubscribe(one.id).await.unwrap());
        assert!(!db.unsubscribe(one.id).await.unwrap());
        assert_eq!(told(&db, one.id).await, [""; 0]);
        assert_eq!(told(&db, other.id).await, ["last"]);
    })
    .await;
}

#[tokio::test]
async fn news_is_published_once_however_often_it_is_read() {
    on_each(async |db: Db| {
        db.create_topic(&topic().name, &[].into(), AT).await.unwrap();
        let subscription = confirmed(&db, 1).await;
        write(&db, (0..3).map(|n| raised(&format!("p{n}"), 1000)).collect()).await;
        for seq in [1, 1, 2, 1, 2] {
            let body = seq.to_string();
            db.publish_news("publish", seq, &saying(&body), AT).await.unwrap();
        }
        assert_eq!(db.cursor("publish").await.unwrap(), 2);
        let elsewhere = Publication {
            topic: "arn:aws:sns:eu-central-1:123456789012:Nowhere".parse().unwrap(),
            ..saying("lost")
        };
        let refused = db.publish_news("publish", 3, &elsewhere, AT).await.unwrap_err();
        assert!(
            matches!(refused, StoreError::NotFound { what: "topic", .. }),
            "{refused}"
        );
        assert_eq!(
            db.cursor("publish").await.unwrap(),
            2,
            "the reader decides what that means"
        );
        assert_eq!(told(&db, subscription.id).await, ["1", "2"]);
    })
    .await;
}
