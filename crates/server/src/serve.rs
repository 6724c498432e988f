//! Starts everything in the order that the invariants need, and stops it in the opposite one.
//!
//! Decisions load before the listeners open; lanes are up to date before the first report is taken; what was acknowledged
//! is judged before the process ends, or at the next start.

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
use picket_store::history::History;
use picket_store::log::{LogLimits, PartitionId, ReportLog, Seq, SqliteLog};
use picket_store::snapshots::SnapshotDir;
use picket_store::{Db, DbUrl};
use tokio::sync::{mpsc, watch};

use crate::api_door::{ApiDoor, certificate_names};
use crate::broker::EndpointBroker;
use crate::clock::Clock;
use crate::config::{Config, DeviceKey};
use crate::directory::Directory;
use crate::explain::Engines;
use crate::exports::{ExportTask, Exporter, Exports, exporter};
use crate::feed::{self, Feed, Measured};
use crate::first_start::{self, DataDir, OperatorServer};
use crate::gateway::Gateway;
use crate::history::{self, HistoryLane};
use crate::identity::Identity;
use crate::live::LiveSessions;
use crate::metering::Metering;
use crate::percentiles::Merger;
use crate::pipeline::{Configs, Lane, LaneState, locked};
use crate::signing::Signing;
use crate::snapshots::{Keeper, KeptLane};
use crate::stage::{Stage, over};
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
    api_url: String,
    mqtt_addr: SocketAddr,
    failures: mpsc::Receiver<anyhow::Error>,
    doors: Stage,
    work: Stage,
    log: Stage,
}

/// What the parts of the server share.
struct Core {
    config: Config,
    data: DataDir,
    clock: Arc<Clock>,
    db: Db,
    log: Arc<SqliteLog>,
    history: Arc<History>,
    writer: LogWriter,
    exporter: Exporter,
    configs: Arc<Configs>,
    failed: mpsc::Sender<anyhow::Error>,
}

impl Server {
    /// Starts on a data directory, which is made if it is not there.
    ///
    /// # Errors
    /// The directory, an address or what is stored cannot be used: the chain of causes says what was found.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let data = DataDir::open(&config.data)?;
        let clock = Arc::new(Clock::start());
        let authority = Arc::new(data.authority(clock.now())?);
        let (log, history, db) = open(&config, &data).await?;
        let ring = data.key_ring(db.access_keys(None, 1).await?.is_empty())?;
        let floors = floors(&*log, config.n_partitions).await?;
        let (log_writer, writer_task) = writer(Arc::clone(&log), Arc::clone(&clock), config.log_linger, floors);
        let (failed, failures) = mpsc::channel(1);
        let configs = Arc::new(Configs::new(db.clone()));
        let (exporter, exports) = exporter();
        let core = Core {
            config,
            data,
            clock,
            db,
            log,
            history,
            writer: log_writer,
            exporter,
            configs,
            failed,
        };

        let mut log_stage = Stage::new(&core.failed);
        log_stage.spawn("the report log's writer", |shutdown| writer_task.run(shutdown));
        let lanes = core.lanes().await?;
        let directory = Arc::new(Directory::load(core.db.clone(), &core.config, Arc::clone(&core.clock)).await?);
        let gateway = Arc::new(core.gateway(&directory));
        let identity = core.identity(&authority)?;
        let metering = Arc::new(Metering::new(core.config.n_partitions));
        let endpoint = core.endpoint(identity.clone(), &directory, &gateway, &metering).await?;
        let mqtt_addr = endpoint.local_addr();
        let ports = (mqtt_addr.port(), endpoint.local_alpn_addr().map(|addr| addr.port()));
        let live = Arc::new(LiveSessions {
            directory,
            sessions: endpoint.handle(),
        });
        let engines = Arc::new(Engines::new(
            lanes.iter().map(|(lane, _)| Arc::clone(&lane.state)).collect(),
        ));
        let door = ApiDoor::bind(&core.config, identity).await?;
        let (api_addr, api_url) = (door.addr, door.url.clone());
        let server = OperatorServer {
            endpoint: door.url.clone(),
            region: &core.config.region,
            ca_file: door.ca_file.clone(),
        };
        first_start::operator_key(&core.data, &core.db, &ring, server, core.clock.now()).await?;
        let (signing, letterhead) = core.signing(&authority, &api_url);
        let state = core.api_state(authority, ring, Arc::clone(&live), engines, signing, ports);

