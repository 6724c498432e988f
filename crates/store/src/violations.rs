//! Violations and their events as clients ask for them, and what operators think of them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use picket_model::behavior::{Behavior, Test, wire};
use picket_model::name::{BehaviorName, DeviceName, ProfileName};
use picket_model::time::Timestamp;
use picket_model::value::{MetricValue, wire as value_wire};
use picket_model::violation::{EventType, VerificationState, ViolationId};
use sqlx::AssertSqlSafe;

use crate::sql::{Args, Row, args};
use crate::{Db, StoreError};

/// How long events and ended violations are kept: AWS's quota.
pub const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// A violation, in alarm or ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Which.
    pub id: ViolationId,
    /// The device.
    pub thing: DeviceName,
    /// The profile.
    pub profile: ProfileName,
    /// The rule as it was when the alarm was raised.
    pub behavior: Arc<Behavior>,
    /// When the alarm was raised.
    pub started_at: Timestamp,
    /// The newest breach.
    pub last_at: Timestamp,
    /// Its value.
    pub last_value: MetricValue,
    /// When it was cleared or invalidated; `None` while in alarm.
    pub ended_at: Option<Timestamp>,
    /// Whether its evidence permits an automatic quarantine.
    pub is_supported: bool,
    /// Whether the alarm was raised before the end of its window.
    pub is_eager: bool,
    /// What an operator thinks of it.
    pub verification: VerificationState,
    /// Why, in the operator's words.
    pub verification_description: Option<String>,
}

/// An event of a violation.
#[derive(Clone, Debug, PartialEq)]
pub struct ViolationEvent {
    /// Of which violation.
    pub id: ViolationId,
    /// The device.
    pub thing: DeviceName,
    /// The profile.
    pub profile: ProfileName,
    /// The rule as it was.
    pub behavior: Arc<Behavior>,
    /// What happened.
    pub event: EventType,
    /// When.
    pub at: Timestamp,
    /// The datapoint; `None` when invalidated.
    pub value: Option<MetricValue>,
    /// Whether the violation was raised before the end of its window.
    pub is_eager: bool,
    /// What an operator thinks of the violation now.
    pub verification: VerificationState,
    /// Why, in the operator's words.
    pub verification_description: Option<String>,
}

/// What kind of criteria a behavior has: `behaviorCriteriaType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CriteriaKind {
    /// `STATIC`
    Static,
    /// `STATISTICAL`
    Statistical,
    /// `MACHINE_LEARNING`
    MachineLearning,
}

/// Which violations or events to list. Everything that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViolationFilter {
    /// Only of this device.
    pub thing: Option<DeviceName>,
    /// Only of this profile.
    pub profile: Option<ProfileName>,
    /// Only of behaviors with such criteria.
    pub criteria: Option<CriteriaKind>,
    /// Only of behaviors that suppress alerts, or only of those that do not.
    pub is_suppressed: Option<bool>,
    /// Only those of which an operator thinks so.
    pub verification: Option<VerificationState>,
}

/// A violation's place in the list of active ones, newest first. What was listed stays in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViolationKey {
    started_at: Timestamp,
    id: ViolationId,
}

/// An event's place in the list of events, newest first. What was listed stays in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventKey {
    at: Timestamp,
    id: ViolationId,
    event: EventType,
}

const VIOLATION: &str = "SELECT violation_id, thing, profile, behavior, started_at, last_at, last_value, ended_at, \
                         is_supported, is_eager, verification, verification_description FROM violation v";

