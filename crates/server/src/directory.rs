//! Who may come in and what they may do, held whole in memory so that no packet waits for a database, and changed entity
//! by entity as the registry changes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use picket_endpoint::doors::{Access, Doorkeeper, Refusal};
use picket_model::name::{CertificateId, DeviceName, PolicyName, ThingGroupName, ThingName};
use picket_policy::{Context, Document, PolicySet, Reach};
use picket_store::access::{AccessScope, AccessTables, CertificateAccess, GroupAccess};
use picket_store::{Db, StoreError};

use crate::clock::Clock;
use crate::config::{Config, Expired};

/// How many ancestors a group can have: AWS's bound on the depth of a hierarchy, doubled.
const ANCESTORS_MAX: usize = 16;

/// The registry as the door needs it.
#[derive(Debug)]
pub(crate) struct Directory {
    db: Db,
    account_id: Box<str>,
    clock: Arc<Clock>,
    expired: Expired,
    tables: RwLock<Tables>,
    /// Held from reading the database to changing the tables: of two changes, the later one is read last.
    refreshing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Tables {
    certificates: HashMap<CertificateId, CertificateAccess>,
    things: HashMap<ThingName, Vec<ThingGroupName>>,
    groups: HashMap<ThingGroupName, GroupAccess>,
    policies: HashMap<PolicyName, Arc<Document>>,
    quarantined: HashSet<DeviceName>,
}

/// Which live sessions a change may concern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Concerned {
    Everybody,
    Certificates(Vec<CertificateId>),
    Device {
        name: DeviceName,
        certificates: Vec<CertificateId>,
    },
}

impl Directory {
    /// Reads everything; the endpoint opens only after this.
    pub(crate) async fn load(db: Db, config: &Config, clock: Arc<Clock>) -> Result<Self, StoreError> {
        let tables = RwLock::new(Tables::of(db.access_all().await?));
        Ok(Self {
            db,
            account_id: config.account_id.as_str().into(),
            clock,
            expired: config.expired_certificates,
            tables,
            refreshing: tokio::sync::Mutex::default(),
        })
    }

    /// Reads again what `scope` names, and says whom that may concern.
    pub(crate) async fn refresh(&self, scope: &AccessScope) -> Result<Concerned, StoreError> {
        let _turn = self.refreshing.lock().await;
        Ok(match scope {
            AccessScope::All => {
                let tables = Tables::of(self.db.access_all().await?);
                *self.write() = tables;
                Concerned::Everybody
            }
            AccessScope::Certificate(id) => {
                let access = self.db.certificate_access(id).await?;
                replace(&mut self.write().certificates, *id, access);
                Concerned::Certificates(vec![*id])
            }
            AccessScope::Thing(thing) => {
                let access = self.db.thing_access(thing).await?;
                replace(
                    &mut self.write().things,
                    thing.clone(),
                    access.map(|access| access.groups),
                );
                self.concerned_by(&DeviceName::from(thing.clone()))
            }
            AccessScope::Group(group) => {
                let access = self.db.group_access(group).await?;
                replace(&mut self.write().groups, group.clone(), access);
                Concerned::Everybody
            }
            AccessScope::Policy(policy) => {
                let document = self
                    .db
                    .policy_document(policy)
                    .await?
                    .and_then(|text| parsed(policy, &text));
                replace(&mut self.write().policies, policy.clone(), document);
                Concerned::Everybody
            }
            AccessScope::Quarantine(device) => {
                let is_quarantined = self.db.is_quarantined(device).await?;
                let mut tables = self.write();
                if is_quarantined {
                    tables.quarantined.insert(device.clone());
                } else {
                    tables.quarantined.remove(device);
                }
                drop(tables);
                self.concerned_by(device)
            }
        })
    }

    /// Lets nobody in any more who counts as the device, and says whom that concerns.
    pub(crate) fn quarantine(&self, device: &DeviceName) -> Concerned {
        self.write().quarantined.insert(device.clone());
        self.concerned_by(device)
    }

    /// Whether the certificate is attached to the thing of that name.
    pub(crate) fn is_attached(&self, certificate: &CertificateId, device: &DeviceName) -> bool {
        let tables = self.read();
        tables
            .certificates
            .get(certificate)
            .is_some_and(|access| access.has_thing(device.as_str()))
    }

    /// Whether a registered certificate opens a connection now.
    fn opens(&self, access: &CertificateAccess) -> Result<(), Refusal> {
        if !access.is_active {
            return Err(Refusal::InactiveCertificate);
        }
        if self.expired == Expired::Refused && access.not_after < self.clock.now() {
            return Err(Refusal::ExpiredCertificate);
        }
        Ok(())
    }

