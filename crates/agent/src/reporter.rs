//! Which report is to be sent, and what became of it: samples and answers in, reports out, no clock and no network.
//!
//! One report is under way at a time. Once it may have reached the server it keeps its id and its bytes until it is
//! settled, so that sending it again cannot count twice; what is counted meanwhile waits for the next.

use std::collections::BTreeMap;

use picket_model::name::MetricName;
use picket_model::report::reply::{Outcome, Reply};
use picket_model::report::{CustomValue, DeviceMetrics, Report};

use crate::collect::{CpuTicks, Sample};
use crate::meter::{self, Meter, Traffic, Width};
use crate::settings::Shape;

/// Makes reports of samples.
#[derive(Debug)]
pub(crate) struct Reporter {
    shape: Shape,
    meter: Meter,
    cpu: Option<CpuTicks>,
    last_id: u64,
    /// The latest sample, while no report was made of it.
    due: Option<Due>,
    under_way: Option<UnderWay>,
    /// The report that was taken for settled without an answer: a late refusal still counts.
    unanswered: Option<UnderWay>,
}

#[derive(Debug)]
struct Due {
    sample: Sample,
    cpu_usage: Option<f64>,
}

#[derive(Debug)]
struct UnderWay {
    id: u64,
    payload: Vec<u8>,
    traffic: Option<Traffic>,
    is_acknowledged: bool,
}

/// What the server's answer was about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// A report that was waited for.
    Report,
    /// No report that is waited for: a late or a repeated answer.
    Nothing,
}

impl Reporter {
    /// A reporter that has seen nothing.
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            shape,
            meter: Meter::new(shape.counts_loopback, Width::HERE),
            cpu: None,
            last_id: 0,
            due: None,
            under_way: None,
            unanswered: None,
        }
    }

    /// Takes a sample, of which a report becomes due. A report that the server has, but did not answer until now, counts
    /// as taken: its answer may be kept from this device by policy.
    pub(crate) fn take(&mut self, mut sample: Sample) {
        if let Some(interfaces) = sample.interfaces.take() {
            self.meter.read(interfaces);
        }
        let now = sample.cpu.take();
        let cpu_usage = self.cpu.zip(now).and_then(|(earlier, now)| now.usage_since(earlier));
        self.cpu = now.or(self.cpu);
        self.due = Some(Due { sample, cpu_usage });
        if let Some(report) = self.under_way.take_if(|report| report.is_acknowledged) {
            self.unanswered = Some(report);
        }
    }

    /// Whether a sample waits to be reported.
    pub(crate) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// Id and bytes of what is to be sent: first of all what may not have arrived, unchanged. `None` while nothing is
    /// due, or while an answer is waited for.
    pub(crate) fn outgoing(&mut self, now_millis: u64) -> Option<(u64, &[u8])> {
        if self.under_way.is_none() {
            let due = self.due.take()?;
            let traffic = self.meter.take();
            let report = self.report(due, traffic, now_millis);
            self.under_way = Some(UnderWay {
                id: report.report_id,
                payload: report.encode(self.shape.format, self.shape.keys),
                traffic,
                is_acknowledged: false,
            });
        }
        let report = self.under_way.as_ref().filter(|report| !report.is_acknowledged)?;
        Some((report.id, &report.payload))
    }

    /// Makes the report that is due, to be shown only.
    pub(crate) fn shown(&mut self, now_millis: u64) -> Option<Report> {
        let due = self.due.take()?;
        let traffic = self.meter.take();
        Some(self.report(due, traffic, now_millis))
    }

    /// The server has the report under way (PUBACK). What it thinks of it comes as an answer.
    pub(crate) fn acknowledged(&mut self) {
        if let Some(report) = &mut self.under_way {
            report.is_acknowledged = true;
        }
    }

    /// The server's answer. A report that was refused is not sent again, but what it counted is, with the next.
    pub(crate) fn answered(&mut self, reply: &Reply) -> Settled {
        // AWS names no report when it refuses one; only one can be meant.
        let is_meant = |report: &mut UnderWay| reply.report_id.is_none_or(|id| id == report.id);
        let waiting = self.under_way.take_if(is_meant);
        let Some(report) = waiting.or_else(|| self.unanswered.take_if(is_meant)) else {
            return Settled::Nothing;
        };
        if let (Outcome::Rejected { .. }, Some(traffic)) = (&reply.outcome, report.traffic) {
            self.meter.give_back(traffic);
        }
        Settled::Report
    }

    fn report(&mut self, due: Due, traffic: Option<Traffic>, now_millis: u64) -> Report {
        // Milliseconds, so that ids grow over restarts too; never again the same, so that no clock can make them equal.
        self.last_id = now_millis.max(self.last_id + 1).min(REPORT_ID_MAX);
        let Due { sample, cpu_usage } = due;
        Report {
            report_id: self.last_id,
            metrics: DeviceMetrics {
                listening_tcp_ports: sample.tcp,
                listening_udp_ports: sample.udp,
                network_stats: traffic.map(meter::network_stats),
                established_connections: sample.connections,
            },
            custom_metrics: self.custom_metrics(cpu_usage),
            voided: Vec::new(),
        }
    }

    /// What AWS's Python agent reports with the same flag.
    fn custom_metrics(&self, cpu_usage: Option<f64>) -> BTreeMap<MetricName, CustomValue> {
        let name = "cpu_usage".parse::<MetricName>().ok();
        let cpu_usage = cpu_usage.filter(|_| self.shape.has_custom_metrics);
        let metric = name
            .zip(cpu_usage)
            .map(|(name, usage)| (name, CustomValue::Number(usage)));
        metric.into_iter().collect()
    }
}

