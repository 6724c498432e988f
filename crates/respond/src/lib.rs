//! What is done about a violation.
//!
//! Three readers of the store's outbox: [`mitigate()`] takes decisions, [`notify()`] tells people, both as [`plan()`] says,
//! which is pure; [`publish()`] publishes alerts to topics, whose messages [`deliver()`] carries to whoever is subscribed.
//! [`apply_tasks()`] does what operators ask for about many violations at once. Each violation and response meet once,
//! whatever crashes in between; an alert is told at least once, in order. This room never judges, and reads no clock: time
//! comes in as a [`Clock`].

mod apply;
mod backoff;
mod client;
mod deliver;
mod envelope;
mod mitigate;
mod notify;
mod plan;
mod publish;
mod worker;

use std::sync::Arc;

use picket_model::time::Timestamp;

pub use apply::apply_tasks;
pub use backoff::Backoff;
pub use client::{BadClient, webhook_client};
pub use deliver::{Letterhead, Signature, Signer, Unsigned, deliver};
pub use mitigate::{Enforcer, mitigate};
pub use notify::notify;
pub use plan::{Action, News, Step, plan};
pub use publish::publish;

/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