        let carried = feed::Carried::new(0);
        let router = feed::answer_when_carried(picket_api::router(state), &core.db, &carried);
        let measured = core.measured(&live);
        measured.follow().await?;
        let mut work = core.work(lanes, &live, exports, (carried, measured), letterhead)?;
        core.meter(&mut work, metering, &live);
        let mut doors = Stage::new(&core.failed);
        doors.spawn("the endpoint", |shutdown| endpoint.run(over(shutdown)));
        doors.spawn("the API", |shutdown| door.serve(router, shutdown, core.failed.clone()));
        tracing::info!(api = %api_addr, mqtt = %mqtt_addr, url = %api_url, data = %core.config.data.display(), "serving");
        Ok(Self {
            api_addr,
            api_url,
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

    /// The address that clients of the API are given: `http://` or `https://`, a host and a port.
    pub fn api_url(&self) -> &str {
        &self.api_url
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
            exporter: self.exporter.clone(),
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

    /// Who the server is, for devices and, where no other is given, for clients of the API.
    fn identity(&self, authority: &Authority) -> anyhow::Result<Identity> {
        let names = certificate_names(&self.config);
        let server = self.data.server_certificate(authority, &names, self.clock.now())?;
        let chain = [server.certificate_pem.as_str(), authority.certificate_pem()].concat();
        Identity::from_pem(chain.as_bytes(), server.private_key_pem.as_bytes())
            .context("the server's certificate in the data directory cannot be used")
    }

    async fn endpoint(
        &self,
        identity: Identity,
        directory: &Arc<Directory>,
        gateway: &Arc<Gateway>,
        metering: &Arc<Metering>,
    ) -> anyhow::Result<Endpoint> {
        let config = EndpointConfig {
            listen: self.config.mqtt_listen,
            listen_alpn: self.config.mqtt_alpn_listen,
            certificate_chain: identity.chain,
            private_key: identity.key,
            limits: Limits::default(),
            clock: {
                let clock = Arc::clone(&self.clock);
                Arc::new(move || clock.now())
            },
        };
        let (directory, gateway) = (Arc::clone(directory), Arc::clone(gateway));
        Ok(Endpoint::bind(config, directory, gateway, Arc::clone(metering)).await?)
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
            history: Arc::clone(&self.history),
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
        exports: Exports,
        (carried, measured): (feed::Carried, Measured),
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
            history: Arc::clone(&self.history),
            lanes: kept,
            log_age_max: self.config.log_age_max,
        };
        let failed = self.failed.clone();
        work.spawn("saving progress", |shutdown| async move {
            if let Err(error) = keeper.run(shutdown).await {
                let _ = failed.try_send(anyhow::Error::from(error).context("progress cannot be saved any more"));
            }
        });
        self.chronicle(&mut work);
        work.spawn("carrying registry changes", |shutdown| {
            let feed = Feed::new(self.writer.clone(), self.config.n_partitions, measured);
            feed::run(feed, carried, shutdown)
        });
        let exports = ExportTask::new(exports, live.sessions.clone());
        work.spawn("sending values out", |shutdown| exports.run(shutdown));
        let merger = Merger {
            db: self.db.clone(),
            writer: self.writer.clone(),
            clock: Arc::clone(&self.clock),
            n_partitions: self.config.n_partitions,
        };
        work.spawn("percentiles of the fleet", |shutdown| merger.run(shutdown));
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

    fn meter(&self, work: &mut Stage, metering: Arc<Metering>, live: &LiveSessions) {
        let (sessions, writer) = (live.sessions.clone(), self.writer.clone());
        work.spawn("metering", |shutdown| {
            metering.run(move || sessions.take_meters(), writer, shutdown)
        });
    }

    /// What the endpoint measures by.
    fn measured(&self, live: &LiveSessions) -> Measured {
        Measured {
            db: self.db.clone(),
            configs: Arc::clone(&self.configs),
            sessions: live.sessions.clone(),
        }
    }

    /// Whoever carries the log into history.
    fn chronicle(&self, work: &mut Stage) {
        for partition in (0..self.config.n_partitions).map(PartitionId) {
            let lane = HistoryLane {
                partition,
                log: Arc::clone(&self.log),
                history: Arc::clone(&self.history),
                clock: Arc::clone(&self.clock),
            };
            work.spawn("keeping history", |shutdown| lane.run(shutdown));
        }
        let (history, clock) = (Arc::clone(&self.history), Arc::clone(&self.clock));
        work.spawn("tending history", |shutdown| history::tend(history, clock, shutdown));
    }

    /// What messages to subscribers are signed by, and what else they carry.
    fn signing(&self, authority: &Arc<Authority>, api_url: &str) -> (Arc<Signing>, Letterhead) {
        let signing = Arc::new(Signing::new(
            self.data.clone(),
            Arc::clone(authority),
            Arc::clone(&self.clock),
        ));
        let url = self.config.api_url.clone();
        let letterhead = Letterhead {
            base_url: url.unwrap_or_else(|| api_url.to_owned()),
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

async fn open(config: &Config, data: &DataDir) -> anyhow::Result<(Arc<SqliteLog>, Arc<History>, Db)> {
    data.close_databases()?;
    let limits = LogLimits {
        size_bytes_max: config.log_size_bytes_max,
        tail_bytes_max: LOG_TAIL_BYTES_MAX,
    };
    let log = SqliteLog::open(&data.log(), config.n_partitions, limits).await?;
    let history = history::open(config, data, &log).await?;
    let db = Db::open(&DbUrl::Sqlite(data.registry())).await?;
    db.set_strict_aws_timing(config.strict_aws_timing).await?;
    Ok((Arc::new(log), history, db))
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
