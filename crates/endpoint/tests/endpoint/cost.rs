//! What a message costs the endpoint. It has a process of its own, so that its CPU time is its own.

use bytes::Bytes;
use picket_mqtt::{Client, ConnectOptions, Qos};
use tokio::process::Child;

use crate::memory::Apart;
use crate::world::PATIENCE;

/// How many messages are measured; more where somebody looks at the figures.
const N_MESSAGES: &str = "PICKET_TEST_N_MESSAGES";

const N_CLIENTS: usize = 20;

/// Messages of a client that are not acknowledged yet.
const N_IN_FLIGHT: usize = 20;

/// The most CPU time for a message, microseconds: of an unoptimised build on a busy machine, so that only what is wrong
/// by an order of magnitude fails.
const EACH_MICROS_MAX: f64 = 1_000.0;

/// User and system time, seconds.
fn cpu_seconds(child: &Child) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id().unwrap())).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks: Vec<f64> = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse().unwrap())
        .collect();
    // Linux counts in hundredths for everybody.
    (ticks[0] + ticks[1]) / 100.0
}

/// Publishes so many with QoS 1 and waits until all are acknowledged, and received if it has subscribed.
async fn talk(apart: &Apart, n: usize, n_messages: usize, hears_itself: bool) {
    let mut options = ConnectOptions::new("127.0.0.1", apart.port, format!("client-{n}"));
    options.connect_timeout = PATIENCE;
    let (client, mut incoming) = Client::connect(&options, apart.tls.clone()).await.unwrap();
    let topic = format!("devices/client-{n}/readings");
    if hears_itself {
        client.subscribe(&[(topic.as_str(), Qos::AtLeastOnce)]).await.unwrap();
    }
    let payload = Bytes::from_static(&[7; 100]);
    let mut in_flight = std::collections::VecDeque::new();
    for _ in 0..n_messages {
        let sent = client
            .enqueue(topic.as_str(), payload.clone(), Qos::AtLeastOnce, false)
            .await
            .unwrap();
        in_flight.push_back(sent);
        if in_flight.len() == N_IN_FLIGHT {
            in_flight.pop_front().unwrap().await.unwrap();
        }
        if hears_itself {
            incoming.next().await.unwrap();
        }
    }
    for sent in in_flight {
        sent.await.unwrap();
    }
    client.disconnect().await;
}

#[tokio::test]
async fn a_message_costs_little() {
    let n_messages = std::env::var(N_MESSAGES).map_or(2_000, |n| n.parse().unwrap());
    for hears_itself in [false, true] {
        let apart = Apart::start().await;
        let before = cpu_seconds(&apart.child);
        let each = n_messages / N_CLIENTS;
        let talks = (0..N_CLIENTS).map(|n| talk(&apart, n, each, hears_itself));
        all_of(talks).await;
        let micros = (cpu_seconds(&apart.child) - before) * 1e6 / (each * N_CLIENTS) as f64;
        println!("heard by its sender: {hears_itself}; {micros:.2} us of CPU time a message");
        assert!(micros <= EACH_MICROS_MAX, "a message costs {micros} us");
    }
}

/// Runs all of them at once on this thread.
async fn all_of(talks: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut talks: Vec<_> = talks.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        talks.retain_mut(|talk| talk.as_mut().poll(context).is_pending());
        if talks.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}
