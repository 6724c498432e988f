//! `picket-sim sensor`: publishes temperatures, or does what an intruder wants, until it is stopped.

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::bail;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use picket_mqtt::{Client, ConnectOptions, Incoming, Qos};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use crate::attack::{self, Running};
use crate::backoff::Backoff;
use crate::mode::{Attack, Compromise, Connection, Order, Status};
use crate::state::{self, Device, State};
use crate::{clock, reading, tls};

/// How often the order is looked at, and the status written.
const LOOK: Duration = Duration::from_millis(100);
/// How many failed attempts are logged one by one; then every hundredth is.
const N_LOGGED_MAX: u64 = 100;
const READING_CHARACTERS_MAX: usize = 32;

/// Which sensor.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    state: state::DeviceOptions,
    /// The longest wait between two attempts to connect
    #[arg(long, default_value_t = 10.0, value_parser = positive_secs, value_name = "SECONDS")]
    retry_secs_max: f64,
    /// Leave the terminal that started it
    #[arg(long, hide = true)]
    detached: bool,
}

/// A number of seconds from 0.05 to a day.
pub(crate) fn positive_secs(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(secs) if (0.05..=86_400.0).contains(&secs) => Ok(secs),
        _ => Err("expected seconds, from 0.05 to 86400".to_owned()),
    }
}

/// Runs until SIGINT or SIGTERM.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    if options.detached {
        // It fails only for the leader of a group, which has left its terminal's already.
        let _ = rustix::process::setsid();
    }
    let state = State::of(&options.state)?;
    let Some(device) = state.device()? else {
        bail!(
            "there is no device in {}: `picket-sim bootstrap` makes one",
            state.folder().display()
        );
    };
    let Some(_claim) = state.claim()? else {
        bail!("{} runs already", options.state.device);
    };
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let sensor = Sensor {
        status: RefCell::new(Status::at_start(clock::now())),
        retry_max: Duration::from_secs_f64(options.retry_secs_max),
        state,
        device,
    };
    let (order, orders) = watch::channel(None);
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
        outcome = sensor.obey(order) => outcome?,
        outcome = sensor.work(orders) => outcome?,
    }
    log("stopped");
    Ok(())
}

struct Sensor {
    state: State,
    device: Device,
    retry_max: Duration,
    status: RefCell<Status>,
}

