//! What a client does, and what is measured of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use picket_endpoint::{Limits, Recheck};
use picket_model::connection::DisconnectReason;
use picket_model::meter::{ClientMeter, Presence, Tally};
use picket_mqtt::Qos;

use crate::raw::{Hello, Raw, V3, V5};
use crate::world::{ALLOW, Entry, World, all_but, eventually, patient};

/// `s<messages>:<bytes>:<smallest>-<largest> r<received> x<refused> @` where `@` is an address; without what is nothing.
fn tally_text(tally: &Tally) -> String {
    let mut words = Vec::new();
    if let Some(sent) = tally.sent {
        let (n, sum, min, max) = (sent.n_messages, sent.sum_bytes, sent.min_bytes, sent.max_bytes);
        words.push(format!("s{n}:{sum}:{min}-{max}"));
    }
    for (letter, n) in [('r', tally.n_received), ('x', tally.n_refused)] {
        words.extend((0 < n).then(|| format!("{letter}{n}")));
    }
    let is_here = |address: &std::net::IpAddr| address.is_loopback();
    words.extend(
        tally
            .addresses
            .iter()
            .map(|address| if is_here(address) { "@" } else { "?" }.to_owned()),
    );
    words.join(" ")
}

/// The total, then each dimension as `name[inside|outside]`.
fn meter_text(meter: &ClientMeter) -> String {
    let mut text = tally_text(&meter.total);
    for one in &meter.dimensions {
        let (inside, outside) = (tally_text(&one.inside), tally_text(&one.outside));
        text.push_str(&format!(" {}[{inside}|{outside}]", one.dimension));
    }
    text
}

/// Everything that was measured of each client since it was asked last.
fn measured(world: &World) -> BTreeMap<String, ClientMeter> {
    let mut all: BTreeMap<String, ClientMeter> = BTreeMap::new();
    for meter in world.handle.take_meters() {
        let name = meter.client_id.to_string();
        match all.get_mut(&name) {
            Some(known) => known.add(&meter),
            None => drop(all.insert(name, meter)),
        }
    }
    all
}

/// Has client `c` do these, one after the other: `publish <topic> <size>` and `publish1` (with QoS 1), `subscribe
/// <filter>..`, `receive <topic>` (somebody publishes what it has subscribed to).
async fn play(world: &World, raw: &mut Raw, version: u8, steps: &str) {
    for step in steps.split(", ").filter(|step| !step.is_empty()) {
        let words: Vec<&str> = step.split(' ').collect();
        match words[..] {
            ["publish", topic, size] => raw.publish(topic, &vec![0; size.parse().unwrap()], None).await,
            ["publish1", topic, size] => {
                raw.publish(topic, &vec![0; size.parse().unwrap()], Some(7)).await;
                let ack = raw.packet().await;
                assert!(ack.is_none_or(|ack| ack.head == 0x40 || ack.head == 0xe0), "{step}");
            }
            ["subscribe", ..] => drop(raw.subscribe(&words[1..]).await),
            ["receive", topic] => {
                let payload = Bytes::from_static(b"payload");
                world.handle.publish(topic, &payload, Qos::AtLeastOnce, false).unwrap();
                assert_eq!(raw.message(true).await.0, topic, "{step}");
            }
            _ => panic!("{step} is no step"),
        }
    }
    // What was sent before is handled when this is answered, or the connection has ended.
    let is_there = raw.ping().await;
    assert!(is_there || version == V3 || !raw.is_broken());
}

