//! Tasks that apply mitigation actions to violations.
//!
//! A task goes through its violations in the order of their ids. What an action does to a violation, the record of it and
//! the task's position are written in one transaction: whatever crashes, each action meets each violation once.

mod advance;
mod execution;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use picket_model::name::{BehaviorName, MitigationActionName, ProfileName, TaskId};
use picket_model::time::Timestamp;
use picket_model::violation::ViolationId;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::mitigation_actions::{ActionDefinition, ActionKind, action_in, lock};
use crate::profiles::profile_in;
use crate::requests::{Request, Trace};
use crate::sql::{Row, args};
use crate::{Db, StoreError, Tx};

pub use advance::TaskStep;
pub use execution::{Execution, ExecutionFilter, ExecutionKey, ExecutionStatus};

/// How long tasks that ended are kept, and what they did: AWS's quota.
pub const RETENTION: Duration = Duration::from_secs(90 * 24 * 3600);

/// Tasks that run at once: AWS's quota.
const N_RUNNING_MAX: u64 = 5;

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectTask {
    /// The id that its caller chose.
    pub id: TaskId,
    /// What it is about.
    pub scope: TaskScope,
    /// The actions as they were when it was started, in their order.
    pub actions: Vec<TaskAction>,
    /// How it is.
    pub status: TaskStatus,
    /// Actions that were done.
    pub n_executed: u64,
    /// Actions that were not tried, because one before them failed on the same violation.
    pub n_skipped: u64,
    /// Actions that were tried in vain.
    pub n_failed: u64,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended; `None` while it is in progress.
    pub ended_at: Option<Timestamp>,
    /// The last violation that it is done with, in the order of ids.
    position: String,
}

/// Which violations a task is about. Everything that is given must hold. Violations that begin after the task are none of
/// its business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskScope {
    /// Which.
    pub target: TaskTarget,
    /// Only those that had an event from then to then, both included.
    pub range: Option<(Timestamp, Timestamp)>,
    /// Only those that are in alarm when their turn comes.
    pub only_active: bool,
    /// Also those of behaviors that suppress alerts. Violations that are named need no such permission.
    pub with_suppressed: bool,
}

/// What a task is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskTarget {
    /// These violations.
    Violations(Vec<ViolationId>),
    /// The violations of a profile, or of one of its behaviors.
    Profile {
        /// The profile.
        profile: ProfileName,
        /// The behavior.
        behavior: Option<BehaviorName>,
    },
}

/// An action as a task applies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskAction {
    /// Its name.
    pub name: MitigationActionName,
    /// Its id.
    pub id: String,
    /// What it does.
    pub definition: ActionDefinition,
}

/// How a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskStatus {
    /// `IN_PROGRESS`
    InProgress,
    /// `SUCCESSFUL`: no action failed.
    Successful,
    /// `FAILED`: at least one action failed.
    Failed,
    /// `CANCELED`
    Canceled,
}

/// A task to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDetectTask {
    /// The id that its caller chose.
    pub id: TaskId,
    /// What it is about.
    pub scope: TaskScope,
    /// The actions, in the order in which they are applied to each violation.
    pub actions: Vec<MitigationActionName>,
    /// Who asks for it.
    pub request: Request,
}

/// A task's place in the list of tasks, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskKey {
    started_at: Timestamp,
    id: TaskId,
}

const REQUESTS: Trace = Trace {
    table: "detect_task",
    key: "task_id",
    what: "task",
};

const SELECT: &str = "SELECT task_id, violations, profile, behavior, range_from, range_to, only_active, with_suppressed, \
                      actions, status, position, n_executed, n_skipped, n_failed, started_at, ended_at FROM detect_task";

