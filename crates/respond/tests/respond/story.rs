//! A database, what engines write into it, and responses.

use std::sync::Arc;
use std::time::Duration;

use picket_model::behavior::{Behavior, wire};
use picket_model::time::Timestamp;
use picket_model::value::MetricValue;
use picket_model::violation::{ChangeKind, ViolationChange, ViolationId};
use picket_respond::Backoff;
use picket_store::decisions::{Decision, DecisionFilter};
use picket_store::effects::{Effects, Position};
use picket_store::responses::{Quarantine, Response, Webhook};
use picket_store::{Db, DbUrl};
use tempfile::TempDir;

use crate::receiver::DEADLINE;

pub(crate) const AT: Timestamp = Timestamp::from_millis(1_000);

/// Short, so that tests need not wait.
pub(crate) const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(20),
};

/// A fresh database, with the only partition claimed.
pub(crate) struct Story {
    pub(crate) db: Db,
    position: Position,
    _folder: TempDir,
}

impl Story {
    pub(crate) async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&DbUrl::Sqlite(folder.path().join("picket.db"))).await.unwrap();
        let position = db.claim(1).await.unwrap()[0];
        Self {
            db,
            position,
            _folder: folder,
        }
    }

    /// Writes what an engine would.
    pub(crate) async fn write(&self, changes: Vec<ViolationChange>) {
        let effects = Effects {
            partition: self.position.partition,
            epoch: self.position.epoch,
            applied_seq: self.position.applied_seq,
            changes,
            samples: Vec::new(),
        };
        self.db.commit_effects(&[effects]).await.unwrap();
    }

    /// Raises an alarm for each of these devices, with the support of genuine reports.
    pub(crate) async fn raise(&self, things: &[String]) {
        self.write(things.iter().map(|thing| raised(thing, 1_000, true)).collect())
            .await;
    }

    pub(crate) async fn respond(&self, response: Response) {
        self.db.create_response(&response).await.unwrap();
    }

    pub(crate) async fn decisions(&self) -> Vec<Decision> {
        self.db
            .decisions(&DecisionFilter::default(), None, 10_000)
            .await
            .unwrap()
    }

    /// Waits until a reader of the outbox is done with everything that is in it now.
    pub(crate) async fn until_done(&self, consumer: &str) {
        let end = *self.db.outbox_signal().borrow();
        eventually(&format!("{consumer} is done"), async || {
            end <= self.db.cursor(consumer).await.unwrap()
        })
        .await;
    }
}

/// Waits for a fact that only the database knows.
pub(crate) async fn eventually(what: &str, is_it: impl AsyncFn() -> bool) {
    let asked = async {
        while !is_it().await {
            // Asked again and again without a pause, the tests that run beside this one would starve.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(DEADLINE, asked).await.is_err() {
        panic!("never: {what}");
    }
}

/// Completes after so many reads of the database: stops a task that works with it somewhere else each time.
pub(crate) fn after_reads(db: &Db, n: usize) -> impl Future<Output = ()> + Send + 'static {
    let db = db.clone();
    async move {
        for _ in 0..n {
            db.cursor("mitigate").await.unwrap();
        }
    }
}

/// Never.
pub(crate) fn never() -> std::future::Pending<()> {
    std::future::pending()
}

pub(crate) fn things(prefix: &str, n: usize) -> Vec<String> {
    (0..n).map(|nth| format!("{prefix}-{nth:03}")).collect()
}

pub(crate) fn behavior(json: &str) -> Arc<Behavior> {
    let written: wire::Behavior = serde_json::from_str(json).unwrap();
    Arc::new(written.try_into().unwrap())
}

fn packets_out() -> Arc<Behavior> {
    behavior(
        r#"{"name":"PacketsOut","metric":"aws:all-packets-out",
            "criteria":{"comparisonOperator":"less-than","value":{"count":100},"durationSeconds":300}}"#,
    )
}

/// A change of the violation that was raised for this device at `started_at`.
pub(crate) fn change(thing: &str, started_at: i64, at: i64, kind: ChangeKind) -> ViolationChange {
    let behavior = packets_out();
    let (thing, profile) = (thing.parse().unwrap(), "NormalHTTPTraffic".parse().unwrap());
    ViolationChange {
        id: ViolationId::derive(&thing, &profile, &behavior.name, Timestamp::from_millis(started_at)),
        thing,
        profile,
        behavior,
        at: Timestamp::from_millis(at),
        kind,
    }
}

pub(crate) fn raised(thing: &str, at: i64, is_supported: bool) -> ViolationChange {
    let value = MetricValue::Count(900);
    change(
        thing,
        at,
        at,
        ChangeKind::Raised {
            value,
            is_supported,
            is_eager: false,
        },
    )
}

pub(crate) fn supported(thing: &str, started_at: i64, at: i64) -> ViolationChange {
    let value = MetricValue::Count(901);
    change(thing, started_at, at, ChangeKind::Supported { value })
}

pub(crate) fn cleared(thing: &str, started_at: i64, at: i64) -> ViolationChange {
    let value = MetricValue::Count(29);
    change(thing, started_at, at, ChangeKind::Cleared { value })
}

/// A response to everything.
pub(crate) fn response(name: &str) -> Response {
    Response {
        name: name.parse().unwrap(),
        profiles: Vec::new(),
        behaviors: Vec::new(),
        quarantine: None,
        webhook: None,
        is_enabled: true,
        created_at: AT,
    }
}

pub(crate) fn telling(name: &str, url: &str) -> Response {
    Response {
        webhook: Some(Webhook {
            url: url.parse().unwrap(),
        }),
        ..response(name)
    }
}

pub(crate) fn isolating(name: &str) -> Response {
    Response {
        quarantine: Some(Quarantine {
            group: "IsolatedDevices".parse().unwrap(),
        }),
        ..response(name)
    }
}
