//! The server: wires the rooms together and gives them what only the outside has: clocks, signals, a data directory.
//!
//! Nothing is judged, parsed, authorized or stored here; this room only carries values between the rooms that do. It
//! must never hold a rule about devices.

pub mod config;
