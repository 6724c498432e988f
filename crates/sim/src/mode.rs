//! Whether a device is healthy or compromised, and how it says what it does.

use picket_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What an intruder does on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Attack {
    /// Send 3,000 random characters instead of temperatures
    Payload,
    /// Send a burst of bytes over a connection to an address of this machine
    Exfiltrate,
    /// Listen on a new TCP port of this machine's loopback
    Backdoor,
    /// Connect to many new addresses, all of them this machine's loopback
    Scan,
    /// Publish many messages
    Flood,
}

/// What a device was told to do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    /// When it was told so, epoch milliseconds; names the order.
    pub(crate) at_millis: i64,
    /// What to do, all of it at once.
    pub(crate) attacks: Vec<Attack>,
    /// When it ends by itself, epoch milliseconds.
    pub(crate) until_millis: i64,
    /// Where a backdoor listens; 0 takes any port.
    pub(crate) port: u16,
    /// How many bytes are exfiltrated.
    pub(crate) n_bytes: u64,
    /// How many addresses are connected to.
    pub(crate) n_remotes: u16,
    /// How many messages are published in a second.
    pub(crate) n_messages_per_sec: u16,
}

impl Order {
    /// Whether this attack is part of it.
    pub(crate) fn has(&self, attack: Attack) -> bool {
        self.attacks.contains(&attack)
    }

    /// Whether it still holds.
    pub(crate) fn holds_at(&self, now: Timestamp) -> bool {
        now.millis() < self.until_millis
    }
}

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Status {
    /// `connecting`, `connected` or `refused`.
    pub(crate) connection: Connection,
    /// Since when, epoch milliseconds.
    pub(crate) since_millis: i64,
    /// Why there is no connection, if so.
    pub(crate) reason: Option<String>,
    /// How many readings the server has taken.
    pub(crate) n_acknowledged: u64,
    /// How many attempts to connect failed.
    pub(crate) n_refused: u64,
    /// The last reading that the server has taken; its beginning, if it is long.
    pub(crate) last_reading: Option<String>,
    /// What the device does besides or instead of its work.
    pub(crate) compromise: Option<Compromise>,
}

/// Whether a device has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Connection {
    Connecting,
    Connected,
    Refused,
}

/// What a compromised device says that it does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Compromise {
    /// The order's time.
    pub(crate) at_millis: i64,
    /// The attacks.
    pub(crate) attacks: Vec<Attack>,
    /// In words, with addresses and numbers.
    pub(crate) detail: String,
    /// Whether it could not be done.
    pub(crate) is_failed: bool,
}

impl Status {
    /// Of a device that has just started.
    pub(crate) fn at_start(now: Timestamp) -> Self {
        Self {
            connection: Connection::Connecting,
            since_millis: now.millis(),
            reason: None,
            n_acknowledged: 0,
            n_refused: 0,
            last_reading: None,
            compromise: None,
        }
    }

    /// The connection changed.
    pub(crate) fn enter(&mut self, connection: Connection, reason: Option<String>, now: Timestamp) {
        if self.connection != connection {
            self.since_millis = now.millis();
        }
        (self.connection, self.reason) = (connection, reason);
    }
}
