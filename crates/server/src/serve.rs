//! Starts everything in the order that the invariants need, and stops it in the opposite one.
//!
//! Decisions load before the listeners open; lanes are up to date before the first report is taken; what was acknowledged
//! is judged before the process ends, or at the next start.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail};
use picket_api::{ApiState, KeyRing};
use picket_detect::{Engine, snapshot_revision};
use picket_endpoint::{Endpoint, EndpointConfig, Limits};
use picket_model::record::Stamped;
use picket_model::time::Timestamp;
use picket_pki::{Authority, KeyKind};
use picket_respond::{Backoff, Letterhead, Signer, apply_tasks, deliver, mitigate, notify, publish, webhook_client};
use picket_store::effects::Position;
use picket_store::log::{LogLimits, PartitionId, ReportLog, Seq, SqliteLog};
use picket_store::snapshots::SnapshotDir;
use picket_store::{Db, DbUrl};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::broker::EndpointBroker;
use crate::clock::Clock;
use crate::config::{Config, DeviceKey};
use crate::directory::Directory;
use crate::explain::Engines;
use crate::feed;
use crate::first_start::{self, DataDir, OperatorServer};
use crate::gateway::Gateway;
use crate::live::LiveSessions;
use crate::pipeline::{Configs, Lane, LaneState, locked};
use crate::signing::Signing;
use crate::snapshots::{Keeper, KeptLane};
use crate::throttle::Throttle;
use crate::writer::{LogWriter, writer};

/// Fresh records that are kept in memory, so that lanes do not go to the disk for them.
const LOG_TAIL_BYTES_MAX: usize = 64 << 20;

/// How often the wall clock is compared with ours.
const CLOCK_CHECK_EVERY: Duration = Duration::from_secs(1);

/// How long a stop waits for devices and clients, and then for the work behind them.
const GOODBYE_MAX: Duration = Duration::from_secs(5);
const STOP_MAX: Duration = Duration::from_secs(20);

/// How long a webhook that does not answer 2xx is left alone, at first and at most.
const WEBHOOK_BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(60),
};

/// How long the database is left alone that does not take an alert for a topic, at first and at most.
const PUBLISH_BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(5),
};

/// A running server.
pub struct Server {
    api_addr: SocketAddr,
    mqtt_addr: SocketAddr,
    failures: mpsc::Receiver<anyhow::Error>,
    doors: Stage,
    work: Stage,
    log: Stage,
}

/// Tasks that end together.
struct Stage {
    shutdown: watch::Sender<bool>,
    tasks: JoinSet<()>,
    failed: mpsc::Sender<anyhow::Error>,
}

/// Goes with a task, and says so when that ends although nobody wanted it to: a server that takes reports and no longer
/// judges them is worse than none.
struct Guard {
    task: &'static str,
    shutdown: watch::Receiver<bool>,
    failed: mpsc::Sender<anyhow::Error>,
}

/// What the parts of the server share.
struct Core {
    config: Config,
    data: DataDir,
    clock: Arc<Clock>,
    db: Db,
    log: Arc<SqliteLog>,
    writer: LogWriter,
    configs: Arc<Configs>,
    failed: mpsc::Sender<anyhow::Error>,
}

