//! After a crash at any point the log is read on, and no row is lost or there twice.

use std::sync::Arc;

use object_store::memory::InMemory;
use picket_model::record::{Record, Stamped};
use picket_store::history::{History, HistoryLimits};
use picket_store::log::Seq;

use super::faulty::Faulty;
use super::fleet::{BEGIN, DAY, HOUR, LIMITS, Log, P, assert_whole, at, came, feed, keep, metered, reported, went};

/// Two days of three devices with clock steps, coming and going, and records without rows.
fn log() -> Log {
    let mut log = vec![came(BEGIN, "pump-1", 1)];
    for n in 0..12_u64 {
        let step = if n / 4 == 1 { -3 * HOUR } else { 0 };
        let now = BEGIN + i64::try_from(n).unwrap() * HOUR * 10 / 3 + step;
        log.push(reported(now, &format!("pump-{}", n % 3), n));
        log.push(Stamped {
            at: at(now),
            record: Record::Tick,
        });
        if n % 5 == 0 {
            log.push(metered(now, "pump-1", 100));
        }
    }
    log.push(went(BEGIN + 2 * DAY, "pump-1", 1));
    log
}

/// Few rows are written at once, so there are many files.
const SMALL: HistoryLimits = HistoryLimits {
    buffer_bytes_max: 2_000,
    ..LIMITS
};

#[tokio::test]
async fn a_crash_at_any_change_loses_and_doubles_nothing() {
    let log = log();
    let end = BEGIN + 4 * DAY;
    let mut n_changes = 0;
    loop {
        let disk = Arc::new(InMemory::new());
        let faulty = Faulty::over(&disk, n_changes);
        let history = History::over(Arc::new(faulty.clone()), 1, SMALL).await.unwrap();
        // The end of the world comes somewhere on the way, or it does not.
        drop(keep(&history, &log, end).await);
        let mark = history.mark(P);
        drop(history);

        let again = History::over(Arc::clone(&disk) as Arc<_>, 1, SMALL).await.unwrap();
        // The log may have been trimmed up to the mark.
        again.skip_to(P, mark.next());
        let context = format!("after {n_changes} changes");
        feed(&again, &log).await.unwrap();
        assert_whole(&again, &log, &context).await;
        keep(&again, &log, end).await.unwrap();
        assert_whole(&again, &log, &context).await;
        assert_eq!(messages(&again).await, 3, "{context}");
        if !faulty.has_failed() {
            break;
        }
        n_changes += 1;
    }
    assert!(n_changes > 15, "{n_changes}");
}

/// Messages that were metered, all buckets together.
async fn messages(history: &History) -> u64 {
    let query = picket_store::history::ValueQuery {
        device: "pump-1".parse().unwrap(),
        metric: "aws:num-messages-sent".parse().unwrap(),
        dimension: None,
        from: at(BEGIN - DAY),
        until: at(BEGIN + 3 * DAY),
        after: None,
        n_max: usize::MAX,
    };
    let values = history.values(&query).await.unwrap();
    let count = |value: picket_model::value::MetricValue| match value {
        picket_model::value::MetricValue::Count(count) => count,
        other => panic!("{other:?}"),
    };
    values.into_iter().map(|(_, value)| count(value)).sum()
}

#[tokio::test]
async fn a_full_disk_only_delays() {
    let log = log();
    let disk = Arc::new(InMemory::new());
    let faulty = Faulty::over(&disk, 5);
    let history = History::over(Arc::new(faulty.clone()), 1, SMALL).await.unwrap();
    feed(&history, &log).await.unwrap_err();
    feed(&history, &log).await.unwrap_err();
    let (next, mark) = (history.next(P), history.mark(P));
    for _ in 0..3 {
        feed(&history, &log).await.unwrap_err();
        assert_eq!((history.next(P), history.mark(P)), (next, mark), "it waits");
    }
    assert_whole(
        &history,
        &log[..usize::try_from(next.0 - 1).unwrap()].to_vec(),
        "meanwhile",
    )
    .await;
    faulty.repair();
    keep(&history, &log, BEGIN + 4 * DAY).await.unwrap();
    assert_whole(&history, &log, "after").await;
    assert_eq!(history.mark(P), Seq(log.len() as u64));
}

#[tokio::test]
async fn merged_days_are_one_file_and_expire_whole() {
    let log = log();
    let disk = Arc::new(InMemory::new());
    let history = History::over(Arc::clone(&disk) as Arc<_>, 1, SMALL).await.unwrap();
    keep(&history, &log, BEGIN + 4 * DAY).await.unwrap();
    let files = |disk: Arc<InMemory>| async move {
        use futures_util::TryStreamExt as _;
        use object_store::ObjectStore as _;
        let mut files: Vec<String> = disk
            .list(None)
            .map_ok(|found| found.location.to_string())
            .try_collect()
            .await
            .unwrap();
        files.sort();
        files
    };
    let found = files(Arc::clone(&disk)).await;
    let days: Vec<&str> = found.iter().map(|file| &file[..file.find("/p").unwrap()]).collect();
    let expected = [
        "activity/2026-11-25",
        "activity/2026-11-26",
        "activity/2026-11-27",
        "reports/2026-11-25",
        "reports/2026-11-26",
    ];
    assert_eq!(days, expected, "{found:?}");

    history.expire(at(BEGIN + 15 * DAY - 1)).await.unwrap();
    assert_eq!(files(Arc::clone(&disk)).await.len(), 5, "not yet");
    history.expire(at(BEGIN + 15 * DAY)).await.unwrap();
    assert_eq!(files(disk).await.len(), 3);
    let left: Log = log
        .iter()
        .filter(|stamped| BEGIN + DAY <= stamped.at.millis())
        .cloned()
        .collect();
    let n_left = left
        .iter()
        .filter(|stamped| matches!(stamped.record, Record::Report(_)))
        .count();
    let mut n_found = 0;
    for thing in ["pump-0", "pump-1", "pump-2"] {
        n_found += history
            .reports(&thing.parse().unwrap(), at(0), at(i64::MAX))
            .await
            .unwrap()
            .len();
    }
    assert_eq!(n_found, n_left);
}
