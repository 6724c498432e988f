//! The steps from what there is to what there should be: in an order in which each can be done, none that changes nothing.

mod profile;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{CustomMetric, Dimension, Fleet, Group, MitigationAction, Policy, Profile};

/// Policies of a group: AWS's quota, so a third is attached after another one is detached.
const N_GROUP_POLICIES_MAX: usize = 2;

/// What there is to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// In order.
    pub(crate) steps: Vec<Step>,
    /// What is there although no file says so, and stays because removing was not asked for.
    pub(crate) left: Vec<String>,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) change: Change,
    /// What it changes, for people.
    pub(crate) what: String,
    pub(crate) action: Action,
}

impl Step {
    /// Whether it makes or changes something of this kind itself, not what that is attached to.
    pub(crate) fn is_of(&self, wanted: Kind) -> bool {
        match &self.action {
            Action::Create { kind, .. } | Action::Update { kind, .. } | Action::Delete { kind, .. } => *kind == wanted,
            _ => false,
        }
    }

    /// Whether it attaches or detaches something.
    pub(crate) fn is_of_attachment(&self) -> bool {
        !matches!(
            self.action,
            Action::Create { .. } | Action::Update { .. } | Action::Delete { .. }
        )
    }
}

/// What kind of change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add,
    Alter,
    Remove,
}

impl Change {
    /// As in a diff.
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Alter => "~",
            Self::Remove => "-",
        }
    }
}

/// What is to be called.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// With the body that the call takes.
    Create {
        kind: Kind,
        name: String,
        body: Value,
    },
    /// With the body that the call takes.
    Update {
        kind: Kind,
        name: String,
        body: Value,
    },
    Delete {
        kind: Kind,
        name: String,
    },
    AttachPolicy {
        name: String,
        group: String,
    },
    DetachPolicy {
        name: String,
        group: String,
    },
    AttachProfile {
        name: String,
        target: String,
    },
    DetachProfile {
        name: String,
        target: String,
    },
}

/// What kind of thing it is that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    CustomMetric,
    Dimension,
    Policy,
    Group,
    Mitigation,
    Profile,
}

impl Kind {
    /// For people.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::CustomMetric => "custom metric",
            Self::Dimension => "dimension",
            Self::Policy => "policy",
            Self::Group => "group",
            Self::Mitigation => "mitigation action",
            Self::Profile => "profile",
        }
    }
}

/// The plan. `found` has every section that `wanted` has. Whatever is not in `wanted` is removed if `is_pruned`, and else
/// listed as left alone.
///
/// # Errors
/// Something would have to change that never changes: it says what.
pub(crate) fn plan(wanted: &Fleet, found: &Fleet, is_pruned: bool) -> Result<Plan, String> {
    let mut plan = Plan::default();
    each(&wanted.custom_metrics, &found.custom_metrics, |name, wanted, found| {
        plan.metric(name, wanted, found)
    })?;
    each(&wanted.dimensions, &found.dimensions, |name, wanted, found| {
        plan.dimension(name, wanted, found);
        Ok(())
    })?;
    each(&wanted.policies, &found.policies, |name, wanted, found| {
        plan.policy(name, wanted, found);
        Ok(())
    })?;
    plan.groups(wanted, found, is_pruned)?;
    each(
        &wanted.mitigation_actions,
        &found.mitigation_actions,
        |name, wanted, found| {
            plan.mitigation(name, wanted, found);
            Ok(())
        },
    )?;
    each(&wanted.profiles, &found.profiles, |name, wanted, found| {
        plan.profile(name, wanted, found, is_pruned);
        Ok(())
    })?;
    plan.removals(wanted, found, is_pruned);
    Ok(plan)
}

type Section<T> = Option<BTreeMap<String, T>>;

fn each<T>(
    wanted: &Section<T>,
    found: &Section<T>,
    mut one: impl FnMut(&str, &T, Option<&T>) -> Result<(), String>,
) -> Result<(), String> {
    let entries = wanted.iter().flatten();
    entries
        .into_iter()
        .try_for_each(|(name, wanted)| one(name, wanted, found.as_ref().and_then(|found| found.get(name))))
}

/// The names that are found and not wanted, where the kind is anybody's business.
fn surplus<'a, T>(wanted: &Section<T>, found: &'a Section<T>) -> Vec<&'a str> {
    let Some(wanted) = wanted else { return Vec::new() };
    let names = found.iter().flatten().map(|(name, _)| name.as_str());
    names.filter(|name| !wanted.contains_key(*name)).collect()
}

impl Plan {
    fn step(&mut self, change: Change, what: String, action: Action) {
        self.steps.push(Step { change, what, action });
    }

