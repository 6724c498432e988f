//! Lists of violations and events: filters, order, pages that stay in place.

use std::sync::Arc;

use picket_model::behavior::Behavior;
use picket_model::time::Timestamp;
use picket_model::violation::{ChangeKind, EventType, VerificationState};
use picket_store::violations::{CriteriaKind, EventKey, RETENTION, ViolationFilter, ViolationKey};
use picket_store::{Db, StoreError};

use crate::effects::{FOREVER, bytes_out, change, cleared, raised, write};
use crate::engines::on_each;

#[tokio::test]
async fn filters_hold_together() {
    on_each(async |db: Db| {
        let mut loud = raised("pump-1", 1000);
        loud.profile = "Loud".parse().unwrap();
        loud.id.0[0] ^= 1;
        let mut suppressed = raised("pump-2", 1000);
        suppressed.behavior = Arc::new(Behavior {
            suppress_alerts: Some(true),
            ..(*bytes_out()).clone()
        });
        write(
            &db,
            vec![raised("pump-1", 1000), loud, suppressed, raised("pümp 3", 1000)],
        )
        .await;
        let found = db
            .active_violations(&ViolationFilter::default(), None, 10)
            .await
            .unwrap();
        let of_pump_3 = found.iter().find(|v| v.thing.as_str() == "pümp 3").unwrap().id;
        db.put_verification(of_pump_3, VerificationState::BenignPositive, None)
            .await
            .unwrap();
        for (filter, expected) in filters() {
            let active = db.active_violations(&filter, None, 10).await.unwrap();
            assert_eq!(active.len(), expected, "{filter:?}");
            let events = db.violation_events(FOREVER, &filter, None, 10).await.unwrap();
            assert_eq!(events.len(), expected, "{filter:?}");
        }
        let unknown = db
            .put_verification("00".repeat(16).parse().unwrap(), VerificationState::Unknown, None)
            .await;
        assert!(matches!(unknown, Err(StoreError::NotFound { what: "violation", .. })));
    })
    .await;
}

/// Filters, and how many of the four violations each takes.
fn filters() -> [(ViolationFilter, usize); 10] {
    let all = ViolationFilter::default;
    [
        (all(), 4),
        (
            ViolationFilter {
                thing: Some("pump-1".parse().unwrap()),
                ..all()
            },
            2,
        ),
        (
            ViolationFilter {
                profile: Some("Loud".parse().unwrap()),
                ..all()
            },
            1,
        ),
        (
            ViolationFilter {
                thing: Some("pump-2".parse().unwrap()),
                profile: Some("Loud".parse().unwrap()),
                ..all()
            },
            0,
        ),
        (
            ViolationFilter {
                criteria: Some(CriteriaKind::Static),
                ..all()
            },
            4,
        ),
        (
            ViolationFilter {
                criteria: Some(CriteriaKind::MachineLearning),
                ..all()
            },
            0,
        ),
        (
            ViolationFilter {
                is_suppressed: Some(true),
                ..all()
            },
            1,
        ),
        (
            ViolationFilter {
                is_suppressed: Some(false),
                ..all()
            },
            3,
        ),
        (
            ViolationFilter {
                verification: Some(VerificationState::BenignPositive),
                ..all()
            },
            1,
        ),
        (
            ViolationFilter {
                verification: Some(VerificationState::Unknown),
                ..all()
            },
            3,
        ),
    ]
}

#[tokio::test]
async fn pages_stay_in_place_while_violations_come_and_go() {
    on_each(async |db: Db| {
        // Several at each time, so that the id decides too.
        let story = (0..30).map(|n| raised(&format!("pump-{n}"), 1000 + n / 4)).collect();
        write(&db, story).await;
        let mut after: Option<ViolationKey> = None;
        let mut seen = Vec::new();
        loop {
            let page = db
                .active_violations(&ViolationFilter::default(), after.as_ref(), 7)
                .await
                .unwrap();
            let Some(last) = page.last() else { break };
            // The key goes to the client and comes back.
            after = Some(last.key().to_string().parse().unwrap());
            seen.extend(page.iter().map(|v| (v.started_at, v.id)));
            let n = i64::try_from(seen.len()).unwrap();
            write(&db, vec![raised(&format!("new-{n}"), 5000 + n)]).await;
        }
        let mut sorted = seen.clone();
        sorted.sort_unstable();
        sorted.dedup();
        sorted.reverse();
        assert_eq!(seen, sorted, "the newest first, each once");
        assert_eq!(seen.len(), 30, "and none of those that came later");
    })
    .await;
}

#[tokio::test]
async fn events_are_listed_by_time_in_pages() {
    on_each(async |db: Db| {
        let story = (0..10).flat_map(|n| {
            [
                raised(&format!("p{n}"), 1000),
                cleared(&format!("p{n}"), 1000, 1000 + n),
            ]
        });
        write(&db, story.collect()).await;
        let window = (Timestamp::from_millis(1000), Timestamp::from_millis(1004));
        let mut after: Option<EventKey> = None;
        let mut seen = Vec::new();
        loop {
            let page = db
                .violation_events(window, &ViolationFilter::default(), after.as_ref(), 4)
                .await
                .unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.key().to_string().parse().unwrap());
            seen.extend(page.iter().map(|event| (event.at.millis(), event.event)));
        }
        assert_eq!(seen.len(), 10 + 5);
        assert!(seen.is_sorted_by(|a, b| a.0 >= b.0), "{seen:?}");
        assert_eq!(seen[0], (1004, EventType::AlarmCleared));
        for bad in ["", "1000", "1000.xyz", "1.00.in-alarm"] {
            assert!(
                bad.parse::<EventKey>().is_err() && bad.parse::<ViolationKey>().is_err(),
                "{bad}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_too_old_goes_in_bounded_steps_and_open_violations_stay() {
    on_each(async |db: Db| {
        let story = (0..10).flat_map(|n| [raised(&format!("p{n}"), 1000), cleared(&format!("p{n}"), 1000, 2000)]);
        write(&db, story.collect()).await;
        write(
            &db,
            vec![
                raised("open", 1500),
                raised("late", 1500),
                change("late", 1500, 9000, ChangeKind::Invalidated),
            ],
        )
        .await;
        assert_eq!(db.trim_violations(Timestamp::from_millis(3000), 100).await.unwrap(), 0);
        let now = Timestamp::from_millis(3000).plus(RETENTION);
        let mut steps = Vec::new();
        loop {
            match db.trim_violations(now, 8).await.unwrap() {
                0 => break,
                n => steps.push(n),
            }
        }
        assert_eq!(steps.iter().sum::<u64>(), 10 + 10 + 2 + 10, "{steps:?}");
        assert!(steps.iter().all(|&n| n <= 16), "{steps:?}");
        let events = db
            .violation_events(FOREVER, &ViolationFilter::default(), None, 10)
            .await
            .unwrap();
        assert_eq!(
            events.iter().map(|e| e.event).collect::<Vec<_>>(),
            [EventType::AlarmInvalidated]
        );
        let open = db
            .active_violations(&ViolationFilter::default(), None, 10)
            .await
            .unwrap();
        assert_eq!(open.iter().map(|v| v.thing.as_str()).collect::<Vec<_>>(), ["open"]);
    })
    .await;
}
