//! An engine as bytes, and back.
//!
//! One byte of version, eight of the judging revision, then CBOR: the clock, the cohorts with the names of their rules
//! in the order of slots, the devices. Slots are found again by the names of profile and behavior, so that a version
//! of the engine that judges more of them than the one before can read its snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;

use minicbor::decode::Error as Malformed;
use minicbor::{Decoder, Encoder};
use picket_model::fleet::{Quantity, Threshold, WindowKey};
use picket_model::name::{BehaviorName, DeviceName, ProfileName};
use picket_model::profile::JudgingConfig;
use picket_model::time::Timestamp;

use crate::breach::Reading;
use crate::device::{Device, Former, SILENCE_MAX};
use crate::engine::Engine;
use crate::explain::Measured;
use crate::fleet::DeviceKey;
use crate::moment::{EngineClock, Moment};
use crate::rulebook::{Membership, Rulebook, Rules};
use crate::slot::Slot;

pub(crate) use fields::*;

mod fields;

/// The layout that this version writes and reads.
const VERSION: u8 = 3;

/// Version and revision.
const HEADER_BYTES: usize = 9;

/// Why bytes are no snapshot to go on from.
#[derive(Debug, thiserror::Error)]
pub enum BadSnapshot {
    /// Fewer bytes than a header.
    #[error("snapshot has {size_bytes} bytes, expected at least {HEADER_BYTES}")]
    TooShort {
        /// Bytes found.
        size_bytes: usize,
    },
    /// Of another layout: made by another version of the program.
    #[error("snapshot has layout {found}, expected {VERSION}")]
    Version {
        /// The layout found.
        found: u8,
    },
    /// The configuration passed in is not the one that was in force.
    #[error("snapshot was made under judging revision {found}, but revision {given} was passed in")]
    Revision {
        /// The snapshot's.
        found: u64,
        /// The configuration's.
        given: u64,
    },
    /// Damaged.
    #[error("snapshot is damaged")]
    Malformed(#[from] Malformed),
}

/// The judging revision whose configuration [`Engine::restore`] needs; 0 stands for the empty configuration.
///
/// # Errors
/// The bytes are too short, or of another layout.
pub fn snapshot_revision(bytes: &[u8]) -> Result<u64, BadSnapshot> {
    let too_short = BadSnapshot::TooShort {
        size_bytes: bytes.len(),
    };
    let Some((&version, rest)) = bytes.split_first() else {
        return Err(too_short);
    };
    if version != VERSION {
        return Err(BadSnapshot::Version { found: version });
    }
    rest.first_chunk()
        .map(|bytes| u64::from_be_bytes(*bytes))
        .ok_or(too_short)
}

impl Engine {
    /// The whole state as bytes. Two engines that were fed the same records give the same bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.revision().to_be_bytes());
        let mut encoder = Encoder::new(&mut bytes);
        // Writing into memory cannot fail.
        let _ = self.write(&mut encoder);
        bytes
    }

    /// The engine that a snapshot was taken of, under the configuration of [`snapshot_revision`].
    ///
    /// # Errors
    /// The bytes are damaged or of another layout, or the configuration is of another revision. The caller can
    /// restore an earlier snapshot and replay from there.
    pub fn restore(bytes: &[u8], config: Arc<JudgingConfig>) -> Result<Self, BadSnapshot> {
        let found = snapshot_revision(bytes)?;
        if found != config.revision {
            return Err(BadSnapshot::Revision {
                found,
                given: config.revision,
            });
        }
        let mut engine = Self::new();
        engine.rulebook.adopt(Arc::clone(&config), Moment::default());
        let mut decoder = Decoder::new(bytes.get(HEADER_BYTES..).unwrap_or_default());
        engine.read(&mut decoder, &config)?;
        if decoder.position() != decoder.input().len() {
            return Err(Malformed::message("bytes follow the end").into());
        }
        Ok(engine)
    }

    fn write(&self, encoder: &mut Encoder<&mut Vec<u8>>) -> Written {
        encoder.i64(self.clock.offset_millis)?;
        encoder.encode(self.clock.now.map(Moment::millis))?;
        encoder.u64(u64::try_from(self.n_strangers_max).unwrap_or(u64::MAX))?;
        encoder.encode(self.next_end.map(Timestamp::millis))?;
        encoder.i64(self.whole_since.millis())?;
        encoder.encode(self.named_until.map(Timestamp::millis))?;
        write_fleet_rules(encoder, &self.rulebook)?;
        let mut known: Vec<(DeviceKey, &Device)> = Vec::new();
        let mut strangers: Vec<(DeviceKey, &Device)> = Vec::new();
        let with_device = |key| self.fleet.device(key).map(|device| (key, device));
        known.extend(
            self.fleet
                .keys()
                .filter(|&key| !self.fleet.is_stranger(key))
                .filter_map(with_device),
        );
        known.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        strangers.extend(self.fleet.strangers().filter_map(with_device));
        let devices = || known.iter().chain(&strangers).map(|&(_, device)| device);

        let mut cohorts: BTreeMap<&Membership, (u64, &Rules)> = BTreeMap::new();
        for device in devices() {
            let rules = self.rulebook.rules(device.cohort);
            cohorts.insert(self.rulebook.membership(device.cohort), (0, rules));
        }
        encoder.array(length(cohorts.len()))?;
        for (place, (membership, (number, rules))) in (0..).zip(&mut cohorts) {
            *number = place;
            write_cohort(encoder, membership, rules)?;
        }
        encoder.array(length(known.len() + strangers.len()))?;
        for device in devices() {
            let cohort = cohorts.get(self.rulebook.membership(device.cohort));
            encoder.u64(cohort.map_or(0, |&(number, _)| number))?;
            write_device(encoder, device)?;
        }
        Ok(())
    }

