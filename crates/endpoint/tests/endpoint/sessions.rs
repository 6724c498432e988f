//! Sessions, qualities of service, retained messages, wildcards and groups.

use std::time::Duration;

use bytes::Bytes;
use picket_endpoint::Limits;
use picket_mqtt::{ConnectOptions, Qos};

use crate::raw::{Hello, Raw, V3, V5, packet, publish};
use crate::world::{World, eventually, next, patient, text_of, until};

const QOS_0: Qos = Qos::AtMostOnce;
const QOS_1: Qos = Qos::AtLeastOnce;

#[tokio::test]
async fn the_lower_quality_of_service_counts() {
    let world = World::start().await;
    let (publisher, _incoming) = world.connect("publisher").await;
    for (n, (published, subscribed, expected)) in [
        (QOS_0, QOS_0, QOS_0),
        (QOS_0, QOS_1, QOS_0),
        (QOS_1, QOS_0, QOS_0),
        (QOS_1, QOS_1, QOS_1),
    ]
    .into_iter()
    .enumerate()
    {
        let (client, mut incoming) = world.connect("c").await;
        assert_eq!(
            client.subscribe(&[("t/+", subscribed)]).await.unwrap(),
            [Some(subscribed)]
        );
        publisher
            .publish(format!("t/{n}"), n.to_string(), published, false)
            .await
            .unwrap();
        let message = next(&mut incoming).await;
        assert_eq!(
            (text_of(&message), message.qos, message.retain),
            (format!("t/{n}={n}"), expected, false)
        );
        client.unsubscribe(&["t/+"]).await.unwrap();
        publisher.publish("t/0", "not any more", QOS_1, false).await.unwrap();
        client.subscribe(&[("end", QOS_1)]).await.unwrap();
        publisher.publish("end", "1", QOS_1, false).await.unwrap();
        assert_eq!(until(&mut incoming, "end=1").await, ["end=1"]);
    }
}

