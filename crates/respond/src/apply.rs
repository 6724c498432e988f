//! Mitigation tasks: what operators want done about violations that there are.

use std::sync::Arc;

use picket_model::name::TaskId;
use picket_store::detect_tasks::{Execution, TaskStep};
use picket_store::{Db, StoreError};

use crate::Clock;
use crate::mitigate::Enforcer;
use crate::worker::{SOON, Worker, attend};

/// Does what mitigation tasks want, until `shutdown` completes; what was begun before goes on. Each action meets each
/// violation once, also when this stops at any point and runs again: the database holds what was done with what it did. A
/// task that cannot go on does not hold up the others, and is tried again for ever.
pub async fn apply_tasks(db: Db, enforcer: Arc<dyn Enforcer>, clock: Clock, shutdown: impl Future<Output = ()> + Send) {
    let mut applier = Applier { db, enforcer, clock };
    let signal = applier.db.detect_task_signal();
    tokio::select! {
        () = attend(&mut applier, signal, SOON) => {}
        () = shutdown => {}
    }
}

struct Applier {
    db: Db,
    enforcer: Arc<dyn Enforcer>,
    clock: Clock,
}

impl Worker for Applier {
    const FAILURE: &'static str = "a mitigation task cannot go on";

    /// One step of each task, so that a long one does not keep the others waiting; says how many are running.
    async fn work(&mut self) -> Result<usize, StoreError> {
        let running = self.db.running_detect_tasks().await?;
        let mut failure = None;
        for task in &running {
            if let Err(err) = self.advance(task).await {
                failure = Some(err);
            }
        }
        failure.map_or(Ok(running.len()), Err)
    }
}

impl Applier {
    async fn advance(&self, task: &TaskId) -> Result<(), StoreError> {
        match self.db.advance_detect_task(task, (self.clock)()).await? {
            TaskStep::Acted { executions, scopes } => {
                if !scopes.is_empty() {
                    self.enforcer.enforce(scopes).await;
                }
                executions.iter().for_each(tell);
            }
            TaskStep::Ended(status) => tracing::info!(%task, status = status.as_str(), "mitigation task ended"),
            TaskStep::Looked | TaskStep::Over => {}
        }
        Ok(())
    }
}

fn tell(execution: &Execution) {
    let Execution {
        task,
        violation,
        action,
        thing,
        ..
    } = execution;
    match &execution.failure {
        None => {
            let status = execution.status.as_str();
            tracing::info!(%task, %violation, %action, %thing, status, "mitigation action applied");
        }
        Some((_, reason)) => {
            tracing::warn!(%task, %violation, %action, %thing, reason, "mitigation action failed");
        }
    }
}