impl Server {
    /// Starts on a data directory, which is made if it is not there.
    ///
    /// # Errors
    /// The directory, an address or what is stored cannot be used: the chain of causes says what was found.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        if !config.api_listen.ip().is_loopback() {
            bail!(
                "api_listen is {}, expected an address of this machine only (127.0.0.1 or ::1): the API speaks plain HTTP",
                config.api_listen
            );
        }
        let data = DataDir::open(&config.data)?;
        let clock = Arc::new(Clock::start());
        let authority = Arc::new(data.authority(clock.now())?);
        let (log, db) = open(&config, &data).await?;
        let ring = data.key_ring(db.access_keys(None, 1).await?.is_empty())?;
        let floors = floors(&*log, config.n_partitions).await?;
        let (log_writer, writer_task) = writer(Arc::clone(&log), Arc::clone(&clock), config.log_linger, floors);
        let (failed, failures) = mpsc::channel(1);
        let configs = Arc::new(Configs::new(db.clone()));
        let core = Core {
            config,
            data,
            clock,
            db,
            log,
            writer: log_writer,
            configs,
            failed,
        };

        let mut log_stage = Stage::new(&core.failed);
        log_stage.spawn("the report log's writer", |shutdown| writer_task.run(shutdown));
        let lanes = core.lanes().await?;
        let directory = Arc::new(Directory::load(core.db.clone(), &core.config, Arc::clone(&core.clock)).await?);
        let gateway = Arc::new(core.gateway(&directory));
        let endpoint = core.endpoint(&authority, &directory, &gateway).await?;
        let mqtt_addr = endpoint.local_addr();
        let ports = (mqtt_addr.port(), endpoint.local_alpn_addr().map(|addr| addr.port()));
        let live = Arc::new(LiveSessions {
            directory,
            sessions: endpoint.handle(),
        });
        let engines = Arc::new(Engines::new(
            lanes.iter().map(|(lane, _)| Arc::clone(&lane.state)).collect(),
        ));
        let api_listener = TcpListener::bind(core.config.api_listen)
            .await
            .with_context(|| format!("cannot listen on {}", core.config.api_listen))?;
        let api_addr = api_listener.local_addr()?;
        let server = OperatorServer {
            endpoint: format!("http://{api_addr}"),
            region: &core.config.region,
        };
        first_start::operator_key(&core.data, &core.db, &ring, server, core.clock.now()).await?;
        let (signing, letterhead) = core.signing(&authority, api_addr);
        let state = core.api_state(authority, ring, Arc::clone(&live), engines, signing, ports);

        let carried = feed::Carried::new(0);
        let router = feed::answer_when_carried(picket_api::router(state), &core.db, &carried);
        let work = core.work(lanes, &live, carried, letterhead)?;
        let mut doors = Stage::new(&core.failed);
        doors.spawn("the endpoint", |shutdown| endpoint.run(over(shutdown)));
        doors.spawn("the API", |shutdown| {
            serve_api(api_listener, router, shutdown, core.failed.clone())
        });
        tracing::info!(api = %api_addr, mqtt = %mqtt_addr, data = %core.config.data.display(), "serving");
        Ok(Self {
            api_addr,
            mqtt_addr,
            failures,
            doors,
            work,
            log: log_stage,
        })
    }

    /// Where the API listens.
    pub fn api_addr(&self) -> SocketAddr {
        self.api_addr
    }

    /// Where devices arrive.
    pub fn mqtt_addr(&self) -> SocketAddr {
        self.mqtt_addr
    }

    /// Completes when the server cannot go on, with the reason.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.failures.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Sends devices away, finishes what is under way, and saves how far everything is.
    ///
    /// # Errors
    /// A part of the server failed while it stopped: the next start does what is left.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.doors.end(GOODBYE_MAX).await;
        self.work.end(STOP_MAX).await;
        self.log.end(STOP_MAX).await;
        match self.failures.try_recv() {
            Ok(error) => Err(error),
            Err(_) => Ok(()),
        }
    }
}

impl Stage {
    fn new(failed: &mpsc::Sender<anyhow::Error>) -> Self {
        Self {
            shutdown: watch::Sender::new(false),
            tasks: JoinSet::new(),
            failed: failed.clone(),
        }
    }

    /// Runs a task that ends after shutdown only.
    fn spawn<F>(&mut self, name: &'static str, task: impl FnOnce(watch::Receiver<bool>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let guard = Guard {
            task: name,
            shutdown: self.shutdown.subscribe(),
            failed: self.failed.clone(),
        };
        let task = task(self.shutdown.subscribe());
        self.tasks.spawn(async move {
            let _guard = guard;
            task.await;
        });
    }

    async fn end(mut self, patience: Duration) {
        self.shutdown.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!(n_tasks = self.tasks.len(), "tasks did not end in time and are dropped");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // What it said when it panicked is on stderr. The first reason is enough.
        if std::thread::panicking() {
            let _ = self.failed.try_send(anyhow::anyhow!("{} panicked", self.task));
        } else if !*self.shutdown.borrow() {
            let _ = self.failed.try_send(anyhow::anyhow!("{} ended", self.task));
        }
    }
}

impl Core {
    /// One lane per partition, caught up with what is stored, with its position; then every partition is told that time
    /// has passed while nobody listened.
    async fn lanes(&self) -> anyhow::Result<Vec<(Lane<SqliteLog>, KeptLane)>> {
        let snapshots = self.snapshots()?;
        let positions = self.db.claim(self.config.n_partitions).await?;
        let mut lanes = Vec::with_capacity(positions.len());
        for position in &positions {
            lanes.push(self.lane(position, &snapshots).await?);
        }
        if self.writer.look_at_clock().await.is_err() {
            // A full log must not keep the server from starting: it is how space is made.
            tracing::warn!("the log does not take that the server was down, it is told before anything else");
        }
        Ok(lanes)
    }

