//! The operator's commands, noun verb, over the API and nothing else; a file of the operator's may be looked at without it.
//!
//! Stdout is data, stderr is talk. This room never opens a database or a data directory.

mod arn;
mod certificate;
mod client;
mod clock;
mod command;
mod credentials;
mod desk;
mod endpoint;
mod explanation;
mod failure;
mod field;
mod fleet;
mod group;
mod import;
mod key;
mod lint;
mod metric;
mod output;
mod policy;
mod profile;
mod response;
mod starter;
mod thing;
mod topic;
mod violation;

pub use command::{Command, EXIT_CODES, Options, run};
