//! Who may come in and what they may do, held whole in memory so that no packet waits for a database, and changed entity
//! by entity as the registry changes.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use picket_api::access::Permissions;
use picket_endpoint::doors::{Access, Doorkeeper, Refusal};
use picket_model::name::{CertificateId, DeviceName, ThingName};
use picket_policy::Context;
use picket_store::access::{AccessScope, AccessTables, CertificateAccess};
use picket_store::{Db, StoreError};

use crate::clock::Clock;
use crate::config::{Config, Expired};

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
    permissions: Permissions,
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
                self.write().permissions.set_certificate(*id, access);
                Concerned::Certificates(vec![*id])
            }
            AccessScope::Thing(thing) => {
                let access = self.db.thing_access(thing).await?;
                self.write().permissions.set_thing(thing.clone(), access);
                self.concerned_by(&DeviceName::from(thing.clone()))
            }
            AccessScope::Group(group) => {
                let access = self.db.group_access(group).await?;
                self.write().permissions.set_group(group.clone(), access);
                Concerned::Everybody
            }
            AccessScope::Policy(policy) => {
                let document = self.db.policy_document(policy).await?;
                self.write().permissions.set_policy(policy.clone(), document.as_deref());
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
        let access = tables.permissions.certificate(certificate);
        access.is_some_and(|access| access.has_thing(device.as_str()))
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
        let certificates = self.read().permissions.certificates_of(device.as_str());
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
        let tables = self.read();
        let access = tables.permissions.certificate(certificate);
        access.is_some_and(|access| self.opens(access).is_ok())
    }

    fn admit(&self, certificate: &CertificateId, client_id: &DeviceName) -> Result<Access, Refusal> {
        let tables = self.read();
        let access = tables
            .permissions
            .certificate(certificate)
            .ok_or(Refusal::UnknownCertificate)?;
        self.opens(access)?;
        let standing = tables.permissions.standing(access, client_id.as_str());
        if tables.is_quarantined(client_id, &standing.things) {
            return Err(Refusal::Quarantined);
        }
        let policies = standing.set();
        let context = Context {
            account_id: Some(self.account_id.clone()),
            ..standing.context
        };
        Ok(Access {
            policies,
            context,
            things: standing.things,
        })
    }

    fn is_genuine(&self, certificate: &CertificateId, client_id: &DeviceName) -> bool {
        let tables = self.read();
        let access = tables.permissions.certificate(certificate);
        access.is_some_and(|access| access.has_thing(client_id.as_str()))
            || !tables.permissions.is_thing(client_id.as_str())
    }
}

impl Tables {
    fn of(mut tables: AccessTables) -> Self {
        Self {
            quarantined: std::mem::take(&mut tables.quarantined).into_iter().collect(),
            permissions: Permissions::of(tables),
        }
    }

    /// A quarantine follows the device through its certificate: whatever client id it takes, as long as that is not
    /// another thing of the same certificate. A client id that is no thing stands for itself as well.
    fn is_quarantined(&self, client_id: &DeviceName, things: &[ThingName]) -> bool {
        let is_thing = self.permissions.is_thing(client_id.as_str());
        (!is_thing && self.quarantined.contains(client_id))
            || things.iter().any(|thing| self.quarantined.contains(thing.as_str()))
    }
}
