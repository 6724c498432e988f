//! What subscribers are told of the comings and goings of clients.

use picket_mqtt::{Incoming, Qos};
use serde_json::{Value, json};

use crate::raw::{Hello, Raw, V3, V5};
use crate::world::{World, all_but, certificate_id, next};

/// The next event: its topic below `$aws/events/`, and its members but those that every event has.
async fn event(world: &World, incoming: &mut Incoming) -> (String, Value) {
    let message = next(incoming).await;
    let topic = message.topic.strip_prefix("$aws/events/").unwrap().to_owned();
    let mut members: Value = serde_json::from_slice(&message.payload).unwrap();
    let object = members.as_object_mut().unwrap();
    let levels: Vec<&str> = topic.splitn(3, '/').collect();
    let mut take = |name| object.remove(name).unwrap();
    assert_eq!(take("eventType"), levels[1]);
    assert_eq!(take("clientId"), levels[2]);
    assert_eq!(take("timestamp"), 1_767_323_045_000_i64);
    let certificate = certificate_id(&world.device.certificate_pem);
    assert_eq!(take("principalIdentifier"), certificate.to_string());
    (topic, members)
}

async fn watcher(world: &World, filter: &str) -> (picket_mqtt::Client, Incoming) {
    let (client, incoming) = world.connect("watcher").await;
    let granted = client.subscribe(&[(filter, Qos::AtLeastOnce)]).await.unwrap();
    assert_eq!(granted, [Some(Qos::AtLeastOnce)]);
    (client, incoming)
}

#[tokio::test]
async fn a_connection_is_told_from_its_beginning_to_its_end() {
    let world = World::start().await;
    for version in [V3, V5] {
        let (watching, mut told) = watcher(&world, "$aws/events/#").await;
        let (topic, own) = event(&world, &mut told).await;
        assert_eq!(
            (topic.as_str(), &own["topics"]),
            ("subscriptions/subscribed/watcher", &json!(["$aws/events/#"]))
        );

        let mut raw = Raw::connect(&world, version, Hello::new("c")).await;
        let (topic, came) = event(&world, &mut told).await;
        let session = came["sessionIdentifier"].as_str().unwrap().to_owned();
        let n = came["versionNumber"].as_u64().unwrap();
        assert_eq!(n, u64::from(version == V5), "the second connection of this client");
        assert!(
            session.len() == 32 && session.chars().all(|digit| digit.is_ascii_hexdigit()),
            "{session}"
        );
        assert_eq!(topic, "presence/connected/c");
        assert_eq!(
            came,
            json!({"sessionIdentifier": session, "ipAddress": "127.0.0.1", "versionNumber": n})
        );

        world.gate.set("c", &all_but("Subscribe", "topicfilter/no"));
        world.handle.recheck(picket_endpoint::Recheck::All).await;
        raw.subscribe(&["foo/bar", "no", "$share/g/data"]).await;
        let (topic, subscribed) = event(&world, &mut told).await;
        assert_eq!(topic, "subscriptions/subscribed/c");
        let topics = json!(["foo/bar", "$share/g/data"]);
        assert_eq!(subscribed, json!({"sessionIdentifier": session, "topics": topics}));
        raw.subscribe(&["no"]).await;

        // UNSUBSCRIBE from one that it has and one that it has not.
        let mut body = vec![0, 9];
        body.extend((version == V5).then_some(0));
        for filter in ["foo/bar", "other"] {
            body.extend(u16::try_from(filter.len()).unwrap().to_be_bytes());
            body.extend(filter.as_bytes());
        }
        raw.send(&crate::raw::packet(0xa2, &body)).await;
        let (topic, unsubscribed) = event(&world, &mut told).await;
        assert_eq!(topic, "subscriptions/unsubscribed/c");
        assert_eq!(
            unsubscribed,
            json!({"sessionIdentifier": session, "topics": ["foo/bar"]})
        );

        raw.send(&[0xe0, 0]).await;
        let (topic, went) = event(&world, &mut told).await;
        assert_eq!(topic, "presence/disconnected/c");
        let expected = json!({
            "sessionIdentifier": session, "versionNumber": n,
            "clientInitiatedDisconnect": true, "disconnectReason": "CLIENT_INITIATED_DISCONNECT",
        });
        assert_eq!(went, expected);
        watching.disconnect().await;
    }
}

#[tokio::test]
async fn a_refused_connection_and_one_that_is_taken_over_are_told() {
    let world = World::start().await;
    let (_watching, mut told) = watcher(&world, "$aws/events/presence/#").await;
    world.gate.set("no", &all_but("Connect", "client/no"));
    world.gate.set("will", &all_but("Publish", "topic/w"));
    let with_will = Hello {
        will: Some(("w", "x")),
        ..Hello::new("will")
    };
    for (version, hello) in [
        (V3, Hello::new("no")),
        (V5, Hello::new("no")),
        (V3, with_will),
        (V5, with_will),
    ] {
        drop(Raw::hello(&world, version, hello).await);
        let (topic, failed) = event(&world, &mut told).await;
        assert_eq!(topic, format!("presence/connect_failed/{}", hello.client_id));
        let expected = json!({
            "sessionIdentifier": failed["sessionIdentifier"], "ipAddress": "127.0.0.1",
            "connectFailureReason": "AUTHORIZATION_FAILED",
        });
        assert_eq!(failed, expected);
    }
    let _old = Raw::connect(&world, V3, Hello::new("c")).await;
    let _new = Raw::connect(&world, V3, Hello::new("c")).await;
    let mut events = Vec::new();
    for _ in 0..3 {
        let (topic, members) = event(&world, &mut told).await;
        let reason = members["disconnectReason"].as_str().unwrap_or_default().to_owned();
        let is_own = members.get("clientInitiatedDisconnect") == Some(&json!(true));
        events.push((members["versionNumber"].as_u64().unwrap(), topic, reason, is_own));
    }
    // The old one may end before the new one has begun, or after.
    events.sort_unstable();
    let expected = [
        (0, "presence/connected/c", "", false),
        (0, "presence/disconnected/c", "DUPLICATE_CLIENTID", false),
        (1, "presence/connected/c", "", false),
    ];
    assert_eq!(
        events,
        expected.map(|(n, topic, reason, is_own)| (n, topic.to_owned(), reason.to_owned(), is_own))
    );
}

#[tokio::test]
async fn only_those_who_may_are_told_and_not_of_names_that_are_no_part_of_a_topic() {
    let world = World::start().await;
    world.gate.set(
        "watcher",
        &all_but("Receive", "topic/$aws/events/presence/connected/secret"),
    );
    let (watching, mut told) = watcher(&world, "$aws/events/presence/connected/#").await;
    for name in ["secret", "a#b", "+", "plain"] {
        drop(Raw::connect(&world, V3, Hello::new(name)).await);
    }
    assert_eq!(event(&world, &mut told).await.0, "presence/connected/plain");
    // Nobody else may say so.
    for version in [V3, V5] {
        let mut forger = Raw::connect(&world, version, Hello::new("forger")).await;
        assert_eq!(event(&world, &mut told).await.0, "presence/connected/forger");
        forger
            .publish("$aws/events/presence/connected/forged", b"{}", Some(1))
            .await;
        if version == V5 {
            assert_eq!(
                forger.packet().await.map(|ack| (ack.head, ack.body[2])),
                Some((0x40, 0x90))
            );
        }
        drop(forger);
        world.until_connected("forger", false).await;
    }
    drop(Raw::connect(&world, V3, Hello::new("last")).await);
    assert_eq!(event(&world, &mut told).await.0, "presence/connected/last");
    watching.disconnect().await;
}
