//! The only SQL, and the only files of the server.
//!
//! What this room has said is stored is on the disk. It never judges, never talks to a device and reads no clock: every
//! time comes in as an argument.
//!
//! Reading order: [`db`] (one SQL text for SQLite and PostgreSQL), [`outbox`] (how a transaction tells the rest of the
//! server what it did), then what is stored.

pub mod access;
pub mod custom_metrics;
pub mod db;
pub mod decisions;
pub mod detect_tasks;
pub mod dimensions;
pub mod effects;
pub mod fleet;
pub mod history;
pub mod judging;
pub mod log;
pub mod mitigation_actions;
pub mod outbox;
pub mod profiles;
pub mod registry;
pub mod requests;
pub mod responses;
pub mod snapshots;
mod sql;
pub mod topics;
mod tx;
pub mod violations;

pub use db::{Db, DbUrl, StoreError};
pub use outbox::OutboxItem;
pub use tx::Tx;
