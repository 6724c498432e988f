//! The whole of it, as users have it: real binaries, real TLS, clients that others wrote.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a failed step fails the test, and only the tests' own patience is measured with clocks"
)]

mod admission;
mod clients;
mod crash;
mod data_plane;
mod fleet;
mod fleet_as_code;
mod history;
mod https;
mod leaving;
mod link;
mod metering;
mod mitigation;
mod operator;
mod own_network;
mod page;
mod quarantine;
mod refusals;
mod reports;
mod starts;
mod topics;
mod tutorial;
mod windows;
mod workshop;
