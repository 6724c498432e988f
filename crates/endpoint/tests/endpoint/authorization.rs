//! Deny wins on every path: connect, publish, will, subscribe, live, retained, queued and shared delivery.

use bytes::Bytes;
use picket_endpoint::Recheck;
use picket_mqtt::{Client, ConnectError, ConnectOptions, Incoming, Qos, RequestError, Will};

use crate::raw::{Hello, Raw, V3, V5, publish};
use crate::world::{ALLOW, World, all_but, closed, deny, next, text_of, until};

fn will(topic: &str, retain: bool) -> Option<Will> {
    Some(Will {
        topic: topic.to_owned(),
        payload: Bytes::from_static(b"gone"),
        qos: Qos::AtLeastOnce,
        retain,
    })
}

fn persistent(world: &World, client_id: &str) -> ConnectOptions {
    ConnectOptions {
        clean_session: false,
        ..world.options(client_id)
    }
}

async fn subscribed(world: &World, options: &ConnectOptions, filters: &[&str]) -> (Client, Incoming) {
    let (client, incoming) = world.connect_with(options).await;
    let wanted: Vec<_> = filters.iter().map(|filter| (*filter, Qos::AtLeastOnce)).collect();
    assert_eq!(
        client.subscribe(&wanted).await.unwrap(),
        vec![Some(Qos::AtLeastOnce); filters.len()]
    );
    (client, incoming)
}

