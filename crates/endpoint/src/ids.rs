//! Numbers for connections, none of which is ever used twice.

use std::sync::atomic::{AtomicU64, Ordering};

use picket_model::time::Timestamp;

/// Connections that may come in a millisecond of the endpoint's life, on average.
const PER_MILLISECOND: u64 = 1 << 20;

/// Numbers connections.
#[derive(Debug)]
pub(crate) struct ConnectionIds {
    next: AtomicU64,
    /// Drawn at the start: tells the connections of two endpoints apart even if somebody set the clock back between them.
    run: u64,
}

impl ConnectionIds {
    /// Numbers that begin with the time, so that those of a later start come after these.
    pub(crate) fn starting(at: Timestamp, run: u64) -> Self {
        let millis = u64::try_from(at.millis()).unwrap_or_default();
        Self {
            next: AtomicU64::new(millis.wrapping_mul(PER_MILLISECOND)),
            run,
        }
    }

    /// A number that no connection has had.
    pub(crate) fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// What lifecycle events call the connection: 32 hexadecimal digits.
    pub(crate) fn session_identifier(&self, connection: u64) -> String {
        format!("{:016x}{connection:016x}", self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_start_goes_on_after_an_earlier_one() {
        let ids = |millis, run| ConnectionIds::starting(Timestamp::from_millis(millis), run);
        let (early, late) = (ids(1_767_225_600_000, 1), ids(1_767_225_600_001, 2));
        let numbers = [early.next(), early.next(), late.next(), late.next()];
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        let text = early.session_identifier(numbers[0]);
        assert_eq!(text, format!("0000000000000001{:016x}", 1_767_225_600_000_u64 << 20));
        assert_eq!(text.len(), 32);
    }
}
