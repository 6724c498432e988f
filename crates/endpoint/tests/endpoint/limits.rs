//! Everything has a bound.

use std::time::Duration;

use bytes::Bytes;
use picket_endpoint::Limits;
use picket_mqtt::{ConnectOptions, Qos};

use crate::raw::{Hello, Raw, V3, V5, publish};
use crate::world::{World, eventually, patient, until};

#[tokio::test]
async fn a_payload_of_128_kib_is_taken_and_no_more() {
    let world = World::start().await;
    let mut watcher = Raw::connect(&world, V3, Hello::new("watcher")).await;
    watcher.subscribe(&["t"]).await;
    let largest = vec![b'x'; 128 * 1024];
    for version in [V3, V5] {
        let mut raw = Raw::connect(&world, version, Hello::new("c")).await;
        raw.publish("t", &largest, Some(1)).await;
        assert_eq!(raw.packet().await.unwrap().head, 0x40);
        assert_eq!(watcher.message(true).await.1.len(), largest.len());
        for size in [128 * 1024 + 1, 200 * 1024, 1024 * 1024] {
            let mut raw = Raw::connect(&world, version, Hello::new("c")).await;
            raw.publish("t", &vec![b'x'; size], Some(1)).await;
            // Closing on unread bytes may reset the connection before the reason is read.
            let end = raw.end().await;
            assert!(
                end.is_none_or(|reason| version == V5 && reason == 0x95),
                "{size}: {end:?}"
            );
        }
    }
    eventually("all are closed", || {
        (world.count(|counters| counters.protocol_errors) == 6).then_some(())
    })
    .await;
    assert!(watcher.ping().await, "and nobody got one");
}

#[tokio::test]
async fn a_client_gets_no_packet_larger_than_it_takes() {
    let world = World::start().await;
    let hello = Hello {
        properties: b"\x27\0\0\0\x40",
        ..Hello::new("c")
    };
    let mut raw = Raw::connect(&world, V5, hello).await;
    raw.subscribe(&["t"]).await;
    for payload in ["x".repeat(100), "small".to_owned()] {
        world
            .handle
            .publish("t", &Bytes::from(payload), Qos::AtLeastOnce, false)
            .unwrap();
    }
    assert_eq!(raw.message(true).await.1, b"small");
    assert_eq!(world.count(|counters| counters.dropped), 1);
}

