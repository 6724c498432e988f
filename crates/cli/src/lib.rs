//! The operator's commands, noun verb, over the API and nothing else.
//!
//! Stdout is data, stderr is talk. This room never opens a database or a data directory.
