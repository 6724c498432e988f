//! What the registry permits: the one place that knows which policies count for whom. The door asks it of the whole
//! registry, `TestAuthorization` of a part.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use picket_model::name::{CertificateId, PolicyName, ThingGroupName, ThingName};
use picket_policy::{Context, Document, PolicySet, Reach, ThingFacts};
use picket_store::access::{AccessTables, CertificateAccess, GroupAccess, PackedAttributes, ThingAccess};

/// How many ancestors a group can have: AWS's bound on the depth of a hierarchy, doubled.
const ANCESTORS_MAX: usize = 16;

/// Certificates, things, groups and policies, as they decide who may do what.
#[derive(Debug, Default)]
pub struct Permissions {
    certificates: HashMap<CertificateId, CertificateAccess>,
    things: HashMap<ThingName, Thing>,
    groups: HashMap<ThingGroupName, GroupAccess>,
    policies: HashMap<PolicyName, Arc<Document>>,
}

/// A thing as policies see it.
#[derive(Debug)]
struct Thing {
    groups: Box<[ThingGroupName]>,
    type_name: Option<Box<str>>,
    attributes: PackedAttributes,
}

/// What a client with a certificate counts as.
#[derive(Debug)]
pub struct Standing<'a> {
    /// The policies that count, each with how much of it does, by name within the certificate's and within the groups'.
    pub policies: Vec<(&'a PolicyName, Arc<Document>, Reach)>,
    /// What the registry knows for the policies' variables; the rest is not told.
    pub context: Context,
    /// The things that the client counts as.
    pub things: Vec<ThingName>,
}

impl Permissions {
    /// The permissions by these tables.
    pub fn of(tables: AccessTables) -> Self {
        let certificates = tables.certificates.into_iter().map(|access| (access.id, access));
        let things = tables.things.into_iter().map(|thing| {
            let name = thing.name.clone();
            (name, Thing::from(thing))
        });
        let groups = tables.groups.into_iter().map(|group| (group.name.clone(), group));
        let policies = tables.policies.into_iter().filter_map(|(name, text)| {
            let document = parsed(&name, &text)?;
            Some((name, document))
        });
        Self {
            certificates: certificates.collect(),
            things: things.collect(),
            groups: groups.collect(),
            policies: policies.collect(),
        }
    }

    /// Puts a certificate in place of what was known of it; `None` forgets it.
    pub fn set_certificate(&mut self, id: CertificateId, access: Option<CertificateAccess>) {
        replace(&mut self.certificates, id, access);
    }

    /// Puts a thing in place of what was known of it; `None` forgets it.
    pub fn set_thing(&mut self, name: ThingName, access: Option<ThingAccess>) {
        replace(&mut self.things, name, access.map(Thing::from));
    }

    /// Puts a group in place of what was known of it; `None` forgets it.
    pub fn set_group(&mut self, name: ThingGroupName, access: Option<GroupAccess>) {
        replace(&mut self.groups, name, access);
    }

    /// Puts a policy's document in place of the one before; `None` forgets it.
    pub fn set_policy(&mut self, name: PolicyName, text: Option<&str>) {
        let document = text.and_then(|text| parsed(&name, text));
        replace(&mut self.policies, name, document);
    }

    /// The certificate with that id, if it is registered.
    pub fn certificate(&self, id: &CertificateId) -> Option<&CertificateAccess> {
        self.certificates.get(id)
    }

    /// The certificates that are attached to the thing of that name.
    pub fn certificates_of(&self, thing: &str) -> Vec<CertificateId> {
        let attached = self.certificates.values().filter(|access| access.has_thing(thing));
        attached.map(|access| access.id).collect()
    }

    /// Whether there is a thing of that name.
    pub fn is_thing(&self, name: &str) -> bool {
        self.things.contains_key(name)
    }