#[tokio::test]
async fn filters_and_subscriptions_are_counted() {
    let world = World::start().await;
    let names: Vec<String> = (0..60).map(|n| format!("t/{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (version, quota) in [(V3, 0x80), (V5, 0x97)] {
        let mut raw = Raw::connect(&world, version, Hello::new("c")).await;
        let mut expected = [1; 9];
        expected[8] = quota;
        assert_eq!(raw.subscribe(&names[..9]).await, expected, "eight filters at a time");
        for filters in names[8..50].chunks(8) {
            assert!(raw.subscribe(filters).await.iter().all(|code| *code == 1));
        }
        assert_eq!(
            raw.subscribe(&names[49..51]).await,
            [1, quota],
            "fifty subscriptions, and one of them again"
        );
        assert_eq!(world.handle.n_subscriptions(), 50);
        drop(raw);
        eventually("the session ends", || {
            (world.handle.n_subscriptions() == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_acknowledge_gets_its_window_and_then_nothing() {
    let limits = Limits {
        n_outbound_max: 5,
        ..patient()
    };
    let world = World::with(limits).await;
    for (version, properties, n_window) in [
        (V3, &b""[..], 5),
        (V5, b"", 5),
        (V5, b"\x21\0\x02", 2),
        (V5, b"\x21\0\x09", 5),
    ] {
        let hello = Hello {
            properties,
            ..Hello::new("c")
        };
        fill_window(&world, version, hello, n_window).await;
    }
}

async fn fill_window(world: &World, version: u8, hello: Hello<'_>, n_window: u8) {
    let mut raw = Raw::connect(world, version, hello).await;
    raw.subscribe(&["t"]).await;
    for n in 0..20 {
        world
            .handle
            .publish("t", &Bytes::from(n.to_string()), Qos::AtLeastOnce, false)
            .unwrap();
    }
    for n in 0..n_window {
        assert_eq!(raw.message(false).await.1, n.to_string().as_bytes());
    }
    assert!(raw.ping().await, "the window is full");
    for id in 1..=n_window {
        raw.send(&[0x40, 2, 0, id]).await;
    }
    for n in n_window..20 {
        assert_eq!(raw.message(true).await.1, n.to_string().as_bytes());
    }
}

#[tokio::test]
async fn a_queue_for_a_client_that_is_away_is_bounded() {
    let world = World::with(Limits {
        n_queued_max: 10,
        queued_size_bytes_max: 5000,
        ..patient()
    })
    .await;
    let options = ConnectOptions {
        clean_session: false,
        ..world.options("c")
    };
    let (client, _incoming) = world.connect_with(&options).await;
    client.subscribe(&[("t/#", Qos::AtLeastOnce)]).await.unwrap();
    for (size, n_kept) in [(1, 10), (1000, 4)] {
        let _ = world.handle.disconnect(&"c".parse().unwrap());
        world.until_connected("c", false).await;
        for n in 0..20 {
            let payload = format!("{n:0size$}");
            world
                .handle
                .publish("t/1", &Bytes::from(payload), Qos::AtLeastOnce, false)
                .unwrap();
        }
        let (client, mut incoming) = world.connect_with(&options).await;
        client.publish("t/end", "1", Qos::AtLeastOnce, false).await.unwrap();
        assert_eq!(until(&mut incoming, "t/end=1").await.len(), n_kept + 1, "{size}");
        // Answered after all acknowledgements have been read.
        client.unsubscribe(&["none"]).await.unwrap();
    }
    assert_eq!(world.count(|counters| counters.dropped), 26);
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_and_keeps_its_session() {
    let limits = Limits {
        n_queued_max: 50,
        queued_size_bytes_max: 1024 * 1024,
        ..patient()
    };
    let world = World::with(limits).await;
    let hello = Hello {
        clean: false,
        expiry_secs: 60,
        ..Hello::new("c")
    };
    let mut raw = Raw::connect(&world, V5, hello).await;
    raw.subscribe(&["t"]).await;
    let payload = Bytes::from(vec![b'x'; 64 * 1024]);
    // QoS 0 is dropped as soon as the buffers of both kernels, one write and the queue are full.
    eventually("the queue is full", || {
        world.handle.publish("t", &payload, Qos::AtMostOnce, false).unwrap();
        (0 < world.count(|counters| counters.dropped)).then_some(())
    })
    .await;
    assert!(world.handle.is_connected(&"c".parse().unwrap()));
    world.handle.publish("t", &payload, Qos::AtLeastOnce, false).unwrap();
    world.until_connected("c", false).await;
    assert_eq!(world.count(|counters| counters.overflowed), 1);
    let (_raw, ack) = Raw::hello(&world, V5, hello).await;
    assert_eq!(ack.unwrap().body[0], 1, "session present");
}

#[tokio::test]
async fn a_deaf_client_is_cut_within_a_second() {
    let world = World::start().await;
    let mut raw = Raw::connect(&world, V3, Hello::new("c")).await;
    raw.subscribe(&["t"]).await;
    let payload = Bytes::from(vec![b'x'; 64 * 1024]);
    eventually("nothing more gets out", || {
        world.handle.publish("t", &payload, Qos::AtMostOnce, false).unwrap();
        (0 < world.count(|counters| counters.dropped)).then_some(())
    })
    .await;
    let begun = tokio::time::Instant::now();
    world.gate.quarantine("c");
    world.handle.recheck(picket_endpoint::Recheck::All).await;
    world.until_connected("c", false).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    let n_delivered = world.count(|counters| counters.delivered);
    let n_read = raw.rest().await.len();
    assert!(
        u64::try_from(n_read).unwrap() < n_delivered,
        "what was encoded before the cut and had not left is not sent: {n_read} of {n_delivered}"
    );
    world.handle.publish("t", &payload, Qos::AtMostOnce, false).unwrap();
    assert_eq!(world.count(|counters| counters.delivered), n_delivered);
}

#[tokio::test]
async fn connections_are_counted() {
    let world = World::with(Limits {
        n_connections_max: 3,
        ..patient()
    })
    .await;
    let mut clients = Vec::new();
    for name in ["a", "b", "c"] {
        clients.push(Raw::connect(&world, V3, Hello::new(name)).await);
    }
    for (version, busy) in [(V3, 3), (V5, 0x89)] {
        let (_raw, ack) = Raw::hello(&world, version, Hello::new("d")).await;
        assert_eq!(ack.unwrap().body[1], busy);
    }
    // Whoever has a place may take it over.
    let _again = Raw::connect(&world, V3, Hello::new("a")).await;
    clients.pop();
    world.until_connected("c", false).await;
    let _d = Raw::connect(&world, V3, Hello::new("d")).await;
}

#[tokio::test]
async fn retained_messages_are_counted() {
    let world = World::with(Limits {
        n_retained_max: 2,
        sweep_interval: Duration::from_millis(20),
        ..patient()
    })
    .await;
    let mut raw = Raw::connect(&world, V5, Hello::new("c")).await;
    for (topic, expected) in [("a", 0), ("b", 0), ("a", 0), ("c", 0x97)] {
        raw.send(&publish(V5, topic, b"x", Some(1), true)).await;
        assert_eq!(raw.packet().await.unwrap().body[2], expected, "{topic}");
    }
    raw.send(&publish(V5, "a", b"", Some(1), true)).await;
    assert_eq!(raw.packet().await.unwrap().body[2], 0);
    // One that expires makes room again.
    raw.send(&crate::raw::packet(0x33, b"\0\x01d\0\x01\x05\x02\0\0\0\x01x"))
        .await;
    assert_eq!(raw.packet().await.unwrap().body[2], 0);
    assert_eq!(world.count(|counters| counters.retained), 2);
    eventually("it expires", || {
        (world.count(|counters| counters.retained) == 1).then_some(())
    })
    .await;
    raw.send(&publish(V5, "c", b"x", Some(1), true)).await;
    assert_eq!(raw.packet().await.unwrap().body[2], 0);
}

#[tokio::test]
async fn all_messages_together_are_bounded() {
    let limits = Limits {
        held_size_bytes_max: 130_000,
        ..patient()
    };
    let world = World::with(limits).await;
    for name in ["a", "b", "c"] {
        let hello = Hello {
            clean: false,
            expiry_secs: 60,
            ..Hello::new(name)
        };
        let mut raw = Raw::connect(&world, V5, hello).await;
        raw.subscribe(&["t/all", &format!("t/{name}")]).await;
        raw.send(&[0xe0, 0]).await;
        world.until_connected(name, false).await;
    }
    let mut publisher = Raw::connect(&world, V5, Hello::new("publisher")).await;
    let mut codes = Vec::new();
    for topic in ["t/all", "t/a", "t/b", "t/c", "t/c"] {
        publisher.publish(topic, &[b'x'; 30_000], Some(1)).await;
        codes.push(publisher.packet().await.unwrap().body[2]);
    }
    assert_eq!(codes, [0, 0, 0, 0, 0x97], "what three wait for is counted once");
    // What is taken makes room.
    let _a = Raw::connect(&world, V5, Hello::new("a")).await;
    publisher.publish("t/c", &[b'x'; 30_000], Some(1)).await;
    assert_eq!(publisher.packet().await.unwrap().body[2], 0);
    for name in ["b", "c"] {
        drop(Raw::connect(&world, V5, Hello::new(name)).await);
    }
    eventually("nothing is held", || {
        (world.count(|counters| counters.held_size_bytes) == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sessions_of_clients_that_are_away_are_counted() {
    let world = World::with(Limits {
        n_away_max: 2,
        ..patient()
    })
    .await;
    for (name, expiry_secs) in [("a", 100), ("b", 50), ("c", 200)] {
        let mut raw = Raw::connect(
            &world,
            V5,
            Hello {
                clean: false,
                expiry_secs,
                ..Hello::new(name)
            },
        )
        .await;
        raw.subscribe(&["t"]).await;
        raw.send(&[0xe0, 0]).await;
        world.until_connected(name, false).await;
    }
    assert_eq!(world.handle.n_subscriptions(), 2);
    for (name, expected) in [("a", 1), ("b", 0), ("c", 1)] {
        let (_raw, ack) = Raw::hello(
            &world,
            V5,
            Hello {
                clean: false,
                expiry_secs: 9,
                ..Hello::new(name)
            },
        )
        .await;
        assert_eq!(ack.unwrap().body[0], expected, "{name}");
    }
}