#[tokio::test]
async fn what_a_client_does_is_counted_by_topic_and_dimension() {
    let world = World::start().await;
    world.handle.measure_by(
        [
            ("own", "devices/${iot:ClientId}/#"),
            ("reports", "$aws/things/+/defender/#"),
            ("sensors", "sensor/+"),
        ]
        .map(|(name, filter)| (name.parse().unwrap(), vec!["never".to_owned(), filter.to_owned()]))
        .into(),
    );
    let report = "$aws/things/c/defender/metrics/json";
    let report_of_9 = format!("publish1 {report} 9");
    let no_sensor = all_but("Publish", "topic/sensor/*");
    let no_subscribe = all_but("Subscribe", "topicfilter/sensor/*");
    let no_receive = all_but("Receive", "topic/sensor/1");
    let no_retain = all_but("RetainPublish", "topic/*");
    for (statements, steps, expected) in [
        (ALLOW, "", ""),
        (
            ALLOW,
            "publish sensor/1 5",
            "s1:5:5-5 @ own[|s1:5:5-5 @] reports[|s1:5:5-5 @] sensors[s1:5:5-5 @|]",
        ),
        (
            ALLOW,
            "publish sensor/1 5, publish1 sensor/2 3, publish other 0, publish devices/c/x 1, publish devices/d/x 1",
            "s5:10:0-5 @ own[s1:1:1-1 @|s4:9:0-5 @] reports[|s5:10:0-5 @] sensors[s2:8:3-5 @|s3:2:0-1 @]",
        ),
        // A report is a message as any other.
        (
            ALLOW,
            &report_of_9,
            "s1:9:9-9 @ own[|s1:9:9-9 @] reports[s1:9:9-9 @|] sensors[|s1:9:9-9 @]",
        ),
        // To subscribe is to be there. What is sent to a client tells nothing about where it is.
        (ALLOW, "subscribe sensor/+", "@ own[|@] reports[|@] sensors[@|]"),
        (
            ALLOW,
            "subscribe sensor/+, receive sensor/1, receive sensor/2",
            "r2 @ own[|r2 @] reports[|r2 @] sensors[r2 @|]",
        ),
        (
            ALLOW,
            "subscribe $share/g/sensor/1",
            "@ own[|@] reports[|@] sensors[@|]",
        ),
        (
            &no_sensor,
            "publish other 1, publish1 sensor/1 5",
            "s1:1:1-1 x1 @ own[|s1:1:1-1 x1 @] reports[|s1:1:1-1 x1 @] sensors[x1 @|s1:1:1-1 @]",
        ),
        (
            &no_subscribe,
            "subscribe sensor/1 sensor/2 other",
            "x2 @ own[|x2 @] reports[|x2 @] sensors[x2 @|@]",
        ),
        // What it may not receive, it is not sent, and it is no request of its own.
        (&no_receive, "subscribe sensor/#", "@ own[|@] reports[|@] sensors[@|]"),
        (
            &no_retain,
            "publish sensor/1 5",
            "s1:5:5-5 @ own[|s1:5:5-5 @] reports[|s1:5:5-5 @] sensors[s1:5:5-5 @|]",
        ),
    ] {
        for version in [V3, V5] {
            world.gate.set("c", statements);
            let mut raw = Raw::connect(&world, version, Hello::new("c")).await;
            play(&world, &mut raw, version, steps).await;
            let found = measured(&world);
            let text = found.get("c").map(meter_text).unwrap_or_default();
            assert_eq!(text, expected, "{steps} version {version}");
            if let Some(meter) = found.get("c") {
                assert_eq!(meter.n_authorization_failures, meter.total.n_refused, "{steps}");
                assert_eq!((meter.n_refused_attempts, meter.is_genuine), (0, true), "{steps}");
            }
            drop(raw);
            world.until_connected("c", false).await;
        }
    }
}

#[tokio::test]
async fn neither_wills_nor_what_breaks_a_rule_is_a_message_of_the_client() {
    let world = World::start().await;
    let hello = Hello {
        will: Some(("w", "gone")),
        ..Hello::new("c")
    };
    for (topic, size) in [("a/+", 1), ("a/b/c/d/e/f/g/h/i", 1), ("$aws/other", 1), ("t", 200_000)] {
        let mut raw = Raw::connect(&world, V3, hello).await;
        raw.publish(topic, &vec![0; size], None).await;
        assert!(!raw.ping().await, "{topic}: closed");
        world.until_connected("c", false).await;
        assert_eq!(measured(&world).get("c").map(meter_text), None, "{topic}");
    }
}

