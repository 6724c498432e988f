//! The server: wires the rooms together and gives them what only the outside has: clocks, signals, a data directory.
//!
//! Nothing is judged, parsed, authorized or stored here; this room only carries values between the rooms that do. It
//! must never hold a rule about devices.
//!
//! Reading order: `pipeline` (the way of a report, top to bottom), `gateway` and `writer` (into the log), `directory` and
//! `live` (who may come in, and what a change does to who is there), `metering` (what clients do, into the log), [`serve`]
//! (how all of it starts and stops).

mod api_door;
mod broker;
mod clock;
pub mod config;
mod directory;
mod explain;
mod exports;
mod feed;
mod first_start;
mod gateway;
mod history;
mod identity;
mod live;
mod metering;
mod percentiles;
mod pipeline;
pub mod replay;
pub mod serve;
mod signing;
mod snapshots;
mod stage;
mod throttle;
mod writer;
