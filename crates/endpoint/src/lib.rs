//! Where devices arrive: TLS, certificate to principal, sessions, authorization on every path.
//!
//! No packet goes in or out of a session that policy does not allow now. This room knows no registry, no log and no
//! database: it asks through the traits in [`doors`].
//!
//! Sessions, queues and retained messages are in memory: they do not survive a restart. A client that comes back then is
//! told so (session present is 0), as MQTT has it.
//!
//! Reading order: [`doors`], `listener` (sockets), `tls` (who may CONNECT), `session` (one connection), `live` and `rights`
//! (what it may do now), `mailbox` (what waits for it), `router` and `retained` (who gets a message), `table` (all
//! sessions), `facts` and `lifecycle` (what is told about connections), `metering` and `dimensions` (what clients do,
//! counted).
//!
//! Locks are taken in this order, and none is held across an await: table, rights, router, mailbox or retained. A session's
//! meter is taken after rights, and before the list of those that have counted.

mod counters;
mod dimensions;
pub mod doors;
mod facts;
mod handle;
mod ids;
mod lifecycle;
mod limits;
mod listener;
mod live;
mod mailbox;
mod memory;
mod message;
mod metering;
mod retained;
mod rights;
mod router;
mod session;
mod shared;
mod table;
mod tls;
mod web;

pub use counters::CountersSnapshot;
pub use facts::ConnectionFacts;
pub use handle::{Dismissal, Handle, NotPublished, Outgoing, Recheck, RetainedMessage};
pub use limits::Limits;
pub use listener::{BindError, Endpoint, EndpointConfig};
pub use web::web_server_config;