    fn create(&mut self, kind: Kind, name: &str, body: Value) {
        let name = name.to_owned();
        let what = format!("{} {name}", kind.noun());
        self.step(Change::Add, what, Action::Create { kind, name, body });
    }

    /// `differing` names the members that are to change; empty when there is but one to speak of.
    fn update(&mut self, kind: Kind, name: &str, differing: &str, body: Value) {
        let name = name.to_owned();
        let colon = if differing.is_empty() { "" } else { ": " };
        let what = format!("{} {name}{colon}{differing}", kind.noun());
        self.step(Change::Alter, what, Action::Update { kind, name, body });
    }

    fn metric(&mut self, name: &str, wanted: &CustomMetric, found: Option<&CustomMetric>) -> Result<(), String> {
        let kind = Kind::CustomMetric;
        let Some(found) = found else {
            let mut body = json!({ "metricType": wanted.metric_type });
            put(&mut body, "displayName", wanted.display_name.as_deref());
            self.create(kind, name, body);
            return Ok(());
        };
        if found.metric_type != wanted.metric_type {
            let (is, should) = (&found.metric_type, &wanted.metric_type);
            return Err(format!(
                "{} {name} is of type {is}, expected {should}: a type never changes",
                kind.noun()
            ));
        }
        let wanted = wanted.display_name.as_deref().unwrap_or("");
        if found.display_name.as_deref().unwrap_or("") != wanted {
            self.update(kind, name, "displayName", json!({ "displayName": wanted }));
        }
        Ok(())
    }

    fn dimension(&mut self, name: &str, wanted: &Dimension, found: Option<&Dimension>) {
        let values = &wanted.string_values;
        match found {
            None => {
                let body = json!({ "type": "TOPIC_FILTER", "stringValues": values });
                self.create(Kind::Dimension, name, body);
            }
            Some(found) if found != wanted => {
                self.update(Kind::Dimension, name, "stringValues", json!({ "stringValues": values }));
            }
            Some(_) => {}
        }
    }

    fn policy(&mut self, name: &str, wanted: &Policy, found: Option<&Policy>) {
        let body = json!({ "policyDocument": wanted.document.to_string() });
        match found {
            None => self.create(Kind::Policy, name, body),
            Some(found) if found != wanted => self.update(Kind::Policy, name, "document", body),
            Some(_) => {}
        }
    }

    /// Parents before children.
    fn groups(&mut self, wanted: &Fleet, found: &Fleet, is_pruned: bool) -> Result<(), String> {
        let nothing = BTreeMap::new();
        let (wanted, found) = (
            wanted.groups.as_ref().unwrap_or(&nothing),
            found.groups.as_ref().unwrap_or(&nothing),
        );
        for name in by_depth(wanted) {
            self.group(name, &wanted[name], found.get(name))?;
        }
        for (name, group) in wanted {
            let has = found
                .get(name)
                .and_then(|found| found.policies.clone())
                .unwrap_or_default();
            self.group_policies(name, group, &has, is_pruned);
        }
        Ok(())
    }

    fn group(&mut self, name: &str, wanted: &Group, found: Option<&Group>) -> Result<(), String> {
        let properties = json!({
            "thingGroupDescription": wanted.description.as_deref().unwrap_or(""),
            "attributePayload": { "attributes": wanted.attributes },
        });
        let Some(found) = found else {
            let mut body = json!({ "thingGroupProperties": properties });
            put(&mut body, "parentGroupName", wanted.parent.as_deref());
            self.create(Kind::Group, name, body);
            return Ok(());
        };
        if found.parent != wanted.parent {
            let say = |parent: &Option<String>| {
                parent
                    .as_ref()
                    .map_or("no group".to_owned(), |name| format!("group {name}"))
            };
            let (is, should) = (say(&found.parent), say(&wanted.parent));
            return Err(format!(
                "group {name} is below {is}, expected below {should}: a group never moves"
            ));
        }
        let differing = [
            (found.description.as_deref().unwrap_or("") != wanted.description.as_deref().unwrap_or(""))
                .then_some("description"),
            (found.attributes != wanted.attributes).then_some("attributes"),
        ];
        let differing: Vec<&str> = differing.into_iter().flatten().collect();
        if !differing.is_empty() {
            let body = json!({ "thingGroupProperties": properties });
            self.update(Kind::Group, name, &differing.join(", "), body);
        }
        Ok(())
    }

