//! One step of a task: its actions on its next violation.

use picket_model::name::{DeviceName, TaskId, ThingName};
use picket_model::time::Timestamp;
use picket_model::violation::ViolationId;
use serde::Deserialize;
use sqlx::AssertSqlSafe;

use super::execution::{Execution, ExecutionStatus, record};
use super::{DetectTask, TaskAction, TaskStatus, TaskTarget, task_in};
use crate::access::AccessScope;
use crate::registry::membership;
use crate::sql::{Args, Row, args, int};
use crate::{Db, StoreError, Tx};

/// What became of a task in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskStep {
    /// Its actions met a violation: what they did is in force when this is told, and the door has to read this again.
    Acted {
        /// What was done, in order.
        executions: Vec<Execution>,
        /// What changed for the door.
        scopes: Vec<AccessScope>,
    },
    /// It looked at violations, and none of them was its business.
    Looked,
    /// It is done.
    Ended(TaskStatus),
    /// It ended before, or never was.
    Over,
}

/// Violations that are looked at in one step.
const N_LOOKS: u32 = 100;

/// A violation whose turn it is.
struct Turn {
    id: ViolationId,
    thing: DeviceName,
}

/// Where a task finds itself.
enum Next {
    Act(Turn),
    /// None of the violations up to this one was its business; there may be more.
    Look(String),
    End,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl Db {
    /// Does the next step of a task: durable when this returns, and never done again.
    ///
    /// # Errors
    /// The database cannot be written, or holds what cannot be read: nothing was done.
    pub async fn advance_detect_task(&self, id: &TaskId, at: Timestamp) -> Result<TaskStep, StoreError> {
        let mut tx = self.begin_write().await?;
        // Whoever else does steps of this task waits, and so does who cancels it.
        let sql = "UPDATE detect_task SET status = status WHERE task_id = $1 AND ended_at IS NULL";
        if tx.execute(sql, args![id.as_str()]).await? == 0 {
            return Ok(TaskStep::Over);
        }
        let Some(task) = task_in(&mut tx, id).await? else {
            return Ok(TaskStep::Over);
        };
        let step = match next(&mut tx, &task).await? {
            Next::Act(turn) => act(&mut tx, &task, &turn, at).await?,
            Next::Look(position) => {
                let sql = "UPDATE detect_task SET position = $1 WHERE task_id = $2";
                tx.execute(sql, args![position, id.as_str()]).await?;
                TaskStep::Looked
            }
            Next::End => {
                let status = if task.n_failed == 0 {
                    TaskStatus::Successful
                } else {
                    TaskStatus::Failed
                };
                let sql = "UPDATE detect_task SET status = $1, ended_at = $2 WHERE task_id = $3";
                tx.execute(sql, args![status.as_str(), at.millis(), id.as_str()])
                    .await?;
                TaskStep::Ended(status)
            }
        };
        tx.commit().await?;
        Ok(step)
    }
}

async fn next(tx: &mut Tx, task: &DetectTask) -> Result<Next, StoreError> {
    match &task.scope.target {
        TaskTarget::Violations(ids) => {
            let mut ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            ids.sort();
            for id in ids.into_iter().filter(|id| task.position < *id) {
                // Whoever names a violation means it, also when its alerts are suppressed.
                let (sql, mut args) = select(task, true);
                args.push(id);
                let sql = AssertSqlSafe(format!("{sql} AND v.violation_id = $6"));
                if let Some(row) = tx.row(sql, args).await? {
                    return turn(&row).map(Next::Act);
                }
            }
            Ok(Next::End)
        }
        TaskTarget::Profile { profile, behavior } => {
            let (sql, mut args) = select(task, task.scope.with_suppressed);
            args.push(profile.as_str());
            args.push(task.position.as_str());
            args.push(N_LOOKS);
            let sql = format!("{sql} AND v.profile = $6 AND v.violation_id > $7 ORDER BY v.violation_id LIMIT $8");
            let rows = tx.rows(AssertSqlSafe(sql), args).await?;
            for row in &rows {
                let json: String = row.at(2)?;
                let found: Named =
                    serde_json::from_str(&json).map_err(|err| StoreError::corrupt("behavior", &json, err))?;
                if behavior.as_ref().is_none_or(|behavior| behavior.as_str() == found.name) {
                    return turn(row).map(Next::Act);
                }
            }
            rows.last().map_or(Ok(Next::End), |row| row.at(0).map(Next::Look))
        }
    }
}

/// The violations that are a task's business, whatever its target.
fn select(task: &DetectTask, with_suppressed: bool) -> (&'static str, Args) {
    let sql = "SELECT v.violation_id, v.thing, v.behavior FROM violation v WHERE v.started_at <= $1 \
               AND (v.ended_at IS NULL OR NOT $2) AND ($3 OR NOT v.is_suppressed) \
               AND (CAST($4 AS BIGINT) IS NULL OR EXISTS (SELECT 1 FROM violation_event e \
                    WHERE e.violation_id = v.violation_id AND e.at >= $4 AND e.at <= $5))";
    let args = args![
        task.started_at.millis(),
        task.scope.only_active,
        with_suppressed,
        task.scope.range.map(|(from, _)| from.millis()),
        task.scope.range.map(|(_, to)| to.millis()),
    ];
    (sql, args)
}

fn turn(row: &Row) -> Result<Turn, StoreError> {
    Ok(Turn {
        id: row.parsed(0)?,
        thing: row.parsed(1)?,
    })
}

/// Applies the actions in their order. After one that fails the others are skipped.
async fn act(tx: &mut Tx, task: &DetectTask, turn: &Turn, at: Timestamp) -> Result<TaskStep, StoreError> {
    let mut executions = Vec::with_capacity(task.actions.len());
    let mut scopes = Vec::new();
    for action in &task.actions {
        let has_failed = executions.iter().any(|done: &Execution| done.failure.is_some());
        let (status, failure) = if has_failed {
            (ExecutionStatus::Skipped, None)
        } else {
            match apply(tx, action, &turn.thing, &mut scopes).await? {
                None => (ExecutionStatus::Successful, None),
                Some(failure) => (ExecutionStatus::Failed, Some(failure)),
            }
        };
        executions.push(Execution {
            task: task.id.clone(),
            violation: turn.id,
            nth: executions.len() as u64,
            action: action.name.clone(),
            thing: turn.thing.clone(),
            at,
            status,
            failure,
        });
    }
    for execution in &executions {
        record(tx, execution).await?;
    }
    let n_of = |status| executions.iter().filter(|done| done.status == status).count() as u64;
    let sql = "UPDATE detect_task SET position = $1, n_executed = n_executed + $2, n_skipped = n_skipped + $3, \
               n_failed = n_failed + $4 WHERE task_id = $5";
    let args = args![
        turn.id.to_string(),
        int(n_of(ExecutionStatus::Successful)),
        int(n_of(ExecutionStatus::Skipped)),
        int(n_of(ExecutionStatus::Failed)),
        task.id.as_str(),
    ];
    tx.execute(sql, args).await?;
    Ok(TaskStep::Acted { executions, scopes })
}

/// Puts the thing into all the action's groups, or into none: `Some` is why not, as code and text.
async fn apply(
    tx: &mut Tx,
    action: &TaskAction,
    device: &DeviceName,
    scopes: &mut Vec<AccessScope>,
) -> Result<Option<(String, String)>, StoreError> {
    let mark = tx.mark().await?;
    match put_into_groups(tx, action, device).await {
        Ok(scope) => {
            scopes.extend(scope.filter(|scope| !scopes.contains(scope)));
            Ok(None)
        }
        // The database itself failed: so would the commit.
        Err(err @ (StoreError::Unavailable(_) | StoreError::Full(_))) => Err(err),
        Err(err) => {
            tx.undo(mark).await?;
            let code = match &err {
                StoreError::NotFound { .. } => "ResourceNotFoundException",
                StoreError::Rule { .. } => "InvalidRequestException",
                _ => "InternalFailureException",
            };
            Ok(Some((code.to_owned(), err.to_string())))
        }
    }
}

async fn put_into_groups(
    tx: &mut Tx,
    action: &TaskAction,
    device: &DeviceName,
) -> Result<Option<AccessScope>, StoreError> {
    let thing: ThingName = device
        .as_str()
        .parse()
        .map_err(|_| StoreError::not_found("thing", device))?;
    let mut is_new = false;
    for group in action.definition.groups()? {
        is_new |= membership::add(tx, &thing, &group).await?;
    }
    Ok(is_new.then_some(AccessScope::Thing(thing)))
}
