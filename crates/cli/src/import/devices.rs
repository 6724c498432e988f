//! Things, certificates, and what connects them with each other, with groups and with policies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use picket_aws::call::Call;
use serde_json::{Value, json};

use crate::client::{Client, Paging};
use crate::desk::required;
use crate::failure::Failure;
use crate::fleet::Fleet;

/// The devices of an account, by name and id.
#[derive(Debug, Default)]
pub(super) struct Devices {
    /// Thing types with their properties.
    types: BTreeMap<String, Value>,
    things: BTreeMap<String, Thing>,
    /// Certificates with their status.
    certificates: BTreeMap<String, String>,
    links: BTreeSet<Link>,
    /// What cannot be imported, and why.
    pub(super) notes: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Thing {
    kind: Option<String>,
    attributes: BTreeMap<String, String>,
}

/// Something to make, in the order in which it can be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Link {
    /// A thing type.
    Type { name: String, properties: String },
    /// A thing.
    Thing { name: String, body: String },
    /// A certificate, with the same bytes, so that the device keeps its key.
    Certificate { id: String, status: String },
    /// A certificate of a thing.
    Principal { thing: String, certificate: String },
    /// A thing in a group.
    Member { group: String, thing: String },
    /// A policy of a certificate.
    Policy { policy: String, certificate: String },
}

/// What one account has and another has not.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// To make, in order.
    pub(super) links: Vec<Link>,
    /// What both have, each in its own way.
    pub(super) different: Vec<String>,
}

impl Devices {
    /// Reads all of them; `fleet` is what the same account was found to have besides, all of its groups among it.
    ///
    /// # Errors
    /// The account cannot be asked, or answers something else.
    pub(super) async fn read(client: &Client, fleet: &Fleet) -> Result<Self, Failure> {
        let mut devices = Self::default();
        devices.read_types(client).await?;
        devices.read_things(client).await?;
        devices.read_certificates(client).await?;
        devices.read_principals(client).await?;
        devices.read_policies(client).await?;
        devices.read_groups(client, fleet).await?;
        Ok(devices)
    }

    async fn read_types(&mut self, client: &Client) -> Result<(), Failure> {
        for mut item in items(client, Call::get(&["thing-types"]), Paging::Token, "thingTypes").await? {
            let properties = item["thingTypeProperties"].take();
            let name = required(&item, "thingTypeName")?;
            if item["thingTypeMetadata"]["deprecated"] == true {
                self.notes
                    .push(format!("thing type {name} is deprecated there and will not be here"));
            }
            self.types.insert(name.to_owned(), properties);
        }
        Ok(())
    }

    async fn read_things(&mut self, client: &Client) -> Result<(), Failure> {
        for item in items(client, Call::get(&["things"]), Paging::Token, "things").await? {
            let attributes = item["attributes"].as_object().into_iter().flatten();
            let thing = Thing {
                kind: item["thingTypeName"].as_str().map(str::to_owned),
                attributes: attributes
                    .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                    .collect(),
            };
            self.things.insert(required(&item, "thingName")?.to_owned(), thing);
        }
        Ok(())
    }

    async fn read_certificates(&mut self, client: &Client) -> Result<(), Failure> {
        for item in items(client, Call::get(&["certificates"]), Paging::Marker, "certificates").await? {
            let (id, status) = (required(&item, "certificateId")?, required(&item, "status")?);
            if matches!(status, "ACTIVE" | "INACTIVE" | "REVOKED") {
                self.certificates.insert(id.to_owned(), status.to_owned());
            } else {
                self.notes
                    .push(format!("certificate {id} is {status}: it is not imported"));
            }
        }
        Ok(())
    }

    async fn read_principals(&mut self, client: &Client) -> Result<(), Failure> {
        for thing in self.things.keys() {
            let call = Call::get(&["things", thing, "principals"]);
            for item in items(client, call, Paging::Token, "principals").await? {
                let principal = item.as_str().unwrap_or_default();
                match certificate_of(principal) {
                    Some(id) if self.certificates.contains_key(id) => {
                        let (thing, certificate) = (thing.clone(), id.to_owned());
                        self.links.insert(Link::Principal { thing, certificate });
                    }
                    _ => self.notes.push(format!(
                        "thing {thing} has the principal {principal}: it is not imported"
                    )),
                }
            }
        }
        Ok(())
    }

