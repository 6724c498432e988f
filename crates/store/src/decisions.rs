//! Quarantine: decisions to keep a device out, and their release.
//!
//! The decision is what keeps a device out. Membership of a group mirrors it, for whoever looks at the registry; a mirror
//! that fails does not lift the decision.

use std::fmt;
use std::str::FromStr;

use picket_model::name::{DeviceName, PolicyName, ResponseName, ThingGroupName, ThingName};
use picket_model::time::Timestamp;
use picket_model::violation::ViolationId;

use crate::access::AccessScope;
use crate::registry::{Attributes, NewGroup, group, membership, policy};
use crate::sql::{Row, args, int};
use crate::{Db, StoreError, Tx, outbox};

/// Which decision: 1, 2, 3, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DecisionId(pub u64);

/// A decision to keep a device out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Which.
    pub id: DecisionId,
    /// The device.
    pub thing: DeviceName,
    /// Why.
    pub cause: Cause,
    /// The group that mirrors it, if one is to.
    pub group: Option<ThingGroupName>,
    /// Whether the thing is in the group because of it.
    pub is_mirrored: bool,
    /// Why it is not mirrored although it is to be.
    pub mirror_failure: Option<String>,
    /// When it was taken.
    pub decided_at: Timestamp,
    /// By whom, in words.
    pub decided_by: String,
    /// When and by whom it was undone; `None` while it is in force.
    pub released: Option<(Timestamp, String)>,
}

/// Why a decision was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A response to a violation. The two meet once, for ever.
    Response {
        /// To which violation.
        violation: ViolationId,
        /// Which response.
        response: ResponseName,
    },
    /// An operator wanted it.
    Operator,
}

/// A decision to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDecision {
    /// The device.
    pub thing: DeviceName,
    /// Why.
    pub cause: Cause,
    /// The group that is to mirror it.
    pub group: Option<ThingGroupName>,
    /// When.
    pub at: Timestamp,
    /// By whom, in words; at most 256 characters are kept.
    pub by: String,
}

/// What was decided or undone, and what the door must read again because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The decisions.
    pub decisions: Vec<Decision>,
    /// What changed for the door.
    pub scopes: Vec<AccessScope>,
}

/// What to undo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// One decision; the device stays out while there are others.
    Decision(DecisionId),
    /// All decisions about a device.
    Thing(DeviceName),
}

/// Which decisions to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecisionFilter {
    /// Only about this device.
    pub thing: Option<DeviceName>,
    /// Only those in force, or only those undone.
    pub is_in_force: Option<bool>,
}

/// The policy of a quarantine group that had to be made.
pub const QUARANTINE_POLICY: &str = "PicketQuarantine";

const QUARANTINE_DOCUMENT: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iot:*","Resource":"*"}]}"#;

const SELECT: &str = "SELECT decision_id, thing, violation_id, response, mirror_group, is_mirrored, mirror_failure, \
                      decided_at, decided_by, released_at, released_by FROM decision";

impl NewDecision {
    /// All that the door may have to read again because of such a decision: for whoever finds it taken, and cannot know
    /// whether the door was told.
    pub fn scopes(&self) -> Vec<AccessScope> {
        let mut scopes = vec![AccessScope::Quarantine(self.thing.clone())];
        if let Some(group) = &self.group {
            scopes.extend(PolicyName::from_str(QUARANTINE_POLICY).ok().map(AccessScope::Policy));
            scopes.push(AccessScope::Group(group.clone()));
            scopes.extend(ThingName::from_str(self.thing.as_str()).ok().map(AccessScope::Thing));
        }
        scopes
    }
}