impl Db {
    /// Starts a task; says whether it is new: the same request again is the same.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when another request took the id; [`StoreError::Limit`] when 5 are running;
    /// [`StoreError::Rule`] for a target or an action that does not exist, an action that cannot be applied to violations,
    /// and a token that was used for something else.
    pub async fn start_detect_task(&self, new: &NewDetectTask, at: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx).await?;
        if REQUESTS.has(&mut tx, new.id.as_str(), &new.request).await? {
            return Ok(false);
        }
        let row = tx
            .row("SELECT COUNT(*) FROM detect_task WHERE ended_at IS NULL", args![])
            .await?;
        if N_RUNNING_MAX <= row.map_or(Ok(0), |row| row.count(0))? {
            return Err(StoreError::Limit {
                what: "tasks in progress",
                n_max: N_RUNNING_MAX,
            });
        }
        new.scope.target.exists(&mut tx).await?;
        let actions = actions_in(&mut tx, &new.actions).await?;
        insert(&mut tx, new, &actions, at).await?;
        tx.has_tasks = true;
        tx.commit().await?;
        Ok(true)
    }

    /// The tasks that are in progress, the oldest first; there are 5 at most.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn running_detect_tasks(&self) -> Result<Vec<TaskId>, StoreError> {
        let sql = "SELECT task_id FROM detect_task WHERE ended_at IS NULL ORDER BY started_at, task_id";
        let rows = self.rows(sql, args![]).await?;
        rows.iter().map(|row| row.parsed(0)).collect()
    }

    /// The task of that id.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn detect_task(&self, id: &TaskId) -> Result<Option<DetectTask>, StoreError> {
        let sql = AssertSqlSafe(format!("{SELECT} WHERE task_id = $1"));
        let row = self.row(sql, args![id.as_str()]).await?;
        row.as_ref().map(task_of).transpose()
    }

    /// The next `n_max` tasks that were started from `from` to `to`, both included, the newest first, after the one at
    /// `after`.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn detect_tasks(
        &self,
        (from, to): (Timestamp, Timestamp),
        after: Option<&TaskKey>,
        n_max: u32,
    ) -> Result<Vec<DetectTask>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE started_at >= $1 AND started_at <= $2 AND (started_at, task_id) < ($3, $4) \
             ORDER BY started_at DESC, task_id DESC LIMIT $5"
        );
        let (at, id) = after.map_or((i64::MAX, ""), |key| (key.started_at.millis(), key.id.as_str()));
        let args = args![from.millis(), to.millis(), at, id, n_max];
        self.rows(AssertSqlSafe(sql), args).await?.iter().map(task_of).collect()
    }

    /// Stops a task: what it has not done yet is not done.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Rule`] when it ended before.
    pub async fn cancel_detect_task(&self, id: &TaskId, at: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "UPDATE detect_task SET status = $1, ended_at = $2 WHERE task_id = $3 AND ended_at IS NULL";
        let args = args![TaskStatus::Canceled.as_str(), at.millis(), id.as_str()];
        if tx.execute(sql, args).await? == 0 {
            let task = task_in(&mut tx, id)
                .await?
                .ok_or_else(|| StoreError::not_found("task", id))?;
            return Err(StoreError::Rule {
                reason: format!("task {id} is {}, expected IN_PROGRESS", task.status.as_str()),
            });
        }
        tx.commit().await
    }

    /// Removes tasks that ended more than [`RETENTION`] ago, with what they did; at most `n_max` rows of each in one go.
    /// Says how many rows it removed.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn trim_detect_tasks(&self, now: Timestamp, n_max: u32) -> Result<u64, StoreError> {
        let before = now.minus(RETENTION).millis();
        let mut tx = self.begin_write().await?;
        let mut n_removed = 0;
        for sql in [
            "DELETE FROM detect_execution WHERE (task_id, violation_id, nth) IN \
             (SELECT e.task_id, e.violation_id, e.nth FROM detect_task t JOIN detect_execution e ON e.task_id = t.task_id \
              WHERE t.ended_at < $1 LIMIT $2)",
            "DELETE FROM detect_task WHERE task_id IN \
             (SELECT t.task_id FROM detect_task t WHERE t.ended_at < $1 AND NOT EXISTS \
              (SELECT 1 FROM detect_execution e WHERE e.task_id = t.task_id) LIMIT $2)",
        ] {
            n_removed += tx.execute(sql, args![before, n_max]).await?;
        }
        tx.commit().await?;
        Ok(n_removed)
    }
}

