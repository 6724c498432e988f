//! Records of the report log: all that an engine ever reads.

mod metering;
mod wire;

use std::sync::Arc;

use crate::connection::DisconnectReason;
use crate::fleet::Threshold;
use crate::meter::{Meter, Presence};
use crate::name::{CertificateId, DeviceName, ThingGroupName, ThingName};
use crate::profile::JudgingConfig;
use crate::report::Report;
use crate::time::Timestamp;

pub use wire::BadRecord;

/// One record of a partition of the report log, with the time that the gateway stamped it with.
/// Stamps never go back within a partition, except at a [`Record::Clock`].
#[derive(Clone, Debug, PartialEq)]
pub struct Stamped {
    /// The server's time at which the record was made: the only time that judging knows.
    pub at: Timestamp,
    /// What happened.
    pub record: Record,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A device reported.
    Report(Box<ReportRecord>),
    /// From here on the configuration of this revision holds. A revision already applied is ignored.
    Config {
        /// Which revision.
        revision: u64,
    },
    /// From here on the thing is registered or not, and in these groups.
    Member(Member),
    /// A deadline that the engine asked for has passed.
    Tick,
    /// The server's clock was set, or the server was down between the two: deadlines shift by the difference.
    Clock {
        /// What the clock would have said.
        old: Timestamp,
        /// What it says now.
        new: Timestamp,
    },
    /// What clients did lately: at most one a second in a partition. Times within it are lost; the stamp is not before
    /// any of it.
    Meter(Meter),
    /// A client's connection was accepted. Also an attempt to connect, and activity from its address.
    Connected(Presence),
    /// A client's connection ended.
    Disconnected(Presence, DisconnectReason),
    /// The server begins anew: no connection of before is left. Their ends say nothing about the devices.
    SessionsEnded,
    /// The fleet's percentile in a window that every partition has closed.
    Threshold(Threshold),
}

/// A report as the log holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportRecord {
    /// The thing in the topic, which the report speaks for.
    pub thing: DeviceName,
    /// First 16 bytes of the SHA-256 of the payload as received.
    pub payload_hash: [u8; 16],
    /// Who sent it.
    pub sender: Sender,
    /// What it says.
    pub report: Report,
}

/// Who sent a report. A loose policy lets a device speak for others, so this is evidence, not identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The certificate of the connection.
    pub certificate: CertificateId,
    /// The connection's client id.
    pub client_id: DeviceName,
    /// Whether the certificate was attached to the thing of the topic when the report arrived. Only such reports
    /// support an automatic quarantine.
    pub is_attached: bool,
}

/// What the registry says of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which thing.
    pub thing: ThingName,
    /// Whether it is in the registry.
    pub is_registered: bool,
    /// Its groups with all their ancestors, sorted, each once.
    pub groups: Vec<ThingGroupName>,
}

/// What an engine is fed: a record, with the configuration resolved that a [`Record::Config`] only names.
#[derive(Clone, Debug)]
pub struct Input {
    /// The record.
    pub stamped: Stamped,
    /// `Some` exactly when the record is a [`Record::Config`].
    pub config: Option<Arc<JudgingConfig>>,
}
