//! The report log: durable, in order, never dropping, bounded.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use picket_store::log::{Append, Bounds, LogError, LogLimits, PartitionId, ReportLog, Seq, SqliteLog, partition_of};

const LIMITS: LogLimits = LogLimits {
    size_bytes_max: 1 << 30,
    tail_bytes_max: 1 << 20,
};
/// As after a restart: nothing is in memory.
const NO_TAIL: LogLimits = LogLimits {
    tail_bytes_max: 0,
    ..LIMITS
};

fn record(partition: u16, text: impl Into<String>) -> Append {
    Append {
        partition: PartitionId(partition),
        bytes: Bytes::from(text.into()),
    }
}

async fn texts(log: &SqliteLog, partition: u16, from: u64) -> Vec<(u64, String)> {
    let records = log.read(PartitionId(partition), Seq(from), 10_000).await.unwrap();
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    records.into_iter().map(|(seq, bytes)| (seq.0, text(bytes))).collect()
}

#[tokio::test]
async fn what_was_appended_is_read_in_order_before_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let mut expected: HashMap<u16, Vec<(u64, String)>> = HashMap::new();
    {
        let log = SqliteLog::open(&path, 3, LIMITS).await.unwrap();
        for call in 0..20_u16 {
            let batch: Vec<Append> = (0..=call).map(|n| record(n % 3, format!("{call}/{n}"))).collect();
            let seqs = log.append(batch.clone()).await.unwrap();
            for (seq, append) in seqs.into_iter().zip(batch) {
                let text = String::from_utf8(append.bytes.to_vec()).unwrap();
                expected.entry(append.partition.0).or_default().push((seq.0, text));
            }
        }
        for (&partition, records) in &expected {
            assert_eq!(&texts(&log, partition, 1).await, records, "from memory");
            let seqs: Vec<u64> = records.iter().map(|&(seq, _)| seq).collect();
            assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "contiguous");
        }
    }
    let log = reopened(&path, 3, NO_TAIL).await;
    for (&partition, records) in &expected {
        for from in 1..=records.len() {
            let found = texts(&log, partition, from as u64).await;
            assert_eq!(found, records[from - 1..], "from the disk, from {from}");
        }
        let after = Seq(records.len() as u64 + 1);
        assert_eq!(log.bounds(PartitionId(partition)).await.unwrap().next, after);
        assert_eq!(log.read(PartitionId(partition), after, 9).await.unwrap(), []);
    }
    let two = log.read(PartitionId(1), Seq(5), 2).await.unwrap();
    assert_eq!(two.iter().map(|&(seq, _)| seq.0).collect::<Vec<_>>(), [5, 6]);
}