impl DetectTask {
    /// Its place in the list of tasks.
    pub fn key(&self) -> TaskKey {
        TaskKey {
            started_at: self.started_at,
            id: self.id.clone(),
        }
    }
}

impl TaskTarget {
    async fn exists(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let missing = |what: String| StoreError::Rule {
            reason: format!("{what} does not exist"),
        };
        match self {
            Self::Violations(ids) => {
                for id in ids {
                    let sql = "SELECT 1 FROM violation WHERE violation_id = $1";
                    if tx.row(sql, args![id.to_string()]).await?.is_none() {
                        return Err(missing(format!("violation {id}")));
                    }
                }
                Ok(())
            }
            Self::Profile { profile, behavior } => {
                let found = match profile_in(tx, profile).await {
                    Err(StoreError::NotFound { .. }) => return Err(missing(format!("security profile {profile}"))),
                    found => found?,
                };
                match behavior {
                    Some(name) if found.behaviors.iter().all(|behavior| behavior.name != *name) => {
                        Err(missing(format!("behavior {name} of security profile {profile}")))
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

/// The actions as they are now.
async fn actions_in(tx: &mut Tx, names: &[MitigationActionName]) -> Result<Vec<TaskAction>, StoreError> {
    let refuse = |reason: String| StoreError::Rule { reason };
    let mut actions: Vec<TaskAction> = Vec::with_capacity(names.len());
    for name in names {
        if actions.iter().any(|action| action.name == *name) {
            return Err(refuse(format!(
                "mitigation action {name} is named twice, expected it once"
            )));
        }
        let Some(action) = action_in(tx, name).await? else {
            return Err(refuse(format!("mitigation action {name} does not exist")));
        };
        let kind = action.definition.kind;
        if kind != ActionKind::AddThingsToThingGroup {
            return Err(refuse(format!(
                "mitigation action {name} is of type {kind}, expected {}: nothing else can be done about a violation",
                ActionKind::AddThingsToThingGroup
            )));
        }
        actions.push(TaskAction {
            name: action.name,
            id: action.id,
            definition: action.definition,
        });
    }
    Ok(actions)
}

async fn insert(tx: &mut Tx, new: &NewDetectTask, actions: &[TaskAction], at: Timestamp) -> Result<(), StoreError> {
    let (violations, profile, behavior) = match &new.scope.target {
        TaskTarget::Violations(ids) => {
            let ids: Vec<Value> = ids.iter().map(|id| id.to_string().into()).collect();
            (Some(Value::Array(ids).to_string()), None, None)
        }
        TaskTarget::Profile { profile, behavior } => (
            None,
            Some(profile.as_str()),
            behavior.as_ref().map(BehaviorName::as_str),
        ),
    };
    let sql = "INSERT INTO detect_task (task_id, request_token, request, violations, profile, behavior, range_from, \
               range_to, only_active, with_suppressed, actions, status, position, n_executed, n_skipped, n_failed, \
               started_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, '', 0, 0, 0, $13)";
    let args = args![
        new.id.as_str(),
        new.request.token.as_str(),
        new.request.parameters.as_str(),
        violations,
        profile,
        behavior,
        new.scope.range.map(|(from, _)| from.millis()),
        new.scope.range.map(|(_, to)| to.millis()),
        new.scope.only_active,
        new.scope.with_suppressed,
        actions_json(actions),
        TaskStatus::InProgress.as_str(),
        at.millis(),
    ];
    tx.execute(sql, args).await.map(drop)
}

/// The first task in progress that applies this action, if there is one.
pub(crate) async fn applying(tx: &mut Tx, name: &MitigationActionName) -> Result<Option<TaskId>, StoreError> {
    let sql = "SELECT task_id, actions FROM detect_task WHERE ended_at IS NULL ORDER BY task_id";
    for row in tx.rows(sql, args![]).await? {
        if actions_of(&row.at::<String>(1)?)?
            .iter()
            .any(|action| action.name == *name)
        {
            return row.parsed(0).map(Some);
        }
    }
    Ok(None)
}

async fn task_in(tx: &mut Tx, id: &TaskId) -> Result<Option<DetectTask>, StoreError> {
    let sql = AssertSqlSafe(format!("{SELECT} WHERE task_id = $1"));
    tx.row(sql, args![id.as_str()]).await?.as_ref().map(task_of).transpose()
}

fn task_of(row: &Row) -> Result<DetectTask, StoreError> {
    let time = |column| Ok::<_, StoreError>(row.at::<Option<i64>>(column)?.map(Timestamp::from_millis));
    let target = match (row.at::<Option<String>>(1)?, row.parsed_option(2)?) {
        (_, Some(profile)) => TaskTarget::Profile {
            profile,
            behavior: row.parsed_option(3)?,
        },
        (violations, None) => TaskTarget::Violations(ids_of(&violations.unwrap_or_default())?),
    };
    Ok(DetectTask {
        id: row.parsed(0)?,
        scope: TaskScope {
            target,
            range: time(4)?.zip(time(5)?),
            only_active: row.at(6)?,
            with_suppressed: row.at(7)?,
        },
        actions: actions_of(&row.at::<String>(8)?)?,
        status: row.parsed(9)?,
        position: row.at(10)?,
        n_executed: row.count(11)?,
        n_skipped: row.count(12)?,
        n_failed: row.count(13)?,
        started_at: Timestamp::from_millis(row.at(14)?),
        ended_at: time(15)?,
    })
}

fn ids_of(json: &str) -> Result<Vec<ViolationId>, StoreError> {
    let ids: Vec<String> = serde_json::from_str(json).map_err(|err| StoreError::corrupt("violations", json, err))?;
    let ids = ids.iter().map(|id| id.parse());
    ids.collect::<Result<_, _>>()
        .map_err(|err: <ViolationId as FromStr>::Err| StoreError::corrupt("violations", json, err))
}

fn actions_json(actions: &[TaskAction]) -> String {
    let one = |action: &TaskAction| {
        let definition = &action.definition;
        json!([
            action.name.as_str(),
            action.id,
            definition.kind.as_str(),
            definition.role_arn,
            definition.params
        ])
    };
    Value::Array(actions.iter().map(one).collect()).to_string()
}

fn actions_of(json: &str) -> Result<Vec<TaskAction>, StoreError> {
    let bad = |err: Box<dyn std::error::Error + Send + Sync>| StoreError::corrupt("actions of a task", json, err);
    let rows: Vec<[String; 5]> = serde_json::from_str(json).map_err(|err| bad(err.into()))?;
    let action = |[name, id, kind, role_arn, params]: [String; 5]| {
        Ok(TaskAction {
            name: name
                .parse()
                .map_err(|err: picket_model::name::BadName| bad(err.into()))?,
            id,
            definition: ActionDefinition {
                kind: kind
                    .parse()
                    .map_err(|err: <ActionKind as FromStr>::Err| bad(err.into()))?,
                role_arn,
                params,
            },
        })
    };
    rows.into_iter().map(action).collect()
}

impl TaskStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Successful => "SUCCESSFUL",
            Self::Failed => "FAILED",
            Self::Canceled => "CANCELED",
        }
    }
}

/// Why a text is no status, or no place in a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, expected what was written before")]
pub struct BadTaskText {
    /// The beginning of the text.
    pub found: String,
}

impl BadTaskText {
    fn of(text: &str) -> Self {
        Self {
            found: text.chars().take(200).collect(),
        }
    }
}

impl FromStr for TaskStatus {
    type Err = BadTaskText;

    fn from_str(text: &str) -> Result<Self, BadTaskText> {
        [Self::InProgress, Self::Successful, Self::Failed, Self::Canceled]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| BadTaskText::of(text))
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.started_at.millis(), self.id)
    }
}

impl FromStr for TaskKey {
    type Err = BadTaskText;

    fn from_str(text: &str) -> Result<Self, BadTaskText> {
        let parse = || {
            let (at, id) = text.split_once('.')?;
            Some(Self {
                started_at: Timestamp::from_millis(at.parse().ok()?),
                id: id.parse().ok()?,
            })
        };
        parse().ok_or_else(|| BadTaskText::of(text))
    }
}
