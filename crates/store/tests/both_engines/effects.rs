//! Effects are written once, by the owner of the partition alone.

use std::sync::Arc;

use picket_model::behavior::{Behavior, wire};
use picket_model::time::Timestamp;
use picket_model::value::MetricValue;
use picket_model::violation::{ChangeKind, EventType, VerificationState, ViolationChange, ViolationId};
use picket_store::effects::Effects;
use picket_store::log::{PartitionId, Seq};
use picket_store::violations::ViolationFilter;
use picket_store::{Db, OutboxItem, StoreError};

use crate::engines::on_each;

pub(crate) const FOREVER: (Timestamp, Timestamp) = (Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX));

pub(crate) fn behavior(json: &str) -> Arc<Behavior> {
    let written: wire::Behavior = serde_json::from_str(json).unwrap();
    Arc::new(written.try_into().unwrap())
}

pub(crate) fn bytes_out() -> Arc<Behavior> {
    behavior(
        r#"{"name":"BytesOut","metric":"aws:all-bytes-out","criteria":{"comparisonOperator":"less-than-equals",
            "value":{"count":200},"durationSeconds":300}}"#,
    )
}

pub(crate) fn change(thing: &str, started_at: i64, at: i64, kind: ChangeKind) -> ViolationChange {
    let behavior = bytes_out();
    let (thing, profile) = (thing.parse().unwrap(), "Quiet".parse().unwrap());
    ViolationChange {
        id: ViolationId::derive(&thing, &profile, &behavior.name, Timestamp::from_millis(started_at)),
        thing,
        profile,
        behavior,
        at: Timestamp::from_millis(at),
        kind,
    }
}

pub(crate) fn raised(thing: &str, at: i64) -> ViolationChange {
    let kind = ChangeKind::Raised {
        value: MetricValue::Count(900),
        is_supported: false,
        is_eager: false,
    };
    change(thing, at, at, kind)
}

pub(crate) fn continued(thing: &str, started_at: i64, at: i64, count: u64) -> ViolationChange {
    let value = MetricValue::Count(count);
    change(thing, started_at, at, ChangeKind::Continued { value })
}

pub(crate) fn cleared(thing: &str, started_at: i64, at: i64) -> ViolationChange {
    let value = MetricValue::Count(3);
    change(thing, started_at, at, ChangeKind::Cleared { value })
}

/// Writes changes as the owner of the only partition.
pub(crate) async fn write(db: &Db, changes: Vec<ViolationChange>) {
    let position = db.claim(1).await.unwrap()[0];
    let effects = Effects {
        partition: position.partition,
        epoch: position.epoch,
        applied_seq: position.applied_seq.next(),
        changes,
        samples: Vec::new(),
    };
    db.commit_effects(&[effects]).await.unwrap();
}

#[tokio::test]
async fn a_violation_runs_its_course() {
    on_each(async |db: Db| {
        let mut signal = db.outbox_signal();
        write(&db, vec![raised("pump-7", 1000), continued("pump-7", 1000, 1100, 901)]).await;
        signal.wait_for(|last| *last == 1).await.unwrap();
        write(
            &db,
            vec![
                continued("pump-7", 1000, 1200, 902),
                continued("pump-7", 1000, 1300, 903),
            ],
        )
        .await;
        let active = db
            .active_violations(&ViolationFilter::default(), None, 10)
            .await
            .unwrap();
        let [violation] = &active[..] else { panic!("{active:?}") };
        assert_eq!(violation.started_at.millis(), 1000);
        assert_eq!(
            (violation.last_at.millis(), &violation.last_value),
            (1300, &MetricValue::Count(903))
        );
        assert_eq!(violation.behavior, bytes_out());
        assert!(!violation.is_supported);

        let value = MetricValue::Count(904);
        write(&db, vec![change("pump-7", 1000, 1400, ChangeKind::Supported { value })]).await;
        let id = violation.id;
        db.put_verification(id, VerificationState::TruePositive, Some("seen it"))
            .await
            .unwrap();
        write(&db, vec![cleared("pump-7", 1000, 1500)]).await;
        assert!(
            db.active_violations(&ViolationFilter::default(), None, 10)
                .await
                .unwrap()
                .is_empty()
        );
        let ended = db.violation(id).await.unwrap().unwrap();
        assert_eq!(ended.ended_at, Some(Timestamp::from_millis(1500)));
        assert_eq!(
            (ended.is_supported, ended.verification),
            (true, VerificationState::TruePositive)
        );
        let events = db
            .violation_events(FOREVER, &ViolationFilter::default(), None, 10)
            .await
            .unwrap();
        let seen: Vec<_> = events
            .iter()
            .map(|event| (event.event, event.at.millis(), event.value.clone()))
            .collect();
        assert_eq!(
            seen,
            [
                (EventType::AlarmCleared, 1500, Some(MetricValue::Count(3))),
                (EventType::InAlarm, 1000, Some(MetricValue::Count(900))),
            ]
        );
        assert_told(&db).await;
    })
    .await;
}

