//! Records to changes of violations: rules, windows, alarms.
//!
//! Pure: the same records give the same changes, bit for bit. This room reads no clock, keeps no files, and never learns
//! the time from anything but a record.