impl Db {
    /// The next `n_max` violations in alarm, the newest alarm first, after the one at `after`.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn active_violations(
        &self,
        filter: &ViolationFilter,
        after: Option<&ViolationKey>,
        n_max: u32,
    ) -> Result<Vec<Violation>, StoreError> {
        let mut query = Query::new(VIOLATION, "ended_at IS NULL");
        query.filter(filter);
        if let Some(after) = after {
            let [at, id] = [query.arg(after.started_at.millis()), query.arg(after.id.to_string())];
            query.and(format_args!("(started_at, violation_id) < ({at}, {id})"));
        }
        let (sql, args) = query.ending("started_at DESC, violation_id DESC", n_max);
        self.rows(AssertSqlSafe(sql), args)
            .await?
            .iter()
            .map(violation_of)
            .collect()
    }

    /// How many devices are in alarm by this behavior of this profile.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn n_in_alarm(&self, profile: &ProfileName, behavior: &BehaviorName) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM violation WHERE profile = $1 AND behavior_name = $2 AND ended_at IS NULL";
        let row = self.row(sql, args![profile.as_str(), behavior.as_str()]).await?;
        row.map_or(Ok(0), |row| row.count(0))
    }

    /// The next `n_max` events from `from` to `to`, both included, the newest first, after the one at `after`.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn violation_events(
        &self,
        (from, to): (Timestamp, Timestamp),
        filter: &ViolationFilter,
        after: Option<&EventKey>,
        n_max: u32,
    ) -> Result<Vec<ViolationEvent>, StoreError> {
        let select = "SELECT e.violation_id, e.thing, e.profile, e.behavior, e.event, e.at, e.value, \
                      COALESCE(v.verification, 'UNKNOWN'), v.verification_description, COALESCE(v.is_eager, FALSE) \
                      FROM violation_event e LEFT JOIN violation v ON v.violation_id = e.violation_id";
        let mut query = Query::new(select, "TRUE").of_events();
        let [from, to] = [query.arg(from.millis()), query.arg(to.millis())];
        query.and(format_args!("e.at >= {from} AND e.at <= {to}"));
        query.filter(filter);
        if let Some(after) = after {
            let [at, id, event] = [
                query.arg(after.at.millis()),
                query.arg(after.id.to_string()),
                query.arg(after.event.as_str()),
            ];
            query.and(format_args!("(e.at, e.violation_id, e.event) < ({at}, {id}, {event})"));
        }
        let (sql, args) = query.ending("e.at DESC, e.violation_id DESC, e.event DESC", n_max);
        self.rows(AssertSqlSafe(sql), args)
            .await?
            .iter()
            .map(event_of)
            .collect()
    }

    /// A violation, in alarm or ended less than [`RETENTION`] ago.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn violation(&self, id: ViolationId) -> Result<Option<Violation>, StoreError> {
        let sql = format!("{VIOLATION} WHERE violation_id = $1");
        let row = self.row(AssertSqlSafe(sql), args![id.to_string()]).await?;
        row.as_ref().map(violation_of).transpose()
    }

    /// Notes what an operator thinks of a violation, and why.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn put_verification(
        &self,
        id: ViolationId,
        state: VerificationState,
        description: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        let sql = "UPDATE violation SET verification = $1, verification_description = $2 WHERE violation_id = $3";
        if tx
            .execute(sql, args![state.as_str(), description, id.to_string()])
            .await?
            == 0
        {
            return Err(StoreError::not_found("violation", id));
        }
        tx.commit().await
    }

    /// Removes events and ended violations that are older than [`RETENTION`], and what was decided and undone about
    /// them; at most `n_max` rows of each in one go. Says how many rows it removed: call again unless it is 0.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn trim_violations(&self, now: Timestamp, n_max: u32) -> Result<u64, StoreError> {
        let before = now.minus(RETENTION).millis();
        let mut tx = self.begin_write().await?;
        let mut n_removed = 0;
        for sql in [
            "DELETE FROM violation_event WHERE (violation_id, event) IN \
             (SELECT violation_id, event FROM violation_event WHERE at < $1 ORDER BY at LIMIT $2)",
            "DELETE FROM violation WHERE violation_id IN \
             (SELECT violation_id FROM violation WHERE ended_at < $1 ORDER BY ended_at LIMIT $2)",
            // A decision outlives its violation: as long as there is one, no decision about it may be taken again.
            "DELETE FROM decision WHERE decision_id IN \
             (SELECT decision_id FROM decision d WHERE released_at < $1 AND NOT EXISTS \
              (SELECT 1 FROM violation v WHERE v.violation_id = d.violation_id) ORDER BY released_at LIMIT $2)",
        ] {
            n_removed += tx.execute(sql, args![before, n_max]).await?;
        }
        tx.commit().await?;
        Ok(n_removed)
    }
}

/// A statement with as many conditions as were asked for. Its text is made of constants and placeholders.
struct Query {
    sql: String,
    args: Args,
    table: &'static str,
}

impl Query {
    fn new(select: &str, condition: &str) -> Self {
        Self {
            sql: format!("{select} WHERE {condition}"),
            args: args![],
            table: "v",
        }
    }

    fn of_events(self) -> Self {
        Self { table: "e", ..self }
    }

    /// Adds an argument; gives its placeholder.
    fn arg(&mut self, value: impl Into<crate::sql::Arg>) -> String {
        self.args.push(value);
        format!("${}", self.args.len())
    }

    fn and(&mut self, condition: fmt::Arguments<'_>) {
        self.sql.push_str(&format!(" AND {condition}"));
    }

    fn filter(&mut self, filter: &ViolationFilter) {
        let table = self.table;
        if let Some(thing) = &filter.thing {
            let thing = self.arg(thing.as_str());
            self.and(format_args!("{table}.thing = {thing}"));
        }
        if let Some(profile) = &filter.profile {
            let profile = self.arg(profile.as_str());
            self.and(format_args!("{table}.profile = {profile}"));
        }
        if let Some(criteria) = filter.criteria {
            let criteria = self.arg(criteria.as_str());
            self.and(format_args!("{table}.criteria_kind = {criteria}"));
        }
        if let Some(is_suppressed) = filter.is_suppressed {
            let is_suppressed = self.arg(is_suppressed);
            self.and(format_args!("{table}.is_suppressed = {is_suppressed}"));
        }
        if let Some(state) = filter.verification {
            let state = self.arg(state.as_str());
            self.and(format_args!("COALESCE(v.verification, 'UNKNOWN') = {state}"));
        }
    }

