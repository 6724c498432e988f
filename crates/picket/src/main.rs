//! `picket`: the server, the demo, and the operator's commands in one binary.
//!
//! This room parses the command line and hands over. It holds no rule and keeps no state.

fn main() {}
