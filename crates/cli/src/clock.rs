//! The only place in this room that reads a clock.

use picket_model::time::Timestamp;

/// Now, by this machine's wall clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}

/// Now, in the zone of this machine.
pub(crate) fn zoned() -> jiff::ZonedDateTime {
    jiff::ZonedDateTime::now()
}
