//! The endpoint as devices meet it: real TLS, real sockets, real clients. Only the registry and the log behind it are
//! stand-ins, because they live in other rooms.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test harness: what cannot be unwrapped fails the test"
)]

mod authorization;
mod certificates;
mod clients;
mod cost;
mod hostile;
mod lifecycle;
mod limits;
mod memory;
mod metering;
mod races;
mod raw;
mod reports;
mod sessions;
mod world;
