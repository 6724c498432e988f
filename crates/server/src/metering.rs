//! What clients do, into the report log: comings and goings at once, everything else once a second.
//!
//! While the log takes nothing, nothing is forgotten and nothing grows without end: what clients do adds up, and what
//! comes and goes waits in its order. See [`tallies`] and [`presences`] for how much there may be of each.

mod presences;
mod tallies;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

    /// Writes until `shutdown`, and then what is left. `collect` says what clients have done since it was asked last.
    pub(crate) async fn run(
        self: Arc<Self>,
        collect: impl Fn() -> Vec<ClientMeter>,
        writer: LogWriter,
        shutdown: watch::Receiver<bool>,
    ) {
        tokio::join!(
            self.write_presences(&writer, shutdown.clone()),
            self.write_tallies(&collect, &writer, shutdown)
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

    async fn write_tallies(
        &self,
        collect: &impl Fn() -> Vec<ClientMeter>,
        writer: &LogWriter,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let mut second = tokio::time::interval(COLLECT_EVERY);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                _ = second.tick() => false,
                _ = shutdown.wait_for(|is_over| *is_over) => true,
            };
            let (meters, n_lost) = {
                let mut tallies = self.tallies();
                for meter in collect() {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU32, Ordering};

    use bytes::Bytes;
    use picket_model::behavior::{Behavior, MetricDimension};
    use picket_model::meter::Tally;
    use picket_model::name::CertificateId;
    use picket_model::profile::{JudgedProfile, Target};
    use picket_model::record::Stamped;
    use picket_model::time::Timestamp;
    use picket_store::log::{Append, Bounds, Fill, LogError, ReportLog, Seq};

    use super::*;
    use crate::clock::Clock;
    use crate::writer::writer;

    /// A log that refuses the first appends, and two of three after that.
    #[derive(Default)]
    struct Moody {
        n_appends: AtomicU32,
        taken: watch::Sender<Vec<Record>>,
    }

    impl ReportLog for Moody {
        async fn append(&self, records: Vec<Append>) -> Result<Vec<Seq>, LogError> {
            let n_before = self.n_appends.fetch_add(1, Ordering::Relaxed);
            if n_before < 4 || !n_before.is_multiple_of(3) {
                return refused();
            }
            let decoded = records.iter().map(|it| Stamped::decode(&it.bytes).unwrap().record);
            self.taken.send_modify(|taken| taken.extend(decoded));
            Ok(Vec::new())
        }

        async fn read(&self, _: PartitionId, _: Seq, _: usize) -> Result<Vec<(Seq, Bytes)>, LogError> {
            refused()
        }

        async fn bounds(&self, _: PartitionId) -> Result<Bounds, LogError> {
            refused()
        }

        async fn fill(&self) -> Result<Fill, LogError> {
            refused()
        }

        async fn trim(&self, _: PartitionId, _: Seq) -> Result<(), LogError> {
            refused()
        }

        fn watch_next(&self, _: PartitionId) -> Result<watch::Receiver<Seq>, LogError> {
            refused()
        }
    }

    fn refused<T>() -> Result<T, LogError> {
        Err(LogError::NoPartition {
            found: PartitionId(0),
            n_partitions: 1,
        })
    }

    fn presence(client_id: &str, connection: u64) -> Presence {
        Presence {
            client_id: client_id.parse().unwrap(),
            is_genuine: true,
            connection,
            certificate: CertificateId::from_bytes([1; 32]),
            address: [192, 0, 2, 1].into(),
        }
    }

    /// One message that a client was sent.
    fn heard(client_id: &str) -> ClientMeter {
        ClientMeter {
            client_id: client_id.parse().unwrap(),
            is_genuine: true,
            certificate: CertificateId::from_bytes([1; 32]),
            n_refused_attempts: 0,
            n_authorization_failures: 0,
            total: Tally {
                n_received: 1,
                ..Tally::default()
            },
            dimensions: vec![],
        }
    }

    #[tokio::test]
    async fn what_a_moody_log_refuses_is_written_once_and_in_order() {
        const N_CLIENTS: u64 = 5;
        let log = Arc::new(Moody::default());
        let mut taken = log.taken.subscribe();
        let floors = vec![Timestamp::default(); 2];
        let (log_writer, task) = writer(Arc::clone(&log), Arc::new(Clock::start()), Duration::ZERO, floors);
        let shutdown = watch::Sender::new(false);
        let writing = tokio::spawn(task.run(shutdown.subscribe()));
        let metering = Arc::new(Metering::new(2));
        let n_collected = Arc::new(AtomicU32::new(0));
        let collect = {
            let n_collected = Arc::clone(&n_collected);
            move || {
                n_collected.fetch_add(1, Ordering::Relaxed);
                vec![heard("c0"), heard("c1")]
            }
        };
        let over = watch::Sender::new(false);
        let running = tokio::spawn(Arc::clone(&metering).run(collect, log_writer, over.subscribe()));
        for client in 0..N_CLIENTS {
            let name = format!("c{client}");
            for connection in 0..2 {
                metering.connected(presence(&name, connection));
                metering.disconnected(presence(&name, connection), DisconnectReason::ConnectionLost);
            }
            metering.connected(presence(&name, 2));
            // It is us who go: nothing of the device.
            metering.disconnected(presence(&name, 2), DisconnectReason::ServerInitiated);
        }
        let is_presence = |record: &&Record| !matches!(record, Record::Meter(_));
        let all = usize::try_from(N_CLIENTS * 5).unwrap();
        let has_all = |taken: &Vec<Record>| taken.iter().filter(is_presence).count() == all;
        let patience = Duration::from_secs(60);
        drop(
            tokio::time::timeout(patience, taken.wait_for(has_all))
                .await
                .unwrap()
                .unwrap(),
        );
        over.send_replace(true);
        running.await.unwrap();
        shutdown.send_replace(true);
        writing.await.unwrap();

        let mut orders: BTreeMap<String, String> = BTreeMap::new();
        let mut n_received = 0;
        for record in &*log.taken.borrow() {
            let (presence, sign) = match record {
                Record::Connected(presence) => (presence, '+'),
                Record::Disconnected(presence, _) => (presence, '-'),
                Record::Meter(meter) => {
                    n_received += meter.clients.iter().map(|client| client.total.n_received).sum::<u32>();
                    continue;
                }
                other => panic!("{other:?} was not to be written"),
            };
            let order = orders.entry(presence.client_id.to_string()).or_default();
            order.push_str(&format!("{sign}{}", presence.connection));
        }
        assert_eq!(orders.len(), 5);
        assert!(orders.values().all(|order| order == "+0-0+1-1+2"), "{orders:?}");
        // What the log had not taken at the stop is still here.
        let left = metering.tallies().take(|_| PartitionId(0)).into_iter();
        let n_left: u32 = left
            .flat_map(|(_, meter)| meter.clients)
            .map(|client| client.total.n_received)
            .sum();
        assert_eq!(n_received + n_left, 2 * n_collected.load(Ordering::Relaxed));
    }

    #[test]
    fn only_dimensions_that_something_attached_names_are_measured_by() {
        let by = |name: &str| {
            Some(MetricDimension {
                name: name.parse().unwrap(),
                operator: None,
            })
        };
        let profile = |name: &str, dimension, targets| {
            Arc::new(JudgedProfile {
                name: name.parse().unwrap(),
                behaviors: vec![Arc::new(Behavior {
                    name: "b".parse().unwrap(),
                    metric: None,
                    dimension,
                    criteria: None,
                    suppress_alerts: None,
                    export_metric: None,
                })],
                targets,
                retained: vec![],
                export_topic: None,
            })
        };
        let filters = |name: &str| (name.parse().unwrap(), vec![format!("{name}/#")]);
        let all = vec![Target::AllThings];
        let config = JudgingConfig {
            profiles: vec![
                profile("p1", by("used"), all.clone()),
                profile("p2", by("used"), all.clone()),
                profile("p3", by("idle"), vec![]),
                profile("p4", by("gone"), all.clone()),
                profile("p5", None, all),
            ],
            dimensions: ["used", "idle", "unnamed"].map(filters).into(),
            ..JudgingConfig::default()
        };
        assert_eq!(dimensions_in_use(&config), [filters("used")]);
    }
}
