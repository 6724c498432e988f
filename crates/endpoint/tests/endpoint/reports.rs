//! Reports: nothing is acknowledged before the log has it.

use std::time::Duration;

use picket_endpoint::doors::Outcome;
use picket_endpoint::{Limits, Recheck};
use picket_mqtt::Qos;

use crate::raw::{Hello, Packet, Raw, V3, V5, publish};
use crate::world::{Mood, World, all_but, eventually, next, patient, text_of, until, verdict};

const JSON: &str = "$aws/things/c/defender/metrics/json";
const CBOR: &str = "$aws/things/c/defender/metrics/cbor";

/// A PUBACK of success, as each version has it.
fn ack(version: u8, id: u8) -> Packet {
    Packet {
        head: 0x40,
        body: if version == V5 { vec![0, id, 0, 0] } else { vec![0, id] },
    }
}

#[tokio::test]
async fn an_answer_goes_to_whoever_subscribed_and_may_receive() {
    let world = World::start().await;
    world.gate.set("deaf", &all_but("Receive", "topic/$aws/*"));
    let (client, mut incoming) = world.connect("c").await;
    let (deaf, mut heard) = world.connect("deaf").await;
    let (_silent, mut unheard) = world.connect("silent").await;
    for who in [&client, &deaf] {
        let filters = [
            ("$aws/things/+/defender/metrics/json/accepted", Qos::AtLeastOnce),
            ("$aws/things/c/defender/metrics/+/rejected", Qos::AtMostOnce),
            ("marker", Qos::AtLeastOnce),
        ];
        assert!(who.subscribe(&filters).await.unwrap().iter().all(Option::is_some));
    }
    _silent.subscribe(&[("#", Qos::AtLeastOnce)]).await.unwrap();
    for (mood, topic, qos, expected) in [
        (Mood::Accepts, JSON, Qos::AtLeastOnce, Some("json/accepted")),
        (Mood::Accepts, JSON, Qos::AtMostOnce, Some("json/accepted")),
        (Mood::Accepts, CBOR, Qos::AtLeastOnce, None),
        (Mood::Rejects, CBOR, Qos::AtLeastOnce, Some("cbor/rejected")),
        (Mood::Rejects, JSON, Qos::AtMostOnce, Some("json/rejected")),
        (Mood::IsFull, JSON, Qos::AtMostOnce, Some("json/rejected")),
    ] {
        world.inbox.set(mood);
        client.publish(topic, "report", qos, false).await.unwrap();
        if let Some(ending) = expected {
            assert_eq!(
                text_of(&next(&mut incoming).await),
                format!("$aws/things/c/defender/metrics/{ending}={{}}")
            );
        }
    }
    client.publish("marker", "1", Qos::AtLeastOnce, false).await.unwrap();
    for incoming in [&mut incoming, &mut heard, &mut unheard] {
        assert_eq!(until(incoming, "marker=1").await, ["marker=1"]);
    }
    let submitted = world.inbox.submitted();
    assert_eq!(submitted.len(), 6);
    assert_eq!(
        (submitted[0].client_id.as_str(), &submitted[0].payload[..]),
        ("c", &b"report"[..])
    );
    assert_eq!(submitted[0].certificate.as_bytes(), &world.device.fingerprint);
    assert_eq!(world.count(|counters| counters.not_stored), 1);
}

#[tokio::test]
async fn acknowledgements_wait_for_the_log_and_keep_their_order() {
    let world = World::start().await;
    world.inbox.set(Mood::Holds);
    for version in [V3, V5] {
        let mut raw = Raw::connect(&world, version, Hello::new("c")).await;
        raw.publish(JSON, b"1", Some(1)).await;
        raw.publish(JSON, b"2", Some(2)).await;
        raw.publish("t", b"3", Some(3)).await;
        assert!(raw.ping().await, "nothing is acknowledged yet");
        eventually("both are submitted", || (world.inbox.n_held() == 2).then_some(())).await;
        // The second is known first: it waits for the first, and what is no report waits for both.
        world.inbox.answer(1, verdict(Outcome::Settled, JSON, "accepted"));
        assert!(raw.ping().await);
        world.inbox.answer(0, verdict(Outcome::Settled, JSON, "accepted"));
        for id in [1, 2, 3] {
            assert_eq!(raw.packet().await, Some(ack(version, id)));
        }
    }
}

