//! Decisions: what responses want done to devices.

use std::pin::Pin;
use std::sync::Arc;

use picket_model::violation::ViolationNotice;
use picket_store::access::AccessScope;
use picket_store::decisions::{Cause, NewDecision};
use picket_store::{Db, StoreError};

use crate::plan::{Action, News, Step, plan};
use crate::{Backoff, Clock};

/// Where decisions act.
pub trait Enforcer: Send + Sync {
    /// Reads again what the scopes name and applies it to live sessions: done when this returns. Doing it once more
    /// changes nothing. Everything decided earlier was read before the listeners opened.
    fn enforce(&self, scopes: Vec<AccessScope>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The reader of the outbox that takes decisions.
const CONSUMER: &str = "mitigate";
/// Items that are read at once.
const N_ITEMS_MAX: u32 = 256;

/// Takes the decisions that responses want, until `shutdown` completes. Each violation and response meet once, also when
/// this stops at any point and runs again: the decision is the record of it. A database that does not answer is tried
/// again for ever.
pub async fn mitigate(db: Db, enforcer: Arc<dyn Enforcer>, clock: Clock, shutdown: impl Future<Output = ()> + Send) {
    let mitigator = Mitigator {
        db,
        enforcer,
        clock,
        backoff: Backoff {
            first: std::time::Duration::from_millis(50),
            longest: std::time::Duration::from_secs(5),
        },
    };
    tokio::select! {
        () = mitigator.run() => {}
        () = shutdown => {}
    }
}

struct Mitigator {
    db: Db,
    enforcer: Arc<dyn Enforcer>,
    clock: Clock,
    backoff: Backoff,
}

impl Mitigator {
    async fn run(&self) {
        let mut signal = self.db.outbox_signal();
        let mut n_failures = 0;
        loop {
            // What commits from here on wakes us again.
            signal.mark_unchanged();
            match self.take_next().await {
                Ok(0) => {
                    n_failures = 0;
                    if signal.changed().await.is_err() {
                        return;
                    }
                }
                Ok(_) => n_failures = 0,
                Err(err) => {
                    n_failures += 1;
                    tracing::warn!(
                        error = &err as &dyn std::error::Error,
                        n_failures,
                        "a decision could not be taken"
                    );
                    tokio::time::sleep(self.backoff.wait(n_failures)).await;
                }
            }
        }
    }

    /// Works through the next items; says how many there were.
    async fn take_next(&self) -> Result<usize, StoreError> {
        let cursor = self.db.cursor(CONSUMER).await?;
        let items = self.db.outbox_after(cursor, N_ITEMS_MAX).await?;
        let Some(&(last, _)) = items.last() else { return Ok(0) };
        if let Some(&(first, _)) = items.first()
            && cursor + 1 < first
        {
            tracing::error!(
                n_lost = first - cursor - 1,
                "news was given up before anything was done about it"
            );
        }
        let responses = self.db.responses().await?;
        for (_, item) in &items {
            let Some(news) = News::of(item) else { continue };
            for step in plan(news, &responses) {
                self.take(step, news.notice()).await?;
            }
        }
        self.db.move_cursor(CONSUMER, last).await?;
        Ok(items.len())
    }

    async fn take(&self, step: Step, notice: &ViolationNotice) -> Result<(), StoreError> {
        let group = match step.action {
            Action::Quarantine { group } => group,
            Action::Refrain => {
                tracing::info!(
                    thing = %notice.thing, violation = %notice.id, response = %step.response,
                    "not quarantined: no report over a certificate attached to the thing supports the violation"
                );
                return Ok(());
            }
            Action::Alert { .. } => return Ok(()),
        };
        let new = NewDecision {
            thing: notice.thing.clone(),
            by: format!("response {}", step.response),
            cause: Cause::Response {
                violation: notice.id,
                response: step.response,
            },
            group: Some(group),
            at: (self.clock)(),
        };
        match self.db.quarantine(&new).await? {
            Some(decided) => {
                self.enforcer.enforce(decided.scopes).await;
                tracing::info!(thing = %new.thing, violation = %notice.id, by = new.by, "quarantined");
                if let Some(reason) = decided
                    .decisions
                    .iter()
                    .find_map(|decision| decision.mirror_failure.as_ref())
                {
                    tracing::warn!(thing = %new.thing, reason, "the quarantine is in force, but no group shows it");
                }
            }
            // Decided before; but whoever did may have stopped before the sessions were cut.
            None if self.db.is_quarantined(&new.thing).await? => {
                self.enforcer.enforce(new.scopes()).await;
            }
            None => {}
        }
        Ok(())
    }
}