impl Db {
    /// Decides to keep a device out, in force when this returns. `None` when this response has met this violation before,
    /// whatever became of it.
    ///
    /// # Errors
    /// The database cannot be written: nothing was decided.
    pub async fn quarantine(&self, new: &NewDecision) -> Result<Option<Decided>, StoreError> {
        let mut tx = self.begin_write().await?;
        let id = DecisionId(outbox::take(&mut tx, "decision", 1).await?);
        let (violation, response) = match &new.cause {
            Cause::Response { violation, response } => (Some(violation.to_string()), Some(response.to_string())),
            Cause::Operator => (None, None),
        };
        let sql = "INSERT INTO decision (decision_id, thing, violation_id, response, mirror_group, is_mirrored, \
                   decided_at, decided_by) VALUES ($1, $2, $3, $4, $5, FALSE, $6, $7) \
                   ON CONFLICT (violation_id, response) DO NOTHING";
        let args = args![
            int(id.0),
            new.thing.as_str(),
            violation,
            response,
            new.group.as_ref().map(ThingGroupName::as_str),
            new.at.millis(),
            in_words(&new.by),
        ];
        if tx.execute(sql, args).await? == 0 {
            return Ok(None);
        }
        let mut scopes = vec![AccessScope::Quarantine(new.thing.clone())];
        if let Some(group) = &new.group {
            let mark = tx.mark().await?;
            let (is_mirrored, failure) = match mirror(&mut tx, &new.thing, group, new.at).await {
                Ok(mirror) => {
                    scopes.extend(mirror.scopes);
                    (mirror.is_member_by_this, None)
                }
                // The database itself failed: so will the commit.
                Err(err @ (StoreError::Unavailable(_) | StoreError::Full(_))) => return Err(err),
                Err(err) => {
                    tx.undo(mark).await?;
                    (false, Some(err.to_string()))
                }
            };
            let sql = "UPDATE decision SET is_mirrored = $1, mirror_failure = $2 WHERE decision_id = $3";
            tx.execute(sql, args![is_mirrored, failure, int(id.0)]).await?;
        }
        let decisions = decisions_in(&mut tx, "decision_id = $1", args![int(id.0)]).await?;
        tx.commit().await?;
        Ok(Some(Decided { decisions, scopes }))
    }

    /// Undoes decisions; says which were in force until now. When the device is free, its mirrors are removed too.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for a decision that never was.
    pub async fn release(&self, what: &Release, by: &str, at: Timestamp) -> Result<Decided, StoreError> {
        let mut tx = self.begin_write().await?;
        // One after the other: who releases the last decision must see the others released.
        tx.execute("UPDATE counter SET value = value WHERE name = 'decision'", args![])
            .await?;
        let found = match what {
            Release::Decision(id) => {
                let found = decisions_in(&mut tx, "decision_id = $1", args![int(id.0)]).await?;
                if found.is_empty() {
                    return Err(StoreError::not_found("decision", id));
                }
                found
            }
            Release::Thing(thing) => decisions_in(&mut tx, "thing = $1", args![thing.as_str()]).await?,
        };
        let mut decisions: Vec<Decision> = found.into_iter().filter(|d| d.released.is_none()).collect();
        let mut scopes = Vec::new();
        for decision in &mut decisions {
            let sql = "UPDATE decision SET released_at = $1, released_by = $2 WHERE decision_id = $3";
            tx.execute(sql, args![at.millis(), in_words(by), int(decision.id.0)])
                .await?;
            decision.released = Some((at, in_words(by)));
        }
        if let Some(decision) = decisions.first() {
            scopes.push(AccessScope::Quarantine(decision.thing.clone()));
            scopes.extend(remove_mirrors(&mut tx, &decision.thing).await?);
        }
        tx.commit().await?;
        Ok(Decided { decisions, scopes })
    }

    /// The devices that are kept out.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn quarantined(&self) -> Result<Vec<DeviceName>, StoreError> {
        let sql = "SELECT DISTINCT thing FROM decision WHERE released_at IS NULL ORDER BY thing";
        self.rows(sql, args![]).await?.iter().map(|row| row.parsed(0)).collect()
    }

    /// Whether a device is kept out.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn is_quarantined(&self, thing: &DeviceName) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM decision WHERE thing = $1 AND released_at IS NULL LIMIT 1";
        Ok(self.row(sql, args![thing.as_str()]).await?.is_some())
    }

    /// The next `n_max` decisions, the newest first, before `before`.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn decisions(
        &self,
        filter: &DecisionFilter,
        before: Option<DecisionId>,
        n_max: u32,
    ) -> Result<Vec<Decision>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE decision_id < $1 AND (CAST($2 AS TEXT) IS NULL OR thing = $2) \
             AND (CAST($3 AS BOOLEAN) IS NULL OR (released_at IS NULL) = $3) ORDER BY decision_id DESC LIMIT $4"
        );
        let args = args![
            before.map_or(i64::MAX, |id| int(id.0)),
            filter.thing.as_ref().map(DeviceName::as_str),
            filter.is_in_force,
            n_max,
        ];
        let rows = self.rows(sqlx::AssertSqlSafe(sql), args).await?;
        rows.iter().map(decision_of).collect()
    }
}

/// What came of mirroring.
struct Mirror {
    is_member_by_this: bool,
    scopes: Vec<AccessScope>,
}

