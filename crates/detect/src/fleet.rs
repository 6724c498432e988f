//! The devices of a partition: found by name, and those that are not registered in the order in which they were seen.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use picket_model::name::DeviceName;

use crate::device::Device;

/// A device's place. Differs between an engine and its restored copy; nothing may depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeviceKey(u32);

/// All devices that there is state of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    /// By the hash of the device's name, which stands in its berth. Never walked: its order is random.
    places: HashTable<DeviceKey>,
    hasher: RandomState,
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
        let is_it = |&key: &DeviceKey| self.device(key).is_some_and(|device| device.name == *name);
        self.places.find(self.hasher.hash_one(name), is_it).copied()
    }

    /// The device at this place, if one is still there.
    pub(crate) fn device(&self, key: DeviceKey) -> Option<&Device> {
        self.berths.get(key.place())?.device.as_ref()
    }

    /// The device at this place, if one is still there.
    pub(crate) fn device_mut(&mut self, key: DeviceKey) -> Option<&mut Device> {
        self.berths.get_mut(key.place())?.device.as_mut()
    }

    /// All places with a device, in no order that means anything.
    pub(crate) fn keys(&self) -> impl Iterator<Item = DeviceKey> + use<'_> {
        let taken = |(key, berth): (u32, &Berth)| berth.device.as_ref().map(|_| DeviceKey(key));
        (0..).zip(&self.berths).filter_map(taken)
    }

    /// Takes a device in. There must be none of that name.
    pub(crate) fn insert(&mut self, device: Device) -> DeviceKey {
        let next = || DeviceKey(u32::try_from(self.berths.len()).unwrap_or(u32::MAX));
        let key = self.vacant.pop().unwrap_or_else(next);
        let hash = self.hasher.hash_one(&device.name);
        let berth = Berth {
            device: Some(device),
            is_stranger: false,
            older: None,
            newer: None,
        };
        match self.berths.get_mut(key.place()) {
            Some(vacant) => *vacant = berth,
            None => {
                if self.berths.len() == self.berths.capacity() {
                    // Doubling would leave half of a large fleet's memory unused.
                    self.berths.reserve_exact(64 + self.berths.len() / 8);
                }
                self.berths.push(berth);
            }
        }
        let (berths, hasher) = (&self.berths, &self.hasher);
        let rehash = |&key: &DeviceKey| {
            let device = berths.get(key.place()).and_then(|berth| berth.device.as_ref());
            device.map_or(0, |device| hasher.hash_one(&device.name))
        };
        self.places.insert_unique(hash, key, rehash);
        key
    }

    /// Lets a device go.
    pub(crate) fn remove(&mut self, key: DeviceKey) -> Option<Device> {
        self.acquaint(key);
        let device = self.berths.get_mut(key.place())?.device.take()?;
        let hash = self.hasher.hash_one(&device.name);
        if let Ok(entry) = self.places.find_entry(hash, |one| *one == key) {
            entry.remove();
        }
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

    fn berth(&self, key: DeviceKey) -> &Berth {
        &self.berths[key.place()]
    }

    fn berth_mut(&mut self, key: DeviceKey) -> &mut Berth {
        &mut self.berths[key.place()]
    }
}

impl DeviceKey {
    fn place(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}
