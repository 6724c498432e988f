//! Judges a log again from its first record and compares what comes out with what is stored: the proof that nothing was
//! lost, doubled or decided by anything but the log.

mod clients;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, bail};
use picket_detect::Engine;
use picket_model::record::{Record, Stamped};
use picket_model::time::Timestamp;
use picket_model::violation::{ChangeKind, EventType, ViolationChange};
use picket_store::log::{LogError, LogLimits, PartitionId, ReportLog, Seq, SqliteLog};
use picket_store::violations::ViolationFilter;
use picket_store::{Db, DbUrl};
use serde_json::json;

use crate::first_start::DataDir;
use crate::pipeline::{Configs, decode};

/// Records or events read at once.
const READ_MAX: usize = 512;

/// What came of judging a log again.
#[derive(Debug)]
pub struct Replayed {
    /// Every violation event, one JSON object each, in order of violation, time and kind.
    pub events: Vec<String>,
    /// Events that only one side has, in words; none when replay and store agree.
    pub differences: Vec<String>,
}

/// A violation event, as far as it is decided by the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    violation: String,
    at: Timestamp,
    kind: &'static str,
    thing: String,
    behavior: String,
}

/// Judges all records of the directory's log again, up to the last one whose effects are stored.
///
/// # Errors
/// A server runs on the directory, the log does not begin with its first record any more, or something cannot be read.
pub async fn replay(data: &Path) -> anyhow::Result<Replayed> {
    let data = DataDir::of_server(data)?;
    let log = open_log(&data).await?;
    let db = Db::open(&DbUrl::Sqlite(data.registry())).await?;
    let configs = Configs::new(db.clone());
    let positions = db.positions().await?;
    let n_unregistered_max = Engine::UNREGISTERED_MAX / positions.len().max(1);
    let mut replayed = BTreeSet::new();
    for position in &positions {
        let bounds = log.bounds(position.partition).await?;
        if bounds.first > Seq(1) {
            bail!(
                "partition {} begins with record {}, expected 1: what was trimmed cannot be judged again",
                position.partition,
                bounds.first
            );
        }
        let mut engine = Engine::bounded(n_unregistered_max);
        let mut next = Seq(1);
        while next <= position.applied_seq {
            let records = log.read(position.partition, next, READ_MAX).await?;
            for (seq, bytes) in records.iter().filter(|(seq, _)| *seq <= position.applied_seq) {
                let input = decode(position.partition, *seq, bytes, &configs).await?;
                replayed.extend(engine.apply(input).changes.iter().filter_map(Event::of));
            }
            let Some((last, _)) = records.last() else { break };
            next = last.next();
        }
    }
    let stored = stored(&db).await?;
    let only_stored = stored
        .difference(&replayed)
        .map(|event| format!("only stored: {}", event.to_json()));
    let only_replayed = replayed
        .difference(&stored)
        .map(|event| format!("only replayed: {}", event.to_json()));
    Ok(Replayed {
        differences: only_stored.chain(only_replayed).collect(),
        events: replayed.iter().map(Event::to_json).collect(),
    })
}

/// Says partition, position, thing, report id and time of every report in the directory's log, one JSON object each.
///
/// # Errors
/// A server runs on the directory, something cannot be read, or `say` fails.
pub async fn reports(data: &Path, mut say: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for_each_record(data, |partition, seq, stamped| {
        let Record::Report(report) = &stamped.record else {
            return Ok(());
        };
        let line = json!({
            "partition": partition.0, "seq": seq.0, "thing": report.thing.as_str(),
            "reportId": report.report.report_id, "at": stamped.at.millis(),
        });
        say(&line.to_string())
    })
    .await
}

/// Says what the directory's log holds of clients: those that came, those that went, and what they did, one JSON object
/// each.
///
/// # Errors
/// A server runs on the directory, something cannot be read, or `say` fails.
pub async fn clients(data: &Path, mut say: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for_each_record(data, |partition, seq, stamped| {
        for mut line in clients::lines(&stamped.record) {
            line["partition"] = partition.0.into();
            line["seq"] = seq.0.into();
            line["at"] = stamped.at.millis().into();
            say(&line.to_string())?;
        }
        Ok(())
    })
    .await
}

async fn for_each_record(
    data: &Path,
    mut visit: impl FnMut(PartitionId, Seq, &Stamped) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let data = DataDir::of_server(data)?;
    let log = open_log(&data).await?;
    for partition in (0..).map(PartitionId) {
        let bounds = match log.bounds(partition).await {
            Ok(bounds) => bounds,
            Err(LogError::NoPartition { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut next = bounds.first;
        while next < bounds.next {
            let records = log.read(partition, next, READ_MAX).await?;
            for (seq, bytes) in &records {
                let stamped =
                    Stamped::decode(bytes).with_context(|| format!("record {seq} of partition {partition}"))?;
                visit(partition, *seq, &stamped)?;
            }
            let Some((last, _)) = records.last() else { break };
            next = last.next();
        }
    }
    Ok(())
}

impl Event {
    fn of(change: &ViolationChange) -> Option<Self> {
        let kind = match change.kind {
            ChangeKind::Raised { .. } => EventType::InAlarm,
            ChangeKind::Cleared { .. } => EventType::AlarmCleared,
            ChangeKind::Invalidated => EventType::AlarmInvalidated,
            ChangeKind::Continued { .. } | ChangeKind::Supported { .. } => return None,
        };
        Some(Self {
            violation: change.id.to_string(),
            at: change.at,
            kind: kind.as_str(),
            thing: change.thing.to_string(),
            behavior: change.behavior.name.to_string(),
        })
    }

    fn to_json(&self) -> String {
        let Self {
            violation,
            at,
            kind,
            thing,
            behavior,
        } = self;
        json!({ "violationId": violation, "thing": thing, "behavior": behavior, "event": kind, "at": at.millis() })
            .to_string()
    }
}

async fn stored(db: &Db) -> anyhow::Result<BTreeSet<Event>> {
    let all_time = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
    let mut events = BTreeSet::new();
    let mut after = None;
    loop {
        let n_max = u32::try_from(READ_MAX).unwrap_or(u32::MAX);
        let page = db
            .violation_events(all_time, &ViolationFilter::default(), after.as_ref(), n_max)
            .await?;
        let Some(last) = page.last() else { return Ok(events) };
        after = Some(last.key());
        events.extend(page.iter().map(|event| Event {
            violation: event.id.to_string(),
            at: event.at,
            kind: event.event.as_str(),
            thing: event.thing.to_string(),
            behavior: event.behavior.name.to_string(),
        }));
    }
}

/// The log knows how many partitions it has, and says so when somebody expects another number.
async fn open_log(data: &DataDir) -> anyhow::Result<SqliteLog> {
    let limits = LogLimits {
        size_bytes_max: u64::MAX,
        tail_bytes_max: 0,
    };
    match SqliteLog::open(&data.log(), 1, limits).await {
        Err(LogError::Partitions { found, .. }) => {
            Ok(SqliteLog::open(&data.log(), u16::try_from(found)?, limits).await?)
        }
        opened => Ok(opened?),
    }
}