    async fn read_policies(&mut self, client: &Client) -> Result<(), Failure> {
        for item in items(client, Call::get(&["policies"]), Paging::Marker, "policies").await? {
            let policy = required(&item, "policyName")?;
            let call = Call::post(&["policy-targets", policy]);
            for item in items(client, call, Paging::Marker, "targets").await? {
                let target = item.as_str().unwrap_or_default();
                match certificate_of(target) {
                    Some(id) if self.certificates.contains_key(id) => {
                        let (policy, certificate) = (policy.to_owned(), id.to_owned());
                        self.links.insert(Link::Policy { policy, certificate });
                    }
                    // Groups have their policies already.
                    None if target.contains(":thinggroup/") => {}
                    _ => self
                        .notes
                        .push(format!("policy {policy} holds for {target}: that is not imported")),
                }
            }
        }
        Ok(())
    }

    async fn read_groups(&mut self, client: &Client, fleet: &Fleet) -> Result<(), Failure> {
        for item in items(client, Call::get(&["thing-groups"]), Paging::Token, "thingGroups").await? {
            let group = required(&item, "groupName")?;
            if !fleet.groups.as_ref().is_some_and(|groups| groups.contains_key(group)) {
                self.notes.push(format!(
                    "group {group} is dynamic, or was made just now: it is not imported"
                ));
                continue;
            }
            let call = Call::get(&["thing-groups", group, "things"]);
            for item in items(client, call, Paging::Token, "things").await? {
                if let Some(thing) = item.as_str() {
                    let (group, thing) = (group.to_owned(), thing.to_owned());
                    self.links.insert(Link::Member { group, thing });
                }
            }
        }
        Ok(())
    }

    /// What is here and not in `other`, and what both have in different ways.
    pub(super) fn beyond(&self, other: &Self) -> Difference {
        let mut difference = Difference::default();
        for (name, properties) in &self.types {
            if !other.types.contains_key(name) {
                let (name, properties) = (name.clone(), properties.to_string());
                difference.links.push(Link::Type { name, properties });
            }
        }
        for (name, thing) in &self.things {
            match other.things.get(name) {
                None => difference.links.push(Link::Thing {
                    name: name.clone(),
                    body: thing.body().to_string(),
                }),
                Some(found) if found != thing => difference.different.push(format!("thing {name}")),
                Some(_) => {}
            }
        }
        for (id, status) in &self.certificates {
            match other.certificates.get(id) {
                None => difference.links.push(Link::Certificate {
                    id: id.clone(),
                    status: status.clone(),
                }),
                Some(found) if found != status => {
                    difference
                        .different
                        .push(format!("certificate {id} ({found} here, {status} there)"));
                }
                Some(_) => {}
            }
        }
        difference.links.extend(self.links.difference(&other.links).cloned());
        difference
    }

    /// A row for each kind.
    pub(super) fn counted(&self, difference: &Difference) -> Vec<Value> {
        let n_links = |kind| self.links.iter().filter(|link| link.kind() == kind).count();
        let row = |(kind, found): (&str, usize)| {
            let to_create = difference.links.iter().filter(|link| link.kind() == kind).count();
            let begin = format!("{kind} ");
            let different = difference
                .different
                .iter()
                .filter(|text| text.starts_with(&begin))
                .count();
            json!({ "kind": kind, "found": found, "toCreate": to_create, "different": different })
        };
        let kinds = [
            (TYPE, self.types.len()),
            (THING, self.things.len()),
            (CERTIFICATE, self.certificates.len()),
            (PRINCIPAL, n_links(PRINCIPAL)),
            (MEMBER, n_links(MEMBER)),
            (POLICY, n_links(POLICY)),
        ];
        kinds.into_iter().map(row).collect()
    }
}

const TYPE: &str = "thing type";
const THING: &str = "thing";
const CERTIFICATE: &str = "certificate";
const PRINCIPAL: &str = "certificate of a thing";
const MEMBER: &str = "thing in a group";
const POLICY: &str = "policy of a certificate";

impl Thing {
    fn body(&self) -> Value {
        let mut body = json!({ "attributePayload": { "attributes": self.attributes } });
        if let Some(kind) = &self.kind {
            body["thingTypeName"] = kind.as_str().into();
        }
        body
    }
}

