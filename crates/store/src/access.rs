//! What the door asks of the registry: who may come in, and under which policies.
//!
//! The door holds all of it in memory; after a change it reads again what an [`AccessScope`] names.

use std::collections::{BTreeMap, BTreeSet};

use picket_model::name::{CertificateId, DeviceName, PolicyName, ThingGroupName, ThingName};
use picket_model::time::Timestamp;

use crate::registry::{Attributes, CertificateStatus, attributes_of_json};
use crate::sql::{Row, args};
use crate::{Db, StoreError, Tx};

/// What a change concerns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AccessScope {
    /// Anything.
    All,
    /// A certificate: its status, its policies, its things.
    Certificate(CertificateId),
    /// A thing: whether it exists, its groups, its type and attributes.
    Thing(ThingName),
    /// A group: whether it exists, its policies.
    Group(ThingGroupName),
    /// A policy: its document.
    Policy(PolicyName),
    /// Whether a device is quarantined.
    Quarantine(DeviceName),
}

/// All that the door needs to know, as it was at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessTables {
    /// All certificates, by id.
    pub certificates: Vec<CertificateAccess>,
    /// All policies by name, with the document in force.
    pub policies: Vec<(PolicyName, String)>,
    /// All groups, by name.
    pub groups: Vec<GroupAccess>,
    /// All things, by name.
    pub things: Vec<ThingAccess>,
    /// The devices that are kept out whatever their policies say.
    pub quarantined: Vec<DeviceName>,
}

/// A certificate as the door sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateAccess {
    /// SHA-256 of its DER.
    pub id: CertificateId,
    /// Whether its status lets it open a connection.
    pub is_active: bool,
    /// Until when it is valid, as it says itself.
    pub not_after: Timestamp,
    /// Its policies, by name.
    pub policies: Vec<PolicyName>,
    /// The things it is attached to, by name.
    pub things: Vec<ThingName>,
}

/// A group as the door sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupAccess {
    /// Its name.
    pub name: ThingGroupName,
    /// The group above it.
    pub parent: Option<ThingGroupName>,
    /// Its own policies, by name.
    pub policies: Vec<PolicyName>,
}

/// A thing as the door sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThingAccess {
    /// Its name.
    pub name: ThingName,
    /// The groups it is in itself, by name.
    pub groups: Vec<ThingGroupName>,
    /// Its type.
    pub type_name: Option<Box<str>>,
    /// Its attributes.
    pub attributes: PackedAttributes,
}

/// Attributes as they are stored, a text: many things fit into memory with them, and few are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackedAttributes(Option<Box<str>>);

impl PackedAttributes {
    /// Names and values.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the text is not what we store.
    pub fn unpack(&self) -> Result<Attributes, StoreError> {
        self.0
            .as_deref()
            .map_or_else(|| Ok(Attributes::new()), attributes_of_json)
    }

    fn of(json: String) -> Self {
        Self((json != "{}").then(|| json.into()))
    }
}

impl CertificateAccess {
    /// Whether the certificate is attached to the thing of that name.
    pub fn has_thing(&self, name: &str) -> bool {
        self.things.iter().any(|thing| thing.as_str() == name)
    }
}