#[tokio::test]
async fn callers_at_the_same_time_share_commits_and_keep_their_own_order() {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&folder.path().join("log.db"), 4, LIMITS).await.unwrap();
    let mut next = log.watch_next(PartitionId(2)).unwrap();
    let callers: Vec<_> = (0..32)
        .map(|caller| {
            let log = log.clone();
            tokio::spawn(async move {
                for n in 0..10 {
                    let batch = vec![
                        record(2, format!("{caller}/{n}/a")),
                        record(2, format!("{caller}/{n}/b")),
                    ];
                    let seqs = log.append(batch).await.unwrap();
                    assert_eq!(seqs[0].next(), seqs[1]);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    next.wait_for(|next| *next == Seq(641)).await.unwrap();
    let records = texts(&log, 2, 1).await;
    assert_eq!(records.len(), 640);
    for caller in 0..32 {
        let prefix = format!("{caller}/");
        let own: Vec<&str> = records
            .iter()
            .filter_map(|(_, text)| text.strip_prefix(&prefix))
            .collect();
        let expected: Vec<String> = (0..10).flat_map(|n| [format!("{n}/a"), format!("{n}/b")]).collect();
        assert_eq!(own, expected);
    }
}

#[tokio::test]
async fn what_cannot_be_right_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let log = SqliteLog::open(&path, 4, LIMITS).await.unwrap();
    assert!(matches!(
        SqliteLog::open(&path, 4, LIMITS).await,
        Err(LogError::InUse { .. })
    ));
    assert!(matches!(
        log.append(vec![record(0, "x"), record(4, "x")]).await,
        Err(LogError::NoPartition {
            found: PartitionId(4),
            n_partitions: 4
        })
    ));
    assert!(matches!(
        log.append(vec![record(0, "")]).await,
        Err(LogError::Size { size_bytes: 0 })
    ));
    assert_eq!(log.append(Vec::new()).await.unwrap(), []);
    assert_eq!(
        log.bounds(PartitionId(0)).await.unwrap(),
        Bounds {
            first: Seq(1),
            next: Seq(1)
        }
    );
    drop(log);
    let err = loop {
        match SqliteLog::open(&path, 8, LIMITS).await {
            Err(LogError::InUse { .. }) => tokio::task::yield_now().await,
            other => break other.unwrap_err(),
        }
    };
    assert_eq!(
        err.to_string(),
        "the report log was made with 4 partitions, expected 8: the number cannot change"
    );
}

#[tokio::test]
async fn a_trim_gives_up_old_chunks_and_numbers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let log = SqliteLog::open(&path, 2, NO_TAIL).await.unwrap();
    for call in 0..1500 {
        log.append(vec![
            record(0, format!("{call}a")),
            record(0, format!("{call}b")),
            record(1, "other"),
        ])
        .await
        .unwrap();
    }
    // Record 2006 shares a chunk with 2005.
    log.trim(PartitionId(0), Seq(2006)).await.unwrap();
    assert_eq!(log.bounds(PartitionId(0)).await.unwrap().first, Seq(2005));
    assert_eq!(texts(&log, 0, 2005).await[0], (2005, "1002a".to_owned()));
    assert!(matches!(
        log.read(PartitionId(0), Seq(2004), 1).await,
        Err(LogError::Trimmed { first: Seq(2005), .. })
    ));
    assert_eq!(texts(&log, 1, 1).await.len(), 1500, "the other partition is whole");
    log.trim(PartitionId(0), Seq(1_000_000)).await.unwrap();
    let end = Bounds {
        first: Seq(2999),
        next: Seq(3001),
    };
    assert_eq!(log.bounds(PartitionId(0)).await.unwrap(), end);
    drop(log);
    let log = reopened(&path, 2, LIMITS).await;
    assert_eq!(log.bounds(PartitionId(0)).await.unwrap(), end);
    assert_eq!(log.append(vec![record(0, "next")]).await.unwrap(), [Seq(3001)]);
}

#[tokio::test]
async fn a_log_at_its_bound_refuses_and_goes_on_after_a_trim() {
    let folder = tempfile::tempdir().unwrap();
    let limits = LogLimits {
        size_bytes_max: 1 << 20,
        tail_bytes_max: 4096,
    };
    let log = SqliteLog::open(&folder.path().join("log.db"), 2, limits).await.unwrap();
    fill_trim_and_refill(&log).await;
}

/// Appends until the log is full, twice, with a trim in between.
async fn fill_trim_and_refill(log: &SqliteLog) {
    let batch = |n: usize| vec![record(0, format!("{n:>4000}")), record(1, format!("{n:>4000}"))];
    let mut n = 0;
    let mut n_stored = [0, 0];
    for n_at_end in &mut n_stored {
        loop {
            match log.append(batch(n)).await {
                Ok(_) => n += 1,
                Err(LogError::Full(_)) => break,
                Err(err) => panic!("{err:?}"),
            }
            assert!(n < 10_000, "never full");
        }
        *n_at_end = n;
        let full = log.fill().await.unwrap();
        assert!(
            full.size_bytes_max * 9 / 10 < full.used_bytes && full.used_bytes <= full.size_bytes_max,
            "{full:?}"
        );
        for partition in [0, 1] {
            let Bounds { first, next } = log.bounds(PartitionId(partition)).await.unwrap();
            assert_eq!(next, Seq(n as u64 + 1), "nothing of the refused batch");
            let found = texts(log, partition, first.0).await;
            assert_eq!(found.last().unwrap().1.trim(), (n - 1).to_string());
            log.trim(PartitionId(partition), Seq(n as u64)).await.unwrap();
        }
        let trimmed = log.fill().await.unwrap();
        assert!(trimmed.used_bytes < full.used_bytes / 4, "{trimmed:?}");
    }
    assert!(
        n_stored[0] > 50 && n_stored[1] - n_stored[0] > 50,
        "space was used again: {n_stored:?}"
    );
    log.append(batch(n)).await.unwrap();
}

#[test]
fn things_keep_their_partition() {
    // Changing this would send a device's reports to an engine that knows nothing of it.
    let of = |thing| partition_of(thing, 16).0;
    assert_eq!(
        ["Thing01", "Thing02", "Thing03", "pump-7", "pümp"].map(of),
        [4, 6, 0, 13, 7]
    );
}

/// The log, once the writer of the dropped one has ended.
async fn reopened(path: &Path, n_partitions: u16, limits: LogLimits) -> SqliteLog {
    loop {
        match SqliteLog::open(path, n_partitions, limits).await {
            Err(LogError::InUse { .. }) => tokio::task::yield_now().await,
            other => break other.unwrap(),
        }
    }
}