/// Only a connect is allowed, on this resource.
fn only(resource: &str) -> String {
    format!(r#"{{"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:us-east-1:1:{resource}"}}"#)
}

/// Everything is allowed but a connect with this attribute.
fn not_with(attribute: &str) -> String {
    let condition = format!(r#"{{"ForAnyValue:StringEquals":{{"iot:ConnectAttributes":["{attribute}"]}}}}"#);
    format!(r#"{ALLOW},{{"Effect":"Deny","Action":"iot:Connect","Resource":"*","Condition":{condition}}}"#)
}

#[tokio::test]
async fn connect_needs_an_allow_and_no_deny() {
    let world = World::start().await;
    let hello = Hello::new("c");
    let kept = Hello { clean: false, ..hello };
    let with_will = Hello {
        will: Some(("w", "x")),
        ..hello
    };
    for (statements, hello, is_in) in [
        (only("client/c"), hello, true),
        (only("client/d"), hello, false),
        (only("topic/c"), hello, false),
        (all_but("Connect", "client/c"), hello, false),
        (all_but("Connect", "client/d"), hello, true),
        (all_but("*", "*"), hello, false),
        (not_with("PersistentConnect"), hello, true),
        (not_with("PersistentConnect"), kept, false),
        (not_with("LastWill"), hello, true),
        (not_with("LastWill"), with_will, false),
        // Who may not publish may not leave a will either.
        (only("client/c"), with_will, false),
        (all_but("Publish", "topic/w"), with_will, false),
        (all_but("Publish", "topic/v"), with_will, true),
    ] {
        world.gate.set("c", &statements);
        for (version, refused) in [(V3, 5), (V5, 0x87)] {
            let (mut raw, ack) = Raw::hello(&world, version, hello).await;
            let expected = if is_in { 0 } else { refused };
            assert_eq!(ack.unwrap().body[1], expected, "{statements} version {version}");
            assert!(is_in || raw.packet().await.is_none(), "closed after the refusal");
        }
    }
    // What MQTT 5 starts cleanly may be kept afterwards all the same.
    world.gate.set("c", &not_with("PersistentConnect"));
    let (_raw, ack) = Raw::hello(
        &world,
        V5,
        Hello {
            expiry_secs: 60,
            ..hello
        },
    )
    .await;
    assert_eq!(ack.unwrap().body[1], 0x87);
}

#[tokio::test]
async fn a_refused_publish_reaches_nobody_and_is_told() {
    let world = World::start().await;
    let (_watcher, mut seen) = subscribed(&world, &world.options("watcher"), &["#"]).await;
    for (denied, topic, retain) in [
        (deny("Publish", "topic/t"), "t", false),
        (deny("RetainPublish", "topic/t"), "t", true),
        (
            deny("Publish", "topic/$aws/*"),
            "$aws/things/c/defender/metrics/json",
            false,
        ),
    ] {
        world.gate.set("c", &format!("{},{denied}", ALLOW));
        for (version, id, expected) in [
            (V3, None, (vec![], None)),
            (V3, Some(1), (vec![], None)),
            (V5, None, (vec![0xe0], Some(0x87))),
            (V5, Some(1), (vec![0x40, 0xd0], None)),
        ] {
            let mut raw = Raw::connect(&world, version, Hello::new("c")).await;
            raw.send(&publish(version, topic, b"secret", id, retain)).await;
            raw.send(&[0xc0, 0, 0xe0, 0]).await;
            let rest = raw.rest().await;
            assert_eq!(
                rest.iter().map(|packet| packet.head).collect::<Vec<_>>(),
                expected.0,
                "{denied} {version} {id:?}"
            );
            if let Some(reason) = expected.1 {
                assert_eq!(rest[0].body[0], reason);
            } else if let Some(ack) = rest.first() {
                assert_eq!(ack.body, [0, 1, 0x87, 0]);
            }
        }
    }
    assert!(world.inbox.submitted().is_empty());
    let (other, _incoming) = world.connect("other").await;
    other.publish("marker", "1", Qos::AtLeastOnce, false).await.unwrap();
    assert_eq!(until(&mut seen, "marker=1").await, ["marker=1"]);
    assert_eq!(world.count(|counters| counters.denied), 12);
}

#[tokio::test]
async fn a_refused_filter_is_told_and_the_others_stand() {
    let world = World::start().await;
    world.gate.set("c", &all_but("Subscribe", "topicfilter/secret/#"));
    for (version, refused) in [(V3, 0x80), (V5, 0x87)] {
        let mut raw = Raw::connect(&world, version, Hello::new("c")).await;
        let granted = raw
            .subscribe(&["open/#", "secret/#", "$share/g/secret/#", "secret/a"])
            .await;
        assert_eq!(
            granted,
            [1, refused, refused, 1],
            "wildcards of MQTT are letters in a policy"
        );
        assert!(raw.ping().await);
    }
}

#[tokio::test]
async fn no_delivery_passes_a_deny_of_receive() {
    let world = World::start().await;
    let denied = all_but("Receive", "topic/t/secret");
    let (publisher, _incoming) = world.connect("publisher").await;
    let say = async |topic: &str, payload: &str, retain| {
        publisher
            .publish(topic.to_owned(), payload.to_owned(), Qos::AtLeastOnce, retain)
            .await
            .unwrap();
    };
    // Live; by a filter that the deny does not name.
    world.gate.set("c", &denied);
    let (client, mut incoming) = subscribed(&world, &persistent(&world, "c"), &["t/#", "t/+", "t/secret"]).await;
    say("t/secret", "live", false).await;
    say("t/open", "live", false).await;
    assert_eq!(until(&mut incoming, "t/open=live").await, ["t/open=live"]);
    // Retained.
    say("t/secret", "kept", true).await;
    say("t/open", "kept", true).await;
    assert_eq!(until(&mut incoming, "t/open=kept").await, ["t/open=kept"]);
    let filters = [("t/secret", Qos::AtLeastOnce), ("t/open", Qos::AtLeastOnce)];
    client.subscribe(&filters).await.unwrap();
    assert_eq!(until(&mut incoming, "t/open=kept").await, ["t/open=kept"]);
    // Queued while away.
    client.disconnect().await;
    world.until_connected("c", false).await;
    say("t/secret", "queued", false).await;
    say("t/open", "queued", false).await;
    let (client, mut incoming) = world.connect_with(&persistent(&world, "c")).await;
    assert!(client.is_session_present());
    assert_eq!(until(&mut incoming, "t/open=queued").await, ["t/open=queued"]);
    // From the server itself.
    for topic in ["t/secret", "t/open"] {
        world
            .handle
            .publish(topic, &Bytes::from_static(b"served"), Qos::AtMostOnce, false)
            .unwrap();
    }
    assert_eq!(until(&mut incoming, "t/open=served").await, ["t/open=served"]);
    assert_eq!(world.count(|counters| counters.withheld), 5);
    // With the deny gone, the same subscriptions deliver.
    world.set("c", ALLOW).await;
    say("t/secret", "again", false).await;
    assert_eq!(text_of(&next(&mut incoming).await), "t/secret=again");
}

#[tokio::test]
async fn a_group_hands_on_what_a_member_may_not_receive() {
    let world = World::start().await;
    world.gate.set("a", &all_but("Receive", "topic/t"));
    world.gate.set("b", &all_but("Receive", "topic/t"));
    let (_a, mut of_a) = subscribed(&world, &world.options("a"), &["$share/g/t", "end"]).await;
    let (_b, mut of_b) = subscribed(&world, &world.options("b"), &["$share/g/t", "end"]).await;
    let (_c, mut of_c) = subscribed(&world, &world.options("c"), &["$share/g/t"]).await;
    for n in 0..9 {
        world
            .handle
            .publish("t", &Bytes::from(n.to_string()), Qos::AtLeastOnce, false)
            .unwrap();
    }
    let mut got = Vec::new();
    for _ in 0..9 {
        got.push(text_of(&next(&mut of_c).await));
    }
    got.sort();
    assert_eq!(got, (0..9).map(|n| format!("t={n}")).collect::<Vec<_>>());
    world
        .handle
        .publish("end", &Bytes::from_static(b"1"), Qos::AtLeastOnce, false)
        .unwrap();
    assert_eq!(until(&mut of_a, "end=1").await, ["end=1"]);
    assert_eq!(until(&mut of_b, "end=1").await, ["end=1"]);
}

#[tokio::test]
async fn a_deny_reaches_what_was_queued_or_in_flight_before_it() {
    let world = World::start().await;
    let (publisher, _incoming) = world.connect("publisher").await;
    let hello = Hello {
        clean: false,
        expiry_secs: 60,
        ..Hello::new("c")
    };
    let mut raw = Raw::connect(&world, V5, hello).await;
    assert_eq!(raw.subscribe(&["t/#"]).await, [1]);
    publisher
        .publish("t/secret", "in flight", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    publisher
        .publish("t/open", "in flight", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(raw.message(false).await.0, "t/secret");
    assert_eq!(raw.message(false).await.0, "t/open");
    drop(raw);
    world.until_connected("c", false).await;
    publisher
        .publish("t/secret", "queued", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    world.set("c", &all_but("Receive", "topic/t/secret")).await;
    publisher
        .publish("t/open", "queued", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    let mut raw = Raw::connect(&world, V5, hello).await;
    assert_eq!(raw.message(true).await, ("t/open".to_owned(), b"in flight".to_vec()));
    assert_eq!(raw.message(true).await, ("t/open".to_owned(), b"queued".to_vec()));
    assert!(raw.ping().await);
}

#[tokio::test]
async fn a_kept_subscription_ends_when_it_is_no_longer_allowed() {
    let world = World::start().await;
    let (client, _incoming) = subscribed(&world, &persistent(&world, "c"), &["t/secret", "t/open"]).await;
    client.disconnect().await;
    world.until_connected("c", false).await;
    assert_eq!(world.handle.n_subscriptions(), 2);
    world.gate.set("c", &all_but("Subscribe", "topicfilter/t/secret"));
    let (client, _incoming) = world.connect_with(&persistent(&world, "c")).await;
    assert!(client.is_session_present());
    assert_eq!(world.handle.n_subscriptions(), 1);
}

#[tokio::test]
async fn a_change_of_rights_holds_from_the_next_packet_on() {
    let world = World::start().await;
    let (_watcher, mut seen) = subscribed(&world, &world.options("watcher"), &["#"]).await;
    let (client, mut incoming) = world.connect("c").await;
    client.publish("t", "1", Qos::AtLeastOnce, false).await.unwrap();
    world.set("c", &all_but("Publish", "topic/t")).await;
    let refused = client.publish("t", "2", Qos::AtLeastOnce, false).await;
    assert!(matches!(refused, Err(RequestError::Ended)), "3.1.1 closes");
    closed(&mut incoming).await;
    let (client, mut incoming) = world.connect("c").await;
    client.publish("u", "3", Qos::AtLeastOnce, false).await.unwrap();
    assert_eq!(until(&mut seen, "u=3").await, ["t=1", "u=3"]);
    world.set("c", &all_but("Connect", "*")).await;
    closed(&mut incoming).await;
    let refused = world.refusal(&world.options("c")).await;
    assert!(matches!(refused, ConnectError::Refused { code: 5 }), "{refused}");
}

#[tokio::test]
async fn a_quarantine_cuts_at_once_and_a_release_lets_in_again() {
    let world = World::start().await;
    let options = ConnectOptions {
        clean_session: false,
        will: will("will", false),
        ..world.options("c")
    };
    let (_watcher, mut seen) = subscribed(&world, &world.options("watcher"), &["#"]).await;
    let (_client, mut incoming) = subscribed(&world, &options, &["t"]).await;
    let mut raw = Raw::connect(
        &world,
        V5,
        Hello {
            will: Some(("will", "x")),
            ..Hello::new("d")
        },
    )
    .await;
    let begun = tokio::time::Instant::now();
    for name in ["c", "d"] {
        world.gate.quarantine(name);
        world.handle.recheck(Recheck::Client(name.parse().unwrap())).await;
    }
    assert_eq!(raw.end().await, Some(0x98), "told so, and closed");
    closed(&mut incoming).await;
    assert!(begun.elapsed().as_millis() < 1000, "within a second");
    let refused = world.refusal(&options).await;
    assert!(matches!(refused, ConnectError::Refused { code: 5 }), "{refused}");
    world.until_connected("c", false).await;
    world
        .handle
        .publish("t", &Bytes::from_static(b"meanwhile"), Qos::AtLeastOnce, false)
        .unwrap();
    world.gate.release("c");
    let (client, mut incoming) = world.connect_with(&options).await;
    assert!(client.is_session_present());
    assert_eq!(text_of(&next(&mut incoming).await), "t=meanwhile");
    client.publish("marker", "1", Qos::AtLeastOnce, false).await.unwrap();
    assert_eq!(
        until(&mut seen, "marker=1").await,
        ["t=meanwhile", "marker=1"],
        "and no will"
    );
    assert_eq!(world.count(|counters| counters.refused_quarantined), 1);
}

/// What ends a connection whose will may be published or not.
#[derive(Clone, Copy, Debug)]
enum EndBy {
    Loss,
    Goodbye,
    Takeover,
    Disconnect,
    Recheck,
    Violation,
}

#[tokio::test]
async fn a_will_follows_the_rights_of_the_moment() {
    let world = World::start().await;
    let (_watcher, mut seen) = subscribed(&world, &world.options("watcher"), &["will", "marker"]).await;
    let denied = all_but("Publish", "topic/will");
    let no_connect = all_but("Connect", "*");
    for (n, (end, rights, is_left)) in [
        (EndBy::Loss, None, true),
        (EndBy::Loss, Some(&denied), false),
        (EndBy::Goodbye, None, false),
        (EndBy::Takeover, None, true),
        (EndBy::Takeover, Some(&denied), false),
        (EndBy::Disconnect, None, true),
        (EndBy::Disconnect, Some(&denied), false),
        (EndBy::Recheck, Some(&no_connect), true),
        (EndBy::Violation, None, true),
        (EndBy::Violation, Some(&denied), false),
    ]
    .into_iter()
    .enumerate()
    {
        world.gate.set("c", ALLOW);
        let mut raw = Raw::connect(
            &world,
            V3,
            Hello {
                will: Some(("will", "gone")),
                ..Hello::new("c")
            },
        )
        .await;
        let name = "c".parse().unwrap();
        if let Some(rights) = rights {
            world.gate.set("c", rights);
            if matches!(end, EndBy::Loss | EndBy::Recheck) {
                world.handle.recheck(Recheck::Client("c".parse().unwrap())).await;
            }
        }
        let mut taken_over = None;
        match end {
            EndBy::Loss => drop(raw),
            EndBy::Goodbye => raw.send(&[0xe0, 0]).await,
            EndBy::Takeover => taken_over = Some(Raw::connect(&world, V3, Hello::new("c")).await),
            EndBy::Disconnect => assert!(world.handle.disconnect(&name)),
            EndBy::Recheck => assert_eq!(raw.end().await, None),
            EndBy::Violation => raw.send(&[0xf0, 0]).await,
        }
        let n_connections = if taken_over.is_some() { 2 } else { 1 };
        crate::world::eventually("the end", || {
            (world.count(|counters| counters.connections) == n_connections).then_some(())
        })
        .await;
        if let Some(mut next) = taken_over {
            next.send(&[0xe0, 0]).await;
            world.until_connected("c", false).await;
        }
        let marker = n.to_string();
        world
            .handle
            .publish("marker", &Bytes::from(marker.clone()), Qos::AtLeastOnce, false)
            .unwrap();
        let got = until(&mut seen, &format!("marker={marker}")).await;
        assert_eq!(got.len() == 2, is_left, "{end:?} {rights:?} {got:?}");
    }
}

#[tokio::test]
async fn a_retained_will_is_kept_only_if_that_is_allowed() {
    let world = World::start().await;
    world.gate.set("c", &all_but("RetainPublish", "topic/will"));
    let options = ConnectOptions {
        will: will("will", true),
        ..world.options("c")
    };
    let refused = world.refusal(&options).await;
    assert!(matches!(refused, ConnectError::Refused { code: 5 }), "{refused}");
    world.gate.set("c", ALLOW);
    let mut raw = Raw::connect(
        &world,
        V3,
        Hello {
            will: Some(("other", "x")),
            ..Hello::new("c")
        },
    )
    .await;
    drop(world.connect_with(&options).await);
    assert_eq!(raw.packet().await, None, "taken over");
    for topic in ["$aws/things/c/defender/metrics/json", "$SYS/x", "a/#"] {
        let (_raw, ack) = Raw::hello(
            &world,
            V5,
            Hello {
                will: Some((topic, "x")),
                ..Hello::new("d")
            },
        )
        .await;
        assert_eq!(ack.unwrap().body[1], 0x90, "{topic}");
    }
}
