//! Plays the stories in `cases/` and compares what the engine tells with what they expect. Their README says how they
//! are written.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test harness")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use picket_detect::Engine;
use picket_model::connection::DisconnectReason;
use picket_model::fleet::Threshold;
use picket_model::meter::{ClientMeter, DimensionMeter, Meter, Presence, Tally};
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
    #[serde(default)]
    dimensions: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    strict_aws_timing: bool,
    timeline: Vec<Line>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    targets: Vec<String>,
    behaviors: Vec<Value>,
    #[serde(default)]
    retained: Vec<Value>,
    export_topic: Option<String>,
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
    id: Option<u64>,
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
    Dimensions(BTreeMap<String, Vec<String>>),
    Member(Membership),
    Connected(u64),
    Disconnected(u64),
    SessionsEnded(#[expect(dead_code, reason = "always written as true")] bool),
    Meter(Box<Metered>),
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

/// What a client did, in short.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
struct Metered {
    sent: Vec<usize>,
    received: u32,
    refused: u32,
    refused_connects: u32,
    from: Vec<String>,
    /// For each dimension: what of it was on its topics, and what on others.
    dimensions: BTreeMap<String, (Metered, Metered)>,
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
    dimensions: BTreeMap<String, Vec<String>>,
    strict_aws_timing: bool,
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
            dimensions: case.dimensions.clone(),
            strict_aws_timing: case.strict_aws_timing,
            last_report: None,
            n_reports: 0,
        };
        let input = player.configured(Timestamp::from_millis(0));
        assert_eq!(player.tell(input, Timestamp::from_millis(0)), Ok(vec![]));
        player
    }

    fn play(&mut self, line: &Line) -> Result<Vec<String>, String> {
        let at = time(&line.at).ok_or_else(|| format!("time is {:?}", line.at))?;
        let mut told = Vec::new();
        if !matches!(line.what, What::ClockWas(_)) {
            // As the server does: the engine is told the time when it wants to be.
            while let Some(due) = self.engine.next_deadline().filter(|due| *due < at) {
                let before = told.len();
                let stamped = Stamped {
                    at: due,
                    record: Record::Tick,
                };
                told.extend(self.tell(Input { stamped, config: None }, at)?);
                if before == told.len() && self.engine.next_deadline() == Some(due) {
                    return Err("the engine does not go on".to_owned());
                }
            }
        }
        told.extend(self.play_itself(line, at)?);
        Ok(told)
    }

    fn play_itself(&mut self, line: &Line, at: Timestamp) -> Result<Vec<String>, String> {
        let thing = line.thing.as_deref().unwrap_or("pump-7");
        let presence = |connection: u64| Presence {
            client_id: thing.parse().unwrap(),
            is_genuine: !line.is_forged,
            connection,
            certificate: CertificateId::from_bytes([7; 32]),
            address: [192, 0, 2, 1].into(),
        };
        let record = match &line.what {
            What::Connected(connection) => Record::Connected(presence(*connection)),
            What::Disconnected(connection) => {
                Record::Disconnected(presence(*connection), DisconnectReason::ClientInitiated)
            }
            What::SessionsEnded(_) => Record::SessionsEnded,
            What::Meter(metered) => Record::Meter(metered.meter(thing, !line.is_forged)),
            What::Report(said) => self.report(thing, line.is_forged, line.id, json!(said.long())),
            What::AwsReport(body) => self.report(thing, line.is_forged, line.id, body.clone()),
            What::Again(_) => {
                let (id, body) = self.last_report.clone().ok_or("there was no report before")?;
                self.report(thing, line.is_forged, Some(id), body)
            }
            What::Profiles(profiles) => {
                self.profiles = profiles.clone();
                return self.tell(self.configured(at), at);
            }
            What::CustomMetrics(custom_metrics) => {
                self.custom_metrics = custom_metrics.clone();
                return self.tell(self.configured(at), at);
            }
            What::Dimensions(dimensions) => {
                self.dimensions = dimensions.clone();
                return self.tell(self.configured(at), at);
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
        self.tell(Input { stamped, config: None }, at)
    }

    /// The record that puts the present profiles and custom metrics in force.
    fn configured(&self, at: Timestamp) -> Input {
        let profile = |(name, profile): (&String, &Profile)| {
            json!({"name": name, "targets": profile.targets, "behaviors": profile.behaviors,
            "retained": profile.retained, "exportTopic": profile.export_topic})
        };
        let revision = self.config.revision + 1;
        let config = json!({
            "revision": revision,
            "profiles": self.profiles.iter().map(profile).collect::<Vec<_>>(),
            "customMetrics": self.custom_metrics,
            "dimensions": self.dimensions,
            "strictAwsTiming": self.strict_aws_timing,
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

    /// Feeds a record, and the percentiles that follow from it as if this partition were the whole fleet.
    fn tell(&mut self, input: Input, at: Timestamp) -> Result<Vec<String>, String> {
        let mut restored = Engine::restore(&self.engine.snapshot(), Arc::clone(&self.config)).unwrap();
        if let Some(config) = &input.config {
            self.config = Arc::clone(config);
        }
        let stamp = input.stamped.at;
        let told = self.engine.apply(input.clone());
        if restored.apply(input) != told || restored.next_deadline() != self.engine.next_deadline() {
            return Err("an engine restored just before goes on differently".to_owned());
        }
        let mut lines: Vec<String> = told.changes.iter().map(|change| in_short(change, at)).collect();
        lines.extend(told.exports.iter().map(|export| {
            let topics = export.dimension.as_ref().map(|one| format!(" in {}", one.name));
            let (metric, value) = (&export.metric, written(&export.value));
            format!(
                "{}{} <- {metric}{} {value}",
                when(export.at, at),
                export.topic,
                topics.unwrap_or_default()
            )
        }));
        for sample in told.samples {
            let threshold = Threshold::of(sample.window, sample.statistic, sample.values);
            let stamped = Stamped {
                at: stamp,
                record: Record::Threshold(threshold),
            };
            lines.extend(self.tell(Input { stamped, config: None }, at)?);
        }
        Ok(lines)
    }
}

impl Metered {
    fn meter(&self, client_id: &str, is_genuine: bool) -> Meter {
        let dimension = |(name, (inside, outside)): (&String, &(Self, Self))| DimensionMeter {
            dimension: name.parse().unwrap(),
            inside: inside.tally(),
            outside: outside.tally(),
        };
        Meter {
            clients: vec![ClientMeter {
                client_id: client_id.parse().unwrap(),
                is_genuine,
                certificate: CertificateId::from_bytes([7; 32]),
                n_refused_attempts: self.refused_connects,
                n_authorization_failures: self.refused + self.refused_connects,
                total: self.tally(),
                dimensions: self.dimensions.iter().map(dimension).collect(),
            }],
        }
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally {
            n_received: self.received,
            n_refused: self.refused,
            ..Tally::default()
        };
        for size_bytes in &self.sent {
            tally.note_sent(*size_bytes, [192, 0, 2, 1].into());
        }
        if !self.from.is_empty() {
            tally.addresses.clear();
        }
        for address in &self.from {
            tally.note_address(address.parse().unwrap());
        }
        tally
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
/// An event of another time than the line's begins with its own.
fn in_short(change: &ViolationChange, line_at: Timestamp) -> String {
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
    let at = when(change.at, line_at);
    format!("{at}{thing}{word} {}{value}{more}", change.behavior.name)
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

fn when(at: Timestamp, line_at: Timestamp) -> String {
    if at == line_at {
        return String::new();
    }
    let mut rest = at.millis();
    let mut text = String::new();
    for (unit, scale) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ] {
        if 0 < rest / scale {
            text += &format!("{}{unit}", rest / scale);
        }
        rest %= scale;
    }
    format!("{text}: ")
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
