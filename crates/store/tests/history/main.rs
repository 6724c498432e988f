//! History: nothing lost, nothing twice, found again quickly, whatever happens to the files.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod crash;
mod damage;
mod faulty;
mod fleet;
mod listed;
mod whole;
