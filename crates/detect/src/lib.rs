//! Records to changes of violations: rules, windows, alarms.
//!
//! Pure: the same records give the same changes, bit for bit. This room reads no clock, keeps no files, and never learns
//! the time from anything but a record. Broker-side metrics, percentiles of the fleet and learned criteria give no
//! datapoints yet.
//!
//! Reading order: [`Engine`] takes the records of one partition. A `Rulebook` says which `Rule`s apply to a device,
//! the `Fleet` finds it. Each rule has a `Slot` on each of its devices: a `Window` for volumes, a pure `Check` of one
//! value, an `Alarm` that follows runs of breaches, and twice that once forged reports arrive. [`Explanation`] shows
//! it all; the snapshot keeps it all.

mod addresses;
mod alarm;
mod breach;
mod device;
mod engine;
mod explain;
mod fleet;
mod moment;
mod rule;
mod rulebook;
mod slot;
mod snapshot;
mod window;

pub use engine::{Counters, Engine};
pub use explain::{Breach, Clearing, Datapoint, Explanation, Measured, State, WindowContents, WindowEntry};
pub use snapshot::{BadSnapshot, snapshot_revision};
