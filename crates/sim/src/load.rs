//! `picket-sim load`: publishes from many devices at once, and measures. Any MQTT 3.1.1 server will do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::join_all;
use picket_mqtt::{Client, Qos};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock;
use crate::sensor::positive_secs;

pub(crate) mod acknowledged;
pub(crate) mod device;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod payload;
pub(crate) mod pool;
pub(crate) mod server_cpu;

use acknowledged::Acknowledged;
use device::{Device, Plan};
use latency::Latencies;
use payload::{Payload, TopicKind};
use server_cpu::ServerCpu;

/// The most messages of one run.
const N_REPORTS_MAX: u64 = 1_000_000_000;

/// What to publish, how fast, and until when.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("pace").args(["rate", "max"]).required(true))]
#[command(group = clap::ArgGroup::new("end").args(["reports", "duration_secs"]).required(true).multiple(true))]
pub(crate) struct Options {
    #[command(flatten)]
    pool: pool::PoolOptions,
    /// How many messages a second, all connections together
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    rate: Option<u32>,
    /// As fast as the server acknowledges
    #[arg(long)]
    max: bool,
    /// Stop after so many messages
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=N_REPORTS_MAX), value_name = "N")]
    reports: Option<u64>,
    /// Stop after so long
    #[arg(long, value_parser = positive_secs, value_name = "SECONDS")]
    duration_secs: Option<f64>,
    /// 1: a message is done when it is acknowledged; 0: when it is sent
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
    /// How many messages of a connection may wait for their acknowledgement
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "N")]
    in_flight: u16,
    /// What a message is
    #[arg(long, value_enum, default_value_t)]
    topic_kind: TopicKind,
    /// Where messages go; `{thing}` and `{client}` are replaced [default: by the kind]
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// The first report id; each message has the next one
    #[arg(long, default_value_t = 1, value_name = "N")]
    first_report_id: u64,
    /// Write a line `thing report_id` for each acknowledged message, at once
    #[arg(long, value_name = "FILE")]
    acknowledged: Option<PathBuf>,
    /// When a connection ends, connect again and send what was not acknowledged once more
    #[arg(long)]
    reconnect: bool,
    /// Tell the CPU time of the server, a process of this machine, from the first message until it rests after the last
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
}

/// What was measured: one line of JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    n_connections: usize,
    qos: u8,
    topic_kind: TopicKind,
    n_sent: u64,
    n_acknowledged: u64,
    n_sent_again: u64,
    n_connects_failed: u64,
    n_connections_lost: u64,
    errors: Vec<String>,
    seconds: f64,
    reports_per_second: f64,
    latency_millis: latency::Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cpu: Option<Cpu>,
}

/// What the server spent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    millis: f64,
    micros_per_report: f64,
}

/// What a device did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) n_sent: u64,
    pub(crate) n_acknowledged: u64,
    pub(crate) n_sent_again: u64,
    pub(crate) n_connects_failed: u64,
    pub(crate) n_connections_lost: u64,
    pub(crate) errors: Vec<String>,
    pub(crate) latencies: Latencies,
}

impl Tally {
    const N_ERRORS_MAX: usize = 10;

    /// Remembers an error, unless there are many or it is known.
    pub(crate) fn error(&mut self, text: String) {
        if self.errors.len() < Self::N_ERRORS_MAX && !self.errors.contains(&text) {
            self.errors.push(text);
        }
    }

    fn add(&mut self, other: Self) {
        self.n_sent += other.n_sent;
        self.n_acknowledged += other.n_acknowledged;
        self.n_sent_again += other.n_sent_again;
        self.n_connects_failed += other.n_connects_failed;
        self.n_connections_lost += other.n_connections_lost;
        self.latencies.add(&other.latencies);
        other.errors.into_iter().for_each(|text| self.error(text));
    }
}