    async fn lane(&self, position: &Position, snapshots: &SnapshotDir) -> anyhow::Result<(Lane<SqliteLog>, KeptLane)> {
        let partition = position.partition;
        let next = self.log.bounds(partition).await?.next;
        if next <= position.applied_seq {
            // New records would take the numbers of judged ones, and nobody would judge them.
            bail!(
                "the report log would go on with record {next} of partition {partition}, but the database holds what follows \
                 from records up to {}: the two are not of the same time, put the log back that belongs to the database",
                position.applied_seq
            );
        }
        let (engine, seen) = self.engine(position, snapshots).await?;
        let snapshot = (seen, engine.revision());
        let state = Arc::new(Mutex::new(LaneState {
            engine,
            judged: seen,
            applied: seen,
        }));
        let lane = Lane {
            partition,
            epoch: position.epoch,
            log: Arc::clone(&self.log),
            db: self.db.clone(),
            configs: Arc::clone(&self.configs),
            state: Arc::clone(&state),
            clock: Arc::clone(&self.clock),
            writer: self.writer.clone(),
        };
        lane.replay(position, seen.next()).await?;
        let marked = locked(&state).applied;
        Ok((
            lane,
            KeptLane {
                partition,
                epoch: position.epoch,
                state,
                marked,
                snapshot,
            },
        ))
    }

    /// The engine as it was saved last, and the last record that it has seen.
    async fn engine(&self, position: &Position, snapshots: &SnapshotDir) -> anyhow::Result<(Engine, Seq)> {
        let partition = position.partition;
        let n_unregistered_max = Engine::UNREGISTERED_MAX / usize::from(self.config.n_partitions);
        let new = || (Engine::bounded(n_unregistered_max), Seq(0));
        let restored = match snapshots.load(partition) {
            Ok(None) => return Ok(new()),
            // A crash between file and mark leaves a snapshot that is newer than its mark, never one ahead of `applied`.
            Ok(Some((seq, bytes))) if seq <= position.applied_seq => {
                let config = self.configs.of(snapshot_revision(&bytes)?).await?;
                Engine::restore(&bytes, config)
                    .map(|engine| (engine, seq))
                    .map_err(anyhow::Error::from)
            }
            Ok(Some((seq, _))) => Err(anyhow::anyhow!(
                "snapshot reaches to record {seq}, effects only to {}",
                position.applied_seq
            )),
            Err(error) => Err(error.into()),
        };
        match restored {
            Ok(restored) => Ok(restored),
            Err(error) if self.log.bounds(partition).await?.first <= Seq(1) => {
                tracing::warn!(%partition, "snapshot is not used, the log is judged again from its start: {error:#}");
                Ok(new())
            }
            Err(error) => Err(error.context(format!("partition {partition} cannot be restored"))),
        }
    }

    fn snapshots(&self) -> anyhow::Result<SnapshotDir> {
        Ok(SnapshotDir::open(&self.data.snapshots())?)
    }

    fn gateway(&self, directory: &Arc<Directory>) -> Gateway {
        Gateway {
            clock: Arc::clone(&self.clock),
            directory: Arc::clone(directory),
            throttle: Mutex::new(Throttle::new(self.config.report_rate)),
            writer: self.writer.clone(),
            n_partitions: self.config.n_partitions,
        }
    }

    async fn endpoint(
        &self,
        authority: &Authority,
        directory: &Arc<Directory>,
        gateway: &Arc<Gateway>,
    ) -> anyhow::Result<Endpoint> {
        let server = self
            .data
            .server_certificate(authority, &self.config.endpoint_names, self.clock.now())?;
        let chain = [server.certificate_pem.as_str(), authority.certificate_pem()].concat();
        let config = EndpointConfig {
            listen: self.config.mqtt_listen,
            listen_alpn: self.config.mqtt_alpn_listen,
            certificate_chain: CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>()?,
            private_key: PrivateKeyDer::from_pem_slice(server.private_key_pem.as_bytes())?,
            limits: Limits::default(),
            clock: {
                let clock = Arc::clone(&self.clock);
                Arc::new(move || clock.now())
            },
        };
        Ok(Endpoint::bind(config, Arc::clone(directory), Arc::clone(gateway)).await?)
    }

