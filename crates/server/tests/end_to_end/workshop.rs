//! docs/workshop.md, as it stands there: AWS's workshop with the AWS CLI.

use crate::own_network;
use crate::page::{self, Fact, Shell};

#[test]
fn the_workshop_works_as_written() {
    own_network::run("workshop::the_workshop_works_as_written", || {
        let facts: [Fact; 14] = [
            ("the server is ready", |shell| {
                shell.file("workshop/server.out").starts_with("ready api=")
            }),
            ("the endpoint is told", |shell| {
                shell.said().contains(r#""endpointAddress": "localhost""#)
            }),
            ("the devices are registered", |shell| {
                let arn = shell.file("workshop/certificate.arn");
                shell.said().contains(arn.trim()) && shell.file("workshop/private.key").contains("PRIVATE KEY")
            }),
            ("readings flow", |shell| {
                let said = shell.said();
                said.lines()
                    .filter(|line| line.parse::<u32>().is_ok_and(|reading| reading < 30))
                    .count()
                    == 2
            }),
            ("reports are accepted", |shell| log(shell).contains("accepted report")),
            ("the profile is accepted", |shell| {
                shell.said().contains(r#""valid": true"#) && shell.said().contains(r#""statistic": "p90""#)
            }),
            ("the test alert arrives", |shell| alerts(shell).contains("a test alert")),
            ("the group denies", |shell| shell.said().contains("policy/DenyAll")),
            ("nothing is in alarm", |shell| {
                shell.said().contains(r#""activeViolations": []"#)
            }),
            ("the messages are sent", |_| true),
            ("the violation is listed and the subscriber is told", |shell| {
                shell.said().contains(r#""violationEventType": "in-alarm""#) && alerts(shell).contains("in-alarm")
            }),
            ("the device is out, and its sensor with it", |shell| {
                is_refused(shell) && shell.file("workshop/sensor.log").contains("not authorised")
            }),
            ("it is back", |shell| {
                let since = log(shell)
                    .rsplit("connection refused with code 5")
                    .next()
                    .unwrap()
                    .to_owned();
                is_refused(shell) && since.contains("accepted report")
            }),
            ("nothing is left", |shell| shell.said().contains(r#""things": []"#)),
        ];
        page::run("docs/workshop.md", &facts);
    });
}

fn log(shell: &Shell) -> String {
    shell.file("workshop/agent.log")
}

fn alerts(shell: &Shell) -> String {
    shell.file("workshop/alerts.out")
}

fn is_refused(shell: &Shell) -> bool {
    log(shell).contains("connection refused with code 5")
}
