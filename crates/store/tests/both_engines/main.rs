//! What the store promises, on SQLite and on PostgreSQL.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step is a failed test"
)]

mod ca_certificates;
mod decisions;
mod detect_tasks;
mod effects;
mod engines;
mod fleet;
mod judging;
mod members;
mod outbox;
mod policies;
mod profiles;
mod tags;
mod thing_types;
mod topics;
mod violations;
