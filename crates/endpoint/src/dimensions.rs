//! Which of the dimensions that somebody measures by a topic is in.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use picket_model::name::{DeviceName, DimensionName};
use picket_mqtt::topic;

/// Dimensions that are measured by at once: as many as AWS lets an account have.
pub(crate) const N_DIMENSIONS_MAX: usize = 10;

/// What stands for the client id in a filter.
const CLIENT_ID: &str = "${iot:ClientId}";

/// The dimensions that hold now. Whether they have changed is seen without a lock.
#[derive(Debug, Default)]
pub(crate) struct Dimensions {
    revision: AtomicU64,
    set: Mutex<Arc<DimensionSet>>,
}

/// Dimensions that hold together, sorted by name.
#[derive(Debug, Default)]
pub(crate) struct DimensionSet {
    pub(crate) revision: u64,
    dimensions: Vec<Dimension>,
}

#[derive(Debug)]
struct Dimension {
    name: DimensionName,
    /// Topic filters; those that are none match nothing and are left out.
    filters: Vec<Box<str>>,
}

/// One bit for each dimension of a set, from the lowest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inside(u16);

impl Dimensions {
    /// Grows with every change.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub(crate) fn now(&self) -> Arc<DimensionSet> {
        Arc::clone(&self.set.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From here on these hold, by name and with their filters; beyond [`N_DIMENSIONS_MAX`], the first by name.
    pub(crate) fn set(&self, mut dimensions: Vec<(DimensionName, Vec<String>)>) {
        dimensions.sort_by(|(a, _), (b, _)| a.cmp(b));
        dimensions.truncate(N_DIMENSIONS_MAX);
        let dimensions = dimensions.into_iter().map(|(name, filters)| Dimension {
            name,
            filters: filters
                .into_iter()
                .filter(|filter| topic::check_filter(filter).is_ok())
                .map(String::into_boxed_str)
                .collect(),
        });
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        *set = Arc::new(DimensionSet {
            revision: set.revision + 1,
            dimensions: dimensions.collect(),
        });
        self.revision.store(set.revision, Ordering::Release);
    }
}

impl DimensionSet {
    pub(crate) fn len(&self) -> usize {
        self.dimensions.len()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &DimensionName> {
        self.dimensions.iter().map(|dimension| &dimension.name)
    }

    /// The dimensions that the topic is in, for this client.
    pub(crate) fn matching(&self, client_id: &DeviceName, topic: &str) -> Inside {
        let is_in = |dimension: &Dimension| {
            let mut filters = dimension.filters.iter();
            filters.any(|filter| matches(filter, client_id.as_str(), topic))
        };
        let bits = (0..).zip(&self.dimensions).filter(|(_, dimension)| is_in(dimension));
        Inside(bits.fold(0, |bits, (n, _): (u32, _)| bits | 1 << n))
    }
}

impl Inside {
    /// Whether the topic is in the dimension at this place of the set.
    pub(crate) fn has(self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }
}

/// MQTT's rules; a client id is text, also where it holds what would be a wildcard.
fn matches(filter: &str, client_id: &str, topic: &str) -> bool {
    if !filter.contains(CLIENT_ID) {
        return topic::matches(filter, topic);
    }
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        let text = match wanted {
            "#" => return levels.next().is_some(),
            "+" if levels.next().is_some() => continue,
            "+" => return false,
            text if text.contains(CLIENT_ID) => Cow::Owned(text.replace(CLIENT_ID, client_id)),
            text => Cow::Borrowed(text),
        };
        // A client id may hold a slash, and then takes more than one level.
        if !text.split('/').all(|wanted| levels.next() == Some(wanted)) {
            return false;
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_in_a_dimension_if_one_of_its_filters_matches() {
        for (filters, client_id, topic, expected) in [
            (&["sensor/#"][..], "d", "sensor/1/2", true),
            (&["sensor/#"], "d", "sensor", false),
            (&["a", "b/+"], "d", "b/1", true),
            (&["a", "b/+"], "d", "b/1/2", false),
            (&[], "d", "a", false),
            (&["#"], "d", "$aws/things/d/defender/metrics/json", false),
            (&["+/things/${iot:ClientId}/#"], "d", "$aws/things/d/x", false),
            (&["$aws/things/${iot:ClientId}/#"], "d", "$aws/things/d/x", true),
            (&["$aws/things/${iot:ClientId}/#"], "d", "$aws/things/e/x", false),
            (&["devices/${iot:ClientId}"], "pump-7", "devices/pump-7", true),
            (&["devices/${iot:ClientId}"], "pump-7", "devices/pump-7/x", false),
            (&["devices/${iot:ClientId}/+"], "pump-7", "devices/pump-7/x", true),
            (&["devices/${iot:ClientId}/+"], "pump-7", "devices/pump-7", false),
            (&["devices/${iot:ClientId}/#"], "pump-7", "devices/pump-7", false),
            (&["devices/x-${iot:ClientId}-y"], "7", "devices/x-7-y", true),
            (&["devices/${iot:ClientId}/t"], "a/b", "devices/a/b/t", true),
            (&["devices/${iot:ClientId}"], "#", "devices/anything", false),
            (&["devices/${iot:ClientId}"], "+", "devices/anything", false),
            (&["devices/${iot:ThingName}"], "d", "devices/d", false),
            (&["a/#/b", "a#"], "d", "a/x/b", false),
        ] {
            let dimensions = Dimensions::default();
            let filters = filters.iter().copied().map(str::to_owned).collect();
            dimensions.set(vec![("one".parse().unwrap(), filters)]);
            let inside = dimensions.now().matching(&client_id.parse().unwrap(), topic);
            assert_eq!(inside.has(0), expected, "{topic} of {client_id}");
        }
    }

    #[test]
    fn dimensions_are_bounded_and_sorted() {
        let dimensions = Dimensions::default();
        let names = (0..12).rev();
        let all = names.map(|n| (format!("d{n:02}").parse().unwrap(), vec![format!("t/{n}")]));
        dimensions.set(all.collect());
        let set = dimensions.now();
        assert_eq!(
            (set.len(), set.revision, dimensions.revision()),
            (N_DIMENSIONS_MAX, 1, 1)
        );
        let inside = set.matching(&"d".parse().unwrap(), "t/9");
        let found: Vec<bool> = (0..set.len()).map(|at| inside.has(at)).collect();
        assert_eq!(
            found,
            [false, false, false, false, false, false, false, false, false, true]
        );
    }
}