impl Db {
    /// Everything, as it was at one moment.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn access_all(&self) -> Result<AccessTables, StoreError> {
        let mut tx = self.begin_read().await?;
        let mut policies: BTreeMap<CertificateId, Vec<PolicyName>> = pairs(
            &mut tx,
            "SELECT certificate, policy FROM certificate_policy ORDER BY 1, 2",
        )
        .await?;
        let mut things: BTreeMap<CertificateId, Vec<ThingName>> =
            pairs(&mut tx, "SELECT certificate, thing FROM thing_principal ORDER BY 1, 2").await?;
        let mut certificates = Vec::new();
        for row in tx
            .rows("SELECT id, status, not_after FROM certificate ORDER BY id", args![])
            .await?
        {
            let id: CertificateId = row.parsed(0)?;
            certificates.push(CertificateAccess {
                id,
                is_active: is_active(&row, 1)?,
                not_after: Timestamp::from_millis(row.at(2)?),
                policies: policies.remove(&id).unwrap_or_default(),
                things: things.remove(&id).unwrap_or_default(),
            });
        }
        let sql = "SELECT p.name, v.document FROM policy p \
                   JOIN policy_version v ON v.policy = p.name AND v.version = p.default_version ORDER BY p.name";
        let rows = tx.rows(sql, args![]).await?;
        let documents = rows
            .iter()
            .map(|row| Ok((row.parsed(0)?, row.at(1)?)))
            .collect::<Result<_, StoreError>>()?;
        Ok(AccessTables {
            certificates,
            policies: documents,
            groups: all_groups(&mut tx).await?,
            things: all_things(&mut tx).await?,
            quarantined: quarantined(&mut tx).await?,
        })
    }

    /// One certificate.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn certificate_access(&self, id: &CertificateId) -> Result<Option<CertificateAccess>, StoreError> {
        let mut tx = self.begin_read().await?;
        let key = id.to_string();
        let Some(row) = tx
            .row(
                "SELECT status, not_after FROM certificate WHERE id = $1",
                args![key.as_str()],
            )
            .await?
        else {
            return Ok(None);
        };
        let policies = "SELECT policy FROM certificate_policy WHERE certificate = $1 ORDER BY policy";
        let things = "SELECT thing FROM thing_principal WHERE certificate = $1 ORDER BY thing";
        Ok(Some(CertificateAccess {
            id: *id,
            is_active: is_active(&row, 0)?,
            not_after: Timestamp::from_millis(row.at(1)?),
            policies: names(&mut tx, policies, &key).await?,
            things: names(&mut tx, things, &key).await?,
        }))
    }

    /// One thing.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn thing_access(&self, name: &ThingName) -> Result<Option<ThingAccess>, StoreError> {
        let mut tx = self.begin_read().await?;
        let sql = "SELECT type_name, attributes FROM thing WHERE name = $1";
        let Some(row) = tx.row(sql, args![name.as_str()]).await? else {
            return Ok(None);
        };
        let groups = "SELECT group_name FROM membership WHERE thing = $1 ORDER BY group_name";
        Ok(Some(ThingAccess {
            name: name.clone(),
            groups: names(&mut tx, groups, name.as_str()).await?,
            type_name: type_name(&row, 0)?,
            attributes: PackedAttributes::of(row.at(1)?),
        }))
    }

    /// One group.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn group_access(&self, name: &ThingGroupName) -> Result<Option<GroupAccess>, StoreError> {
        let mut tx = self.begin_read().await?;
        let Some(row) = tx
            .row("SELECT parent FROM thing_group WHERE name = $1", args![name.as_str()])
            .await?
        else {
            return Ok(None);
        };
        let policies = "SELECT policy FROM group_policy WHERE group_name = $1 ORDER BY policy";
        Ok(Some(GroupAccess {
            name: name.clone(),
            parent: row.parsed_option(0)?,
            policies: names(&mut tx, policies, name.as_str()).await?,
        }))
    }

    /// What concerns one certificate: itself, its things, their groups with those above, and the documents of all of
    /// these. `thing` is looked at too, whether it is the certificate's or not. Not as it was at one moment.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn access_around(
        &self,
        certificate: Option<&CertificateId>,
        thing: Option<&ThingName>,
    ) -> Result<AccessTables, StoreError> {
        let mut tables = AccessTables::default();
        if let Some(id) = certificate {
            tables.certificates.extend(self.certificate_access(id).await?);
        }
        let of_certificate = tables.certificates.iter().flat_map(|access| access.things.iter());
        let things: BTreeSet<ThingName> = of_certificate.chain(thing).cloned().collect();
        for name in &things {
            tables.things.extend(self.thing_access(name).await?);
        }
        let mut next: Vec<ThingGroupName> = tables.things.iter().flat_map(|thing| thing.groups.clone()).collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = next.pop() {
            if seen.insert(name.clone())
                && let Some(group) = self.group_access(&name).await?
            {
                next.extend(group.parent.clone());
                tables.groups.push(group);
            }
        }
        let of_certificates = tables.certificates.iter().flat_map(|access| &access.policies);
        let of_groups = tables.groups.iter().flat_map(|group| &group.policies);
        let names: BTreeSet<PolicyName> = of_certificates.chain(of_groups).cloned().collect();
        for name in names {
            if let Some(document) = self.policy_document(&name).await? {
                tables.policies.push((name, document));
            }
        }
        Ok(tables)
    }

    /// The document of a policy's version in force.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn policy_document(&self, name: &PolicyName) -> Result<Option<String>, StoreError> {
        Ok(self.policy(name).await?.map(|policy| policy.document))
    }
}

