//! One device of a load.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use picket_mqtt::{Client, ConnectError, ConnectOptions, Incoming, Qos, RequestError};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::Tally;
use super::acknowledged::Acknowledged;
use super::payload::Payload;
use super::pool::{Gate, Member};
use crate::backoff::Backoff;
use crate::clock;
use crate::sensor::chain;

const RETRY_MAX: Duration = Duration::from_secs(1);
/// How long acknowledgements are waited for after the end.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a device has to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How many messages.
    pub(crate) n_reports_max: u64,
    /// Between two of them; as fast as it goes when `None`.
    pub(crate) period: Option<Duration>,
    /// Before the first.
    pub(crate) delay: Duration,
    pub(crate) qos: Qos,
    pub(crate) n_in_flight_max: usize,
    pub(crate) first_report_id: u64,
    pub(crate) is_reconnecting: bool,
}

/// A device with its work.
#[derive(Debug)]
pub(crate) struct Device {
    options: ConnectOptions,
    member: Member,
    payload: Payload,
    plan: Plan,
    acknowledged: Option<Arc<Acknowledged>>,
    n_begun: u64,
    /// What was sent over a connection that ended before the acknowledgement.
    unanswered: VecDeque<u64>,
    tally: Tally,
}

/// Why a device stopped publishing over a connection.
enum Stop {
    Done,
    Lost(String),
}

impl Device {
    pub(crate) fn new(
        options: ConnectOptions,
        member: Member,
        payload: Payload,
        plan: Plan,
        acknowledged: Option<Arc<Acknowledged>>,
    ) -> Self {
        let (n_begun, unanswered, tally) = (0, VecDeque::new(), Tally::default());
        Self {
            options,
            member,
            payload,
            plan,
            acknowledged,
            n_begun,
            unanswered,
            tally,
        }
    }

    /// Connects, waits for the start, and publishes until the plan is done or `stop` is closed. The connection that is
    /// left is still open.
    pub(crate) async fn run(
        mut self,
        gate: Gate,
        mut started: watch::Receiver<bool>,
        mut stop: watch::Receiver<()>,
    ) -> (Tally, Option<Client>) {
        let mut connected = Some(gate.pass(self.connect()).await);
        if started.wait_for(|is_started| *is_started).await.is_err() {
            return (self.tally, None);
        }
        let mut beat = self.plan.period.map(|period| beat(self.plan.delay, period));
        let mut backoff = Backoff::new(RETRY_MAX);
        loop {
            let attempt = match connected.take() {
                Some(attempt) => attempt,
                None => self.connect().await,
            };
            match attempt {
                Ok((client, incoming)) => match self.publish(&client, incoming, beat.as_mut(), &mut stop).await {
                    Stop::Done => return (self.tally, Some(client)),
                    Stop::Lost(reason) => {
                        self.tally.n_connections_lost += 1;
                        self.tally.error(reason);
                        backoff.after_success();
                    }
                },
                Err(err) => {
                    self.tally.n_connects_failed += 1;
                    self.tally.error(chain(&err));
                }
            }
            if !self.plan.is_reconnecting || stop.has_changed().is_err() {
                return (self.tally, None);
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.after_failure(fastrand::f64())) => {}
                _ = stop.changed() => return (self.tally, None),
            }
        }
    }

    async fn connect(&self) -> Result<(Client, Incoming), ConnectError> {
        let Some(tls) = self.member.tls.clone() else {
            return Err(ConnectError::ServerName {
                found: self.options.host.clone(),
            });
        };
        Client::connect(&self.options, tls).await
    }

    async fn publish(
        &mut self,
        client: &Client,
        mut incoming: Incoming,
        mut beat: Option<&mut Interval>,
        stop: &mut watch::Receiver<()>,
    ) -> Stop {
        let mut on_the_way = FuturesUnordered::new();
        let mut is_stopping = false;
        let lost = loop {
            let has_more = !is_stopping && (!self.unanswered.is_empty() || self.n_begun < self.plan.n_reports_max);
            if !has_more && on_the_way.is_empty() {
                return Stop::Done;
            }
            let may_send = has_more && on_the_way.len() < self.plan.n_in_flight_max;
            tokio::select! {
                biased;
                _ = stop.changed(), if !is_stopping => is_stopping = true,
                Some((report_id, begun, outcome)) = on_the_way.next(), if !on_the_way.is_empty() => {
                    if let Err(err) = self.done(report_id, begun, outcome) {
                        break err;
                    }
                }
                // In one piece: messages of others are of no interest here.
                message = incoming.next() => if let Err(ended) = message {
                    break chain(&ended);
                },
                () = due(beat.as_deref_mut()), if may_send => {
                    let report_id = self.next_report_id();
                    let begun = clock::instant();
                    match client.enqueue(self.payload.topic.as_str(), Payload::bytes(report_id), self.plan.qos, false).await {
                        Ok(delivery) => on_the_way.push(async move { (report_id, begun, delivery.await) }),
                        Err(err) => {
                            self.unanswered.push_back(report_id);
                            break chain(&err);
                        }
                    }
                }
                () = tokio::time::sleep(PATIENCE), if !has_more => break "no acknowledgement after the last message".to_owned(),
            }
        };
        // What is already acknowledged was acknowledged, whatever became of the connection.
        while let Some((report_id, begun, outcome)) = on_the_way.next().await {
            drop(self.done(report_id, begun, outcome));
        }
        Stop::Lost(lost)
    }

    fn next_report_id(&mut self) -> u64 {
        if let Some(report_id) = self.unanswered.pop_front() {
            self.tally.n_sent_again += 1;
            return report_id;
        }
        self.n_begun += 1;
        self.tally.n_sent += 1;
        self.plan.first_report_id.saturating_add(self.n_begun - 1)
    }

    /// An answer, or the end of the connection before it.
    fn done(&mut self, report_id: u64, begun: Instant, outcome: Result<(), RequestError>) -> Result<(), String> {
        if let Err(err) = outcome {
            self.unanswered.push_back(report_id);
            return Err(chain(&err));
        }
        self.tally.n_acknowledged += 1;
        self.tally.latencies.count(begun.elapsed());
        if let Some(acknowledged) = &self.acknowledged
            && let Err(err) = acknowledged.note(&self.member.thing, report_id)
        {
            self.tally.error(format!("cannot note what is acknowledged: {err}"));
        }
        Ok(())
    }
}

fn beat(delay: Duration, period: Duration) -> Interval {
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + delay, period);
    // A slow server gets the rate as soon as it can: the load is what was asked for.
    beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
    beat
}

async fn due(beat: Option<&mut Interval>) {
    if let Some(beat) = beat {
        beat.tick().await;
    }
}
