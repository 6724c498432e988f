//! The way to the server: connect, subscribe to answers, publish reports, and again when the connection ends.
//!
//! The loop never ends by itself. A device that is refused, because it is quarantined or not yet known, goes on trying,
//! and says so once.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use picket_model::report::reply::{Outcome, Reply};
use picket_model::topic::{DefenderTopic, TopicKind};
use picket_mqtt::client::Delivery;
use picket_mqtt::{Client, ConnectError, ConnectOptions, Ended, Incoming, Message, Qos, RequestError};
use rustls::ClientConfig;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use crate::backoff::{self, Backoff};
use crate::clock;
use crate::collect::Collector;
use crate::log;
use crate::reporter::{Reporter, Settled};
use crate::settings::Settings;

/// How long a server may take to answer a subscribe or a publish.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// How long a byte of a report may take on its way, besides: 1 kB/s. On a slow link a crowded device's report would
/// otherwise never be done in time, and be sent again and again.
const TIME_PER_BYTE_MAX: Duration = Duration::from_millis(1);

/// How long TCP, TLS and CONNACK may take together.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(20);

/// How long the goodbye may take.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(2);

/// How long a sample is as good as a new one.
const FRESH_TIME: Duration = Duration::from_secs(1);

/// Reports until `shutdown` is done.
pub(crate) async fn run(settings: &Settings, tls: Arc<ClientConfig>, shutdown: impl Future<Output = ()>) {
    let mut shutdown = pin!(shutdown);
    let mut agent = Agent::new(settings);
    loop {
        let connected = tokio::select! {
            () = &mut shutdown => return,
            connected = agent.connect(&tls) => connected,
        };
        let why = match connected {
            Ok((client, incoming)) => match agent.serve(&client, incoming, shutdown.as_mut()).await {
                None => return,
                Some(why) => why,
            },
            Err(error) => error.into(),
        };
        agent.tell(format!("{why}; trying again"));
        let wait = agent.backoff.wait(backoff::chance());
        tokio::select! {
            () = &mut shutdown => return,
            () = agent.wait(wait) => {}
        }
    }
}

struct Agent<'a> {
    settings: &'a Settings,
    options: ConnectOptions,
    accepted: String,
    rejected: String,
    collector: Collector,
    reporter: Reporter,
    due: Interval,
    backoff: Backoff,
    /// What the operator was told last; the same is not told twice in a row.
    told: String,
    /// Whether the server's answers are heard: not if policy forbids to subscribe to them.
    has_answers: bool,
    sampled: Instant,
    troubles: Vec<String>,
}

/// Why nothing is reported now.
#[derive(Debug)]
enum Down {
    Connect(ConnectError),
    Ended(Ended),
    Unanswered(&'static str),
}

impl<'a> Agent<'a> {
    fn new(settings: &'a Settings) -> Self {
        let topic = |kind| settings.topic.with_kind(kind).to_string();
        let server = &settings.server;
        let mut due = interval(settings.interval);
        // A device that slept has one report to send, not one for each interval.
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            settings,
            options: ConnectOptions {
                connect_timeout: CONNECT_TIME_MAX,
                ..ConnectOptions::new(server.name.to_str(), server.port, settings.client_id.as_str())
            },
            accepted: topic(TopicKind::Accepted),
            rejected: topic(TopicKind::Rejected),
            collector: Collector::new(),
            reporter: Reporter::new(settings.shape),
            due,
            backoff: Backoff::new(settings.interval),
            told: String::new(),
            has_answers: true,
            sampled: Instant::now(),
            troubles: Vec::new(),
        }
    }

    /// Connects, while samples are taken when they are due.
    async fn connect(&mut self, tls: &Arc<ClientConfig>) -> Result<(Client, Incoming), ConnectError> {
        let options = self.options.clone();
        let mut connected = pin!(Client::connect(&options, tls.clone()));
        loop {
            tokio::select! {
                connected = &mut connected => return connected,
                _ = self.due.tick() => self.sample(),
            }
        }
    }

    /// Waits, while samples are taken when they are due.
    async fn wait(&mut self, wait: Duration) {
        let mut end = pin!(sleep(wait));
        loop {
            tokio::select! {
                () = &mut end => return,
                _ = self.due.tick() => self.sample(),
            }
        }
    }

    fn sample(&mut self) {
        let mut sample = self.collector.collect();
        let troubles = std::mem::take(&mut sample.troubles);
        for trouble in troubles.iter().filter(|trouble| !self.troubles.contains(trouble)) {
            log::line(format_args!("{trouble}"));
        }
        self.troubles = troubles;
        self.sampled = Instant::now();
        self.reporter.take(sample);
    }