#[tokio::test]
async fn a_kept_session_gets_what_came_meanwhile_in_order() {
    let world = World::start().await;
    let (publisher, _incoming) = world.connect("publisher").await;
    let options = ConnectOptions {
        clean_session: false,
        ..world.options("c")
    };
    let (client, incoming) = world.connect_with(&options).await;
    assert!(!client.is_session_present());
    client.subscribe(&[("t/#", QOS_1)]).await.unwrap();
    client.disconnect().await;
    drop(incoming);
    world.until_connected("c", false).await;
    for n in 0..200 {
        publisher
            .publish("t/0", format!("lost {n}"), QOS_0, false)
            .await
            .unwrap();
        publisher.publish("t/1", n.to_string(), QOS_1, false).await.unwrap();
    }
    let (client, mut incoming) = world.connect_with(&options).await;
    assert!(client.is_session_present());
    let got = until(&mut incoming, "t/1=199").await;
    assert_eq!(got, (0..200).map(|n| format!("t/1={n}")).collect::<Vec<_>>());
    // A clean session ends the kept one.
    client.disconnect().await;
    let (client, _incoming) = world.connect("c").await;
    assert!(!client.is_session_present());
    assert_eq!(world.handle.n_subscriptions(), 0);
    client.disconnect().await;
    let (client, _incoming) = world.connect_with(&options).await;
    assert!(!client.is_session_present());
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again() {
    let world = World::start().await;
    for version in [V3, V5] {
        let name = format!("c{version}");
        let hello = Hello {
            clean: false,
            expiry_secs: 60,
            ..Hello::new(&name)
        };
        let mut raw = Raw::connect(&world, version, hello).await;
        raw.subscribe(&["t"]).await;
        for payload in ["1", "2"] {
            world.handle.publish("t", &Bytes::from(payload), QOS_1, false).unwrap();
        }
        assert_eq!(raw.message(false).await.1, b"1");
        assert_eq!(raw.message(false).await.1, b"2");
        drop(raw);
        world.until_connected(&name, false).await;
        let (mut raw, ack) = Raw::hello(&world, version, hello).await;
        assert_eq!(ack.unwrap().body[..2], [1, 0], "session present");
        let again = raw.packet().await.unwrap();
        assert_eq!(again.head, 0x3a, "PUBLISH, DUP, QoS 1");
        assert_eq!(raw.message(true).await.1, b"2");
    }
}

#[tokio::test]
async fn a_session_of_mqtt_5_lasts_as_long_as_it_asks() {
    let world = World::with(Limits {
        sweep_interval: Duration::from_millis(20),
        ..patient()
    })
    .await;
    let hello = Hello {
        clean: false,
        expiry_secs: 1,
        ..Hello::new("c")
    };
    let mut raw = Raw::connect(&world, V5, hello).await;
    raw.subscribe(&["t"]).await;
    raw.send(&[0xe0, 0]).await;
    let (mut raw, ack) = Raw::hello(&world, V5, hello).await;
    assert_eq!(ack.unwrap().body[0], 1, "kept");
    raw.send(&[0xe0, 0]).await;
    eventually("the session expires", || {
        (world.handle.n_subscriptions() == 0).then_some(())
    })
    .await;
    // One that ends with its connection cannot be kept after all.
    let mut raw = Raw::connect(&world, V5, Hello::new("d")).await;
    raw.send(&packet(0xe0, &[0, 5, 0x11, 0, 0, 0, 9])).await;
    assert_eq!(raw.end().await, Some(0x82));
    // One that is kept may end early.
    let mut raw = Raw::connect(
        &world,
        V5,
        Hello {
            expiry_secs: 60,
            ..Hello::new("e")
        },
    )
    .await;
    raw.send(&packet(0xe0, &[0, 5, 0x11, 0, 0, 0, 0])).await;
    assert_eq!(raw.end().await, None);
    let (_raw, ack) = Raw::hello(
        &world,
        V5,
        Hello {
            clean: false,
            ..Hello::new("e")
        },
    )
    .await;
    assert_eq!(ack.unwrap().body[0], 0);
}

#[tokio::test]
async fn a_new_connection_of_the_same_client_id_wins() {
    let world = World::start().await;
    for (version, reason) in [(V3, None), (V5, Some(0x8e))] {
        let hello = Hello {
            clean: false,
            expiry_secs: 60,
            ..Hello::new("c")
        };
        let mut old = Raw::connect(&world, version, hello).await;
        old.subscribe(&["t"]).await;
        let (mut new, ack) = Raw::hello(&world, version, hello).await;
        assert_eq!(ack.unwrap().body[0], 1, "session present");
        assert_eq!(old.end().await, reason);
        world
            .handle
            .publish("t", &Bytes::from_static(b"1"), QOS_1, false)
            .unwrap();
        assert_eq!(new.message(true).await, ("t".to_owned(), b"1".to_vec()));
        let clean = Raw::connect(&world, version, Hello::new("c")).await;
        assert_eq!(new.end().await, reason);
        drop(clean);
        world.until_connected("c", false).await;
    }
    assert_eq!(world.count(|counters| counters.taken_over), 4);
}

#[tokio::test]
async fn many_connections_of_one_client_id_leave_one() {
    let world = World::start().await;
    let connects = (0..40).map(|_| {
        let (options, tls) = (world.options("c"), std::sync::Arc::clone(&world.tls));
        tokio::spawn(async move { picket_mqtt::Client::connect(&options, tls).await })
    });
    let mut clients = Vec::new();
    for connect in connects.collect::<Vec<_>>() {
        // One may be taken over before it has read its CONNACK.
        clients.extend(connect.await.unwrap().ok());
    }
    eventually("one is left", || {
        (world.count(|counters| counters.connections) == 1).then_some(())
    })
    .await;
    assert!(world.handle.is_connected(&"c".parse().unwrap()));
    assert_eq!(world.count(|counters| counters.taken_over), 39);
}

#[tokio::test]
async fn retained_messages_are_kept_per_topic_and_for_exact_filters() {
    let world = World::start().await;
    let (publisher, _incoming) = world.connect("publisher").await;
    for (topic, payload) in [("t/1", "old"), ("t/1", "new"), ("t/2", "x"), ("t/2", "")] {
        publisher.publish(topic, payload, QOS_1, true).await.unwrap();
    }
    assert_eq!(world.count(|counters| counters.retained), 1);
    let (client, mut incoming) = world.connect("c").await;
    client
        .subscribe(&[("t/+", QOS_1), ("t/#", QOS_1), ("$share/g/t/1", QOS_1), ("t/2", QOS_1)])
        .await
        .unwrap();
    client.subscribe(&[("t/1", QOS_0)]).await.unwrap();
    let kept = next(&mut incoming).await;
    assert_eq!(
        (text_of(&kept).as_str(), kept.retain, kept.qos),
        ("t/1=new", true, QOS_0)
    );
    // Live, it comes without the flag; an empty one too. The group gets its own copy.
    client.unsubscribe(&["$share/g/t/1"]).await.unwrap();
    publisher.publish("t/1", "", QOS_1, true).await.unwrap();
    let live = next(&mut incoming).await;
    assert_eq!((text_of(&live).as_str(), live.retain), ("t/1=", false));
    assert_eq!(world.count(|counters| counters.retained), 0);
}

#[tokio::test]
async fn filters_match_as_on_aws() {
    let world = World::start().await;
    for (n, (filter, expected)) in [
        ("#", vec!["a", "a/b", "a/b/c", "/a"]),
        ("+", vec!["a"]),
        ("a/#", vec!["a/b", "a/b/c"]),
        ("a/+", vec!["a/b"]),
        ("+/+", vec!["a/b", "/a"]),
        ("+/b/#", vec!["a/b/c"]),
        ("a/b", vec!["a/b"]),
    ]
    .into_iter()
    .enumerate()
    {
        let (client, mut incoming) = world.connect(&format!("c{n}")).await;
        client
            .subscribe(&[(filter, QOS_0), ("end/of/it", QOS_0)])
            .await
            .unwrap();
        for topic in [
            "a",
            "a/b",
            "a/b/c",
            "/a",
            "$aws/things/T/defender/metrics/json/accepted",
            "end/of/it",
        ] {
            world
                .handle
                .publish(topic, &Bytes::from_static(b"1"), QOS_0, false)
                .unwrap();
        }
        let mut got = until(&mut incoming, "end/of/it=1").await;
        got.pop();
        let expected: Vec<_> = expected.iter().map(|topic| format!("{topic}=1")).collect();
        assert_eq!(got, expected, "{filter}");
    }
}

#[tokio::test]
async fn a_group_shares_and_whoever_is_there_comes_first() {
    let world = World::start().await;
    let mut members = Vec::new();
    for name in ["a", "b", "c"] {
        let options = ConnectOptions {
            clean_session: false,
            ..world.options(name)
        };
        let (client, incoming) = world.connect_with(&options).await;
        client
            .subscribe(&[("$share/g/t/#", QOS_1), (&format!("end/{name}"), QOS_1)])
            .await
            .unwrap();
        members.push((name, client, incoming));
    }
    for n in 0..30 {
        world
            .handle
            .publish("t/x", &Bytes::from(n.to_string()), QOS_1, false)
            .unwrap();
    }
    for (name, _, incoming) in &mut members {
        world
            .handle
            .publish(&format!("end/{name}"), &Bytes::from_static(b"1"), QOS_1, false)
            .unwrap();
        assert_eq!(until(incoming, &format!("end/{name}=1")).await.len(), 11, "{name}");
    }
    for (name, client, _) in members.drain(1..) {
        client.disconnect().await;
        world.until_connected(name, false).await;
    }
    for n in 0..9 {
        world
            .handle
            .publish("t/x", &Bytes::from(n.to_string()), QOS_1, false)
            .unwrap();
    }
    world
        .handle
        .publish("end/a", &Bytes::from_static(b"2"), QOS_1, false)
        .unwrap();
    assert_eq!(until(&mut members[0].2, "end/a=2").await.len(), 10);
}

#[tokio::test]
async fn silence_ends_a_connection_and_speech_does_not() {
    let world = World::with(Limits {
        keep_alive_min: Duration::from_secs(1),
        ..patient()
    })
    .await;
    let mut watcher = Raw::connect(&world, V3, Hello::new("watcher")).await;
    watcher.subscribe(&["will"]).await;
    let hello = |name| Hello {
        keep_alive_secs: 1,
        will: Some(("will", "gone")),
        ..Hello::new(name)
    };
    let begun = tokio::time::Instant::now();
    let mut silent = Raw::connect(&world, V5, hello("silent")).await;
    let mut talker = Raw::connect(&world, V3, hello("talker")).await;
    let talk = async {
        while begun.elapsed() < Duration::from_millis(2500) {
            assert!(talker.ping().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let ((), end) = tokio::join!(talk, silent.end());
    assert_eq!(end, Some(0x8d));
    assert_eq!(watcher.message(false).await, ("will".to_owned(), b"gone".to_vec()));
    assert_eq!(world.count(|counters| counters.keep_alive_timeouts), 1);
    assert!(world.handle.is_connected(&"talker".parse().unwrap()));
}

#[tokio::test]
async fn mqtt_5_is_told_what_is_offered_and_forwarded_what_it_adds() {
    let world = World::start().await;
    let (mut raw, ack) = Raw::hello(
        &world,
        V5,
        Hello {
            keep_alive_secs: 5,
            ..Hello::new("")
        },
    )
    .await;
    let body = ack.unwrap().body;
    assert_eq!(body[1], 0);
    for (what, property) in [
        ("receive maximum 100", &b"\x21\0\x64"[..]),
        ("maximum QoS 1", b"\x24\x01"),
        ("topic alias maximum 8", b"\x22\0\x08"),
        ("no subscription identifiers", b"\x29\0"),
        ("server keep-alive 30 s", b"\x13\0\x1e"),
        ("assigned client id", b"\x12\0\x25auto-"),
    ] {
        assert!(
            body.windows(property.len()).any(|window| window == property),
            "{what}: {body:x?}"
        );
    }
    raw.subscribe(&["t"]).await;
    // A user property, an expiry, a content type; topic alias 3, first with the topic, then alone.
    let properties = b"\x26\0\x01k\0\x01v\x02\0\0\0\x3c\x03\0\x01c";
    for topic in [&b"\0\x01t"[..], b"\0\0"] {
        let mut body = topic.to_vec();
        body.push(u8::try_from(properties.len() + 3).unwrap());
        body.extend(b"\x23\0\x03");
        body.extend(properties);
        body.extend(b"hi");
        raw.send(&packet(0x30, &body)).await;
        let got = raw.packet().await.unwrap().body;
        assert!(got.starts_with(b"\0\x01t") && got.ends_with(b"hi"));
        for property in [&b"\x26\0\x01k\0\x01v"[..], b"\x03\0\x01c", b"\x02\0\0\0"] {
            assert!(got.windows(property.len()).any(|window| window == property), "{got:x?}");
        }
        assert!(
            !got.windows(3).any(|window| window == b"\x23\0\x03"),
            "an alias is between two: {got:x?}"
        );
    }
}

#[tokio::test]
async fn mqtt_5_subscribes_with_options() {
    let world = World::start().await;
    let mut raw = Raw::connect(&world, V5, Hello::new("c")).await;
    let subscribe = |options| packet(0x82, &[0, 1, 0, 0, 1, b't', options]);
    raw.send(&publish(V5, "t", b"kept", None, true)).await;
    for (what, options, granted, gets) in [
        (
            "QoS 2 becomes 1",
            0x02,
            1,
            vec![(0x31, "kept"), (0x32, "own"), (0x32, "served")],
        ),
        (
            "kept messages only for a new one: it is not",
            0x11,
            1,
            vec![(0x32, "own"), (0x32, "served")],
        ),
        ("no kept messages", 0x21, 1, vec![(0x32, "own"), (0x32, "served")]),
        ("nothing of its own", 0x24, 0, vec![(0x30, "served")]),
        ("the flag as published", 0x29, 1, vec![(0x32, "own"), (0x33, "served")]),
    ] {
        raw.send(&subscribe(options)).await;
        assert_eq!(raw.packet().await.unwrap().body, [0, 1, 0, granted], "{what}");
        raw.send(&publish(V5, "t", b"own", Some(9), false)).await;
        let mut got = Vec::new();
        while got
            .last()
            .is_none_or(|(_, text): &(u8, String)| !text.ends_with("served"))
        {
            let packet = raw.packet().await.unwrap();
            if packet.head == 0x40 {
                // Its own has been routed.
                world
                    .handle
                    .publish("t", &Bytes::from_static(b"served"), QOS_1, true)
                    .unwrap();
            } else {
                got.push((packet.head, String::from_utf8_lossy(&packet.body).into_owned()));
            }
        }
        assert_eq!(got.len(), gets.len(), "{what}: {got:?}");
        for ((head, text), (expected, payload)) in got.iter().zip(&gets) {
            assert!(head == expected && text.ends_with(payload), "{what}: {got:?}");
        }
    }
}

#[tokio::test]
async fn what_the_protocol_forbids_ends_the_connection() {
    let world = World::start().await;
    let connect = Hello::new("c");
    for (version, what, bytes, expected) in [
        (V5, "a second CONNECT", connect.bytes(V5), Some(0x82)),
        (V3, "a second CONNECT", connect.bytes(V3), None),
        (V5, "QoS 2", packet(0x34, b"\0\x01t\0\x01\0x"), Some(0x9b)),
        (V3, "QoS 2", packet(0x34, b"\0\x01t\0\x01x"), None),
        (
            V5,
            "an unknown topic alias",
            packet(0x30, b"\0\0\x03\x23\0\x01x"),
            Some(0x94),
        ),
        (V5, "topic alias 9", packet(0x30, b"\0\x01t\x03\x23\0\x09x"), Some(0x94)),
        (
            V5,
            "a wildcard in a topic",
            publish(V5, "a/+", b"x", None, false),
            Some(0x90),
        ),
        (
            V5,
            "nine levels",
            publish(V5, "a/b/c/d/e/f/g/h/i", b"x", None, false),
            Some(0x90),
        ),
        (V3, "no filter", packet(0x82, b"\0\x01"), None),
        (V5, "no filter", packet(0x82, b"\0\x01\0"), Some(0x8f)),
        (V3, "no filter to end", packet(0xa2, b"\0\x01"), None),
        (V3, "packet id 0", packet(0x32, b"\0\x01t\0\0x"), None),
        (V3, "packet id 0", packet(0x82, b"\0\0\0\x01t\0"), None),
        (V3, "flags of SUBSCRIBE", packet(0x80, b"\0\x01\0\x01t\0"), None),
        (V3, "a topic that is no UTF-8", packet(0x30, b"\0\x01\xffx"), None),
        (V5, "an empty topic", packet(0x30, b"\0\0\0x"), Some(0x90)),
        (V5, "AUTH", packet(0xf0, &[]), Some(0x82)),
        (
            V5,
            "a subscription identifier",
            packet(0x82, b"\0\x01\x02\x0b\x01\0\x01t\0"),
            Some(0xa1),
        ),
        (V5, "a server's packet", packet(0xd0, &[]), Some(0x82)),
        (
            V3,
            "nobody's service topic",
            publish(V3, "$aws/things/c/shadow/update", b"{}", Some(1), false),
            None,
        ),
        (
            V5,
            "nobody's service topic",
            publish(V5, "$SYS/x", b"{}", None, false),
            Some(0x90),
        ),
    ] {
        let mut raw = Raw::connect(&world, version, connect).await;
        raw.send(&bytes).await;
        let rest = raw.rest().await;
        let got = rest.last().map(|packet| (packet.head, packet.body.first().copied()));
        assert_eq!(
            got,
            expected.map(|reason| (0xe0, Some(reason))),
            "{what}, version {version}: {rest:?}"
        );
    }
}

#[tokio::test]
async fn a_client_id_is_checked() {
    let world = World::start().await;
    for (version, client_id, expected) in [
        (V3, "", Some(2)),
        (V5, "", Some(0)),
        (V3, "$c", Some(2)),
        (V5, "$c", Some(0x85)),
        (V5, &"x".repeat(128), Some(0)),
        (V5, &"x".repeat(129), Some(0x85)),
        (V5, "a\u{1}b", Some(0x85)),
        (3, "c", Some(1)),
    ] {
        let (_raw, ack) = Raw::hello(&world, version, Hello::new(client_id)).await;
        assert_eq!(ack.map(|ack| ack.body[1]), expected, "{client_id:?} version {version}");
    }
}