    fn group_policies(&mut self, group: &str, wanted: &Group, has: &BTreeSet<String>, is_pruned: bool) {
        let Some(wanted) = &wanted.policies else { return };
        let on = |name: &str| format!("policy {name} on group {group}");
        let attach: Vec<Step> = wanted
            .difference(has)
            .map(|name| Step {
                change: Change::Add,
                what: on(name),
                action: Action::AttachPolicy {
                    name: name.clone(),
                    group: group.to_owned(),
                },
            })
            .collect();
        let mut detach = Vec::new();
        for name in has.difference(wanted) {
            if is_pruned {
                detach.push(Step {
                    change: Change::Remove,
                    what: on(name),
                    action: Action::DetachPolicy {
                        name: name.clone(),
                        group: group.to_owned(),
                    },
                });
            } else {
                self.left.push(on(name));
            }
        }
        // Both at once where there is room, so that a denial is never missing in between.
        if N_GROUP_POLICIES_MAX < has.len() + attach.len() {
            self.steps.extend(detach.into_iter().chain(attach));
        } else {
            self.steps.extend(attach.into_iter().chain(detach));
        }
    }

    fn mitigation(&mut self, name: &str, wanted: &MitigationAction, found: Option<&MitigationAction>) {
        let body = json!({ "roleArn": wanted.role_arn, "actionParams": wanted.action_params });
        match found {
            None => self.create(Kind::Mitigation, name, body),
            Some(found) if found != wanted => self.update(Kind::Mitigation, name, "", body),
            Some(_) => {}
        }
    }

    fn profile(&mut self, name: &str, wanted: &Profile, found: Option<&Profile>, is_pruned: bool) {
        match found {
            None => self.create(Kind::Profile, name, profile::creation(wanted)),
            Some(found) => {
                let (differing, body) = profile::update(wanted, found);
                if !differing.is_empty() {
                    self.update(Kind::Profile, name, &differing.join(", "), body);
                }
            }
        }
        let Some(wanted) = &wanted.targets else { return };
        let has = found.and_then(|found| found.targets.clone()).unwrap_or_default();
        for target in wanted.difference(&has) {
            let action = Action::AttachProfile {
                name: name.to_owned(),
                target: target.clone(),
            };
            self.step(Change::Add, format!("profile {name} on {target}"), action);
        }
        for target in has.difference(wanted) {
            self.detach_profile(name, target, is_pruned);
        }
    }

    fn detach_profile(&mut self, name: &str, target: &str, is_pruned: bool) {
        let what = format!("profile {name} on {target}");
        if is_pruned {
            let action = Action::DetachProfile {
                name: name.to_owned(),
                target: target.to_owned(),
            };
            self.step(Change::Remove, what, action);
        } else {
            self.left.push(what);
        }
    }

    /// What needs others before what others need.
    fn removals(&mut self, wanted: &Fleet, found: &Fleet, is_pruned: bool) {
        let groups = surplus(&wanted.groups, &found.groups);
        let children_first = found.groups.iter().flat_map(|found| by_depth(found).into_iter().rev());
        let groups = children_first.filter(|name| groups.contains(name)).collect();
        let surplus = [
            (Kind::Profile, surplus(&wanted.profiles, &found.profiles)),
            (
                Kind::Mitigation,
                surplus(&wanted.mitigation_actions, &found.mitigation_actions),
            ),
            (Kind::Dimension, surplus(&wanted.dimensions, &found.dimensions)),
            (
                Kind::CustomMetric,
                surplus(&wanted.custom_metrics, &found.custom_metrics),
            ),
            (Kind::Group, groups),
            (Kind::Policy, surplus(&wanted.policies, &found.policies)),
        ];
        for (kind, names) in surplus {
            for name in names {
                let (what, name) = (format!("{} {name}", kind.noun()), name.to_owned());
                if is_pruned {
                    self.step(Change::Remove, what, Action::Delete { kind, name });
                } else {
                    self.left.push(what);
                }
            }
        }
    }
}

/// All names, each after the one that it is below. What is below a group that is not among them counts as a root, and so
/// does what is below itself.
fn by_depth(groups: &BTreeMap<String, Group>) -> Vec<&str> {
    let depth = |name: &str| {
        let above = |name: &&str| groups.get(*name).and_then(|group| group.parent.as_deref());
        std::iter::successors(Some(name), above).take(groups.len() + 1).count()
    };
    let mut names: Vec<&str> = groups.keys().map(String::as_str).collect();
    names.sort_by_key(|name| depth(name));
    names
}