    /// What a client with this certificate counts as: the thing of its name if the certificate is attached to that, else
    /// all things of the certificate where something is denied, and none of them where something is allowed.
    pub fn standing(&self, access: &CertificateAccess, client_id: &str) -> Standing<'_> {
        let own = access.things.iter().find(|thing| thing.as_str() == client_id);
        let things: Vec<ThingName> = own.map_or_else(|| access.things.clone(), |thing| vec![thing.clone()]);
        let reach = if own.is_some() { Reach::Full } else { Reach::DenyOnly };
        let mut from_groups = BTreeSet::new();
        for thing in things.iter().filter_map(|thing| self.things.get(thing)) {
            for group in &thing.groups {
                self.collect_policies(group, &mut from_groups);
            }
        }
        let of_certificate = access.policies.iter().map(|name| (name, Reach::Full));
        let policies = of_certificate
            .chain(from_groups.into_iter().map(|name| (name, reach)))
            .filter_map(|(name, reach)| {
                let (name, document) = self.policies.get_key_value(name)?;
                Some((name, Arc::clone(document), reach))
            });
        let policies: Vec<_> = policies.collect();
        let context = Context {
            client_id: client_id.into(),
            thing_name: own.map(|thing| thing.as_str().into()),
            thing: own.and_then(|thing| self.facts(thing)),
            is_attached: own.is_some(),
            ..Context::default()
        };
        Standing {
            policies,
            context,
            things,
        }
    }

    /// The documents of a thing's groups and of those above them, by name.
    pub fn policies_of_thing(&self, thing: &ThingName) -> BTreeSet<&PolicyName> {
        let mut policies = BTreeSet::new();
        for group in self.things.get(thing).map_or(&[][..], |thing| &thing.groups) {
            self.collect_policies(group, &mut policies);
        }
        policies
    }

    /// What the registry says of a thing; `None`, which is "not told", for one whose attributes cannot be read.
    fn facts(&self, name: &ThingName) -> Option<Arc<ThingFacts>> {
        let thing = self.things.get(name)?;
        match thing.attributes.unpack() {
            Ok(attributes) => Some(Arc::new(ThingFacts {
                type_name: thing.type_name.clone(),
                attributes: attributes
                    .into_iter()
                    .map(|(name, value)| (name.into(), value.into()))
                    .collect(),
            })),
            Err(error) => {
                tracing::error!(thing = %name, error = &error as &dyn std::error::Error, "stored attributes cannot be read");
                None
            }
        }
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

impl Standing<'_> {
    /// The policies, to ask.
    pub fn set(&self) -> PolicySet {
        let documents = self
            .policies
            .iter()
            .map(|(_, document, reach)| (Arc::clone(document), *reach));
        PolicySet::new(documents.collect())
    }
}

impl From<ThingAccess> for Thing {
    fn from(access: ThingAccess) -> Self {
        Self {
            groups: access.groups.into(),
            type_name: access.type_name,
            attributes: access.attributes,
        }
    }
}

fn replace<K: Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// What stands in for a policy that cannot be read: it may have been one that keeps somebody out.
const DENY_ALL: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iot:*","Resource":"*"}]}"#;

/// The API stores only documents that parse. One that does not any more denies everything and is said aloud.
pub(crate) fn parsed(name: &PolicyName, text: &str) -> Option<Arc<Document>> {
    let document = text.parse::<Document>().or_else(|error| {
        tracing::error!(policy = %name, error = %error, "stored policy cannot be read and denies everything");
        DENY_ALL.parse()
    });
    document.ok().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use picket_model::time::Timestamp;
    use picket_policy::{Action, Decision, Request};

    use super::*;

    const CONNECT: Request<'_> = Request {
        action: Action::Connect,
        name: "pump-7",
    };

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
            assert_eq!(policies.decide(&Context::default(), CONNECT), expected, "{text}");
        }
    }

    #[test]
    fn a_client_counts_as_its_thing_or_as_all_of_its_certificate_where_something_is_denied() {
        let id = CertificateId::from_bytes([7; 32]);
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| name.parse().unwrap())
                .collect::<Vec<ThingName>>()
        };
        let thing = |name: &str, group: &str| ThingAccess {
            name: name.parse().unwrap(),
            groups: vec![group.parse().unwrap()],
            type_name: None,
            attributes: PackedAttributes::default(),
        };
        let group = |name: &str, parent: Option<&str>, policies: &[&str]| GroupAccess {
            name: name.parse().unwrap(),
            parent: parent.map(|parent| parent.parse().unwrap()),
            policies: policies.iter().map(|name| name.parse().unwrap()).collect(),
        };
        let tables = AccessTables {
            certificates: vec![CertificateAccess {
                id,
                is_active: true,
                not_after: Timestamp::from_millis(0),
                policies: Vec::new(),
                things: names(&["pump-7", "pump-8"]),
            }],
            policies: vec![
                ("Deny".parse().unwrap(), DENY_ALL.to_owned()),
                ("Allow".parse().unwrap(), DENY_ALL.replace("Deny", "Allow")),
            ],
            groups: vec![
                group("Top", None, &["Allow"]),
                group("Below", Some("Top"), &[]),
                group("Bad", None, &["Deny"]),
            ],
            things: vec![thing("pump-7", "Below"), thing("pump-8", "Bad")],
            quarantined: Vec::new(),
        };
        let permissions = Permissions::of(tables);
        let access = permissions.certificate(&id).unwrap();
        for (client_id, n_things, expected) in [
            ("pump-7", 1, Decision::Allow),
            ("pump-8", 1, Decision::ExplicitDeny),
            ("other", 2, Decision::ExplicitDeny),
            ("", 2, Decision::ExplicitDeny),
        ] {
            let standing = permissions.standing(access, client_id);
            assert_eq!(standing.things.len(), n_things, "{client_id}");
            assert_eq!(
                standing.set().decide(&standing.context, CONNECT),
                expected,
                "{client_id}"
            );
        }
    }
}
