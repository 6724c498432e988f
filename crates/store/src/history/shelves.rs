//! Which files there are.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use object_store::ObjectStore;
use picket_model::time::Timestamp;

use super::name::{Day, FileKind, FileName, HOUR_MILLIS, Shelf};
use crate::log::{PartitionId, Seq};

/// Which files there are, with their sizes in bytes.
#[derive(Debug, Default)]
pub(super) struct Shelves(BTreeMap<Shelf, BTreeMap<FileName, u64>>);

/// How long after the end of an hour or a day its files are merged: reports may still be on their way.
const SETTLED_AFTER_MILLIS: i64 = 300_000;

impl Shelves {
    /// What lies in the store; what is named otherwise is left alone.
    pub(super) async fn read(store: &dyn ObjectStore) -> object_store::Result<Self> {
        let mut shelves = Self::default();
        let mut listed = store.list(None);
        while let Some(object) = listed.try_next().await? {
            if let Ok(name) = object.location.as_ref().parse() {
                shelves.add(name, object.size);
            }
        }
        Ok(shelves)
    }

    pub(super) fn add(&mut self, name: FileName, size_bytes: u64) {
        self.0.entry(name.shelf).or_default().insert(name, size_bytes);
    }

    pub(super) fn remove(&mut self, name: &FileName) {
        if let Some(files) = self.0.get_mut(&name.shelf) {
            files.remove(name);
            if files.is_empty() {
                self.0.remove(&name.shelf);
            }
        }
    }

    /// The last record that a file of this partition and kind holds.
    pub(super) fn last(&self, partition: PartitionId, kind: FileKind) -> Option<Seq> {
        let shelf = |day| Shelf { partition, kind, day };
        let files = self.0.range(shelf(Day(i64::MIN))..=shelf(Day(i64::MAX)));
        files.flat_map(|(_, files)| files.keys()).map(|name| name.last).max()
    }

    /// The days that a partition has rows of one kind of, newest first.
    pub(super) fn days(
        &self,
        partition: PartitionId,
        kind: FileKind,
        from: Day,
        until: Day,
    ) -> impl Iterator<Item = Vec<(FileName, u64)>> + '_ {
        let shelf = |day| Shelf { partition, kind, day };
        let days = self.0.range(shelf(from)..=shelf(until.max(from))).rev();
        days.map(|(_, files)| files.iter().map(|(name, size)| (name.clone(), *size)).collect())
    }

    /// Takes out the files whose rows are all in another one, too: a crash left them.
    pub(super) fn take_covered(&mut self) -> Vec<FileName> {
        let mut covered = Vec::new();
        for files in self.0.values_mut() {
            let names: Vec<FileName> = files.keys().cloned().collect();
            for name in &names {
                if names.iter().any(|other| other.covers(name)) {
                    files.remove(name);
                    covered.push(name.clone());
                }
            }
        }
        covered
    }

    /// Takes out the files of days that ended by then.
    pub(super) fn take_ended_by(&mut self, oldest: Timestamp) -> Vec<FileName> {
        let mut ended = Vec::new();
        self.0.retain(|shelf, files| {
            let is_kept = oldest < shelf.day.end();
            if !is_kept {
                ended.extend(files.keys().cloned());
            }
            is_kept
        });
        ended
    }

    /// Files that belong into one, and its name: those of a day that is over, or of an hour.
    pub(super) fn to_merge(&self, now: Timestamp) -> Option<(Vec<(FileName, u64)>, FileName)> {
        let settled = Timestamp::from_millis(now.millis().saturating_sub(SETTLED_AFTER_MILLIS));
        self.0.iter().find_map(|(shelf, files)| {
            if shelf.day.end() <= settled {
                return together(files.iter(), None);
            }
            let hours = (0..24).filter(|hour| {
                let end = shelf.day.0 * super::name::DAY_MILLIS + (i64::from(*hour) + 1) * HOUR_MILLIS;
                end <= settled.millis()
            });
            hours
                .filter_map(|hour| {
                    let of_hour = files.iter().filter(|(name, _)| name.hour == Some(hour));
                    together(of_hour, Some(hour))
                })
                .next()
        })
    }
}

fn together<'f>(
    files: impl Iterator<Item = (&'f FileName, &'f u64)>,
    hour: Option<u8>,
) -> Option<(Vec<(FileName, u64)>, FileName)> {
    let files: Vec<(FileName, u64)> = files.map(|(name, size)| (name.clone(), *size)).collect();
    let [(one, _), _, ..] = files.as_slice() else {
        return None;
    };
    let name = FileName {
        shelf: one.shelf,
        hour,
        first: files.iter().map(|(name, _)| name.first).min()?,
        last: files.iter().map(|(name, _)| name.last).max()?,
    };
    // A file is never written over one that is read.
    let is_new = files.iter().all(|(file, _)| *file != name);
    is_new.then_some((files, name))
}
