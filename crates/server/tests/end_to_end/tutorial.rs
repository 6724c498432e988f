//! The tutorial in README.md, as it stands there.

use crate::own_network;
use crate::page::{self, Fact, Shell};

#[test]
fn the_tutorial_works_as_written() {
    own_network::run("tutorial::the_tutorial_works_as_written", || {
        let facts: [Fact; 12] = [
            ("the server is ready", |shell| {
                shell.file("tutorial/server.out").starts_with("ready api=")
            }),
            ("the operator has a key", |shell| shell.said().contains("mqtt port")),
            ("readings flow", |shell| {
                shell
                    .file("out")
                    .lines()
                    .filter(|line| line.parse::<f64>().is_ok())
                    .count()
                    == 2
            }),
            ("a report is printed", |shell| {
                shell.said().contains("listening_tcp_ports")
            }),
            ("reports are accepted", |shell| {
                shell.file("tutorial/agent.log").contains("accepted report")
            }),
            ("the profile is read aloud", |shell| {
                shell.said().contains("alarm when bytes out in 5 min is above 5000000")
            }),
            ("the response is there", |shell| {
                shell.said().contains("IsolatedDevices")
            }),
            ("the device is out", |shell| {
                agent_is_refused(shell) && shell.file("tutorial/alerts.out").contains("in-alarm")
            }),
            ("all is shown", |shell| {
                ["evidence", "response Isolate", "refused", "violationEventType"]
                    .iter()
                    .all(|word| shell.said().contains(word))
            }),
            ("it is back", |shell| agent_is_accepted_again(shell)),
            ("the events are listed", |shell| shell.said().contains("in-alarm")),
            ("the sensor is stopped", |shell| shell.said().contains("is stopped")),
        ];
        page::run("README.md", &facts);
    });
}

fn agent_is_refused(shell: &Shell) -> bool {
    shell
        .file("tutorial/agent.log")
        .contains("connection refused with code 5")
}

fn agent_is_accepted_again(shell: &Shell) -> bool {
    let log = shell.file("tutorial/agent.log");
    let since = log.rsplit("connection refused with code 5").next().unwrap();
    agent_is_refused(shell) && since.contains("accepted report")
}
