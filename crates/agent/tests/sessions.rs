//! The way to the server when the server does not play along: refusals, silence, cut connections.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod server;

use server::{Act, Agent, Server};

#[test]
fn a_report_keeps_its_id_and_bytes_until_it_is_settled() {
    let server = Server::start();
    let agent = Agent::start(&server, &[]);
    // The connection is cut before the report is acknowledged, then the device is refused, then all is well.
    let first = server.meet(&[Act::Accept, Act::Grant, Act::Cut]);
    server.meet(&[Act::Refuse]);
    let second = server.meet(&[
        Act::Accept,
        Act::Grant,
        Act::Acknowledge,
        Act::SayAccepted,
        Act::Acknowledge,
        Act::Cut,
    ]);
    assert_eq!(first[0], second[0]);
    let (first, next) = (first[0].report(), second[1].report());
    assert!(
        first.metrics.network_stats.is_none(),
        "there is nothing to compare the first sample with"
    );
    assert!(next.metrics.network_stats.is_some());
    assert!(first.report_id < next.report_id);
    agent.wait_for("accepted report");
    let log = agent.stop();
    for expected in [
        "connection ended: closed by the server; trying again",
        "not connected: connection refused with code 5; trying again",
        "reporting for Thing03 to 127.0.0.1 port ",
        &format!("accepted report {}", first.report_id),
    ] {
        assert!(log.contains(expected), "{expected}\n{log}");
    }
}

#[test]
fn what_a_refused_report_counted_comes_with_the_next() {
    let server = Server::start();
    let agent = Agent::start(&server, &["-s", "-f", "cbor", "--count-loopback"]);
    let mut acts = vec![Act::Accept, Act::Grant, Act::Acknowledge, Act::SayAccepted];
    for _ in 0..3 {
        acts.extend([Act::Acknowledge, Act::SayRejected]);
    }
    let reports = server.meet(&[acts, vec![Act::Acknowledge, Act::Cut]].concat());
    let bytes_out: Vec<u64> = reports[1..]
        .iter()
        .map(|sent| sent.report().metrics.network_stats.unwrap().bytes_out.unwrap())
        .collect();
    agent.wait_for("connection ended");
    assert!(
        bytes_out.is_sorted_by(|earlier, later| earlier < later),
        "{bytes_out:?}"
    );
    let log = agent.stop();
    assert_eq!(log.matches(": Throttled: too many").count(), 3, "{log}");
}

#[test]
fn a_quarantined_device_goes_on_trying_and_says_so_once() {
    let server = Server::start();
    let agent = Agent::start(&server, &[]);
    for _ in 0..4 {
        server.meet(&[Act::Refuse]);
    }
    let sent = server.meet(&[Act::Accept, Act::Grant, Act::Acknowledge, Act::Cut]);
    // The counters ran on while it was refused.
    assert!(sent[0].report().metrics.network_stats.is_some());
    let log = agent.stop();
    assert_eq!(log.matches("refused with code 5").count(), 1, "{log}");
}

#[test]
fn answers_may_be_forbidden() {
    let server = Server::start();
    let agent = Agent::start(&server, &[]);
    let acts = [
        Act::Accept,
        Act::Deny,
        Act::Acknowledge,
        Act::Acknowledge,
        Act::Acknowledge,
        Act::Cut,
    ];
    let ids: Vec<u64> = server.meet(&acts).iter().map(|sent| sent.report().report_id).collect();
    assert!(ids.is_sorted_by(|earlier, later| earlier < later), "{ids:?}");
    assert!(agent.stop().contains("answers are not allowed"));
}

#[test]
fn a_stopped_agent_says_goodbye() {
    let server = Server::start();
    let agent = Agent::start(&server, &[]);
    std::thread::scope(|scope| {
        scope.spawn(|| server.meet(&[Act::Accept, Act::Grant, Act::Acknowledge, Act::Goodbye]));
        agent.wait_for("reporting for");
        let log = agent.stop();
        assert!(!log.contains("ended"), "{log}");
    });
}