#[tokio::test]
async fn what_is_not_stored_is_not_acknowledged() {
    let world = World::start().await;
    let (watcher, mut seen) = world.connect("watcher").await;
    watcher
        .subscribe(&[
            ("$aws/things/c/defender/metrics/#", Qos::AtLeastOnce),
            ("marker", Qos::AtLeastOnce),
        ])
        .await
        .unwrap();
    for mood in [Mood::IsFull, Mood::Forgets, Mood::Holds] {
        for (version, expected) in [(V3, None), (V5, Some(0x97))] {
            world.inbox.set(mood);
            let mut raw = Raw::connect(&world, version, Hello::new("c")).await;
            raw.publish(JSON, b"1", Some(1)).await;
            if matches!(mood, Mood::Holds) {
                eventually("it is submitted", || (world.inbox.n_held() == 1).then_some(())).await;
                world.inbox.answer(0, verdict(Outcome::NotStored, JSON, "rejected"));
            }
            let rest = raw.rest().await;
            assert!(rest.iter().all(|packet| packet.head == 0xe0), "no PUBACK: {rest:?}");
            assert_eq!(rest.first().map(|packet| packet.body[0]), expected);
            // It sends again, and then it is stored.
            world.inbox.set(Mood::Accepts);
            let mut raw = Raw::connect(&world, version, Hello::new("c")).await;
            raw.publish(JSON, b"1", Some(1)).await;
            assert_eq!(raw.packet().await, Some(ack(version, 1)));
        }
    }
    watcher.publish("marker", "1", Qos::AtLeastOnce, false).await.unwrap();
    let answers = until(&mut seen, "marker=1").await;
    assert_eq!(
        answers.len(),
        7,
        "only those that were stored are answered: {answers:?}"
    );
    assert!(answers[..6].iter().all(|answer| answer.contains("/accepted=")));
}

#[tokio::test]
async fn a_device_answers_no_report() {
    let world = World::start().await;
    let (watcher, mut seen) = world.connect("watcher").await;
    watcher
        .subscribe(&[("$aws/#", Qos::AtLeastOnce), ("marker", Qos::AtLeastOnce)])
        .await
        .unwrap();
    for topic in [
        "$aws/things/c/defender/metrics/json/accepted",
        "$aws/things/c/defender/metrics/cbor/rejected",
        "$aws/things/c/defender/metrics/xml",
        "$aws/things/c/defender/metrics",
        "$aws/events/presence/connected/c",
    ] {
        let mut raw = Raw::connect(&world, V3, Hello::new("c")).await;
        raw.publish(topic, b"{}", Some(1)).await;
        assert_eq!(raw.packet().await, None, "{topic}");
        let mut raw = Raw::connect(&world, V5, Hello::new("c")).await;
        raw.publish(topic, b"{}", Some(1)).await;
        assert_eq!(
            raw.packet().await,
            Some(Packet {
                head: 0x40,
                body: vec![0, 1, 0x90, 0]
            }),
            "{topic}"
        );
        assert!(raw.ping().await);
    }
    for (filter, expected) in [
        (JSON, 0x8f),
        ("$aws/things/c/shadow/#", 0x8f),
        ("$SYS/#", 0x8f),
        ("$aws/things/c/defender/metrics/json/accepted", 1),
        ("$share/g/$aws/things/+/defender/metrics/json/accepted", 1),
        ("$aws/events/presence/connected/+", 1),
    ] {
        let mut raw = Raw::connect(&world, V5, Hello::new("c")).await;
        assert_eq!(raw.subscribe(&[filter]).await, [expected], "{filter}");
    }
    watcher.publish("marker", "1", Qos::AtLeastOnce, false).await.unwrap();
    let mut texts = until(&mut seen, "marker=1").await;
    assert!(!texts.iter().any(|text| text.ends_with("={}")), "{texts:?}");
    // What the service itself says there.
    texts.retain(|text| !text.starts_with("$aws/events/"));
    assert_eq!(texts, ["marker=1"]);
    assert!(world.inbox.submitted().is_empty());
}

