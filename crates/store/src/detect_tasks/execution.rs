//! What tasks have done: one action on one violation each.

use std::fmt;
use std::str::FromStr;

use picket_model::name::{DeviceName, MitigationActionName, TaskId};
use picket_model::time::Timestamp;
use picket_model::violation::ViolationId;

use super::BadTaskText;
use crate::sql::{Row, args, int};
use crate::{Db, StoreError, Tx};

/// An action of a task on a violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The task.
    pub task: TaskId,
    /// The violation.
    pub violation: ViolationId,
    /// Which of the task's actions, from 0.
    pub nth: u64,
    /// Its name.
    pub action: MitigationActionName,
    /// The device.
    pub thing: DeviceName,
    /// When.
    pub at: Timestamp,
    /// What became of it.
    pub status: ExecutionStatus,
    /// Why it failed: AWS's code, and words.
    pub failure: Option<(String, String)>,
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutionStatus {
    /// `SUCCESSFUL`
    Successful,
    /// `FAILED`
    Failed,
    /// `SKIPPED`: an action before it failed on the same violation.
    Skipped,
}

/// Which executions to list. Everything that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionFilter {
    /// Only of this task.
    pub task: Option<TaskId>,
    /// Only on this violation.
    pub violation: Option<ViolationId>,
    /// Only on violations of this device.
    pub thing: Option<DeviceName>,
    /// Only from then on.
    pub from: Option<Timestamp>,
    /// Only until then.
    pub to: Option<Timestamp>,
}

/// An execution's place in the list of them, in the order in which they were done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionKey {
    at: Timestamp,
    task: TaskId,
    violation: ViolationId,
    nth: u64,
}

/// The most characters of why an action failed.
const MESSAGE_LEN_MAX: usize = 2048;

impl Db {
    /// The next `n_max` executions after the one at `after`, in the order in which they were done.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn detect_executions(
        &self,
        filter: &ExecutionFilter,
        after: Option<&ExecutionKey>,
        n_max: u32,
    ) -> Result<Vec<Execution>, StoreError> {
        let sql = "SELECT task_id, violation_id, nth, action, thing, at, status, error_code, message FROM detect_execution \
                   WHERE (CAST($1 AS TEXT) IS NULL OR task_id = $1) AND (CAST($2 AS TEXT) IS NULL OR violation_id = $2) \
                   AND (CAST($3 AS TEXT) IS NULL OR thing = $3) AND at >= $4 AND at <= $5 \
                   AND (at, task_id, violation_id, nth) > ($6, $7, $8, $9) \
                   ORDER BY at, task_id, violation_id, nth LIMIT $10";
        let after = after.map_or_else(
            || (i64::MIN, String::new(), String::new(), 0),
            |key| {
                (
                    key.at.millis(),
                    key.task.to_string(),
                    key.violation.to_string(),
                    int(key.nth),
                )
            },
        );
        let args = args![
            filter.task.as_ref().map(TaskId::as_str),
            filter.violation.map(|id| id.to_string()),
            filter.thing.as_ref().map(DeviceName::as_str),
            filter.from.map_or(i64::MIN, Timestamp::millis),
            filter.to.map_or(i64::MAX, Timestamp::millis),
            after.0,
            after.1,
            after.2,
            after.3,
            n_max,
        ];
        self.rows(sql, args).await?.iter().map(execution_of).collect()
    }
}

pub(super) async fn record(tx: &mut Tx, execution: &Execution) -> Result<(), StoreError> {
    let sql = "INSERT INTO detect_execution (task_id, violation_id, nth, action, thing, at, status, error_code, message) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let message = execution.failure.as_ref().map(|(_, message)| {
        let message: String = message.chars().filter(|&c| c != '\0').take(MESSAGE_LEN_MAX).collect();
        message
    });
    let args = args![
        execution.task.as_str(),
        execution.violation.to_string(),
        int(execution.nth),
        execution.action.as_str(),
        execution.thing.as_str(),
        execution.at.millis(),
        execution.status.as_str(),
        execution.failure.as_ref().map(|(code, _)| code.as_str()),
        message,
    ];
    tx.execute(sql, args).await.map(drop)
}

fn execution_of(row: &Row) -> Result<Execution, StoreError> {
    let code: Option<String> = row.at(7)?;
    Ok(Execution {
        task: row.parsed(0)?,
        violation: row.parsed(1)?,
        nth: row.count(2)?,
        action: row.parsed(3)?,
        thing: row.parsed(4)?,
        at: Timestamp::from_millis(row.at(5)?),
        status: row.parsed(6)?,
        failure: code.zip(row.at::<Option<String>>(8)?),
    })
}

impl Execution {
    /// Its place in the list.
    pub fn key(&self) -> ExecutionKey {
        ExecutionKey {
            at: self.at,
            task: self.task.clone(),
            violation: self.violation,
            nth: self.nth,
        }
    }
}

impl ExecutionStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Successful => "SUCCESSFUL",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
        }
    }
}

impl FromStr for ExecutionStatus {
    type Err = BadTaskText;

    fn from_str(text: &str) -> Result<Self, BadTaskText> {
        [Self::Successful, Self::Failed, Self::Skipped]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| BadTaskText::of(text))
    }
}

impl fmt::Display for ExecutionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.at.millis(), self.task, self.violation, self.nth)
    }
}

impl FromStr for ExecutionKey {
    type Err = BadTaskText;

    fn from_str(text: &str) -> Result<Self, BadTaskText> {
        let parse = || {
            let mut parts = text.split('.');
            let key = Self {
                at: Timestamp::from_millis(parts.next()?.parse().ok()?),
                task: parts.next()?.parse().ok()?,
                violation: parts.next()?.parse().ok()?,
                nth: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(key)
        };
        parse().ok_or_else(|| BadTaskText::of(text))
    }
}