    fn concerned_by(&self, device: &DeviceName) -> Concerned {
        let tables = self.read();
        let is_concerned = |access: &&CertificateAccess| access.has_thing(device.as_str());
        let certificates = tables
            .certificates
            .values()
            .filter(is_concerned)
            .map(|access| access.id)
            .collect();
        Concerned::Device {
            name: device.clone(),
            certificates,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Doorkeeper for Directory {
    fn knows(&self, certificate: &CertificateId) -> bool {
        self.read()
            .certificates
            .get(certificate)
            .is_some_and(|access| self.opens(access).is_ok())
    }

    fn admit(&self, certificate: &CertificateId, client_id: &DeviceName) -> Result<Access, Refusal> {
        let tables = self.read();
        let access = tables
            .certificates
            .get(certificate)
            .ok_or(Refusal::UnknownCertificate)?;
        self.opens(access)?;
        let own = access.things.iter().find(|thing| thing.as_str() == client_id.as_str());
        let things: Vec<ThingName> = own.map_or_else(|| access.things.clone(), |thing| vec![thing.clone()]);
        if tables.is_quarantined(client_id, &things) {
            return Err(Refusal::Quarantined);
        }
        let context = Context {
            client_id: client_id.as_str().into(),
            thing_name: own.map(|thing| thing.as_str().into()),
            is_attached: own.is_some(),
            account_id: Some(self.account_id.clone()),
            ..Context::default()
        };
        Ok(Access {
            policies: tables.policies_of(access, own, &things),
            context,
            things,
        })
    }
}

impl Tables {
    fn of(tables: AccessTables) -> Self {
        Self {
            certificates: tables
                .certificates
                .into_iter()
                .map(|access| (access.id, access))
                .collect(),
            things: tables
                .things
                .into_iter()
                .map(|thing| (thing.name, thing.groups))
                .collect(),
            groups: tables
                .groups
                .into_iter()
                .map(|group| (group.name.clone(), group))
                .collect(),
            policies: tables
                .policies
                .into_iter()
                .filter_map(|(name, text)| parsed(&name, &text).map(|document| (name, document)))
                .collect(),
            quarantined: tables.quarantined.into_iter().collect(),
        }
    }

    /// A quarantine follows the device through its certificate: whatever client id it takes, as long as that is not
    /// another thing of the same certificate. A client id that is no thing stands for itself as well.
    fn is_quarantined(&self, client_id: &DeviceName, things: &[ThingName]) -> bool {
        let is_thing = self.things.contains_key(client_id.as_str());
        (!is_thing && self.quarantined.contains(client_id))
            || things.iter().any(|thing| self.quarantined.contains(thing.as_str()))
    }

    /// The certificate's policies and those of the groups. A session that is none of its certificate's things by name
    /// counts as all of them where something is denied, and as none of them where something is allowed.
    fn policies_of(&self, access: &CertificateAccess, own: Option<&ThingName>, things: &[ThingName]) -> PolicySet {
        let reach = if own.is_some() { Reach::Full } else { Reach::DenyOnly };
        let mut from_groups = BTreeSet::new();
        for thing in things {
            for group in self.things.get(thing).into_iter().flatten() {
                self.collect_policies(group, &mut from_groups);
            }
        }
        let documents = access
            .policies
            .iter()
            .filter_map(|name| self.policies.get(name))
            .map(|document| (Arc::clone(document), Reach::Full));
        let inherited = from_groups
            .into_iter()
            .filter_map(|name| self.policies.get(name))
            .map(|document| (Arc::clone(document), reach));
        PolicySet::new(documents.chain(inherited).collect())
    }

    fn collect_policies<'a>(&'a self, group: &ThingGroupName, policies: &mut BTreeSet<&'a PolicyName>) {
        let mut next = self.groups.get(group);
        for _ in 0..ANCESTORS_MAX {
            let Some(group) = next else { return };
            policies.extend(&group.policies);
            next = group.parent.as_ref().and_then(|parent| self.groups.get(parent));
        }
    }
}

fn replace<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// What stands in for a policy that cannot be read: it may have been one that keeps somebody out.
const DENY_ALL: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iot:*","Resource":"*"}]}"#;

/// The API stores only documents that parse. One that does not any more denies everything and is said aloud.
fn parsed(name: &PolicyName, text: &str) -> Option<Arc<Document>> {
    let document = text.parse::<Document>().or_else(|error| {
        tracing::error!(policy = %name, error = %error, "stored policy cannot be read and denies everything");
        DENY_ALL.parse()
    });
    document.ok().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use picket_policy::{Action, Decision, Request};

    use super::*;

    #[test]
    fn a_policy_that_cannot_be_read_denies_what_others_allow() {
        let name: PolicyName = "Later".parse().unwrap();
        let allows = DENY_ALL.replace("Deny", "Allow");
        for (text, expected) in [
            (allows.as_str(), Decision::Allow),
            ("{}", Decision::ExplicitDeny),
            (r#"{"Version":"2031-01-01"}"#, Decision::ExplicitDeny),
        ] {
            let documents = [allows.as_str(), text].map(|text| (parsed(&name, text).unwrap(), Reach::Full));
            let policies = PolicySet::new(documents.to_vec());
            let context = Context::default();
            let request = Request {
                action: Action::Connect,
                name: "pump-7",
            };
            assert_eq!(policies.decide(&context, request), expected, "{text}");
        }
    }
}