    fn ending(mut self, order: &str, n_max: u32) -> (String, Args) {
        let n_max = self.arg(n_max);
        self.sql.push_str(&format!(" ORDER BY {order} LIMIT {n_max}"));
        (self.sql, self.args)
    }
}

fn violation_of(row: &Row) -> Result<Violation, StoreError> {
    Ok(Violation {
        id: row.parsed(0)?,
        thing: row.parsed(1)?,
        profile: row.parsed(2)?,
        behavior: behavior_of(&row.at::<String>(3)?)?,
        started_at: Timestamp::from_millis(row.at(4)?),
        last_at: Timestamp::from_millis(row.at(5)?),
        last_value: value_of(&row.at::<String>(6)?)?,
        ended_at: row.at::<Option<i64>>(7)?.map(Timestamp::from_millis),
        is_supported: row.at(8)?,
        is_eager: row.at(9)?,
        verification: row.parsed(10)?,
        verification_description: row.at(11)?,
    })
}

fn event_of(row: &Row) -> Result<ViolationEvent, StoreError> {
    Ok(ViolationEvent {
        id: row.parsed(0)?,
        thing: row.parsed(1)?,
        profile: row.parsed(2)?,
        behavior: behavior_of(&row.at::<String>(3)?)?,
        event: row.parsed(4)?,
        at: Timestamp::from_millis(row.at(5)?),
        value: row.at::<Option<String>>(6)?.as_deref().map(value_of).transpose()?,
        verification: row.parsed(7)?,
        verification_description: row.at(8)?,
        is_eager: row.at(9)?,
    })
}

fn behavior_of(json: &str) -> Result<Arc<Behavior>, StoreError> {
    let written: wire::Behavior =
        serde_json::from_str(json).map_err(|err| StoreError::corrupt("behavior", json, err))?;
    let behavior = Behavior::try_from(written).map_err(|err| StoreError::corrupt("behavior", json, err))?;
    Ok(Arc::new(behavior))
}

fn value_of(json: &str) -> Result<MetricValue, StoreError> {
    let written: value_wire::MetricValue =
        serde_json::from_str(json).map_err(|err| StoreError::corrupt("value of a metric", json, err))?;
    MetricValue::try_from(written).map_err(|err| StoreError::corrupt("value of a metric", json, err))
}

impl CriteriaKind {
    /// The kind of a behavior's criteria; one without criteria counts as static.
    pub fn of(behavior: &Behavior) -> Self {
        match behavior.criteria.as_ref().map(|criteria| &criteria.test) {
            Some(Test::Percentile { .. }) => Self::Statistical,
            Some(Test::Learned { .. }) => Self::MachineLearning,
            _ => Self::Static,
        }
    }

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "STATIC",
            Self::Statistical => "STATISTICAL",
            Self::MachineLearning => "MACHINE_LEARNING",
        }
    }
}

/// Why a text is no kind of criteria.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("behaviorCriteriaType is {found:?}, expected STATIC, STATISTICAL or MACHINE_LEARNING")]
pub struct BadCriteriaKind {
    /// The beginning of the text.
    pub found: String,
}

impl FromStr for CriteriaKind {
    type Err = BadCriteriaKind;

    fn from_str(text: &str) -> Result<Self, BadCriteriaKind> {
        [Self::Static, Self::Statistical, Self::MachineLearning]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| BadCriteriaKind {
                found: text.chars().take(80).collect(),
            })
    }
}

impl Violation {
    /// Its place in the list of active violations.
    pub fn key(&self) -> ViolationKey {
        ViolationKey {
            started_at: self.started_at,
            id: self.id,
        }
    }
}

impl ViolationEvent {
    /// Its place in the list of events.
    pub fn key(&self) -> EventKey {
        EventKey {
            at: self.at,
            id: self.id,
            event: self.event,
        }
    }
}

/// Why a text is no place in a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("place in a list is {found:?}, expected one that a list gave")]
pub struct BadKey {
    /// The beginning of the text.
    pub found: String,
}

impl BadKey {
    fn of(text: &str) -> Self {
        Self {
            found: text.chars().take(200).collect(),
        }
    }
}

impl fmt::Display for ViolationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.started_at.millis(), self.id)
    }
}

impl FromStr for ViolationKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let parse = || {
            let (at, id) = text.split_once('.')?;
            Some(Self {
                started_at: Timestamp::from_millis(at.parse().ok()?),
                id: id.parse().ok()?,
            })
        };
        parse().ok_or_else(|| BadKey::of(text))
    }
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.at.millis(), self.id, self.event.as_str())
    }
}

impl FromStr for EventKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let parse = || {
            let (at, rest) = text.split_once('.')?;
            let (id, event) = rest.split_once('.')?;
            Some(Self {
                at: Timestamp::from_millis(at.parse().ok()?),
                id: id.parse().ok()?,
                event: event.parse().ok()?,
            })
        };
        parse().ok_or_else(|| BadKey::of(text))
    }
}
