//! The outbox: in order of commits, at least once, bounded.

use std::time::Duration;

use picket_store::registry::Tags;
use picket_store::{Db, OutboxItem};

use crate::effects::{raised, write};
use crate::engines::on_each;
use crate::profiles::metric;

#[tokio::test]
async fn cursors_only_go_on_and_decide_what_is_kept() {
    on_each(async |db: Db| {
        write(&db, (0..10).map(|n| raised(&format!("p{n}"), 1000)).collect()).await;
        assert_eq!(db.trim_outbox(1000, 100).await.unwrap(), 0, "nobody has read it");
        db.move_cursor("pipeline", 8).await.unwrap();
        db.move_cursor("publish", 9).await.unwrap();
        db.move_cursor("mitigate", 5).await.unwrap();
        db.move_cursor("mitigate", 3).await.unwrap();
        assert_eq!(db.cursor("mitigate").await.unwrap(), 5);
        db.move_cursor("stranger", 3).await.unwrap();
        assert_eq!(db.cursor("stranger").await.unwrap(), 0);
        assert_eq!(db.trim_outbox(1000, 2).await.unwrap(), 2, "in steps");
        assert_eq!(
            db.trim_outbox(1000, 100).await.unwrap(),
            3,
            "the slowest reader decides"
        );
        assert_eq!(db.outbox_after(0, 1).await.unwrap()[0].0, 6);
        // Two at most: the slow reader loses three, and finds a gap. What the pipeline needs stays.
        assert_eq!(db.trim_outbox(1, 100).await.unwrap(), 3);
        assert_eq!(db.outbox_after(5, 1).await.unwrap()[0].0, 9);
    })
    .await;
}

#[tokio::test]
async fn transactions_at_the_same_time_leave_no_gaps() {
    on_each(async |db: Db| {
        db.claim(1).await.unwrap();
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let db = db.clone();
                tokio::spawn(async move {
                    for n in 0..10 {
                        let at = picket_model::time::Timestamp::from_millis(1);
                        let metric = metric(&format!("m{writer}-{n}"), None);
                        db.create_custom_metric(&metric, &Tags::default(), at).await.unwrap();
                    }
                })
            })
            .collect();
        // A reader that follows sees every number once, in order.
        let mut signal = db.outbox_signal();
        let mut last = 0;
        while last < 80 {
            signal.wait_for(|end| last < *end).await.unwrap();
            for (seq, item) in db.outbox_after(last, 100).await.unwrap() {
                assert_eq!((seq, item), (last + 1, OutboxItem::Config { revision: last + 1 }));
                last = seq;
            }
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let config = db.judging_config(80).await.unwrap().unwrap();
        assert_eq!(config.custom_metrics.len(), 80);
    })
    .await;
}

#[tokio::test]
async fn a_commit_whose_caller_went_away_is_told_of_all_the_same() {
    on_each(async |db: Db| {
        let signal = db.outbox_signal();
        let at = picket_model::time::Timestamp::from_millis(1);
        let mut n_made = 0;
        for n in 0..120_u16 {
            let metric = metric(&format!("m{n}"), None);
            let reads = async {
                for _ in 0..n % 40 {
                    db.cursor("pipeline").await.unwrap();
                }
            };
            let no_tags = Tags::default();
            tokio::select! {
                biased;
                () = reads => {}
                _ = db.create_custom_metric(&metric, &no_tags, at) => {}
            }
            // Takes its turn after what may still be going on.
            db.move_cursor("stranger", 1).await.unwrap();
            let made = db.outbox_after(n_made, 10).await.unwrap();
            n_made = made.last().map_or(n_made, |&(seq, _)| seq);
            let mut signal = signal.clone();
            let told = tokio::time::timeout(Duration::from_secs(60), signal.wait_for(|end| n_made <= *end)).await;
            assert!(told.is_ok(), "item {n_made} is in the outbox, and nobody is told");
        }
        assert!(0 < n_made && n_made < 120, "some were made and some not: {n_made}");
    })
    .await;
}
