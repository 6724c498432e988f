//! Laws that must hold whatever happens at the same time.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use picket_endpoint::Recheck;
use picket_endpoint::doors::Outcome;
use picket_mqtt::{Client, Qos};
use tokio::task::JoinHandle;

use crate::raw::{Hello, Raw, V3, V5, publish};
use crate::world::{ALLOW, Mood, World, all_but, eventually, verdict, within};

/// Publishes on `t/secret`, as fast as it is taken, until told to stop.
fn flood(world: &World) -> (Arc<AtomicBool>, JoinHandle<()>) {
    let (stop, handle) = (Arc::new(AtomicBool::new(false)), world.handle.clone());
    let is_over = Arc::clone(&stop);
    let flooding = tokio::spawn(async move {
        while !is_over.load(Ordering::Relaxed) {
            let is_taken = handle.counters().held_size_bytes < 20_000;
            for qos in [Qos::AtMostOnce, Qos::AtLeastOnce].into_iter().filter(|_| is_taken) {
                handle
                    .publish("t/secret", &Bytes::from_static(b"x"), qos, false)
                    .unwrap();
            }
            tokio::task::yield_now().await;
        }
    });
    (stop, flooding)
}

/// Reads and acknowledges without a pause until the connection ends.
fn drain(mut raw: Raw) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(packet) = raw.packet().await {
            if packet.head & 0xf6 == 0x32 {
                let at = 2 + usize::from(u16::from_be_bytes([packet.body[0], packet.body[1]]));
                raw.send(&[0x40, 2, packet.body[at], packet.body[at + 1]]).await;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_leaves_once_a_session_is_cut_or_rechecked() {
    let world = World::start().await;
    let (stop, flooding) = flood(&world);
    for round in 0..45 {
        world.gate.set("c", ALLOW);
        world.gate.release("c");
        let mut raw = Raw::connect(&world, V3, Hello::new("c")).await;
        raw.subscribe(&["t/#"]).await;
        let draining = drain(raw);
        let before = world.count(|counters| counters.delivered);
        eventually("it flows", || {
            (before + 20 < world.count(|counters| counters.delivered)).then_some(())
        })
        .await;
        match round % 3 {
            0 => world.gate.set("c", &all_but("Receive", "topic/t/secret")),
            1 => world.gate.quarantine("c"),
            _ => assert!(world.handle.disconnect(&"c".parse().unwrap())),
        }
        world.handle.recheck(Recheck::Client("c".parse().unwrap())).await;
        let (n_delivered, n_withheld) = (
            world.count(|counters| counters.delivered),
            world.count(|counters| counters.withheld),
        );
        if round % 3 == 0 {
            eventually("it is withheld", || {
                (n_withheld + 20 < world.count(|counters| counters.withheld)).then_some(())
            })
            .await;
            world.gate.quarantine("c");
            world.handle.recheck(Recheck::All).await;
        }
        within("the connection ends", draining).await.unwrap();
        assert_eq!(world.count(|counters| counters.delivered), n_delivered, "round {round}");
    }
    stop.store(true, Ordering::Relaxed);
    flooding.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_taken_once_a_session_is_cut() {
    let world = World::start().await;
    let report = publish(V3, "$aws/things/c/defender/metrics/json", b"{}", None, false);
    for round in 0..30 {
        world.gate.release("c");
        let mut raw = Raw::connect(&world, V3, Hello::new("c")).await;
        let bytes = report.repeat(50);
        let sending = tokio::spawn(async move {
            // Until the server has closed.
            while !raw.is_broken() {
                raw.send(&bytes).await;
            }
        });
        let before = world.inbox.submitted().len();
        eventually("reports come", || {
            (before + 20 < world.inbox.submitted().len()).then_some(())
        })
        .await;
        if round % 2 == 0 {
            world.gate.quarantine("c");
            world.handle.recheck(Recheck::All).await;
        } else {
            assert!(world.handle.disconnect(&"c".parse().unwrap()));
        }
        let n_submitted = world.inbox.submitted().len();
        within("the connection ends", sending).await.unwrap();
        assert_eq!(world.inbox.submitted().len(), n_submitted, "round {round}");
        world.inbox.forget();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connect_slips_past_no_quarantine() {
    let world = World::start().await;
    for round in 0..60 {
        world.gate.release("c");
        let options = world.options("c");
        let (tls, handle) = (Arc::clone(&world.tls), world.handle.clone());
        let connecting = tokio::spawn(async move { Client::connect(&options, tls).await });
        // Somewhere within the handshake, the CONNECT, or after it.
        for _ in 0..round * 20 {
            tokio::task::yield_now().await;
        }
        world.gate.quarantine("c");
        handle.recheck(Recheck::Client("c".parse().unwrap())).await;
        if let Ok((client, _incoming)) = within("it ends", connecting).await.unwrap() {
            let published = client.publish("t", "x", Qos::AtLeastOnce, false).await;
            assert!(published.is_err(), "round {round}");
        }
        world.until_connected("c", false).await;
    }
    assert_eq!(world.count(|counters| counters.published), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kept_session_loses_nothing_however_often_it_breaks() {
    const N_MESSAGES: usize = 600;
    let world = World::start().await;
    let hello = Hello {
        clean: false,
        expiry_secs: 600,
        ..Hello::new("c")
    };
    Raw::connect(&world, V5, hello).await.subscribe(&["t"]).await;
    let (publisher, _incoming) = world.connect("publisher").await;
    let publishing = tokio::spawn(async move {
        for n in 0..N_MESSAGES {
            publisher
                .publish("t", n.to_string(), Qos::AtLeastOnce, false)
                .await
                .unwrap();
        }
    });
    let (mut acknowledged, mut random) = (HashSet::new(), 7_u32);
    while acknowledged.len() < N_MESSAGES {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (n_read, acknowledges) = (random >> 16 & 31, random & 1 << 28 != 0);
        let mut raw = Raw::connect(&world, V5, hello).await;
        let mut last = None;
        for _ in 0..n_read {
            if acknowledged.len() == N_MESSAGES {
                break;
            }
            let n: usize = String::from_utf8(raw.message(acknowledges).await.1)
                .unwrap()
                .parse()
                .unwrap();
            assert!(last < Some(n), "in order within a connection");
            last = Some(n);
            if acknowledges {
                acknowledged.insert(n);
            }
            // Nothing more comes if the window holds all that there is.
            if n + 1 == N_MESSAGES {
                break;
            }
        }
    }
    publishing.await.unwrap();
    assert_eq!(acknowledged.len(), N_MESSAGES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_what_the_log_has_is_acknowledged() {
    const N_REPORTS: usize = 100;
    let world = Arc::new(World::start().await);
    world.inbox.set(Mood::Holds);
    let is_over = Arc::new(AtomicBool::new(false));
    let answering = {
        let (world, is_over) = (Arc::clone(&world), Arc::clone(&is_over));
        tokio::spawn(async move {
            let (mut stored, mut random) = (HashSet::new(), 9_u32);
            while !is_over.load(Ordering::Relaxed) {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let n_held = world.inbox.n_held();
                if n_held == 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    continue;
                }
                let outcome = if random >> 24 < 5 {
                    Outcome::NotStored
                } else {
                    Outcome::Settled
                };
                let at = usize::try_from(random >> 8 & 0xff).unwrap() % n_held;
                let payload = world
                    .inbox
                    .answer(at, verdict(outcome, "$aws/things/x/defender/metrics/json", "accepted"));
                // What is settled once stays so; it may be sent again because its PUBACK was lost.
                if outcome == Outcome::Settled {
                    stored.insert(payload);
                }
            }
            stored
        })
    };
    let devices: Vec<_> = (0..3)
        .map(|device| tokio::spawn(report_all(Arc::clone(&world), device, N_REPORTS)))
        .collect();
    let mut acknowledged = Vec::new();
    for device in devices {
        acknowledged.extend(within("all is reported", device).await.unwrap());
    }
    is_over.store(true, Ordering::Relaxed);
    let stored = within("all is answered", answering).await.unwrap();
    assert_eq!(acknowledged.len(), 3 * N_REPORTS);
    assert!(acknowledged.iter().all(|payload| stored.contains(payload)));
    assert!(
        0 < world.count(|counters| counters.not_stored),
        "some were refused meanwhile"
    );
}

/// Reports until each report is acknowledged, over as many connections as it takes. Says what was acknowledged.
async fn report_all(world: Arc<World>, device: usize, n_reports: usize) -> Vec<Bytes> {
    let topic = format!("$aws/things/device-{device}/defender/metrics/json");
    let mut open: Vec<Bytes> = (0..n_reports).map(|n| Bytes::from(format!("{device}/{n}"))).collect();
    let mut acknowledged = Vec::new();
    while !open.is_empty() {
        let (client, _incoming) = world.connect(&format!("device-{device}")).await;
        let mut deliveries = Vec::new();
        for payload in &open {
            match client
                .enqueue(topic.as_str(), payload.clone(), Qos::AtLeastOnce, false)
                .await
            {
                Ok(delivery) => deliveries.push((payload.clone(), delivery)),
                Err(_) => break,
            }
        }
        for (payload, delivery) in deliveries {
            if delivery.await.is_ok() {
                acknowledged.push(payload);
            }
        }
        open.retain(|payload| !acknowledged.contains(payload));
    }
    acknowledged
}