    fn api_state(
        &self,
        authority: Arc<Authority>,
        keys: KeyRing,
        live: Arc<LiveSessions>,
        explainer: Arc<Engines>,
        signing: Arc<Signing>,
        (mqtt_port, mqtt_alpn_port): (u16, Option<u16>),
    ) -> ApiState {
        let clock = Arc::clone(&self.clock);
        ApiState {
            db: self.db.clone(),
            broker: Arc::new(EndpointBroker(live.sessions.clone())),
            live,
            explainer,
            message_certificate: signing,
            account_id: self.config.account_id.clone(),
            region: self.config.region.clone(),
            endpoint_names: self.config.endpoint_names.clone(),
            mqtt_port,
            mqtt_alpn_port,
            authority,
            key_kind: match self.config.device_key {
                DeviceKey::P256 => KeyKind::P256,
                DeviceKey::Rsa2048 => KeyKind::Rsa2048,
            },
            clock: Arc::new(move || clock.now()),
            keys,
        }
    }

    /// Everything behind the doors: lanes, feed, responses, clock, saving.
    fn work(
        &self,
        lanes: Vec<(Lane<SqliteLog>, KeptLane)>,
        live: &Arc<LiveSessions>,
        carried: feed::Carried,
        letterhead: Letterhead,
    ) -> anyhow::Result<Stage> {
        let mut work = Stage::new(&self.failed);
        let (lanes, kept): (Vec<_>, Vec<_>) = lanes.into_iter().unzip();
        for lane in lanes {
            let failed = self.failed.clone();
            work.spawn("judging", |shutdown| async move {
                if let Err(error) = lane.run(shutdown).await {
                    // The first reason is enough.
                    let _ = failed.try_send(anyhow::Error::from(error).context("judging cannot go on"));
                }
            });
        }
        let keeper = Keeper {
            db: self.db.clone(),
            log: Arc::clone(&self.log),
            clock: Arc::clone(&self.clock),
            snapshots: self.snapshots()?,
            lanes: kept,
            log_age_max: self.config.log_age_max,
        };
        let failed = self.failed.clone();
        work.spawn("saving progress", |shutdown| async move {
            if let Err(error) = keeper.run(shutdown).await {
                let _ = failed.try_send(anyhow::Error::from(error).context("progress cannot be saved any more"));
            }
        });
        work.spawn("carrying registry changes", |shutdown| {
            feed::run(
                self.db.clone(),
                self.writer.clone(),
                self.config.n_partitions,
                carried,
                shutdown,
            )
        });
        let clock = Arc::clone(&self.clock);
        let now: picket_respond::Clock = Arc::new(move || clock.now());
        let (enforcer, time) = (Arc::clone(live), Arc::clone(&now));
        work.spawn("quarantining", |shutdown| {
            mitigate(self.db.clone(), enforcer, time, over(shutdown))
        });
        let enforcer = Arc::clone(live);
        work.spawn("mitigation tasks", |shutdown| {
            apply_tasks(self.db.clone(), enforcer, now, over(shutdown))
        });
        work.spawn("following the clock", |shutdown| {
            follow_clock(Arc::clone(&self.clock), self.writer.clone(), shutdown)
        });
        self.tell(&mut work, letterhead)?;
        Ok(work)
    }

    /// What messages to subscribers are signed by, and what else they carry.
    fn signing(&self, authority: &Arc<Authority>, api_addr: SocketAddr) -> (Arc<Signing>, Letterhead) {
        let signing = Arc::new(Signing::new(
            self.data.clone(),
            Arc::clone(authority),
            Arc::clone(&self.clock),
        ));
        let url = self.config.api_url.clone();
        let letterhead = Letterhead {
            base_url: url.unwrap_or_else(|| format!("http://{api_addr}")),
            signer: Arc::clone(&signing) as Arc<dyn Signer>,
        };
        (signing, letterhead)
    }

