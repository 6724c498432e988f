//! What is done about violations, over a real database and real sockets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod apply;
mod mitigate;
mod notify;
mod receiver;
mod story;
mod topics;
