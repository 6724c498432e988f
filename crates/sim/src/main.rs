//! `picket-sim`: plays healthy and compromised devices, and whole fleets for load.
//!
//! It attacks loopback only, and everything it does is bounded in count and time.

fn main() {}
