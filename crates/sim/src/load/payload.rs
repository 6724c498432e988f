//! What a message of a load is.

use bytes::Bytes;
use picket_model::topic::THINGS_PREFIX;
use serde::Serialize;

use super::pool::Member;

/// What is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TopicKind {
    /// A device's report, as an agent makes it, to the thing's reserved topic
    #[default]
    Report,
    /// The same bytes to an ordinary topic, for comparison with servers that know no reports
    Plain,
}

/// The metrics of a small device: two listening TCP ports, one UDP port, one connection, and traffic.
const METRICS: &str = r#""version":"1.0"},"metrics":{"listening_tcp_ports":{"ports":[{"interface":"eth0","port":22},{"interface":"eth0","port":8080}],"total":2},"listening_udp_ports":{"ports":[{"interface":"eth0","port":5353}],"total":1},"network_stats":{"bytes_in":1157864,"bytes_out":82117,"packets_in":1166,"packets_out":1071},"tcp_connections":{"established_connections":{"connections":[{"local_interface":"eth0","local_port":41822,"remote_addr":"192.0.2.17:8883"}],"total":1}}}}"#;

/// A message of one device, complete but for the report id.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    pub(crate) topic: String,
}

impl Payload {
    pub(crate) fn new(kind: TopicKind, topic: Option<&str>, member: &Member) -> Self {
        let template = match (topic, kind) {
            (Some(template), _) => template.to_owned(),
            (None, TopicKind::Report) => format!("{THINGS_PREFIX}{{thing}}/defender/metrics/json"),
            (None, TopicKind::Plain) => "load/{thing}".to_owned(),
        };
        Self {
            topic: template
                .replace("{thing}", &member.thing)
                .replace("{client}", &member.client_id),
        }
    }

    pub(crate) fn bytes(report_id: u64) -> Bytes {
        format!("{{\"header\":{{\"report_id\":{report_id},{METRICS}").into()
    }
}

#[cfg(test)]
mod tests {
    use picket_model::report::Report;

    use super::*;

    #[test]
    fn the_server_would_take_it() {
        for report_id in [1, 1_767_323_045, 9_007_199_254_740_991] {
            let report = Report::from_json(&Payload::bytes(report_id)).unwrap();
            assert_eq!(report.report_id, report_id);
        }
    }

    #[test]
    fn topics_name_thing_or_client() {
        let member = Member::new("load-client-0", "load-thing-0");
        for (kind, topic, expected) in [
            (
                TopicKind::Report,
                None,
                "$aws/things/load-thing-0/defender/metrics/json",
            ),
            (TopicKind::Plain, None, "load/load-thing-0"),
            (
                TopicKind::Report,
                Some("x/{client}/{thing}"),
                "x/load-client-0/load-thing-0",
            ),
        ] {
            assert_eq!(Payload::new(kind, topic, &member).topic, expected);
        }
    }
}
