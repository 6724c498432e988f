//! Starts everything in the order that the invariants need, and stops it in the opposite one.
//!
//! Decisions load before the listeners open; lanes are up to date before the first report is taken; what was acknowledged
//! is judged before the process ends, or at the next start.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use picket_detect::Engine;
use picket_endpoint::{Endpoint, EndpointConfig};
use picket_model::record::{Record, Stamped};
use picket_model::time::Timestamp;
use picket_store::log::{LogLimits, PartitionId, ReportLog, Seq, SqliteLog};
use picket_store::snapshots::SnapshotDir;
use picket_store::{Db, DbUrl, Position};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::Config;
use crate::directory::Directory;
use crate::feed;
use crate::first_start::DataDir;
use crate::gateway::Gateway;
use crate::live::LiveSessions;
use crate::pipeline::{Configs, Lane, LaneState};
use crate::snapshots::Keeper;
use crate::throttle::Throttle;
use crate::writer::{LogWriter, writer};

/// A running server.
pub struct Server {
    api_addr: SocketAddr,
    mqtt_addr: SocketAddr,
    shutdown: watch::Sender<bool>,
    failures: mpsc::Receiver<anyhow::Error>,
    tasks: JoinSet<()>,
    /// Held so that no second server uses the directory.
    _lock: std::fs::File,
}

/// What lanes, gateway and feed share.
struct Core {
    clock: Arc<Clock>,
    db: Db,
    log: Arc<SqliteLog>,
    writer: LogWriter,
    grew: watch::Receiver<u64>,
    shutdown: watch::Receiver<bool>,
    failed: mpsc::Sender<anyhow::Error>,
}

impl Server {
    // Order of start(), each step a function:
    //  1. DataDir::open, lock, authority, server certificate, operator's key (first start), databases.
    //  2. floors: the stamp of the last record of each partition (log.bounds, log.read(last), Stamped::decode).
    //  3. writer task; Db::claim -> positions with a new epoch.
    //  4. for each partition: engine from the snapshot (or new), Lane::replay up to applied_seq; then Record::Clock
    //     { old: floor, new: clock.now() } to every partition that has records; then Lane::run as a task.
    //  5. Directory::load: decisions before listeners.
    //  6. Endpoint::bind with Directory and Gateway; LiveSessions from its handle.
    //  7. feed::run, Keeper::run, respond's notify and mitigate, a task that calls clock.follow_wall() every second and
    //     writes Record::Clock to every partition (and Throttle::forget) when it says so; log trimming by age below
    //     snapshot_seq; retention of events.
    //  8. API listener last; then `ready`.
    // stop(): listeners first, then shutdown.send(true), then the lanes finish what is in the log, Keeper saves, the writer
    // ends when the last LogWriter is dropped.
}