    /// Reports over one connection until it ends, and says why; `None` when it was told to end.
    async fn serve(
        &mut self,
        client: &Client,
        mut incoming: Incoming,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<Down> {
        let down = tokio::select! {
            () = &mut shutdown => None,
            down = self.subscribe(client) => match down {
                Ok(()) => self.report(client, &mut incoming, shutdown).await,
                Err(down) => Some(down),
            },
        };
        let _ = timeout(GOODBYE_TIME_MAX, client.disconnect()).await;
        match down {
            // The reason why requests fail is known where messages come from.
            Some(Down::Ended(_)) => Some(Down::Ended(self.hear_out(incoming).await)),
            other => other,
        }
    }

    async fn subscribe(&mut self, client: &Client) -> Result<(), Down> {
        let filters = [
            (self.accepted.as_str(), Qos::AtLeastOnce),
            (self.rejected.as_str(), Qos::AtLeastOnce),
        ];
        let granted = timeout(ANSWER_TIME_MAX, client.subscribe(&filters))
            .await
            .map_err(|_| Down::Unanswered("subscribe"))?
            .map_err(|_| Down::Ended(Ended::Closed))?;
        let has_answers = granted.iter().all(Option::is_some);
        if self.has_answers && !has_answers {
            log::line(format_args!(
                "answers are not allowed: policy refuses to subscribe to {} or {}",
                self.accepted, self.rejected
            ));
        }
        self.has_answers = has_answers;
        Ok(())
    }

    async fn report(
        &mut self,
        client: &Client,
        incoming: &mut Incoming,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<Down> {
        let mut delivery: Option<Delivery> = None;
        let mut answer_by = Instant::now();
        if self.reporter.is_due() && FRESH_TIME < self.sampled.elapsed() {
            // What waited for the connection says what was.
            self.sample();
        }
        loop {
            if delivery.is_none() {
                match self.publish(client).await {
                    Ok(Some((report, time))) => {
                        delivery = Some(report);
                        answer_by = Instant::now() + time;
                    }
                    Ok(None) => {}
                    Err(down) => return Some(down),
                }
            }
            tokio::select! {
                () = &mut shutdown => return None,
                done = acknowledged(&mut delivery) => match done {
                    Ok(()) => {
                        delivery = None;
                        self.acknowledged();
                    }
                    Err(_) => return Some(Down::Ended(Ended::Closed)),
                },
                message = incoming.next() => match message {
                    Ok(message) => self.hear(&message),
                    Err(ended) => return Some(Down::Ended(ended)),
                },
                _ = self.due.tick() => self.sample(),
                () = sleep_until(answer_by), if delivery.is_some() => return Some(Down::Unanswered("report")),
            }
        }
    }

    /// Sends what is to be sent, if anything, and says how long its answer may take.
    async fn publish(&mut self, client: &Client) -> Result<Option<(Delivery, Duration)>, Down> {
        let Some((_, payload)) = self.reporter.outgoing(clock::epoch_millis()) else {
            return Ok(None);
        };
        let topic = self.settings.topic.to_string();
        let n_bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let time = ANSWER_TIME_MAX + TIME_PER_BYTE_MAX * n_bytes;
        match client.enqueue(topic, payload.to_vec(), Qos::AtLeastOnce, false).await {
            Ok(delivery) => Ok(Some((delivery, time))),
            Err(_) => Err(Down::Ended(Ended::Closed)),
        }
    }

    fn acknowledged(&mut self) {
        self.reporter.acknowledged();
        self.backoff.reset();
        let DefenderTopic { thing, format, .. } = &self.settings.topic;
        let (host, port) = (self.settings.server.name.to_str(), self.settings.server.port);
        let secs = self.settings.interval.as_secs();
        let message = format!("reporting for {thing} to {host} port {port}, {format}, every {secs} s");
        self.tell(message);
    }

    fn hear(&mut self, message: &Message) {
        if message.topic != self.accepted && message.topic != self.rejected {
            return;
        }
        match Reply::decode(self.settings.shape.format, &message.payload) {
            Ok(reply) => {
                let settled = self.reporter.answered(&reply);
                log::line(format_args!("{}", InWords(&reply, &settled)));
            }
            Err(error) => log::line(format_args!("an answer was not understood: {error}")),
        }
    }

    /// Takes the answers that came before the connection ended, and says why it did.
    async fn hear_out(&mut self, mut incoming: Incoming) -> Ended {
        loop {
            match incoming.next().await {
                Ok(message) => self.hear(&message),
                Err(ended) => return ended,
            }
        }
    }

    fn tell(&mut self, message: String) {
        if self.told != message {
            log::line(format_args!("{message}"));
            self.told = message;
        }
    }
}

/// Done when the delivery is; never, if there is none.
async fn acknowledged(delivery: &mut Option<Delivery>) -> Result<(), RequestError> {
    match delivery {
        Some(delivery) => delivery.await,
        None => std::future::pending().await,
    }
}

/// An answer as its log line says it.
struct InWords<'a>(&'a Reply, &'a Settled);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(reply, settled) = self;
        let verb = match reply.outcome {
            Outcome::Accepted => "accepted",
            Outcome::Rejected { .. } => "rejected",
        };
        match reply.report_id {
            Some(id) => write!(f, "{verb} report {id}")?,
            None => write!(f, "{verb} a report")?,
        }
        if let Outcome::Rejected { code, message } = &reply.outcome {
            write!(f, ": {code}: {message}")?;
        }
        match settled {
            Settled::Report => Ok(()),
            Settled::Nothing => f.write_str(" (no longer waited for)"),
        }
    }
}

impl From<ConnectError> for Down {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "not connected: {}", Chain(error)),
            Self::Ended(ended) => write!(f, "connection ended: {}", Chain(ended)),
            Self::Unanswered(what) => write!(f, "{what} not answered in time"),
        }
    }
}

/// An error with what caused it.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
