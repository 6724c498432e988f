//! Decisions: what responses want done to devices.

use std::pin::Pin;
use std::sync::Arc;

use picket_model::violation::ViolationNotice;
use picket_store::access::AccessScope;
use picket_store::decisions::{Cause, NewDecision};
use picket_store::{Db, StoreError};

use crate::Clock;
use crate::plan::{Action, News, Step, plan};
use crate::worker::{SOON, Worker, attend, unread};

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
    let mut mitigator = Mitigator { db, enforcer, clock };
    let signal = mitigator.db.outbox_signal();
    tokio::select! {
        () = attend(&mut mitigator, signal, SOON) => {}
        () = shutdown => {}
    }
}

struct Mitigator {
    db: Db,
    enforcer: Arc<dyn Enforcer>,
    clock: Clock,
}

impl Worker for Mitigator {
    const FAILURE: &'static str = "a decision could not be taken";

    async fn work(&mut self) -> Result<usize, StoreError> {
        let (_, items) = unread(&self.db, CONSUMER, N_ITEMS_MAX).await?;
        let Some(&(last, _)) = items.last() else { return Ok(0) };
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
}

impl Mitigator {
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
