//! Plays the stories in `cases/` and compares what the engine tells with what they expect. Their README says how they
//! are written.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test harness")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use picket_detect::Engine;
use picket_model::name::CertificateId;
use picket_model::profile::JudgingConfig;
use picket_model::record::{Input, Member, Record, ReportRecord, Sender, Stamped};
use picket_model::report::Report;
use picket_model::time::Timestamp;
use picket_model::value::MetricValue;
use picket_model::violation::{ChangeKind, ViolationChange};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    story: String,
    #[expect(dead_code, reason = "for readers of the case")]
    source: Option<String>,
    profiles: BTreeMap<String, Profile>,
    #[serde(default)]
    custom_metrics: BTreeMap<String, String>,
    timeline: Vec<Line>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    targets: Vec<String>,
    behaviors: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    at: String,
    thing: Option<String>,
    #[serde(flatten)]
    what: What,
    #[serde(default)]
    is_forged: bool,
    #[serde(default)]
    expect: Vec<String>,
    wakes: Option<String>,
    #[expect(dead_code, reason = "for readers of the case")]
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum What {
    Report(Said),
    AwsReport(Value),
    Again(#[expect(dead_code, reason = "always written as true")] bool),
    Profiles(BTreeMap<String, Profile>),
    CustomMetrics(BTreeMap<String, String>),
    Member(Membership),
    Tick(#[expect(dead_code, reason = "always written as true")] bool),
    ClockWas(String),
}

/// A report in short.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Said {
    bytes_in: Option<u64>,
    bytes_out: Option<u64>,
    packets_in: Option<u64>,
    packets_out: Option<u64>,
    tcp_ports: Option<Vec<u16>>,
    udp_ports: Option<Vec<u16>>,
    connections: Option<Vec<String>>,
    custom: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Membership {
    is_registered: bool,
    #[serde(default)]
    groups: Vec<String>,
}

/// Plays a case, with an engine and with one that is restored from a snapshot before every record.
struct Player {
    engine: Engine,
    config: Arc<JudgingConfig>,
    profiles: BTreeMap<String, Profile>,
    custom_metrics: BTreeMap<String, String>,
    last_report: Option<(u64, Value)>,
    n_reports: u64,
}

#[test]
fn every_case_goes_as_it_says() {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no cases found");
    let failures: Vec<String> = paths.iter().filter_map(|path| failure(path)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What went otherwise than the case says, with what really happened at each line.
fn failure(path: &Path) -> Option<String> {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let case: Case =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut player = Player::new(&case);
    let mut is_other = false;
    let mut text = format!("{name}: {}\n", case.story);
    for line in &case.timeline {
        let told = player
            .play(line)
            .unwrap_or_else(|error| panic!("{name} at {}: {error}", line.at));
        let wakes = player.engine.next_deadline();
        let is_wrong = told != line.expect || line.wakes.as_ref().is_some_and(|wakes_at| wakes != time(wakes_at));
        is_other |= is_wrong;
        let mark = if is_wrong { "<-- here" } else { "" };
        text += &format!("  {:>8}  {told:?} {mark}\n", line.at);
        if is_wrong {
            text += &format!(
                "  expected  {:?} wakes {:?}, found wakes {wakes:?}\n",
                line.expect, line.wakes
            );
        }
    }
    is_other.then_some(text)
}

impl Player {
    fn new(case: &Case) -> Self {
        let mut player = Self {
            engine: Engine::new(),
            config: Arc::default(),
            profiles: case.profiles.clone(),
            custom_metrics: case.custom_metrics.clone(),
            last_report: None,
            n_reports: 0,
        };
        let input = player.configured(Timestamp::from_millis(0));
        assert_eq!(player.tell(input), Ok(vec![]));
        player
    }

    fn play(&mut self, line: &Line) -> Result<Vec<String>, String> {
        let at = time(&line.at).ok_or_else(|| format!("time is {:?}", line.at))?;
        let thing = line.thing.as_deref().unwrap_or("pump-7");
        let record = match &line.what {
            What::Report(said) => self.report(thing, line.is_forged, None, json!(said.long())),
            What::AwsReport(body) => self.report(thing, line.is_forged, None, body.clone()),
            What::Again(_) => {
                let (id, body) = self.last_report.clone().ok_or("there was no report before")?;
                self.report(thing, line.is_forged, Some(id), body)
            }
            What::Profiles(profiles) => {
                self.profiles = profiles.clone();
                return self.tell(self.configured(at));
            }
            What::CustomMetrics(custom_metrics) => {
                self.custom_metrics = custom_metrics.clone();
                return self.tell(self.configured(at));
            }
            What::Member(membership) => Record::Member(Member {
                thing: thing.parse().unwrap(),
                is_registered: membership.is_registered,
                groups: membership.groups.iter().map(|group| group.parse().unwrap()).collect(),
            }),
            What::Tick(_) => Record::Tick,
            What::ClockWas(old) => Record::Clock {
                old: time(old).ok_or_else(|| format!("time is {old:?}"))?,
                new: at,
            },
        };
        let stamped = Stamped { at, record };
        self.tell(Input { stamped, config: None })
    }

    /// The record that puts the present profiles and custom metrics in force.
    fn configured(&self, at: Timestamp) -> Input {
        let profile = |(name, profile): (&String, &Profile)| json!({"name": name, "targets": profile.targets, "behaviors": profile.behaviors});
        let revision = self.config.revision + 1;
        let config = json!({
            "revision": revision,
            "profiles": self.profiles.iter().map(profile).collect::<Vec<_>>(),
            "customMetrics": self.custom_metrics,
        });
        let config = JudgingConfig::decode(config.to_string().as_bytes())
            .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
        Input {
            stamped: Stamped {
                at,
                record: Record::Config { revision },
            },
            config: Some(Arc::new(config)),
        }
    }

    fn report(&mut self, thing: &str, is_forged: bool, id: Option<u64>, mut body: Value) -> Record {
        self.n_reports += u64::from(id.is_none());
        let id = id.unwrap_or(self.n_reports);
        self.last_report = Some((id, body.clone()));
        body["header"] = json!({"report_id": id, "version": "1.0"});
        let report = Report::from_json(body.to_string().as_bytes()).unwrap();
        assert!(report.voided.is_empty(), "{:?}", report.voided);
        Record::Report(Box::new(ReportRecord {
            thing: thing.parse().unwrap(),
            payload_hash: u128::from(id).to_le_bytes(),
            sender: Sender {
                certificate: CertificateId::from_bytes([7; 32]),
                client_id: thing.parse().unwrap(),
                is_attached: !is_forged,
            },
            report,
        }))
    }

    fn tell(&mut self, input: Input) -> Result<Vec<String>, String> {
        let mut restored = Engine::restore(&self.engine.snapshot(), Arc::clone(&self.config)).unwrap();
        if let Some(config) = &input.config {
            self.config = Arc::clone(config);
        }
        let told = self.engine.apply(input.clone());
        if restored.apply(input) != told || restored.next_deadline() != self.engine.next_deadline() {
            return Err("an engine restored just before goes on differently".to_owned());
        }
        Ok(told.iter().map(in_short).collect())
    }
}

impl Said {
    /// The report as a device writes it.
    fn long(&self) -> Value {
        let item = |port: &u16| json!({"port": port});
        let ports =
            |ports: &Vec<u16>| json!({"ports": ports.iter().map(item).collect::<Vec<_>>(), "total": ports.len()});
        let connection = |remote: &String| json!({"remote_addr": remote});
        let connections = |remotes: &Vec<String>| {
            let connections: Vec<Value> = remotes.iter().map(connection).collect();
            json!({"established_connections": {"connections": connections, "total": remotes.len()}})
        };
        json!({
            "metrics": {
                "listening_tcp_ports": self.tcp_ports.as_ref().map(ports),
                "listening_udp_ports": self.udp_ports.as_ref().map(ports),
                "network_stats": {
                    "bytes_in": self.bytes_in,
                    "bytes_out": self.bytes_out,
                    "packets_in": self.packets_in,
                    "packets_out": self.packets_out,
                },
                "tcp_connections": self.connections.as_ref().map(connections),
            },
            "custom_metrics": self.custom,
        })
    }
}

/// For example `in-alarm ports [443] unsupported`, or `pump-8: alarm-invalidated ports`.
fn in_short(change: &ViolationChange) -> String {
    let (word, value, more) = match &change.kind {
        ChangeKind::Raised {
            value,
            is_supported,
            is_eager,
        } => {
            let more = match (*is_supported, *is_eager) {
                (true, false) => "",
                (true, true) => " early",
                (false, false) => " unsupported",
                (false, true) => " early unsupported",
            };
            ("in-alarm", Some(value), more)
        }
        ChangeKind::Continued { value } => ("continued", Some(value), ""),
        ChangeKind::Supported { value } => ("supported", Some(value), ""),
        ChangeKind::Cleared { value } => ("alarm-cleared", Some(value), ""),
        ChangeKind::Invalidated => ("alarm-invalidated", None, ""),
    };
    let thing = match change.thing.as_str() {
        "pump-7" => String::new(),
        thing => format!("{thing}: "),
    };
    let value = value.map(|value| format!(" {}", written(value))).unwrap_or_default();
    format!("{thing}{word} {}{value}{more}", change.behavior.name)
}

fn written(value: &MetricValue) -> String {
    fn list(items: impl IntoIterator<Item: ToString>) -> String {
        let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
        format!("[{}]", items.join(", "))
    }
    match value {
        MetricValue::Count(count) => count.to_string(),
        MetricValue::Number(number) => number.to_string(),
        MetricValue::Ports(ports) => list(ports),
        MetricValue::Addresses(addresses) => list(addresses),
        MetricValue::Numbers(numbers) => list(numbers),
        MetricValue::Strings(strings) => list(strings),
    }
}

/// Reads `2d5m`, `299s`, `1h1ms`: times since the story began.
fn time(text: &str) -> Option<Timestamp> {
    let mut rest = text;
    let mut millis = 0;
    while !rest.is_empty() {
        let n_digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(n_digits);
        let n_letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(n_letters);
        let scale = match unit {
            "d" => 86_400_000,
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        millis += number.parse::<i64>().ok()? * scale;
        rest = tail;
    }
    (!text.is_empty()).then_some(Timestamp::from_millis(millis))
}