/// Connects all, then publishes, then prints what was measured.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let members = options.pool.members()?;
    let n_connections = members.len();
    pool::raise_file_limit(n_connections)?;
    let acknowledged = options
        .acknowledged
        .as_deref()
        .map(Acknowledged::create)
        .transpose()?
        .map(Arc::new);
    // Closed when it is time to stop: what is under way is still waited for.
    let (running, stop) = watch::channel(());
    let mut devices = JoinSet::new();
    let (start, started) = watch::channel(false);
    let gate = pool::Gate::new();
    for (at, member) in members.into_iter().enumerate() {
        let payload = Payload::new(options.topic_kind, options.topic.as_deref(), &member);
        let plan = plan(&options, at, n_connections)?;
        let device = Device::new(
            options.pool.connect_options(&member),
            member,
            payload,
            plan,
            acknowledged.clone(),
        );
        devices.spawn(device.run(gate.clone(), started.clone(), stop.clone()));
    }
    drop(stop);
    gate.all_passed(n_connections).await;
    let server_cpu = options.server_pid.map(ServerCpu::start).transpose()?;
    let began = clock::instant();
    start.send_replace(true);
    let end = options.duration_secs.map(Duration::from_secs_f64);
    let (mut tally, mut clients) = (Tally::default(), Vec::with_capacity(n_connections));
    tokio::select! {
        () = async { tokio::time::sleep(end.unwrap_or_default()).await }, if end.is_some() => {}
        _ = tokio::signal::ctrl_c() => {}
        () = gather(&mut devices, &mut tally, &mut clients) => {}
    }
    drop(running);
    gather(&mut devices, &mut tally, &mut clients).await;
    let seconds = began.elapsed().as_secs_f64();
    let mut outcome = outcome(&options, n_connections, tally, seconds);
    if let Some(server_cpu) = server_cpu {
        outcome.server_cpu = Some(cpu(server_cpu.spent().await?, outcome.n_acknowledged));
    }
    // Only now, so that the goodbyes are no part of what was measured.
    join_all(clients.iter().map(Client::disconnect)).await;
    Ok(crate::say(
        &serde_json::to_string(&outcome).context("cannot write the outcome")?,
    )?)
}

async fn gather(devices: &mut JoinSet<(Tally, Option<Client>)>, tally: &mut Tally, clients: &mut Vec<Client>) {
    while let Some(done) = devices.join_next().await {
        match done {
            Ok((one, client)) => {
                tally.add(one);
                clients.extend(client);
            }
            Err(err) => tally.error(format!("a device failed: {err}")),
        }
    }
}

/// The messages are shared out evenly, and so is the rate.
fn plan(options: &Options, at: usize, n_connections: usize) -> anyhow::Result<Plan> {
    let (at, n) = (u64::try_from(at)?, u64::try_from(n_connections)?);
    let share = |reports: u64| reports / n + u64::from(at < reports % n);
    let period = options
        .rate
        .map(|rate| Duration::from_secs_f64(f64::from(u32::try_from(n).unwrap_or(u32::MAX)) / f64::from(rate)));
    Ok(Plan {
        n_reports_max: options.reports.map_or(u64::MAX, share),
        period,
        // Not all at the same moment.
        delay: period.map_or(Duration::ZERO, |period| period.mul_f64(fraction(at, n))),
        qos: if options.qos == 0 {
            Qos::AtMostOnce
        } else {
            Qos::AtLeastOnce
        },
        n_in_flight_max: usize::from(options.in_flight),
        first_report_id: options.first_report_id,
        is_reconnecting: options.reconnect,
    })
}

fn fraction(part: u64, whole: u64) -> f64 {
    let small = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    small(part) / small(whole).max(1.0)
}

fn outcome(options: &Options, n_connections: usize, tally: Tally, seconds: f64) -> Outcome {
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
    let reports_per_second = tally.n_acknowledged as f64 / seconds.max(1e-9);
    Outcome {
        n_connections,
        qos: options.qos,
        topic_kind: options.topic_kind,
        n_sent: tally.n_sent,
        n_acknowledged: tally.n_acknowledged,
        n_sent_again: tally.n_sent_again,
        n_connects_failed: tally.n_connects_failed,
        n_connections_lost: tally.n_connections_lost,
        errors: tally.errors,
        seconds,
        reports_per_second,
        latency_millis: tally.latencies.summary(),
        server_cpu: None,
    }
}

fn cpu(spent: Duration, n_reports: u64) -> Cpu {
    #[expect(clippy::cast_precision_loss, reason = "a cost needs no 53 bits")]
    let n_reports = n_reports.max(1) as f64;
    Cpu {
        millis: spent.as_secs_f64() * 1e3,
        micros_per_report: spent.as_secs_f64() * 1e6 / n_reports,
    }
}