async fn all_groups(tx: &mut Tx) -> Result<Vec<GroupAccess>, StoreError> {
    let mut policies: BTreeMap<ThingGroupName, Vec<PolicyName>> =
        pairs(tx, "SELECT group_name, policy FROM group_policy ORDER BY 1, 2").await?;
    let rows = tx
        .rows("SELECT name, parent FROM thing_group ORDER BY name", args![])
        .await?;
    let group = |row: &Row| {
        let name: ThingGroupName = row.parsed(0)?;
        Ok(GroupAccess {
            policies: policies.remove(&name).unwrap_or_default(),
            parent: row.parsed_option(1)?,
            name,
        })
    };
    rows.iter().map(group).collect()
}

async fn all_things(tx: &mut Tx) -> Result<Vec<ThingAccess>, StoreError> {
    let mut groups: BTreeMap<ThingName, Vec<ThingGroupName>> =
        pairs(tx, "SELECT thing, group_name FROM membership ORDER BY 1, 2").await?;
    let sql = "SELECT name, type_name, attributes FROM thing ORDER BY name";
    let rows = tx.rows(sql, args![]).await?;
    let thing = |row: &Row| {
        let name: ThingName = row.parsed(0)?;
        Ok(ThingAccess {
            groups: groups.remove(&name).unwrap_or_default(),
            name,
            type_name: type_name(row, 1)?,
            attributes: PackedAttributes::of(row.at(2)?),
        })
    };
    rows.iter().map(thing).collect()
}

async fn quarantined(tx: &mut Tx) -> Result<Vec<DeviceName>, StoreError> {
    let sql = "SELECT DISTINCT thing FROM decision WHERE released_at IS NULL ORDER BY thing";
    tx.rows(sql, args![]).await?.iter().map(|row| row.parsed(0)).collect()
}

/// A table of two columns: what belongs to each key of the first.
async fn pairs<K, V>(tx: &mut Tx, sql: &'static str) -> Result<BTreeMap<K, Vec<V>>, StoreError>
where
    K: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static> + Ord,
    V: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let mut all: BTreeMap<K, Vec<V>> = BTreeMap::new();
    for row in tx.rows(sql, args![]).await? {
        all.entry(row.parsed(0)?).or_default().push(row.parsed(1)?);
    }
    Ok(all)
}

async fn names<T>(tx: &mut Tx, sql: &'static str, key: &str) -> Result<Vec<T>, StoreError>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    tx.rows(sql, args![key])
        .await?
        .iter()
        .map(|row| row.parsed(0))
        .collect()
}

fn type_name(row: &Row, column: usize) -> Result<Option<Box<str>>, StoreError> {
    Ok(row.at::<Option<String>>(column)?.map(Into::into))
}

fn is_active(row: &Row, column: usize) -> Result<bool, StoreError> {
    Ok(row.parsed::<CertificateStatus>(column)? == CertificateStatus::Active)
}
