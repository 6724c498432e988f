//! What partitions measured waits until all have handed it in, and goes when the percentile is in the log.

use picket_model::behavior::Statistic;
use picket_model::fleet::{FleetSample, Quantity, WindowKey};
use picket_model::time::Timestamp;
use picket_store::effects::{Effects, Position};
use picket_store::fleet::WindowValues;
use picket_store::{Db, StoreError};

use crate::effects::raised;
use crate::engines::on_each;

const N_PARTITIONS: u16 = 3;

fn window(profile: &str, fingerprint: u64, end_secs: i64) -> WindowKey {
    WindowKey {
        profile: profile.parse().unwrap(),
        behavior: "LikeTheOthers".parse().unwrap(),
        fingerprint,
        end: Timestamp::from_millis(end_secs * 1000),
    }
}

fn effects(position: Position, window: &WindowKey, counts: &[u64]) -> Effects {
    Effects {
        partition: position.partition,
        epoch: position.epoch,
        applied_seq: position.applied_seq,
        changes: Vec::new(),
        samples: vec![FleetSample {
            window: window.clone(),
            statistic: Statistic::P90,
            values: counts.iter().copied().map(Quantity::Count).collect(),
        }],
    }
}

fn values(counts: &[u64]) -> Option<WindowValues> {
    Some(WindowValues {
        statistic: Statistic::P90,
        values: counts.iter().copied().map(Quantity::Count).collect(),
    })
}

#[tokio::test]
async fn a_window_is_complete_when_every_partition_has_handed_it_in() {
    on_each(async |db: Db| {
        let mut signal = db.sample_signal();
        let positions = db.claim(N_PARTITIONS).await.unwrap();
        assert!(!signal.has_changed().unwrap(), "a claim says nothing of the fleet");
        // The largest fingerprint is a negative number to SQL.
        let (late, early) = (window("Fleet", u64::MAX, 900), window("Fleet", 7, 600));
        for (n_before, counts) in (0..).zip([&[30, 10][..], &[], &[20, u64::MAX]]) {
            assert_eq!(db.complete_windows(N_PARTITIONS, 10).await.unwrap(), [], "{n_before}");
            db.commit_effects(&[effects(positions[n_before], &late, counts)])
                .await
                .unwrap();
            assert!(signal.has_changed().unwrap());
            signal.mark_unchanged();
        }
        let all: Vec<Effects> = positions.iter().map(|at| effects(*at, &early, &[5])).collect();
        db.commit_effects(&all).await.unwrap();
        let complete = db.complete_windows(N_PARTITIONS, 10).await.unwrap();
        assert_eq!(complete, [early.clone(), late.clone()], "what ended first is first");
        assert_eq!(db.complete_windows(N_PARTITIONS, 1).await.unwrap(), complete[..1]);
        assert_eq!(
            db.window_values(&late).await.unwrap(),
            values(&[10, 30, 20, u64::MAX]),
            "those of a partition together"
        );
        assert_eq!(db.window_values(&early).await.unwrap(), values(&[5, 5, 5]));
        db.forget_windows(&complete[1..]).await.unwrap();
        assert_eq!(db.window_values(&late).await.unwrap(), None);
        assert_eq!(db.complete_windows(N_PARTITIONS, 10).await.unwrap(), [early]);
    })
    .await;
}

#[tokio::test]
async fn a_sample_written_twice_is_one_and_one_of_a_former_owner_is_none() {
    on_each(async |db: Db| {
        let former = db.claim(N_PARTITIONS).await.unwrap();
        let positions = db.claim(N_PARTITIONS).await.unwrap();
        let key = window("Fleet", 1, 600);
        let refused = db.commit_effects(&[effects(former[0], &key, &[1])]).await;
        assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
        assert_eq!(db.window_values(&key).await.unwrap(), None);
        for counts in [&[1, 2][..], &[1, 2], &[3]] {
            db.commit_effects(&[effects(positions[0], &key, counts)]).await.unwrap();
        }
        assert_eq!(db.window_values(&key).await.unwrap(), values(&[3]), "the newest counts");
        assert_eq!(db.complete_windows(N_PARTITIONS, 10).await.unwrap(), []);
        // With what changed, or not at all.
        let mut both = effects(former[1], &key, &[9]);
        both.changes.push(raised("pump-7", 1000));
        db.commit_effects(&[both]).await.unwrap_err();
        assert_eq!(db.window_values(&key).await.unwrap(), values(&[3]));
        assert!(db.outbox_after(0, 10).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn windows_that_never_become_complete_are_forgotten() {
    on_each(async |db: Db| {
        let positions = db.claim(N_PARTITIONS).await.unwrap();
        let kept = (Timestamp::from_millis(1_000_000), Timestamp::from_millis(2_000_000));
        let (old, complete) = (window("Fleet", 1, 999), window("Complete", 1, 900));
        let (first, last, ahead) = (
            window("Fleet", 1, 1000),
            window("Fleet", 1, 2000),
            window("Fleet", 1, 2001),
        );
        for window in [&old, &first, &last, &ahead] {
            let two: Vec<Effects> = positions[1..].iter().map(|at| effects(*at, window, &[5])).collect();
            db.commit_effects(&two).await.unwrap();
        }
        let all: Vec<Effects> = positions.iter().map(|at| effects(*at, &complete, &[5])).collect();
        db.commit_effects(&all).await.unwrap();
        assert_eq!(db.forget_incomplete_windows(N_PARTITIONS, kept).await.unwrap(), 2);
        assert_eq!(db.forget_incomplete_windows(N_PARTITIONS, kept).await.unwrap(), 0);
        for (window, is_kept) in [
            (old, false),
            (first, true),
            (last, true),
            (ahead, false),
            (complete, true),
        ] {
            let found = db.window_values(&window).await.unwrap();
            assert_eq!(found.is_some(), is_kept, "{window:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn numbers_keep_every_bit() {
    on_each(async |db: Db| {
        let positions = db.claim(1).await.unwrap();
        let key = window("Fleet", 1, 600);
        let numbers = [f64::MIN_POSITIVE, 0.1 + 0.2, 1e300].map(Quantity::Number);
        let mut own = effects(positions[0], &key, &[]);
        own.samples[0].values = numbers.to_vec();
        db.commit_effects(&[own]).await.unwrap();
        assert_eq!(db.window_values(&key).await.unwrap().unwrap().values, numbers);
    })
    .await;
}
