//! Records to changes of violations: rules, windows, alarms.
//!
//! Pure: the same records give the same changes, bit for bit. This room reads no clock, keeps no files, and never learns
//! the time from anything but a record. Learned criteria have values and judge nothing yet.
//!
//! Reading order: [`Engine`] takes the records of one partition. A `Rulebook` says which `Rule`s apply to a device, each
//! with the `Source` of its values; the `Fleet` finds the device. Each rule has a `Slot` on each of its devices: a `Judge`
//! with its `Window` or `Bucket` and its `Alarm`, and twice that once forged reports arrive. `closing` ends aligned windows
//! and compares with the fleet, `clients` takes what the broker measured. [`Explanation`] shows it all; the snapshot keeps
//! it all.

mod addresses;
mod alarm;
mod breach;
mod bucket;
mod clients;
mod closing;
mod conduct;
mod device;
mod engine;
mod explain;
mod fleet;
mod judge;
mod moment;
mod outcome;
mod presence;
mod rule;
mod rulebook;
mod slot;
mod snapshot;
mod source;
mod window;

pub use engine::{Counters, Engine};
pub use explain::{
    Breach, Clearing, Datapoint, Explanation, Measured, Offender, Percentile, RunningWindow, State, WindowContents,
    WindowEntry,
};
pub use outcome::{Export, Outcome};
pub use snapshot::{BadSnapshot, snapshot_revision};
