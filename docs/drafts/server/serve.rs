//! Starts everything in the order that the invariants need, and stops it in the opposite one.
//!
//! Decisions load before the listeners open; lanes are up to date before the first report is taken; what was acknowledged
//! is judged before the process ends, or at the next start.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use picket_detect::Engine;
use picket_endpoint::Endpoint;
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
use crate::pipeline::{Configs, Lane, LaneState};
use crate::snapshots::Keeper;
use crate::throttle::Throttle;
use crate::writer::{LogWriter, writer};