/// The largest id that servers read: 2^63-1.
const REPORT_ID_MAX: u64 = u64::MAX >> 1;

#[cfg(test)]
mod tests {
    use picket_model::report::KeyStyle;
    use picket_model::topic::Format;

    use super::*;
    use crate::collect::{Counters, Interface};

    fn reporter() -> Reporter {
        Reporter::new(Shape {
            format: Format::Json,
            keys: KeyStyle::Short,
            has_custom_metrics: true,
            counts_loopback: false,
        })
    }

    fn sample(bytes_out: u64) -> Sample {
        Sample {
            interfaces: Some(vec![Interface {
                name: "eth0".to_owned(),
                index: Some(2),
                counters: Counters {
                    bytes_out,
                    ..Counters::default()
                },
            }]),
            ..Sample::default()
        }
    }

    /// Follows a script: `s100` a sample with 100 bytes out, `>` what is sent (id and bytes out), `k` PUBACK, `a7` and
    /// `r7` accepted and rejected, `r` rejected without id. The clock stands at 5.
    fn run(script: &str) -> String {
        let mut reporter = reporter();
        let mut log = Vec::new();
        for word in script.split_whitespace() {
            let (verb, number) = word.split_at(1);
            let number = number.parse::<u64>().ok();
            let reply = |outcome| Reply {
                thing: String::new(),
                report_id: number,
                at: None,
                outcome,
            };
            let rejected = || Outcome::Rejected {
                code: "Throttled".to_owned(),
                message: String::new(),
            };
            match verb {
                "s" => reporter.take(sample(number.unwrap())),
                "k" => reporter.acknowledged(),
                "a" => log.push(format!("{:?}", reporter.answered(&reply(Outcome::Accepted)))),
                "r" => log.push(format!("{:?}", reporter.answered(&reply(rejected())))),
                _ => log.push(match reporter.outgoing(5) {
                    None => "-".to_owned(),
                    Some((id, payload)) => {
                        let report = Report::from_json(payload).unwrap();
                        assert_eq!(report.report_id, id);
                        let bytes_out = report.metrics.network_stats.and_then(|stats| stats.bytes_out);
                        format!("{id}:{}", bytes_out.map_or("-".to_owned(), |bytes| bytes.to_string()))
                    }
                }),
            }
        }
        log.join(" ").replace("Report", "ok").replace("Nothing", "?")
    }

    #[test]
    fn one_report_is_under_way_until_it_is_settled() {
        for (script, expected) in [
            ("> s100 > k > a5 >", "- 5:- - ok -"),
            ("s100 > a5 k s130 >", "5:- ok 6:30"),
            // Not acknowledged: the same report again, unchanged, and only then the next.
            ("s100 > s130 > s150 > k a5 > k a6 >", "5:- 5:- 5:- ok 6:50 ok -"),
            // Acknowledged but never answered: taken.
            ("s100 > k s130 > k s150 >", "5:- 6:30 7:20"),
            // Refused late.
            (
                "s100 > k a5 s130 > k s150 > r6 r6 k a7 s151 >",
                "5:- ok 6:30 7:20 ok ? ok 8:31",
            ),
            // Refused: what it counted comes with the next.
            ("s100 > k a5 s130 > k r6 > s150 >", "5:- ok 6:30 ok - 7:50"),
            ("s100 > k a5 s130 > k r s150 >", "5:- ok 6:30 ok 7:50"),
            // Answers to other reports settle nothing.
            ("s100 > a4 r4 a5 a5 r", "5:- ? ? ok ? ?"),
            // Offline: counters add up.
            ("s100 s110 s120 s125 >", "5:25"),
        ] {
            assert_eq!(run(script), expected, "{script}");
        }
    }

    #[test]
    fn custom_metrics_are_those_of_the_python_agent() {
        let ticks = |stat: &str| Sample {
            cpu: Some(CpuTicks::of(stat)),
            ..Sample::default()
        };
        let mut reporter = reporter();
        reporter.take(ticks("cpu  0 0 0 0 0 0 0 0"));
        assert!(
            reporter.shown(1).unwrap().custom_metrics.is_empty(),
            "nothing to compare with"
        );
        reporter.take(ticks("cpu  1 0 0 3 0 0 0 0"));
        assert_eq!(
            String::from_utf8(reporter.shown(1).unwrap().to_json(KeyStyle::Short)).unwrap(),
            r#"{"hed":{"rid":2,"v":"1.0"},"met":{},"cmet":{"cpu_usage":[{"number":25.0}]}}"#
        );
    }
}
