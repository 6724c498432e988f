//! A damaged file is set aside; the rest is served.

use std::fs;
use std::path::{Path, PathBuf};

use picket_store::history::History;
use picket_store::log::Seq;

use super::fleet::{BEGIN, DAY, HOUR, LIMITS, Log, P, assert_whole, at, feed, keep, name, reported};

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
    found.sort();
}

fn all(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(folder, &mut found);
    found
}

/// Three hours, each in a file.
fn log() -> Log {
    (0..30)
        .map(|n| reported(BEGIN + i64::try_from(n).unwrap() * HOUR / 10, "pump-7", n))
        .collect()
}

#[tokio::test]
async fn any_damage_is_seen_or_harmless_and_the_rest_is_served() {
    let log = log();
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), 1, LIMITS).await.unwrap();
    keep(&history, &log, BEGIN + 5 * HOUR).await.unwrap();
    drop(history);
    let found = all(folder.path());
    assert_eq!(found.len(), 3, "{found:?}");
    let whole = fs::read(&found[1]).unwrap();
    let mut cuts: Vec<Vec<u8>> = [0, 1, 4, 100, whole.len() / 2, whole.len() - 9, whole.len() - 1]
        .into_iter()
        .map(|len| whole[..len].to_vec())
        .collect();
    for byte in (0..whole.len()).step_by(37) {
        let mut damaged = whole.clone();
        damaged[byte] ^= 0x55;
        cuts.push(damaged);
    }
    let n_cut = 7;
    for (at_cut, bytes) in cuts.into_iter().enumerate() {
        fs::write(&found[1], &bytes).unwrap();
        let history = History::open(folder.path(), 1, LIMITS).await.unwrap();
        let rows = history.reports(&name("pump-7"), at(0), at(i64::MAX)).await.unwrap();
        let aside = folder.path().join("damaged");
        let is_aside = aside.exists() && !all(&aside).is_empty();
        assert!(is_aside || at_cut >= n_cut, "cut {at_cut}");
        let of_others = rows
            .iter()
            .filter(|row| row.seq <= Seq(10) || Seq(20) < row.seq)
            .count();
        assert_eq!(of_others, 20, "case {at_cut}");
        if is_aside {
            assert_eq!(rows.len(), 20, "case {at_cut}");
            assert!(!found[1].exists());
            fs::remove_dir_all(&aside).unwrap();
        }
    }
}

#[tokio::test]
async fn the_newest_file_is_written_again_from_the_log() {
    let log = log();
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), 1, LIMITS).await.unwrap();
    keep(&history, &log, BEGIN + 5 * HOUR).await.unwrap();
    let newest = all(folder.path()).pop().unwrap();
    fs::write(&newest, b"PAR1 is not enough").unwrap();
    // The size is not what was written: even a server that runs sees it.
    assert_eq!(
        history
            .reports(&name("pump-7"), at(0), at(i64::MAX))
            .await
            .unwrap()
            .len(),
        20
    );
    drop(history);
    let history = History::open(folder.path(), 1, LIMITS).await.unwrap();
    assert_eq!(history.next(P), Seq(21));
    feed(&history, &log).await.unwrap();
    assert_whole(&history, &log, "read again").await;
}

#[tokio::test]
async fn what_is_damaged_does_not_keep_the_day_from_being_merged() {
    let log = log();
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), 1, LIMITS).await.unwrap();
    keep(&history, &log, BEGIN + 5 * HOUR).await.unwrap();
    let found = all(folder.path());
    fs::write(&found[0], b"").unwrap();
    fs::write(folder.path().join("reports/2026-11-25/x.parquet#3"), b"half").unwrap();
    drop(history);
    let history = History::open(folder.path(), 1, LIMITS).await.unwrap();
    while history.merge(at(BEGIN + 2 * DAY)).await.unwrap() {}
    assert_eq!(all(&folder.path().join("reports")).len(), 1);
    assert_eq!(all(&folder.path().join("damaged")).len(), 1);
    let rows = history.reports(&name("pump-7"), at(0), at(i64::MAX)).await.unwrap();
    assert_eq!(rows.len(), 20);
}