#[tokio::test]
async fn a_report_is_never_retained() {
    let world = World::start().await;
    let mut raw = Raw::connect(&world, V3, Hello::new("c")).await;
    raw.send(&publish(V3, JSON, b"{}", Some(1), true)).await;
    assert_eq!(raw.packet().await, Some(ack(V3, 1)));
    assert_eq!(
        (world.inbox.submitted().len(), world.count(|counters| counters.retained)),
        (1, 0)
    );
}

#[tokio::test]
async fn too_many_reports_under_way_wait_to_be_read() {
    let world = World::with(Limits {
        n_inbound_max: 5,
        ..patient()
    })
    .await;
    world.inbox.set(Mood::Holds);
    let mut raw = Raw::connect(&world, V3, Hello::new("c")).await;
    for id in 1..=20 {
        raw.publish(JSON, b"{}", Some(id)).await;
    }
    let mut n_answered = 0;
    while n_answered < 20 {
        eventually("reports are submitted", || (0 < world.inbox.n_held()).then_some(())).await;
        assert!(
            world.inbox.submitted().len() <= n_answered + 5,
            "at most five are under way"
        );
        world.inbox.answer(0, verdict(Outcome::Settled, JSON, "accepted"));
        n_answered += 1;
        let id = u8::try_from(n_answered).unwrap();
        assert_eq!(raw.packet().await, Some(ack(V3, id)));
    }
}

#[tokio::test]
async fn the_answer_comes_also_when_the_sender_has_gone() {
    let world = World::start().await;
    let (watcher, mut seen) = world.connect("watcher").await;
    watcher
        .subscribe(&[
            ("$aws/things/c/defender/metrics/#", Qos::AtLeastOnce),
            ("marker", Qos::AtLeastOnce),
        ])
        .await
        .unwrap();
    world.inbox.set(Mood::Holds);
    for (is_quarantined, n_expected) in [(false, 2), (true, 1)] {
        let mut raw = Raw::connect(&world, V5, Hello::new("c")).await;
        raw.publish(JSON, b"{}", Some(1)).await;
        eventually("it is submitted", || (world.inbox.n_held() == 1).then_some(())).await;
        if is_quarantined {
            world.gate.quarantine("c");
            world.handle.recheck(Recheck::Client("c".parse().unwrap())).await;
            assert_eq!(
                raw.rest().await.iter().map(|packet| packet.head).collect::<Vec<_>>(),
                [0xe0],
                "no PUBACK"
            );
        } else {
            drop(raw);
        }
        world.until_connected("c", false).await;
        world.inbox.answer(0, verdict(Outcome::Settled, JSON, "accepted"));
        if !is_quarantined {
            assert!(text_of(&next(&mut seen).await).contains("/accepted="));
        }
        watcher.publish("marker", "1", Qos::AtLeastOnce, false).await.unwrap();
        assert_eq!(
            until(&mut seen, "marker=1").await.len(),
            n_expected - usize::from(!is_quarantined)
        );
    }
}

#[tokio::test]
async fn a_client_stays_while_the_log_is_slow() {
    let limits = Limits {
        n_inbound_max: 1,
        keep_alive_min: Duration::from_secs(1),
        ..patient()
    };
    let world = World::with(limits).await;
    world.inbox.set(Mood::Holds);
    let mut raw = Raw::connect(
        &world,
        V3,
        Hello {
            keep_alive_secs: 1,
            ..Hello::new("c")
        },
    )
    .await;
    raw.publish(JSON, b"{}", Some(1)).await;
    // Longer than one and a half times the keep-alive: its pings are not read meanwhile.
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(2000) {
        raw.send(&[0xc0, 0]).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    world.inbox.answer(0, verdict(Outcome::Settled, JSON, "accepted"));
    assert_eq!(raw.packet().await, Some(ack(V3, 1)));
    assert!(world.handle.is_connected(&"c".parse().unwrap()));
}