    fn read(&mut self, decoder: &mut Decoder<'_>, config: &JudgingConfig) -> Result<(), Malformed> {
        let offset_millis = decoder.i64()?;
        let now = decoder.decode::<Option<i64>>()?.map(Moment::from_millis);
        self.clock = EngineClock { offset_millis, now };
        self.n_strangers_max = usize::try_from(decoder.u64()?).unwrap_or(usize::MAX).max(1);
        self.next_end = decoder.decode::<Option<i64>>()?.map(Timestamp::from_millis);
        self.whole_since = Moment::from_millis(decoder.i64()?);
        let named_until = decoder.decode::<Option<i64>>()?.map(Timestamp::from_millis);
        read_fleet_rules(decoder, &mut self.rulebook)?;
        let mut cohorts = Vec::new();
        for _ in 0..array(decoder)? {
            cohorts.push(CohortImage::read(decoder)?);
        }
        for _ in 0..array(decoder)? {
            let number = usize::try_from(decoder.u64()?).ok();
            let cohort = number.and_then(|number| cohorts.get(number));
            let cohort = cohort.ok_or_else(|| Malformed::message("a device is of no cohort"))?;
            self.read_device(decoder, cohort, config)?;
        }
        self.named_until = named_until;
        Ok(())
    }

    fn read_device(
        &mut self,
        decoder: &mut Decoder<'_>,
        cohort: &CohortImage,
        config: &JudgingConfig,
    ) -> Result<(), Malformed> {
        let name: DeviceName = text(decoder)?;
        if self.fleet.find(&name).is_some() {
            return Err(Malformed::message("a device is there twice"));
        }
        let key = self.admit(name, cohort.membership.clone(), Timestamp::from_millis(i64::MAX));
        let now = self.clock.now.unwrap_or_default();
        let rules = self
            .fleet
            .device(key)
            .map(|device| Arc::clone(self.rulebook.rules(device.cohort)));
        let (Some(device), Some(rules)) = (self.fleet.device_mut(key), rules) else {
            return Ok(());
        };
        device.last_seen = decoder.decode::<Option<i64>>()?.map(Moment::from_millis);
        device.genuine_seen = decoder.decode::<Option<i64>>()?.map(Moment::from_millis);
        device.conduct = decoder.decode()?;
        device.conduct_all = decoder.decode()?;
        device.presence = decoder.decode()?;
        device.genuine = decoder.decode()?;
        device.forged = decoder.decode()?;
        device.wake = decoder.decode::<Option<i64>>()?.map(Moment::from_millis);
        for _ in 0..array(decoder)? {
            device.former.extend(read_former(decoder, config)?);
        }
        let mut slots: BTreeMap<&(ProfileName, BehaviorName), Slot> = BTreeMap::new();
        for rule in &cohort.rules {
            slots.insert(rule, decoder.decode()?);
        }
        let slot_of = |rule: &Arc<crate::rule::Rule>| {
            let name = (rule.profile.clone(), rule.behavior.name.clone());
            slots
                .remove(&name)
                .unwrap_or_else(|| Slot::begun(rule, device.known(rule, now)))
        };
        let restored = rules.iter().map(slot_of).collect();
        device.slots = restored;
        let deadline = device.last_seen.unwrap_or(now).plus(SILENCE_MAX);
        for ((profile, behavior), slot) in slots {
            // Judged by the version that made the snapshot, not by this one.
            let behavior = behavior_of(config, profile, behavior);
            if let (Some(open), Some(behavior)) = (slot.open(), behavior) {
                device.former.push(Former {
                    id: open.id,
                    profile: profile.clone(),
                    behavior: Arc::clone(behavior),
                    was_registered: cohort.membership.is_registered,
                    deadline,
                });
            }
        }
        if let Some(wake) = device.wake {
            self.wakes.insert((wake, key));
        }
        self.schedule(key);
        Ok(())
    }
}

/// A cohort as a snapshot holds it.
struct CohortImage {
    membership: Membership,
    /// The rules, in the order of slots.
    rules: Vec<(ProfileName, BehaviorName)>,
}

impl CohortImage {
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let mut membership = Membership {
            is_registered: decoder.bool()?,
            groups: Vec::new(),
        };
        for _ in 0..array(decoder)? {
            membership.groups.push(text(decoder)?);
        }
        let mut rules = Vec::new();
        for _ in 0..array(decoder)? {
            rules.push((text(decoder)?, text(decoder)?));
        }
        Ok(Self { membership, rules })
    }
}

