//! One partition in memory: where it begins and ends, and its newest records.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::watch;

use super::{Bounds, Seq};

/// What is known of a partition without going to the disk.
#[derive(Debug)]
pub(crate) struct Partition {
    first: Seq,
    next: watch::Sender<Seq>,
    /// The newest records, up to `next` without gaps.
    tail: VecDeque<Bytes>,
    tail_bytes: usize,
    tail_bytes_max: usize,
}

impl Partition {
    /// A partition as found on the disk.
    pub(crate) fn new(bounds: Bounds, tail_bytes_max: usize) -> Self {
        Self {
            first: bounds.first,
            next: watch::Sender::new(bounds.next),
            tail: VecDeque::new(),
            tail_bytes: 0,
            tail_bytes_max,
        }
    }

    /// What it holds.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            first: self.first,
            next: *self.next.borrow(),
        }
    }

    /// Follows the end.
    pub(crate) fn watch_next(&self) -> watch::Receiver<Seq> {
        self.next.subscribe()
    }

    /// Records that are durable now.
    pub(crate) fn extend(&mut self, records: Vec<Bytes>) {
        let next = Seq(self.bounds().next.0 + records.len() as u64);
        for record in records {
            self.tail_bytes += record.len();
            self.tail.push_back(record);
        }
        while self.tail_bytes_max < self.tail_bytes {
            match self.tail.pop_front() {
                Some(record) => self.tail_bytes -= record.len(),
                None => break,
            }
        }
        self.next.send_replace(next);
    }

    /// Records below were given up.
    pub(crate) fn trimmed(&mut self, first: Seq) {
        self.first = first;
    }

    /// The disk was asked again, after a write whose end is not known.
    pub(crate) fn reload(&mut self, bounds: Bounds) {
        if bounds != self.bounds() {
            self.tail.clear();
            self.tail_bytes = 0;
            self.first = bounds.first;
            self.next.send_replace(bounds.next);
        }
    }

    /// The records from `from` on, if they are in memory.
    pub(crate) fn read(&self, from: Seq, n_max: usize, size_bytes_max: usize) -> Option<Vec<(Seq, Bytes)>> {
        let tail_first = self.bounds().next.0 - self.tail.len() as u64;
        let skip = usize::try_from(from.0.checked_sub(tail_first)?).ok()?;
        let mut size_bytes = 0;
        let mut records = Vec::with_capacity(n_max.min(self.tail.len().saturating_sub(skip)));
        for (seq, record) in (from.0..).zip(self.tail.iter().skip(skip)).take(n_max) {
            size_bytes += record.len();
            records.push((Seq(seq), record.clone()));
            if size_bytes_max <= size_bytes {
                break;
            }
        }
        Some(records)
    }
}
