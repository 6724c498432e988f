//! Peers that do not play along.

use std::sync::Arc;
use std::time::Duration;

use picket_endpoint::Limits;
use picket_mqtt::{Client, Qos};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::raw::{Hello, Raw, V3, V5, packet, publish, subscribe};
use crate::world::{World, eventually, patient, within};

/// Bounds that a test can wait for.
fn impatient() -> Limits {
    Limits {
        handshake_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
        ..patient()
    }
}

async fn read_to_end(mut tcp: TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = within("the server closes", tcp.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn who_does_not_speak_tls_is_closed() {
    let world = World::with(impatient()).await;
    for bytes in [
        &b""[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c",
        b"\x16\x03\x01\xff\xff",
        &[0; 4096],
    ] {
        let mut tcp = TcpStream::connect(world.address).await.unwrap();
        tcp.write_all(bytes).await.unwrap();
        read_to_end(tcp).await;
    }
    eventually("each is counted", || {
        (world.count(|counters| counters.handshakes_failed) == 5).then_some(())
    })
    .await;
    world.connect("c").await.0.disconnect().await;
}

#[tokio::test]
async fn a_first_packet_that_is_no_connect_ends_the_connection() {
    let world = World::with(impatient()).await;
    let mut too_long = Hello::new("c").bytes(V3);
    too_long.splice(1..2, [0xff, 0xff, 0xff, 0x7f]);
    for bytes in [
        b"GET /mqtt HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xc0, 0],
        publish(V3, "t", b"x", Some(1), false),
        subscribe(V3, &["t"]),
        packet(0x10, b"\0\x04MQTT"),
        packet(0x10, b"\0\x04MQTT\x09\x02\0\x3c\0\x01c"),
        packet(0x10, b"\0\x04MQTT\x04\x03\0\x3c\0\x01c"),
        vec![0x10, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0x10, 0xff],
        too_long,
        vec![0; 70_000],
        Vec::new(),
    ] {
        let mut raw = Raw::open(&world, &world.tls, V3).await.unwrap();
        raw.send(&bytes).await;
        let rest = raw.rest().await;
        assert!(
            rest.iter().all(|packet| packet.head == 0x20 && packet.body[1] != 0),
            "{bytes:x?}: {rest:?}"
        );
    }
    assert_eq!(world.count(|counters| counters.accepted), 0);
    world.connect("c").await.0.disconnect().await;
}

#[tokio::test]
async fn handshakes_under_way_are_bounded_in_number_and_time() {
    for (limits, n_shed) in [
        (
            Limits {
                n_handshakes_max: 4,
                ..impatient()
            },
            0,
        ),
        (
            Limits {
                n_handshakes_per_address_max: 4,
                ..impatient()
            },
            4,
        ),
    ] {
        let world = World::with(limits).await;
        let mut hanging = Vec::new();
        for _ in 0..8 {
            hanging.push(TcpStream::connect(world.address).await.unwrap());
        }
        if n_shed == 0 {
            // Waits for a place in the operating system's queue, and gets one when the others have had their time.
            world.connect("c").await.0.disconnect().await;
        } else {
            eventually("those beyond are closed", || {
                (world.count(|counters| counters.handshakes_shed) == n_shed).then_some(())
            })
            .await;
        }
        for tcp in hanging {
            read_to_end(tcp).await;
        }
        world.connect("d").await.0.disconnect().await;
    }
}

#[tokio::test]
async fn silence_after_tls_holds_a_place_and_ends() {
    let world = World::with(Limits {
        n_handshakes_per_address_max: 3,
        ..impatient()
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(Raw::open(&world, &world.tls, V3).await.unwrap());
    }
    // Their handshakes are done, but nobody knows yet whether they will ever speak.
    read_to_end(TcpStream::connect(world.address).await.unwrap()).await;
    assert_eq!(world.count(|counters| counters.handshakes_shed), 1);
    for mut raw in silent {
        assert_eq!(raw.packet().await, None);
    }
    eventually("each is counted", || {
        (world.count(|counters| counters.handshakes_failed) == 3).then_some(())
    })
    .await;
    world.connect("c").await.0.disconnect().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connect_at_once() {
    let world = World::with(Limits {
        n_handshakes_per_address_max: 1000,
        ..patient()
    })
    .await;
    let connects: Vec<_> = (0..300)
        .map(|n| {
            let (mut options, tls) = (world.options(&format!("c{n}")), Arc::clone(&world.tls));
            options.connect_timeout = Duration::from_secs(60);
            tokio::spawn(async move {
                let (client, incoming) = Client::connect(&options, tls).await.unwrap();
                client.subscribe(&[("all", Qos::AtLeastOnce)]).await.unwrap();
                client
                    .publish(format!("t/{n}"), "x", Qos::AtLeastOnce, false)
                    .await
                    .unwrap();
                (client, incoming)
            })
        })
        .collect();
    let mut clients = Vec::new();
    for connect in connects {
        clients.push(connect.await.unwrap());
    }
    assert_eq!(world.count(|counters| counters.connections), 300);
    world
        .handle
        .publish("all", &bytes::Bytes::from_static(b"1"), Qos::AtLeastOnce, false)
        .unwrap();
    for (_, incoming) in &mut clients {
        assert_eq!(crate::world::until(incoming, "all=1").await, ["all=1"]);
    }
    world
        .gate
        .set_active(&crate::world::certificate_id(&world.device.certificate_pem), false);
    let begun = tokio::time::Instant::now();
    world.handle.recheck(picket_endpoint::Recheck::All).await;
    eventually("all are cut", || {
        (world.count(|counters| counters.connections) == 0).then_some(())
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(world.handle.n_subscriptions(), 0);
}

/// Packets of every kind that a client sends, some of them cut or spoilt, and noise.
fn stream(version: u8) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(publish(version, "t", b"x", Some(1), false)),
        Just(publish(
            version,
            "$aws/things/c/defender/metrics/json",
            b"x",
            Some(2),
            false
        )),
        Just(publish(version, "r", b"x", None, true)),
        Just(subscribe(version, &["t", "#", "$share/g/t"])),
        Just(packet(
            0xa2,
            if version == V5 {
                b"\0\x01\0\0\x01t"
            } else {
                b"\0\x01\0\x01t"
            }
        )),
        Just(vec![0x40, 2, 0, 1]),
        Just(vec![0xc0, 0]),
        Just(packet(0x50, b"\0\x01")),
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(head, body)| packet(head, &body)),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let spoilt = (
        piece,
        proptest::option::weighted(0.3, (any::<proptest::sample::Index>(), any::<u8>())),
    )
        .prop_map(|(mut piece, spoil)| {
            if let Some((at, byte)) = spoil.filter(|_| !piece.is_empty()) {
                let at = at.index(piece.len());
                piece[at] = byte;
            }
            piece
        });
    proptest::collection::vec(spoilt, 0..20).prop_map(|pieces| pieces.concat())
}

/// Whatever follows a CONNECT, the session ends in order and everybody else is served.
#[test]
fn no_bytes_after_connect_do_harm() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let world = runtime.block_on(World::start());
    let witness = tokio::sync::Mutex::new(runtime.block_on(Raw::connect(&world, V3, Hello::new("witness"))));
    let config = ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let inputs =
        prop_oneof![Just(V3), Just(V5)].prop_flat_map(|version| (Just(version), any::<bool>(), stream(version)));
    runner
        .run(&inputs, |(version, clean, bytes)| {
            runtime.block_on(async {
                let hello = Hello {
                    clean,
                    expiry_secs: 1,
                    will: Some(("w", "x")),
                    ..Hello::new("c")
                };
                let mut raw = Raw::connect(&world, version, hello).await;
                raw.send(&bytes).await;
                // A whole packet that only servers send: if the session still reads, it ends here.
                raw.send(&[0xd0, 0]).await;
                if bytes.len() < 4096 {
                    drop(raw);
                }
                world.until_connected("c", false).await;
                assert!(witness.lock().await.ping().await);
            });
            Ok(())
        })
        .unwrap();
    assert_eq!(world.count(|counters| counters.connections), 1);
}