fn put(body: &mut Value, member: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body[member] = value.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(text: &str) -> Fleet {
        Fleet::of_text(text).unwrap()
    }

    fn lines(wanted: &str, found: &str, is_pruned: bool) -> (Vec<String>, Vec<String>) {
        let plan = plan(&fleet(wanted), &fleet(found), is_pruned).unwrap();
        let line = |step: &Step| format!("{} {}", step.change.sign(), step.what);
        (plan.steps.iter().map(line).collect(), plan.left)
    }

    const EVERYTHING: &str = "
customMetrics: {cpu: {metricType: number}}
dimensions: {Topics: {stringValues: [a/#]}}
policies: {DenyAll: {document: {Statement: []}}}
groups: {A: {parent: Z, policies: [DenyAll]}, Z: {}}
mitigationActions: {Isolate: {roleArn: r, actionParams: {addThingsToThingGroupParams: {thingGroupNames: [A]}}}}
profiles: {Story: {behaviors: [{name: b, metric: cpu, criteria: {comparisonOperator: less-than, value: {number: 1}}}], targets: [A]}}
";
    const EMPTY: &str =
        "{customMetrics: {}, dimensions: {}, policies: {}, groups: {}, mitigationActions: {}, profiles: {}}";

    #[test]
    fn steps_come_in_an_order_in_which_each_can_be_done() {
        let (steps, left) = lines(EVERYTHING, EMPTY, false);
        let expected = [
            "+ custom metric cpu",
            "+ dimension Topics",
            "+ policy DenyAll",
            "+ group Z",
            "+ group A",
            "+ policy DenyAll on group A",
            "+ mitigation action Isolate",
            "+ profile Story",
            "+ profile Story on A",
        ];
        assert_eq!((steps, left), (expected.map(str::to_owned).to_vec(), vec![]));
        let (steps, _) = lines(EMPTY, EVERYTHING, true);
        let expected = [
            "- profile Story",
            "- mitigation action Isolate",
            "- dimension Topics",
            "- custom metric cpu",
            "- group A",
            "- group Z",
            "- policy DenyAll",
        ];
        assert_eq!(steps, expected);
        let (steps, left) = lines(EMPTY, EVERYTHING, false);
        assert_eq!(
            (steps.len(), left.len()),
            (0, 7),
            "nothing goes unless that is asked for"
        );
    }

    #[test]
    fn what_is_as_it_should_be_needs_no_step_and_sections_that_are_absent_are_left_alone() {
        assert_eq!(lines(EVERYTHING, EVERYTHING, true), (vec![], vec![]));
        assert_eq!(lines("{}", EVERYTHING, true), (vec![], vec![]));
        let given = "profiles: {P: {behaviors: [{name: b, metric: cpu, criteria: {comparisonOperator: less-than, value: {number: 1.0}}}]}}";
        let stored = "profiles: {P: {description: '', targets: [x], behaviors: [{name: b, metric: cpu, criteria: {value: {number: 1}, comparisonOperator: less-than}}]}}";
        assert_eq!(lines(given, stored, true), (vec![], vec![]), "the same in other words");
    }

    #[test]
    fn changes_say_what_differs() {
        let found = "
customMetrics: {cpu: {metricType: number, displayName: old}}
policies: {P: {document: {Statement: []}}, Q: {document: {}}, R: {document: {}}}
groups: {A: {description: x, policies: [P, Q]}}
profiles: {S: {behaviors: [{name: b, metric: m}], alertTargets: {SNS: {}}, targets: [A]}}
";
        let wanted = "
customMetrics: {cpu: {metricType: number}}
policies: {P: {document: {Statement: [{}]}}, Q: {document: {}}, R: {document: {}}}
groups: {A: {attributes: {k: v}, policies: [Q, R]}}
profiles: {S: {targets: [all/things]}}
";
        let (steps, _) = lines(wanted, found, true);
        let expected = [
            "~ custom metric cpu: displayName",
            "~ policy P: document",
            "~ group A: description, attributes",
            "- policy P on group A",
            "+ policy R on group A",
            "~ profile S: behaviors, alertTargets",
            "+ profile S on all/things",
            "- profile S on A",
        ];
        assert_eq!(steps, expected);
        let plan = plan(&fleet(wanted), &fleet(found), true).unwrap();
        let body = plan.steps.iter().find_map(|step| match &step.action {
            Action::Update {
                kind: Kind::Profile,
                body,
                ..
            } => Some(body.clone()),
            _ => None,
        });
        assert_eq!(
            body,
            Some(json!({ "deleteBehaviors": true, "deleteAlertTargets": true }))
        );
    }

    #[test]
    fn what_never_changes_is_refused() {
        for (wanted, found, part) in [
            (
                "groups: {A: {parent: B}}",
                "groups: {A: {}}",
                "group A is below no group, expected below group B",
            ),
            (
                "customMetrics: {m: {metricType: number}}",
                "customMetrics: {m: {metricType: string-list}}",
                "custom metric m is of type string-list, expected number",
            ),
        ] {
            let found = plan(&fleet(wanted), &fleet(found), true).unwrap_err();
            assert!(found.contains(part), "{found}");
        }
        // Groups that are above each other in a ring end the plan all the same; the server refuses them.
        assert_eq!(
            lines("groups: {A: {parent: B}, B: {parent: A}}", "groups: {}", false)
                .0
                .len(),
            2
        );
    }
}