impl Link {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Type { .. } => TYPE,
            Self::Thing { .. } => THING,
            Self::Certificate { .. } => CERTIFICATE,
            Self::Principal { .. } => PRINCIPAL,
            Self::Member { .. } => MEMBER,
            Self::Policy { .. } => POLICY,
        }
    }

    /// Makes it here; `account` is asked for what only it knows.
    ///
    /// # Errors
    /// Either cannot be asked, or refuses.
    pub(super) async fn make(&self, account: &Client, here: &Client) -> Result<(), Failure> {
        let call = match self {
            Self::Type { name, properties } => {
                let mut body = json!({});
                // What was read as JSON is JSON.
                if let Ok(properties @ Value::Object(_)) = serde_json::from_str(properties) {
                    body["thingTypeProperties"] = properties;
                }
                Call::post(&["thing-types", name]).json(&body)
            }
            Self::Thing { name, body } => {
                Call::post(&["things", name]).json(&serde_json::from_str(body).unwrap_or_default())
            }
            Self::Certificate { id, status } => {
                let described = account.call(&Call::get(&["certificates", id])).await?;
                let pem = required(&described["certificateDescription"], "certificatePem")?;
                let body = json!({ "certificatePem": pem, "status": status });
                Call::post(&["certificate", "register-no-ca"]).json(&body)
            }
            Self::Principal { thing, certificate } => {
                let arn = arn_of_certificate(here, certificate).await?;
                Call::put(&["things", thing, "principals"]).header("x-amzn-principal", &arn)
            }
            Self::Policy { policy, certificate } => {
                let arn = arn_of_certificate(here, certificate).await?;
                Call::put(&["target-policies", policy]).json(&json!({ "target": arn }))
            }
            Self::Member { group, thing } => Call::put(&["thing-groups", "addThingToThingGroup"])
                .json(&json!({ "thingGroupName": group, "thingName": thing })),
        };
        here.call(&call).await?;
        Ok(())
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type { name, .. } => write!(f, "thing type {name}"),
            Self::Thing { name, .. } => write!(f, "thing {name}"),
            Self::Certificate { id, status } => write!(f, "certificate {id} ({status})"),
            Self::Principal { thing, certificate } => write!(f, "certificate {certificate} of thing {thing}"),
            Self::Policy { policy, certificate } => write!(f, "policy {policy} of certificate {certificate}"),
            Self::Member { group, thing } => write!(f, "thing {thing} in group {group}"),
        }
    }
}

async fn items(client: &Client, call: Call, paging: Paging, list: &'static str) -> Result<Vec<Value>, Failure> {
    let mut answer = client.list(&call, paging, list).await?;
    if answer.get(paging.token()).is_some() {
        return Err(Failure::Unexpected {
            what: format!("`{list}`"),
            found: "longer than is read".to_owned(),
            expected: "fewer",
        });
    }
    Ok(match answer[list].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    })
}

fn certificate_of(arn: &str) -> Option<&str> {
    arn.split_once(":cert/").map(|(_, id)| id)
}

async fn arn_of_certificate(here: &Client, id: &str) -> Result<String, Failure> {
    let described = here.call(&Call::get(&["certificates", id])).await?;
    Ok(required(&described["certificateDescription"], "certificateArn")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_have_is_not_made_again() {
        let thing = |site: &str| Thing {
            kind: None,
            attributes: BTreeMap::from([("site".to_owned(), site.to_owned())]),
        };
        let there = Devices {
            types: BTreeMap::from([("Pump".to_owned(), json!({}))]),
            things: BTreeMap::from([("a".to_owned(), thing("north")), ("b".to_owned(), thing("north"))]),
            certificates: BTreeMap::from([
                ("c1".to_owned(), "ACTIVE".to_owned()),
                ("c2".to_owned(), "ACTIVE".to_owned()),
            ]),
            links: [
                Link::Member {
                    group: "g".to_owned(),
                    thing: "a".to_owned(),
                },
                Link::Principal {
                    thing: "a".to_owned(),
                    certificate: "c1".to_owned(),
                },
            ]
            .into(),
            notes: Vec::new(),
        };
        let lines = |difference: &Difference| difference.links.iter().map(ToString::to_string).collect::<Vec<_>>();
        let all = there.beyond(&Devices::default());
        let expected = [
            "thing type Pump",
            "thing a",
            "thing b",
            "certificate c1 (ACTIVE)",
            "certificate c2 (ACTIVE)",
            "certificate c1 of thing a",
            "thing a in group g",
        ];
        assert_eq!(lines(&all), expected);
        let here = Devices {
            things: BTreeMap::from([("a".to_owned(), thing("south"))]),
            certificates: BTreeMap::from([("c1".to_owned(), "INACTIVE".to_owned())]),
            links: [Link::Principal {
                thing: "a".to_owned(),
                certificate: "c1".to_owned(),
            }]
            .into(),
            ..Devices::default()
        };
        let rest = there.beyond(&here);
        assert_eq!(
            lines(&rest),
            [
                "thing type Pump",
                "thing b",
                "certificate c2 (ACTIVE)",
                "thing a in group g"
            ]
        );
        assert_eq!(
            rest.different,
            ["thing a", "certificate c1 (INACTIVE here, ACTIVE there)"]
        );
    }
}