/// Puts the thing into the group, which is made if it is missing.
async fn mirror(tx: &mut Tx, device: &DeviceName, name: &ThingGroupName, at: Timestamp) -> Result<Mirror, StoreError> {
    let mut scopes = Vec::new();
    let new = NewGroup {
        name: name.clone(),
        parent: None,
        description: Some("Devices that are quarantined".to_owned()),
        attributes: Attributes::default(),
    };
    if group::insert(tx, &new, at).await? {
        let denies = PolicyName::from_str(QUARANTINE_POLICY)
            .map_err(|err| StoreError::corrupt("policy name", QUARANTINE_POLICY, err))?;
        if policy::insert(tx, &denies, QUARANTINE_DOCUMENT, at).await? {
            scopes.push(AccessScope::Policy(denies.clone()));
        }
        policy::attach_to_group(tx, &denies, name).await?;
        scopes.push(AccessScope::Group(name.clone()));
    }
    // A device that is not registered, or whose name no thing can have, is kept out all the same.
    let thing = ThingName::from_str(device.as_str()).map_err(|_| StoreError::not_found("thing", device))?;
    let is_member_by_this = match membership::add(tx, &thing, name).await {
        Ok(is_new) => is_new,
        Err(StoreError::NotFound { what: "thing", .. }) => {
            return Ok(Mirror {
                is_member_by_this: false,
                scopes,
            });
        }
        Err(err) => return Err(err),
    };
    scopes.push(AccessScope::Thing(thing));
    Ok(Mirror {
        is_member_by_this,
        scopes,
    })
}

/// Takes a device that is free out of the groups where decisions put it.
async fn remove_mirrors(tx: &mut Tx, device: &DeviceName) -> Result<Vec<AccessScope>, StoreError> {
    let in_force = "SELECT 1 FROM decision WHERE thing = $1 AND released_at IS NULL LIMIT 1";
    if tx.row(in_force, args![device.as_str()]).await?.is_some() {
        return Ok(Vec::new());
    }
    let sql = "SELECT DISTINCT mirror_group FROM decision WHERE thing = $1 AND is_mirrored ORDER BY mirror_group";
    let groups = tx.rows(sql, args![device.as_str()]).await?;
    let (false, Ok(thing)) = (groups.is_empty(), ThingName::from_str(device.as_str())) else {
        return Ok(Vec::new());
    };
    for row in &groups {
        let name: ThingGroupName = row.parsed(0)?;
        group::lock(tx, &name).await?;
        membership::remove(tx, &thing, &name).await?;
    }
    let sql = "UPDATE decision SET is_mirrored = FALSE WHERE thing = $1 AND is_mirrored";
    tx.execute(sql, args![device.as_str()]).await?;
    Ok(vec![AccessScope::Thing(thing)])
}

async fn decisions_in(
    tx: &mut Tx,
    condition: &'static str,
    args: crate::sql::Args,
) -> Result<Vec<Decision>, StoreError> {
    let sql = format!("{SELECT} WHERE {condition} ORDER BY decision_id");
    let rows = tx.rows(sqlx::AssertSqlSafe(sql), args).await?;
    rows.iter().map(decision_of).collect()
}

fn decision_of(row: &Row) -> Result<Decision, StoreError> {
    let cause = match (row.parsed_option(2)?, row.parsed_option(3)?) {
        (Some(violation), Some(response)) => Cause::Response { violation, response },
        _ => Cause::Operator,
    };
    let released_at: Option<i64> = row.at(9)?;
    let released_by: Option<String> = row.at(10)?;
    Ok(Decision {
        id: DecisionId(row.count(0)?),
        thing: row.parsed(1)?,
        cause,
        group: row.parsed_option(4)?,
        is_mirrored: row.at(5)?,
        mirror_failure: row.at(6)?,
        decided_at: Timestamp::from_millis(row.at(7)?),
        decided_by: row.at(8)?,
        released: released_at.map(|at| (Timestamp::from_millis(at), released_by.unwrap_or_default())),
    })
}

/// At most 256 characters, none of them a NUL, which PostgreSQL cannot keep.
fn in_words(by: &str) -> String {
    by.chars().filter(|&c| c != '\0').take(256).collect()
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Why a text is no decision's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("decision id is {found:?}, expected a whole number from 1 on")]
pub struct BadDecisionId {
    /// The beginning of the text.
    pub found: String,
}

impl FromStr for DecisionId {
    type Err = BadDecisionId;

    fn from_str(text: &str) -> Result<Self, BadDecisionId> {
        match text.parse() {
            Ok(id) if 0 < id => Ok(Self(id)),
            _ => Err(BadDecisionId {
                found: text.chars().take(40).collect(),
            }),
        }
    }
}
