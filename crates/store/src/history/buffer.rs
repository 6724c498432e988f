//! Rows that no file has yet, of one partition.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use picket_model::record::{Record, Stamped};
use picket_model::time::Timestamp;

use super::activity::Activity;
use super::name::{FileKind, HOUR_MILLIS};
use super::report::ReportRow;
use super::row::Row as _;
use crate::log::Seq;

/// Rows of one hour that go into one file of each kind.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// The first record that has rows here.
    pub(super) first: Seq,
    /// The last record that was looked at.
    pub(super) last: Seq,
    pub(super) reports: Vec<ReportRow>,
    pub(super) activity: Vec<Activity>,
    /// The stamp of the first record that has rows here.
    began: Option<Timestamp>,
    size_bytes: usize,
}

/// Rows that no file has yet, of one partition.
#[derive(Debug)]
pub(super) struct Buffer {
    open: Segment,
    /// What is being written, or could not be; nothing is added to it.
    writing: Option<Arc<Segment>>,
    /// The last record whose activity is in files, although its reports may not be.
    activity_last: Seq,
}

impl Segment {
    fn is_empty(&self) -> bool {
        self.reports.is_empty() && self.activity.is_empty()
    }

    /// A time of the hour that its rows of this kind are of; `None` when there are none.
    pub(super) fn stamp_of(&self, kind: FileKind) -> Option<Timestamp> {
        let is_empty = match kind {
            FileKind::Reports => self.reports.is_empty(),
            FileKind::Activity => self.activity.is_empty(),
        };
        self.began.filter(|_| !is_empty)
    }
}

impl Buffer {
    /// A buffer that goes on after files that hold rows up to these records.
    pub(super) fn new(reports_last: Option<Seq>, activity_last: Option<Seq>) -> Self {
        let last = reports_last.unwrap_or_default();
        Self {
            open: Segment {
                last,
                ..Segment::default()
            },
            writing: None,
            activity_last: activity_last.unwrap_or_default().max(last),
        }
    }

    pub(super) fn next(&self) -> Seq {
        self.open.last.next()
    }

    pub(super) fn skip_to(&mut self, first: Seq) {
        self.open.last = self.open.last.max(Seq(first.0.saturating_sub(1)));
    }

    pub(super) fn mark(&self) -> Seq {
        let before = |first: Seq| Seq(first.0.saturating_sub(1));
        match &self.writing {
            Some(segment) => before(segment.first),
            None if self.open.is_empty() => self.open.last,
            None => before(self.open.first),
        }
    }

    pub(super) fn is_full(&self, stamped: &Stamped, bytes_max: usize) -> bool {
        let is_other_hour = || {
            self.open
                .began
                .is_some_and(|began| hours(began) != hours(stamped.at) && has_rows(&stamped.record))
        };
        bytes_max <= self.open.size_bytes || is_other_hour()
    }

    pub(super) fn take(&mut self, seq: Seq, stamped: Stamped) {
        let at = stamped.at;
        let open = &mut self.open;
        let n_before = (open.reports.len(), open.activity.len());
        let is_new_activity = self.activity_last < seq;
        match stamped.record {
            Record::Report(record) => open.reports.push(ReportRow::new(at, seq, record)),
            Record::Meter(meter) if is_new_activity => open.activity.extend(Activity::metered(at, seq, &meter)),
            Record::Connected(presence) if is_new_activity => {
                open.activity.push(Activity::connected(at, seq, &presence));
            }
            Record::Disconnected(presence, reason) if is_new_activity => {
                open.activity.push(Activity::disconnected(at, seq, &presence, reason));
            }
            Record::SessionsEnded if is_new_activity => open.activity.push(Activity::sessions_ended(at, seq)),
            _ => {}
        }
        open.last = seq;
        let reports = open.reports[n_before.0..].iter().map(ReportRow::size_bytes);
        let activity = open.activity[n_before.1..].iter().map(Activity::size_bytes);
        open.size_bytes += reports.chain(activity).sum::<usize>();
        if open.began.is_none() && !open.is_empty() {
            open.began = Some(at);
            open.first = seq;
        }
    }

    pub(super) fn is_due(&self, now: Timestamp, wait_max: Duration, bytes_max: usize) -> bool {
        let has_waited = |began: Timestamp| {
            // Either way: the clock may have been set.
            wait_max <= now.since(began).max(began.since(now)) || hours(began) != hours(now)
        };
        self.writing.is_some() || bytes_max <= self.open.size_bytes || self.open.began.is_some_and(has_waited)
    }

    /// What has to be written next; the same until it is.
    pub(super) fn begin_write(&mut self) -> Option<Arc<Segment>> {
        if self.writing.is_none() && !self.open.is_empty() {
            let last = self.open.last;
            let next = Segment {
                last,
                ..Segment::default()
            };
            self.writing = Some(Arc::new(std::mem::replace(&mut self.open, next)));
        }
        self.writing.clone()
    }

    pub(super) fn is_written(&mut self) {
        self.writing = None;
    }

    /// What waits, oldest first.
    pub(super) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.writing.as_deref().into_iter().chain([&self.open])
    }
}

fn hours(at: Timestamp) -> i64 {
    at.millis().div_euclid(HOUR_MILLIS)
}

const fn has_rows(record: &Record) -> bool {
    matches!(
        record,
        Record::Report(_) | Record::Meter(_) | Record::Connected(_) | Record::Disconnected(..) | Record::SessionsEnded
    )
}

/// Removes files that a crash left half written: they have no name yet, but take space.
pub(super) fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_unfinished(&entry.path())?;
        } else if entry.file_name().to_str().is_some_and(is_unfinished) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// As [`object_store::local::LocalFileSystem`] names what it is not done with.
fn is_unfinished(name: &str) -> bool {
    name.rsplit_once(".parquet#")
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}