/// What the outbox holds after the whole course.
async fn assert_told(db: &Db) {
    let outbox = db.outbox_after(0, 10).await.unwrap();
    let told: Vec<_> = outbox
        .iter()
        .map(|(seq, item)| match item {
            OutboxItem::Violation(notice) => (*seq, notice.event, notice.is_supported, notice.verification),
            OutboxItem::Supported(notice) => (*seq + 100, notice.event, notice.is_supported, notice.verification),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, EventType::InAlarm, false, VerificationState::Unknown),
            (102, EventType::InAlarm, true, VerificationState::Unknown),
            (3, EventType::AlarmCleared, false, VerificationState::TruePositive),
        ]
    );
}

#[tokio::test]
async fn the_same_effects_again_change_nothing() {
    on_each(async |db: Db| {
        let story = vec![raised("pump-7", 1000), cleared("pump-7", 1000, 1500)];
        write(&db, story.clone()).await;
        write(&db, story).await;
        assert_eq!(db.outbox_after(0, 10).await.unwrap().len(), 2);
        let events = db
            .violation_events(FOREVER, &ViolationFilter::default(), None, 10)
            .await
            .unwrap();
        assert_eq!(events.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_owner_of_an_older_epoch_is_fenced() {
    on_each(async |db: Db| {
        let old = db.claim(4).await.unwrap();
        assert_eq!(
            old.iter().map(|position| position.partition.0).collect::<Vec<_>>(),
            [0, 1, 2, 3]
        );
        db.advance(&[
            (PartitionId(1), old[1].epoch, Seq(5)),
            (PartitionId(0), old[0].epoch, Seq(3)),
        ])
        .await
        .unwrap();
        db.note_snapshot(PartitionId(1), old[1].epoch, Seq(4)).await.unwrap();
        let new = db.claim(4).await.unwrap();
        assert_eq!((new[1].applied_seq, new[1].snapshot_seq), (Seq(5), Seq(4)));
        assert!(old[1].epoch < new[1].epoch);

        let late = |epoch| Effects {
            partition: PartitionId(1),
            epoch,
            applied_seq: Seq(6),
            changes: vec![raised("pump-7", 1000)],
            samples: Vec::new(),
        };
        for refused in [
            db.commit_effects(&[late(old[1].epoch)]).await,
            db.advance(&[(PartitionId(1), old[1].epoch, Seq(6))]).await,
            db.note_snapshot(PartitionId(1), old[1].epoch, Seq(6)).await,
        ] {
            assert!(
                matches!(refused, Err(StoreError::Fenced { partition: 1, .. })),
                "{refused:?}"
            );
        }
        assert!(
            db.outbox_after(0, 10).await.unwrap().is_empty(),
            "nothing of it was written"
        );
        db.commit_effects(&[late(new[1].epoch)]).await.unwrap();
        assert_eq!(db.outbox_after(0, 10).await.unwrap().len(), 1);
        // Whoever saves progress may have looked before the effects were written: that takes nothing back, and keeps
        // nobody else from coming further.
        db.advance(&[
            (PartitionId(0), new[0].epoch, Seq(9)),
            (PartitionId(1), new[1].epoch, Seq(4)),
        ])
        .await
        .unwrap();
        let applied: Vec<u64> = db
            .positions()
            .await
            .unwrap()
            .iter()
            .map(|at| at.applied_seq.0)
            .collect();
        assert_eq!(applied, [9, 6, 0, 0]);
        assert!(matches!(
            db.claim(8).await,
            Err(StoreError::Partitions { found: 4, expected: 8 })
        ));
    })
    .await;
}

#[tokio::test]
async fn many_changes_go_in_one_transaction() {
    on_each(async |db: Db| {
        let things: Vec<String> = (0..200).map(|n| format!("pump-{n}")).collect();
        write(&db, things.iter().map(|thing| raised(thing, 1000)).collect()).await;
        write(
            &db,
            things.iter().map(|thing| continued(thing, 1000, 2000, 77)).collect(),
        )
        .await;
        let active = db
            .active_violations(&ViolationFilter::default(), None, 1000)
            .await
            .unwrap();
        assert_eq!(active.len(), 200);
        assert!(
            active
                .iter()
                .all(|v| v.last_at.millis() == 2000 && v.last_value == MetricValue::Count(77))
        );
        let seqs: Vec<u64> = db
            .outbox_after(0, 1000)
            .await
            .unwrap()
            .iter()
            .map(|(seq, _)| *seq)
            .collect();
        assert_eq!(seqs, (1..=200).collect::<Vec<_>>());
    })
    .await;
}
