//! Mitigation actions: what tasks can do about violations, or about what audits find.

use std::fmt;
use std::str::FromStr;

use picket_model::name::{MitigationActionName, ThingGroupName};
use picket_model::time::Timestamp;
use sqlx::AssertSqlSafe;

use crate::registry::id_of;
use crate::registry::tag::{self, TaggedKind, Tags};
use crate::sql::{Row, args};
use crate::{Db, StoreError, Tx, detect_tasks};

/// A mitigation action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MitigationAction {
    /// Its name.
    pub name: MitigationActionName,
    /// Its id, in the form of a UUID: another one if it is deleted and created again.
    pub id: String,
    /// What it does.
    pub definition: ActionDefinition,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub modified_at: Timestamp,
}

/// What a mitigation action does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionDefinition {
    /// Which of the six.
    pub kind: ActionKind,
    /// A role that AWS would need.
    pub role_arn: String,
    /// AWS's `actionParams`, JSON.
    pub params: String,
}

/// What to change of a mitigation action; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionUpdate {
    /// See [`ActionDefinition::role_arn`].
    pub role_arn: Option<String>,
    /// What it does, with its `actionParams`.
    pub params: Option<(ActionKind, String)>,
}

/// The types of mitigation actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActionKind {
    /// `UPDATE_DEVICE_CERTIFICATE`
    UpdateDeviceCertificate,
    /// `UPDATE_CA_CERTIFICATE`
    UpdateCaCertificate,
    /// `ADD_THINGS_TO_THING_GROUP`
    AddThingsToThingGroup,
    /// `REPLACE_DEFAULT_POLICY_VERSION`
    ReplaceDefaultPolicyVersion,
    /// `ENABLE_IOT_LOGGING`
    EnableIotLogging,
    /// `PUBLISH_FINDING_TO_SNS`
    PublishFindingToSns,
}

/// Mitigation actions in all: AWS's quota.
const N_ACTIONS_MAX: u64 = 100;

const SELECT: &str = "SELECT name, action_id, kind, role_arn, params, created_at, modified_at FROM mitigation_action";

impl Db {
    /// Creates a mitigation action with its tags.
    ///
    /// # Errors
    /// [`StoreError::Exists`], however similar the other is; [`StoreError::Limit`] when there are 100.
    pub async fn create_mitigation_action(
        &self,
        name: &MitigationActionName,
        definition: &ActionDefinition,
        tags: &Tags,
        at: Timestamp,
    ) -> Result<MitigationAction, StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx).await?;
        let sql = "INSERT INTO mitigation_action (name, action_id, kind, role_arn, params, created_at, modified_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (name) DO NOTHING";
        let args = args![
            name.as_str(),
            id_of("mitigation action", name.as_str(), at),
            definition.kind.as_str(),
            definition.role_arn.as_str(),
            definition.params.as_str(),
            at.millis(),
        ];
        if tx.execute(sql, args).await? == 0 {
            return Err(StoreError::exists("mitigation action", name));
        }
        let row = tx.row("SELECT COUNT(*) FROM mitigation_action", args![]).await?;
        if N_ACTIONS_MAX < row.map_or(Ok(0), |row| row.count(0))? {
            return Err(StoreError::Limit {
                what: "mitigation actions",
                n_max: N_ACTIONS_MAX,
            });
        }
        tag::put(&mut tx, TaggedKind::MitigationAction, name.as_str(), tags).await?;
        let action = action_in(&mut tx, name).await?;
        tx.commit().await?;
        action.ok_or_else(|| StoreError::not_found("mitigation action", name))
    }

    /// Changes a mitigation action; says what it is then. Tasks that run go on with what it was.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn update_mitigation_action(
        &self,
        name: &MitigationActionName,
        update: &ActionUpdate,
        at: Timestamp,
    ) -> Result<MitigationAction, StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx).await?;
        let sql = "UPDATE mitigation_action SET role_arn = COALESCE($1, role_arn), kind = COALESCE($2, kind), \
                   params = COALESCE($3, params), modified_at = $4 WHERE name = $5";
        let args = args![
            update.role_arn.as_deref(),
            update.params.as_ref().map(|(kind, _)| kind.as_str()),
            update.params.as_ref().map(|(_, params)| params.as_str()),
            at.millis(),
            name.as_str(),
        ];
        tx.execute(sql, args).await?;
        let action = action_in(&mut tx, name).await?;
        tx.commit().await?;
        action.ok_or_else(|| StoreError::not_found("mitigation action", name))
    }

    /// The mitigation action of that name.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn mitigation_action(&self, name: &MitigationActionName) -> Result<Option<MitigationAction>, StoreError> {
        let sql = AssertSqlSafe(format!("{SELECT} WHERE name = $1"));
        let row = self.row(sql, args![name.as_str()]).await?;
        row.as_ref().map(action_of).transpose()
    }

    /// All mitigation actions, by name; there are 100 at most.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be read.
    pub async fn mitigation_actions(&self) -> Result<Vec<MitigationAction>, StoreError> {
        let sql = AssertSqlSafe(format!("{SELECT} ORDER BY name"));
        self.rows(sql, args![]).await?.iter().map(action_of).collect()
    }

    /// Removes a mitigation action with its tags; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while a task applies it.
    pub async fn delete_mitigation_action(&self, name: &MitigationActionName) -> Result<bool, StoreError> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx).await?;
        if let Some(task) = detect_tasks::applying(&mut tx, name).await? {
            return Err(StoreError::InUse {
                what: "mitigation action",
                name: name.to_string(),
                by: format!("task {task}, which is in progress"),
            });
        }
        let sql = "DELETE FROM mitigation_action WHERE name = $1";
        let was_there = tx.execute(sql, args![name.as_str()]).await? == 1;
        tag::remove_all(&mut tx, TaggedKind::MitigationAction, name.as_str()).await?;
        tx.commit().await?;
        Ok(was_there)
    }
}