#[tokio::test]
async fn dimensions_may_change_at_any_time_and_nothing_is_counted_by_the_wrong_ones() {
    let world = World::start().await;
    let by = |names: &[&str]| {
        let dimension = |name: &&str| (name.parse().unwrap(), vec!["t/#".to_owned()]);
        world.handle.measure_by(names.iter().map(dimension).collect());
    };
    let mut raw = Raw::connect(&world, V3, Hello::new("c")).await;
    let mut parts = Vec::new();
    for names in [&[][..], &["a"], &["a", "b"], &["b"], &[]] {
        by(names);
        play(&world, &mut raw, V3, "publish t/1 1, publish u 2").await;
        if names.is_empty() {
            parts.extend(world.handle.take_meters());
        }
    }
    let mut texts: Vec<String> = parts.iter().map(meter_text).collect();
    texts.sort_unstable();
    let both = "s2:3:1-2 @";
    let (inside, outside) = ("s1:1:1-1 @", "s1:2:2-2 @");
    let expected = [
        both.to_owned(),
        both.to_owned(),
        format!("{both} a[{inside}|{outside}]"),
        format!("{both} a[{inside}|{outside}] b[{inside}|{outside}]"),
        format!("{both} b[{inside}|{outside}]"),
    ];
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn who_is_refused_is_taken_down() {
    let world = World::start().await;
    let hello = Hello::new("c");
    let with_will = |topic| Hello {
        will: Some((topic, "x")),
        ..hello
    };
    let no_connect = all_but("Connect", "client/c");
    let no_will = all_but("Publish", "topic/w");
    world.gate.borrow("d");
    world.gate.set("d", &all_but("Connect", "client/d"));
    world.gate.quarantine("q");
    for (statements, hello, expected) in [
        (ALLOW, hello, None),
        (&*no_connect, hello, Some(("c", 1, true))),
        (&no_will, with_will("w"), Some(("c", 1, true))),
        (&no_will, with_will("v"), None),
        // Not what policy says.
        (ALLOW, with_will("$aws/x"), Some(("c", 0, true))),
        (ALLOW, Hello::new("d"), Some(("d", 1, false))),
        (ALLOW, Hello::new("q"), Some(("q", 1, true))),
        // Of whom nobody can say who it is, nothing is said.
        (ALLOW, Hello::new("$c"), None),
        (ALLOW, Hello::new(""), None),
    ] {
        for version in [V3, V5] {
            world.gate.set("c", statements);
            let n_before = world.book.entries().len();
            let (raw, _) = Raw::hello(&world, version, hello).await;
            drop(raw);
            world
                .until_connected(
                    if hello.client_id.is_empty() {
                        "c"
                    } else {
                        hello.client_id
                    },
                    false,
                )
                .await;
            let entries = world.book.entries().split_off(n_before);
            let refused: Vec<_> = entries
                .iter()
                .filter_map(|entry| match entry {
                    Entry::Refused(it) => Some((it.client_id.as_str(), it.n_authorization_failures, it.is_genuine)),
                    _ => None,
                })
                .collect();
            assert_eq!(
                refused,
                expected.into_iter().collect::<Vec<_>>(),
                "{statements} {version}"
            );
            for entry in &entries {
                if let Entry::Refused(it) = entry {
                    assert_eq!((it.n_refused_attempts, tally_text(&it.total).as_str()), (1, "@"));
                    assert!(
                        !entries.iter().any(|entry| matches!(entry, Entry::Connected(_))),
                        "{statements}"
                    );
                }
            }
        }
    }
    assert!(measured(&world).is_empty(), "who did not come in did nothing");
}

/// The comings and goings of a client so far.
fn presences(world: &World, client_id: &str) -> Vec<(Presence, Option<DisconnectReason>)> {
    let entries = world.book.entries().into_iter();
    let all = entries.filter_map(|entry| match entry {
        Entry::Connected(presence) => Some((presence, None)),
        Entry::Disconnected(presence, reason) => Some((presence, Some(reason))),
        Entry::Refused(_) => None,
    });
    all.filter(|(presence, _)| presence.client_id.as_str() == client_id)
        .collect()
}

#[tokio::test]
async fn each_connection_that_began_ends_once_and_says_why() {
    let limits = Limits {
        keep_alive_min: Duration::from_millis(200),
        keep_alive_max: Duration::from_millis(200),
        ..patient()
    };
    let silent = World::with(limits).await;
    let world = World::start().await;
    for (how, expected) in [
        ("goodbye", DisconnectReason::ClientInitiated),
        ("lost", DisconnectReason::ConnectionLost),
        ("silent", DisconnectReason::KeepAliveTimeout),
        ("broken", DisconnectReason::ClientError),
        ("denied", DisconnectReason::AuthError),
        ("quarantined", DisconnectReason::ForbiddenAccess),
        ("asked", DisconnectReason::ApiInitiated),
    ] {
        let world = if how == "silent" { &silent } else { &world };
        let mut raw = Raw::connect(world, V5, Hello::new(how)).await;
        match how {
            "goodbye" => raw.send(&[0xe0, 0]).await,
            "lost" => {
                drop(raw);
                world.until_connected(how, false).await;
            }
            "broken" => raw.send(&[0xf0, 0xff, 0xff, 0xff, 0xff]).await,
            "denied" => world.set(how, &all_but("Connect", "client/*")).await,
            "quarantined" => {
                world.gate.quarantine(how);
                world.handle.recheck(Recheck::All).await;
            }
            "asked" => assert!(world.handle.disconnect(&how.parse().unwrap())),
            _ => {}
        }
        let both = eventually(how, || Some(presences(world, how)).filter(|both| both.len() == 2)).await;
        assert_eq!(both[0].0, both[1].0, "{how}: the same connection");
        assert_eq!((both[0].1, both[1].1), (None, Some(expected)), "{how}");
    }
}

#[tokio::test]
async fn one_that_is_taken_over_ends_as_itself() {
    let world = World::start().await;
    let mut old = Raw::connect(&world, V3, Hello::new("c")).await;
    play(&world, &mut old, V3, "publish t 1").await;
    let mut new = Raw::connect(&world, V5, Hello::new("c")).await;
    assert!(old.rest().await.is_empty());
    play(&world, &mut new, V5, "publish t 2").await;
    let three = eventually("the end", || Some(presences(&world, "c")).filter(|all| all.len() == 3)).await;
    let ended = three.iter().find(|(_, reason)| reason.is_some()).unwrap();
    let begun: Vec<u64> = three
        .iter()
        .filter(|(_, reason)| reason.is_none())
        .map(|(it, _)| it.connection)
        .collect();
    assert_eq!(
        (ended.0.connection, ended.1),
        (begun[0], Some(DisconnectReason::DuplicateClientId))
    );
    assert!(begun[0] < begun[1]);
    assert_eq!(measured(&world).get("c").map(meter_text).as_deref(), Some("s2:3:1-2 @"));
    // Whoever sends everybody away is the one who ends.
    let book = Arc::clone(&world.book);
    world.stop().await;
    let last = book.entries().pop();
    assert!(
        matches!(last, Some(Entry::Disconnected(it, DisconnectReason::ServerInitiated)) if it.connection == begun[1])
    );
}

const N_CLIENTS: u32 = 6;
const N_MESSAGES: u32 = 400;

fn measure_by_two(world: &World) {
    let dimension = |name: &str| (name.parse().unwrap(), vec!["t/#".to_owned()]);
    world.handle.measure_by(vec![dimension("a"), dimension("b")]);
}

/// Takes meters as fast as it goes, and changes the dimensions all the time.
fn take_until(world: &World, is_over: &AtomicBool) -> BTreeMap<String, ClientMeter> {
    let mut taken: BTreeMap<String, ClientMeter> = BTreeMap::new();
    loop {
        let was_over = is_over.load(Ordering::Acquire);
        for _ in 0..3 {
            for (name, meter) in measured(world) {
                match taken.get_mut(&name) {
                    Some(known) => known.add(&meter),
                    None => drop(taken.insert(name, meter)),
                }
            }
        }
        if was_over {
            return taken;
        }
        measure_by_two(world);
        std::thread::yield_now();
    }
}

/// Publishes to itself, and now and then elsewhere.
async fn talk(world: Arc<World>, n: u32) {
    let (client, mut incoming) = world.connect(&format!("c{n}")).await;
    client
        .subscribe(&[(&format!("t/{n}"), Qos::AtLeastOnce)])
        .await
        .unwrap();
    let publish = async |topic: &str, size: u32| {
        let payload = Bytes::from(vec![0; usize::try_from(size).unwrap()]);
        client
            .publish(format!("{topic}/{n}"), payload, Qos::AtLeastOnce, false)
            .await
            .unwrap();
    };
    for size in 0..N_MESSAGES {
        publish("t", size).await;
        incoming.next().await.unwrap();
        if size % 100 == 99 {
            publish("u", 0).await;
        }
    }
    client.disconnect().await;
}

/// Every message is in exactly one of the meters, however they are taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn meters_add_up_to_what_was_sent() {
    let world = Arc::new(World::start().await);
    let is_over = Arc::new(AtomicBool::new(false));
    measure_by_two(&world);
    let taking = {
        let (world, is_over) = (Arc::clone(&world), Arc::clone(&is_over));
        tokio::task::spawn_blocking(move || take_until(&world, &is_over))
    };
    let clients: Vec<_> = (0..N_CLIENTS)
        .map(|n| tokio::spawn(talk(Arc::clone(&world), n)))
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    is_over.store(true, Ordering::Release);
    let taken = taking.await.unwrap();
    let sum = u64::from(N_MESSAGES) * u64::from(N_MESSAGES - 1) / 2;
    for n in 0..N_CLIENTS {
        let meter = &taken[&format!("c{n}")];
        let sent = meter.total.sent.unwrap();
        assert_eq!((sent.n_messages, sent.sum_bytes), (N_MESSAGES + 4, sum), "client {n}");
        assert_eq!(meter.total.n_received, N_MESSAGES, "client {n}");
        assert_eq!(meter.dimensions.len(), 2, "client {n}");
        for one in &meter.dimensions {
            let (inside, outside) = (one.inside.sent.unwrap(), one.outside.sent.unwrap());
            assert_eq!(inside.n_messages + outside.n_messages, sent.n_messages, "client {n}");
            assert_eq!((outside.n_messages, outside.sum_bytes), (4, 0), "client {n}");
        }
    }
}