impl Sensor {
    /// Looks for orders, carries out what needs no MQTT, and writes down what the sensor does.
    async fn obey(&self, current: watch::Sender<Option<Order>>) -> anyhow::Result<()> {
        let mut running: Option<Running> = None;
        let mut written: Option<Status> = None;
        loop {
            let order: Option<Order> = match self.state.read_json(state::ORDER) {
                Ok(order) => order.filter(|order: &Order| order.holds_at(clock::now())),
                Err(err) => {
                    log(&format!("no order: {err:#}"));
                    None
                }
            };
            if *current.borrow() != order {
                drop(running.take());
                running = self.begin(order.as_ref()).await;
                current.send_replace(order);
            }
            let status = self.status.borrow().clone();
            if written.as_ref() != Some(&status) {
                self.state.write_json(state::STATUS, &status)?;
                written = Some(status);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn begin(&self, order: Option<&Order>) -> Option<Running> {
        let Some(order) = order else {
            log("healthy");
            self.status.borrow_mut().compromise = None;
            return None;
        };
        let (running, detail) = match attack::start(order).await {
            Ok(running) => {
                let detail = running.detail.clone();
                (Some(running), detail)
            }
            Err(err) => (None, format!("cannot do it: {err}")),
        };
        log(&format!("compromised: {detail}"));
        let (attacks, at_millis, is_failed) = (order.attacks.clone(), order.at_millis, running.is_none());
        self.status.borrow_mut().compromise = Some(Compromise {
            at_millis,
            attacks,
            detail,
            is_failed,
        });
        running
    }

    /// Keeps connected and publishes. Refused, it tries again for ever.
    async fn work(&self, mut orders: watch::Receiver<Option<Order>>) -> anyhow::Result<()> {
        let (host, port) = self.state.endpoint()?;
        let path = |name: &str| self.state.path(name);
        let tls = tls::device(
            &path(state::ROOT_CA),
            &path(state::CERTIFICATE),
            &path(state::PRIVATE_KEY),
        )?;
        let options = ConnectOptions::new(host.as_str(), port, self.device.device.as_str());
        let mut backoff = Backoff::new(self.retry_max);
        let mut n_failed = 0;
        loop {
            match Client::connect(&options, tls.clone()).await {
                Ok((client, incoming)) => {
                    log(&format!("connected to {host}:{port} as {}", self.device.device));
                    self.enter(Connection::Connected, None);
                    let n_before = self.status.borrow().n_acknowledged;
                    let reason = self.publish(&client, incoming, &mut orders).await;
                    log(&format!("disconnected: {reason}"));
                    self.enter(Connection::Refused, Some(reason));
                    if n_before < self.status.borrow().n_acknowledged {
                        backoff.after_success();
                        n_failed = 0;
                    }
                }
                Err(err) => {
                    n_failed += 1;
                    self.status.borrow_mut().n_refused += 1;
                    let reason = chain(&err);
                    if n_failed <= N_LOGGED_MAX || n_failed.is_multiple_of(N_LOGGED_MAX) {
                        log(&format!("refused, attempt {n_failed}: {reason}"));
                    }
                    self.enter(Connection::Refused, Some(reason));
                }
            }
            tokio::time::sleep(backoff.after_failure(fastrand::f64())).await;
        }
    }

    /// Publishes until the connection ends, and says why it did.
    async fn publish(
        &self,
        client: &Client,
        mut incoming: Incoming,
        orders: &mut watch::Receiver<Option<Order>>,
    ) -> String {
        let mut random = fastrand::Rng::new();
        let mut due = tokio::time::interval(Duration::from_secs_f64(self.device.interval_secs));
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut on_the_way = FuturesUnordered::new();
        let mut is_first = true;
        let mut order = orders.borrow_and_update().clone();
        let mut flood = flood_beat(order.as_ref());
        loop {
            tokio::select! {
                message = incoming.next() => if let Err(ended) = message {
                    return chain(&ended);
                },
                changed = orders.changed() => match changed {
                    Ok(()) => {
                        order = orders.borrow_and_update().clone();
                        flood = flood_beat(order.as_ref());
                        due.reset_immediately();
                    }
                    Err(_) => return "stopped".to_owned(),
                },
                _ = due.tick() => {
                    let text = self.reading(order.as_ref(), &mut random);
                    match client.enqueue(self.device.topic.as_str(), text.clone(), Qos::AtLeastOnce, false).await {
                        Ok(delivery) => on_the_way.push(async move { (delivery.await, text) }),
                        Err(err) => return chain(&err),
                    }
                },
                () = next(&mut flood) => {
                    let text = reading::temperature(&mut random);
                    if let Err(err) = client.publish(self.device.topic.as_str(), text, Qos::AtMostOnce, false).await {
                        return chain(&err);
                    }
                },
                Some((Ok(()), text)) = on_the_way.next(), if !on_the_way.is_empty() => {
                    self.acknowledged(&text);
                    if std::mem::take(&mut is_first) {
                        log("telemetry flows: the server takes readings");
                    }
                },
            }
        }
    }

    fn reading(&self, order: Option<&Order>, random: &mut fastrand::Rng) -> String {
        if order.is_some_and(|order| order.has(Attack::Payload)) {
            reading::characters(random)
        } else {
            reading::temperature(random)
        }
    }

    fn acknowledged(&self, text: &str) {
        let mut status = self.status.borrow_mut();
        status.n_acknowledged += 1;
        status.last_reading = Some(text.chars().take(READING_CHARACTERS_MAX).collect());
    }

    fn enter(&self, connection: Connection, reason: Option<String>) {
        self.status.borrow_mut().enter(connection, reason, clock::now());
    }
}

/// The beat of a flood; `None` when there is none.
fn flood_beat(order: Option<&Order>) -> Option<Interval> {
    let order = order.filter(|order| order.has(Attack::Flood))?;
    let per_sec = order.n_messages_per_sec.clamp(1, attack::N_MESSAGES_PER_SEC_MAX);
    Some(tokio::time::interval(Duration::from_secs(1) / u32::from(per_sec)))
}

async fn next(beat: &mut Option<Interval>) {
    match beat {
        Some(beat) => drop(beat.tick().await),
        None => std::future::pending().await,
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        text += &format!(": {err}");
        cause = err.source();
    }
    text
}

/// One line of the log; in the background stderr is the device's log file.
fn log(line: &str) {
    // A sensor works also when nobody listens.
    let _ = writeln!(io::stderr(), "{} {line}", clock::stamp());
}