impl ActionDefinition {
    /// The groups that things are put into; none where it does something else.
    pub(crate) fn groups(&self) -> Result<Vec<ThingGroupName>, StoreError> {
        let bad = |err: Box<dyn std::error::Error + Send + Sync>| {
            StoreError::corrupt("parameters of a mitigation action", &self.params, err)
        };
        let params: serde_json::Value = serde_json::from_str(&self.params).map_err(|err| bad(err.into()))?;
        let names = params["addThingsToThingGroupParams"]["thingGroupNames"].as_array();
        let names = names.into_iter().flatten().filter_map(serde_json::Value::as_str);
        names
            .map(|name| name.parse())
            .collect::<Result<_, _>>()
            .map_err(|err: picket_model::name::BadName| bad(err.into()))
    }
}

/// Holds what tasks and their actions depend on until the transaction ends, so that rules over several rows hold.
pub(crate) async fn lock(tx: &mut Tx) -> Result<(), StoreError> {
    let sql = "UPDATE counter SET value = value WHERE name = 'mitigation'";
    tx.execute(sql, args![]).await.map(drop)
}

pub(crate) async fn action_in(
    tx: &mut Tx,
    name: &MitigationActionName,
) -> Result<Option<MitigationAction>, StoreError> {
    let sql = AssertSqlSafe(format!("{SELECT} WHERE name = $1"));
    tx.row(sql, args![name.as_str()])
        .await?
        .as_ref()
        .map(action_of)
        .transpose()
}

fn action_of(row: &Row) -> Result<MitigationAction, StoreError> {
    Ok(MitigationAction {
        name: row.parsed(0)?,
        id: row.at(1)?,
        definition: ActionDefinition {
            kind: row.parsed(2)?,
            role_arn: row.at(3)?,
            params: row.at(4)?,
        },
        created_at: Timestamp::from_millis(row.at(5)?),
        modified_at: Timestamp::from_millis(row.at(6)?),
    })
}

impl ActionKind {
    /// All six.
    pub const ALL: [Self; 6] = [
        Self::UpdateDeviceCertificate,
        Self::UpdateCaCertificate,
        Self::AddThingsToThingGroup,
        Self::ReplaceDefaultPolicyVersion,
        Self::EnableIotLogging,
        Self::PublishFindingToSns,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UpdateDeviceCertificate => "UPDATE_DEVICE_CERTIFICATE",
            Self::UpdateCaCertificate => "UPDATE_CA_CERTIFICATE",
            Self::AddThingsToThingGroup => "ADD_THINGS_TO_THING_GROUP",
            Self::ReplaceDefaultPolicyVersion => "REPLACE_DEFAULT_POLICY_VERSION",
            Self::EnableIotLogging => "ENABLE_IOT_LOGGING",
            Self::PublishFindingToSns => "PUBLISH_FINDING_TO_SNS",
        }
    }

    /// The one member of `actionParams` that an action of this type has.
    pub const fn member(self) -> &'static str {
        match self {
            Self::UpdateDeviceCertificate => "updateDeviceCertificateParams",
            Self::UpdateCaCertificate => "updateCACertificateParams",
            Self::AddThingsToThingGroup => "addThingsToThingGroupParams",
            Self::ReplaceDefaultPolicyVersion => "replaceDefaultPolicyVersionParams",
            Self::EnableIotLogging => "enableIoTLoggingParams",
            Self::PublishFindingToSns => "publishFindingToSnsParams",
        }
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no type of mitigation actions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("actionType is {found:?}, expected one of AWS's six")]
pub struct BadActionKind {
    /// The beginning of the text.
    pub found: String,
}

impl FromStr for ActionKind {
    type Err = BadActionKind;

    fn from_str(text: &str) -> Result<Self, BadActionKind> {
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        kind.ok_or_else(|| BadActionKind {
            found: text.chars().take(80).collect(),
        })
    }
}
