//! What is done about a violation.
//!
//! Two readers of the store's outbox: [`mitigate()`] takes decisions, [`notify()`] tells people. Both do what [`plan()`]
//! says, which is pure. Each violation and response meet once, whatever crashes in between; an alert is told at least
//! once, in order. This room never judges, and reads no clock: time comes in as a [`Clock`].

mod backoff;
mod client;
mod mitigate;
mod notify;
mod plan;

use std::sync::Arc;

use picket_model::time::Timestamp;

pub use backoff::Backoff;
pub use client::{BadClient, webhook_client};
pub use mitigate::{Enforcer, mitigate};
pub use notify::notify;
pub use plan::{Action, News, Step, plan};

/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
