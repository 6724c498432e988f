//! What clients do, into the report log: comings and goings at once, everything else once a second.
//!
//! While the log takes nothing, nothing is forgotten and nothing grows without end: what clients do adds up, and what
//! comes and goes waits in its order. See [`tallies`] and [`presences`] for how much there may be of each.

mod presences;
mod tallies;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use picket_endpoint::Handle;
use picket_endpoint::doors::Ledger;
use picket_model::connection::DisconnectReason;
use picket_model::meter::{ClientMeter, Meter, Presence};
use picket_model::name::{DeviceName, DimensionName};
use picket_model::profile::JudgingConfig;
use picket_model::record::Record;
use picket_store::log::{PartitionId, partition_of};
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

use crate::writer::{LogWriter, NotStored};
use presences::{Change, Presences};
use tallies::Tallies;

/// How often what clients do is collected and written: the age of the oldest that a crash loses.
const COLLECT_EVERY: Duration = Duration::from_secs(1);

/// Comings and goings that are handed to the log at once: a small part of what may wait there, so that reports have room
/// however many devices come back together.
const ROUND_MAX: usize = 1024;

/// How long to wait before comings and goings that the log refused are tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Takes down what clients do, for the log.
#[derive(Debug)]
pub(crate) struct Metering {
    n_partitions: u16,
    presences: Mutex<Presences>,
    tallies: Mutex<Tallies>,
    /// Somebody came or went.
    has_changed: Notify,
}

impl Metering {
    /// Nothing taken down yet.
    pub(crate) fn new(n_partitions: u16) -> Self {
        Self {
            n_partitions,
            presences: Mutex::default(),
            tallies: Mutex::default(),
            has_changed: Notify::new(),
        }
    }

    /// Writes until `shutdown`, and then what is left.
    pub(crate) async fn run(self: Arc<Self>, sessions: Handle, writer: LogWriter, shutdown: watch::Receiver<bool>) {
        tokio::join!(
            self.write_presences(&writer, shutdown.clone()),
            self.write_tallies(&sessions, &writer, shutdown)
        );
    }

    async fn write_presences(&self, writer: &LogWriter, mut shutdown: watch::Receiver<bool>) {
        loop {
            let round = self.presences().round(ROUND_MAX);
            if round.is_empty() {
                if *shutdown.borrow() {
                    return;
                }
                tokio::select! {
                    () = self.has_changed.notified() => {}
                    _ = shutdown.changed() => {}
                }
                continue;
            }
            let record = |change: &Change| (self.partition(change.client_id()), change.record());
            let are_written = write(writer, round.iter().map(record).collect()).await;
            let (is_refused, n_lost) = self.settle(round, &are_written);
            if 0 < n_lost {
                tracing::warn!(
                    n_lost,
                    "connections came and went while the log took nothing, and are not in it"
                );
            }
            if is_refused {
                if *shutdown.borrow() {
                    return;
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Says whether any was refused, and otherwise how many are lost for good since it was said last.
    fn settle(&self, round: Vec<Change>, are_written: &[bool]) -> (bool, u64) {
        let mut presences = self.presences();
        for (change, is_written) in round.into_iter().zip(are_written) {
            presences.settle(change, *is_written);
        }
        let is_refused = are_written.contains(&false);
        (is_refused, if is_refused { 0 } else { presences.take_lost() })
    }

    async fn write_tallies(&self, sessions: &Handle, writer: &LogWriter, mut shutdown: watch::Receiver<bool>) {
        let mut second = tokio::time::interval(COLLECT_EVERY);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                _ = second.tick() => false,
                _ = shutdown.wait_for(|is_over| *is_over) => true,
            };
            let (meters, n_lost) = {
                let mut tallies = self.tallies();
                for meter in sessions.take_meters() {
                    tallies.add(meter);
                }
                let partition = |client_id: &DeviceName| self.partition(client_id);
                (tallies.take(partition), tallies.take_lost())
            };
            if 0 < n_lost {
                tracing::warn!(
                    n_lost,
                    "more clients did something than can be counted while the log takes nothing"
                );
            }
            let record = |(partition, meter): &(_, Meter)| (*partition, Record::Meter(meter.clone()));
            let are_written = write(writer, meters.iter().map(record).collect()).await;
            for ((_, meter), is_written) in meters.into_iter().zip(are_written) {
                if !is_written {
                    self.tallies().put_back(meter);
                }
            }
            if is_last {
                return;
            }
        }
    }

    fn partition(&self, client_id: &DeviceName) -> PartitionId {
        partition_of(client_id.as_str(), self.n_partitions)
    }

    fn presences(&self) -> MutexGuard<'_, Presences> {
        self.presences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tallies(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger for Metering {
    fn connected(&self, presence: Presence) {
        self.presences().come(presence);
        self.has_changed.notify_one();
    }

    fn disconnected(&self, presence: Presence, reason: DisconnectReason) {
        // It is us who went. The next start says so to every partition.
        if reason != DisconnectReason::ServerInitiated {
            self.presences().go(presence, reason);
            self.has_changed.notify_one();
        }
    }

    fn refused(&self, attempt: ClientMeter) {
        self.tallies().add(attempt);
    }
}

/// Hands all records over before the first is waited for; says which are durable.
async fn write(writer: &LogWriter, records: Vec<(PartitionId, Record)>) -> Vec<bool> {
    let mut waiting = Vec::with_capacity(records.len());
    for (partition, record) in records {
        waiting.push(writer.enqueue(partition, record).await);
    }
    let mut are_written = Vec::with_capacity(waiting.len());
    for durable in waiting {
        are_written.push(match durable {
            Ok(durable) => matches!(durable.await, Ok(Ok(_))),
            Err(NotStored) => false,
        });
    }
    are_written
}

/// The dimensions that a behavior is judged by, or a metric is kept by, of profiles that are attached to anything.
pub(crate) fn dimensions_in_use(config: &JudgingConfig) -> Vec<(DimensionName, Vec<String>)> {
    let attached = config.profiles.iter().filter(|profile| !profile.targets.is_empty());
    let named = attached.flat_map(|profile| {
        let judged = profile.behaviors.iter().map(|behavior| &behavior.dimension);
        judged.chain(profile.retained.iter().map(|retained| &retained.dimension))
    });
    let names: BTreeSet<_> = named.flatten().map(|dimension| &dimension.name).collect();
    let filters = |name: &DimensionName| config.dimensions.get(name).cloned();
    names
        .into_iter()
        .filter_map(|name| Some((name.clone(), filters(name)?)))
        .collect()
}
