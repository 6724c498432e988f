//! The nouns of Picket: names, times, reports, datapoints, behaviors, profiles, violations, topics, and the bytes they
//! travel as.
//!
//! This room knows no other room, reads no clock, opens no file and no socket. A value that exists here is right by its
//! type: everything is parsed once, at the edge. Serde derives live in `wire` modules only.
//!
//! Reading order: [`name`], [`time`], [`metric`], [`value`], [`report`], [`meter`], [`behavior`], [`profile`], [`fleet`],
//! [`record`], [`violation`], [`sns`], [`connection`].

pub mod behavior;
pub mod connection;
pub mod fleet;
pub mod meter;
pub mod metric;
pub mod name;
pub mod profile;
pub mod record;
pub mod report;
pub mod sns;
pub mod time;
pub mod topic;
pub mod value;
pub mod violation;