fn write_cohort(encoder: &mut Encoder<&mut Vec<u8>>, membership: &Membership, rules: &Rules) -> Written {
    encoder.bool(membership.is_registered)?;
    encoder.array(length(membership.groups.len()))?;
    for group in &membership.groups {
        encoder.str(group.as_str())?;
    }
    encoder.array(length(rules.len()))?;
    for rule in rules.iter() {
        encoder.str(rule.profile.as_str())?.str(rule.behavior.name.as_str())?;
    }
    Ok(())
}

/// Since when each percentile is judged, and the newest of each.
fn write_fleet_rules(encoder: &mut Encoder<&mut Vec<u8>>, rulebook: &Rulebook) -> Written {
    encoder.array(length(rulebook.statistical.len()))?;
    for ((profile, behavior), (_, since)) in &rulebook.statistical {
        encoder
            .str(profile.as_str())?
            .str(behavior.as_str())?
            .i64(since.millis())?;
    }
    encoder.array(length(rulebook.thresholds.len()))?;
    for ((profile, behavior), threshold) in &rulebook.thresholds {
        encoder.str(profile.as_str())?.str(behavior.as_str())?;
        encoder
            .u64(threshold.window.fingerprint)?
            .i64(threshold.window.end.millis())?;
        encoder.encode(threshold.value.map(|value| Measured::of(Reading::of(value))))?;
        encoder.u64(threshold.n_devices)?;
    }
    Ok(())
}

fn read_fleet_rules(decoder: &mut Decoder<'_>, rulebook: &mut Rulebook) -> Result<(), Malformed> {
    for _ in 0..array(decoder)? {
        let key = (text(decoder)?, text(decoder)?);
        let since = Moment::from_millis(decoder.i64()?);
        if let Some((_, place)) = rulebook.statistical.get_mut(&key) {
            *place = since;
        }
    }
    for _ in 0..array(decoder)? {
        let (profile, behavior): (ProfileName, BehaviorName) = (text(decoder)?, text(decoder)?);
        let window = WindowKey {
            profile,
            behavior,
            fingerprint: decoder.u64()?,
            end: Timestamp::from_millis(decoder.i64()?),
        };
        let value = match decoder.decode()? {
            Some(Measured::Count(count)) => Some(Quantity::Count(count)),
            Some(Measured::Number(number)) => Some(Quantity::Number(number)),
            Some(Measured::Elements(_)) | None => None,
        };
        rulebook.note_threshold(Threshold {
            window,
            value,
            n_devices: decoder.u64()?,
        });
    }
    Ok(())
}

fn write_device(encoder: &mut Encoder<&mut Vec<u8>>, device: &Device) -> Written {
    encoder.str(device.name.as_str())?;
    encoder.encode(device.last_seen.map(Moment::millis))?;
    encoder.encode(device.genuine_seen.map(Moment::millis))?;
    encoder.encode(&device.conduct)?;
    encoder.encode(&device.conduct_all)?;
    encoder.encode(&device.presence)?;
    encoder.encode(&device.genuine)?;
    encoder.encode(&device.forged)?;
    encoder.encode(device.wake.map(Moment::millis))?;
    encoder.array(length(device.former.len()))?;
    for former in &device.former {
        encoder.encode(minicbor::bytes::ByteArray::from(former.id.0))?;
        encoder
            .str(former.profile.as_str())?
            .str(former.behavior.name.as_str())?;
        encoder.bool(former.was_registered)?.i64(former.deadline.millis())?;
    }
    for slot in &device.slots {
        encoder.encode(slot)?;
    }
    Ok(())
}

fn read_former(decoder: &mut Decoder<'_>, config: &JudgingConfig) -> Result<Option<Former>, Malformed> {
    let id: minicbor::bytes::ByteArray<16> = decoder.decode()?;
    let (profile, behavior): (ProfileName, BehaviorName) = (text(decoder)?, text(decoder)?);
    let was_registered = decoder.bool()?;
    let deadline = Moment::from_millis(decoder.i64()?);
    let behavior = behavior_of(config, &profile, &behavior).map(Arc::clone);
    Ok(behavior.map(|behavior| Former {
        id: picket_model::violation::ViolationId(id.into()),
        profile,
        behavior,
        was_registered,
        deadline,
    }))
}

fn behavior_of<'c>(
    config: &'c JudgingConfig,
    profile: &ProfileName,
    behavior: &BehaviorName,
) -> Option<&'c Arc<picket_model::behavior::Behavior>> {
    let profile = config.profiles.iter().find(|one| one.name == *profile)?;
    profile.behaviors.iter().find(|one| one.name == *behavior)
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn length(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn array(decoder: &mut Decoder<'_>) -> Result<u64, Malformed> {
    decoder
        .array()?
        .ok_or_else(|| Malformed::message("an array has no length"))
}

fn text<T: std::str::FromStr<Err: std::fmt::Display>>(decoder: &mut Decoder<'_>) -> Result<T, Malformed> {
    decoder.str()?.parse().map_err(Malformed::message)
}
