//! `picket-agent`: collects what a device does and reports it over MQTT with mutual TLS.
//!
//! A report says what the kernel says; counters are deltas and never a spike. The agent executes nothing and listens on
//! nothing.

fn main() {}
