//! What comes of a record.

use std::sync::Arc;

use picket_model::behavior::MetricDimension;
use picket_model::fleet::FleetSample;
use picket_model::name::DeviceName;
use picket_model::time::Timestamp;
use picket_model::value::MetricValue;
use picket_model::violation::ViolationChange;

/// What comes of a record, in an order that depends on the records alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What changed about violations.
    pub changes: Vec<ViolationChange>,
    /// What this partition contributes to percentiles of windows that have closed.
    pub samples: Vec<FleetSample>,
    /// Values that go out over MQTT.
    pub exports: Vec<Export>,
}

/// A value of a metric that a profile sends out.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// The topic of the profile.
    pub topic: Arc<str>,
    /// The device.
    pub thing: DeviceName,
    /// The metric's name. Sizes of messages go out as three: `aws:message-byte-size:min`, `:max` and `:sum`, since AWS sends
    /// the three but does not say what they are called.
    pub metric: String,
    /// What narrows the metric to topics.
    pub dimension: Option<MetricDimension>,
    /// The value.
    pub value: MetricValue,
    /// Of when: the receive time of a report, the end of a window.
    pub at: Timestamp,
}

impl Outcome {
    /// Whether nothing came of it.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.samples.is_empty() && self.exports.is_empty()
    }

    /// Adds what came of the next record.
    pub fn append(&mut self, mut next: Self) {
        self.changes.append(&mut next.changes);
        self.samples.append(&mut next.samples);
        self.exports.append(&mut next.exports);
    }
}