    /// Who tells people: the webhooks of responses, and whoever is subscribed to topics.
    fn tell(&self, work: &mut Stage, letterhead: Letterhead) -> anyhow::Result<()> {
        let client = webhook_client(None)?;
        let clock = Arc::clone(&self.clock);
        let now: picket_respond::Clock = Arc::new(move || clock.now());
        work.spawn("alerting", |shutdown| {
            notify(self.db.clone(), client.clone(), WEBHOOK_BACKOFF, over(shutdown))
        });
        work.spawn("publishing alerts", |shutdown| {
            let account_id = self.config.account_id.clone();
            publish(
                self.db.clone(),
                account_id,
                PUBLISH_BACKOFF,
                Arc::clone(&now),
                over(shutdown),
            )
        });
        work.spawn("delivering messages", |shutdown| {
            let backoff = Backoff::default();
            deliver(self.db.clone(), client, backoff, letterhead, now, over(shutdown))
        });
        Ok(())
    }
}

async fn open(config: &Config, data: &DataDir) -> anyhow::Result<(Arc<SqliteLog>, Db)> {
    data.close_databases()?;
    let limits = LogLimits {
        size_bytes_max: config.log_size_bytes_max,
        tail_bytes_max: LOG_TAIL_BYTES_MAX,
    };
    let log = SqliteLog::open(&data.log(), config.n_partitions, limits).await?;
    let db = Db::open(&DbUrl::Sqlite(data.registry())).await?;
    Ok((Arc::new(log), db))
}

/// The stamp of the last record of each partition; the epoch where there is none.
async fn floors<L: ReportLog>(log: &L, n_partitions: u16) -> anyhow::Result<Vec<Timestamp>> {
    let mut floors = Vec::with_capacity(n_partitions.into());
    for partition in (0..n_partitions).map(PartitionId) {
        let next = log.bounds(partition).await?.next;
        let last = Seq(next.0.saturating_sub(1));
        let read = if last == Seq(0) {
            Vec::new()
        } else {
            log.read(partition, last, 1).await?
        };
        floors.push(match read.first() {
            Some((_, bytes)) => Stamped::decode(bytes)?.at,
            None => Timestamp::default(),
        });
    }
    Ok(floors)
}

/// Has every partition told when the wall clock was set, also when nobody reports anything.
async fn follow_clock(clock: Arc<Clock>, writer: LogWriter, mut shutdown: watch::Receiver<bool>) {
    while !*shutdown.borrow() {
        tokio::select! {
            () = tokio::time::sleep(CLOCK_CHECK_EVERY) => {}
            _ = shutdown.changed() => return,
        }
        if clock.is_apart() && writer.look_at_clock().await.is_err() {
            tracing::error!("the log does not take that the clock was set, deadlines wait until it does");
        }
    }
}

async fn serve_api(
    listener: TcpListener,
    router: axum::Router,
    shutdown: watch::Receiver<bool>,
    failed: mpsc::Sender<anyhow::Error>,
) {
    let served = picket_api::serve(listener, router, picket_api::Limits::default(), over(shutdown));
    if let Err(error) = served.await {
        // The first reason is enough.
        let _ = failed.try_send(anyhow::Error::from(error).context("the API cannot go on listening"));
    }
}

/// Completes when the stage ends.
async fn over(mut shutdown: watch::Receiver<bool>) {
    // Whoever would say so is gone: that is an end as well.
    let _ = shutdown.wait_for(|is_over| *is_over).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_before_its_time_is_a_failure_of_the_server() {
        async fn panics(mut shutdown: watch::Receiver<bool>, when_stopped: bool) {
            if when_stopped {
                let _ = shutdown.changed().await;
            }
            panic!("as the test wants it");
        }
        async fn ends(mut shutdown: watch::Receiver<bool>, when_stopped: bool) {
            if when_stopped {
                let _ = shutdown.changed().await;
            }
        }
        for (does_panic, when_stopped, expected) in [
            (true, false, Some("judging panicked")),
            (true, true, Some("judging panicked")),
            (false, false, Some("judging ended")),
            (false, true, None),
        ] {
            let (failed, mut failures) = mpsc::channel(1);
            let mut stage = Stage::new(&failed);
            drop(failed);
            if does_panic {
                stage.spawn("judging", |shutdown| panics(shutdown, when_stopped));
            } else {
                stage.spawn("judging", |shutdown| ends(shutdown, when_stopped));
            }
            let said = if when_stopped {
                stage.end(Duration::from_secs(30)).await;
                failures.recv().await
            } else {
                failures.recv().await
            };
            let said = said.map(|error| error.to_string());
            assert_eq!(said.as_deref(), expected, "{does_panic} {when_stopped}");
        }
    }
}
