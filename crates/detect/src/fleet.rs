//! The devices of a partition: found by name, and those that are not registered in the order in which they were seen.

use std::collections::HashMap;

use picket_model::name::DeviceName;

use crate::device::Device;

/// A device's place. Differs between an engine and its restored copy; nothing may depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeviceKey(usize);

/// All devices that there is state of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    /// Never walked: its order is random.
    places: HashMap<DeviceName, DeviceKey>,
    berths: Vec<Berth>,
    vacant: Vec<DeviceKey>,
    /// The two ends of the list of strangers.
    oldest: Option<DeviceKey>,
    newest: Option<DeviceKey>,
    n_strangers: usize,
}

/// A place for a device, and its neighbours in the list of strangers.
#[derive(Clone, Debug)]
struct Berth {
    device: Option<Device>,
    is_stranger: bool,
    older: Option<DeviceKey>,
    newer: Option<DeviceKey>,
}

impl Fleet {
    /// How many devices there are.
    pub(crate) fn n_devices(&self) -> usize {
        self.places.len()
    }

    /// How many of them are strangers: not in the registry, so that their number must be bounded.
    pub(crate) fn n_strangers(&self) -> usize {
        self.n_strangers
    }

    /// The place of the device of this name.
    pub(crate) fn find(&self, name: &DeviceName) -> Option<DeviceKey> {
        self.places.get(name).copied()
    }

    /// The device at this place, if one is still there.
    pub(crate) fn device(&self, DeviceKey(place): DeviceKey) -> Option<&Device> {
        self.berths.get(place)?.device.as_ref()
    }

    /// The device at this place, if one is still there.
    pub(crate) fn device_mut(&mut self, DeviceKey(place): DeviceKey) -> Option<&mut Device> {
        self.berths.get_mut(place)?.device.as_mut()
    }

    /// All places with a device, in no order that means anything.
    pub(crate) fn keys(&self) -> impl Iterator<Item = DeviceKey> + use<'_> {
        let is_taken = |(_, berth): &(usize, &Berth)| berth.device.is_some();
        self.berths
            .iter()
            .enumerate()
            .filter(is_taken)
            .map(|(place, _)| DeviceKey(place))
    }

    /// Takes a device in. There must be none of that name.
    pub(crate) fn insert(&mut self, device: Device) -> DeviceKey {
        let key = self.vacant.pop().unwrap_or(DeviceKey(self.berths.len()));
        self.places.insert(device.name.clone(), key);
        let berth = Berth {
            device: Some(device),
            is_stranger: false,
            older: None,
            newer: None,
        };
        match self.berths.get_mut(key.0) {
            Some(vacant) => *vacant = berth,
            None => self.berths.push(berth),
        }
        key
    }

    /// Lets a device go.
    pub(crate) fn remove(&mut self, key: DeviceKey) -> Option<Device> {
        self.acquaint(key);
        let device = self.berths.get_mut(key.0)?.device.take()?;
        self.places.remove(&device.name);
        self.vacant.push(key);
        Some(device)
    }

    /// Makes the device the stranger that was seen last.
    pub(crate) fn estrange(&mut self, key: DeviceKey) {
        if self.newest == Some(key) {
            return;
        }
        self.acquaint(key);
        let before = self.newest.replace(key);
        match before {
            Some(before) => self.berth_mut(before).newer = Some(key),
            None => self.oldest = Some(key),
        }
        let berth = self.berth_mut(key);
        berth.is_stranger = true;
        berth.older = before;
        self.n_strangers += 1;
    }

    /// Makes the device one that is known: takes it from the list of strangers, if it is on it.
    pub(crate) fn acquaint(&mut self, key: DeviceKey) {
        let berth = self.berth_mut(key);
        if !std::mem::take(&mut berth.is_stranger) {
            return;
        }
        let (older, newer) = (berth.older.take(), berth.newer.take());
        match older {
            Some(older) => self.berth_mut(older).newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.berth_mut(newer).older = older,
            None => self.newest = older,
        }
        self.n_strangers -= 1;
    }

    /// The stranger that was not seen for longest.
    pub(crate) fn oldest_stranger(&self) -> Option<DeviceKey> {
        self.oldest
    }

    /// The strangers, the one not seen for longest first.
    pub(crate) fn strangers(&self) -> impl Iterator<Item = DeviceKey> + use<'_> {
        std::iter::successors(self.oldest, |&key| self.berth(key).newer)
    }

    /// Whether the device is on the list of strangers.
    pub(crate) fn is_stranger(&self, key: DeviceKey) -> bool {
        self.berth(key).is_stranger
    }

    fn berth(&self, DeviceKey(place): DeviceKey) -> &Berth {
        &self.berths[place]
    }

    fn berth_mut(&mut self, DeviceKey(place): DeviceKey) -> &mut Berth {
        &mut self.berths[place]
    }
}
