//! The rules in force, and which devices they apply to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use picket_model::behavior::Behavior;
use picket_model::fleet::Threshold;
use picket_model::name::{BehaviorName, ProfileName, ThingGroupName};
use picket_model::profile::{JudgedProfile, JudgingConfig, Target};

use crate::moment::Moment;
use crate::rule::{Basis, Pace, Rule};

/// All that decides which profiles apply to a device: devices that are alike in it form a *cohort*.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Membership {
    /// Whether the device is in the registry.
    pub(crate) is_registered: bool,
    /// Its groups with all their ancestors, sorted.
    pub(crate) groups: Vec<ThingGroupName>,
}

/// A cohort, by its place in the rulebook. Differs between an engine and its restored copy; nothing may depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CohortId(usize);

/// The rules of a cohort, in the order of profiles' names and of behaviors within.
pub(crate) type Rules = Arc<[Arc<Rule>]>;

/// One revision of the configuration, made ready, with the cohorts that there are devices of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rulebook {
    config: Arc<JudgingConfig>,
    /// The profiles, with the judged rules of each.
    profiles: Profiles,
    /// Rules that judge by percentile and have targets, and since when they do.
    pub(crate) statistical: BTreeMap<(ProfileName, BehaviorName), (Arc<Rule>, Moment)>,
    /// The newest percentile of each of them.
    pub(crate) thresholds: BTreeMap<(ProfileName, BehaviorName), Threshold>,
    /// Whether time alone brings datapoints.
    is_timed: bool,
    /// Whether a rule is about an age.
    has_ages: bool,
    cohorts: Vec<Cohort>,
    places: BTreeMap<Membership, CohortId>,
    vacant: Vec<CohortId>,
}

/// Profiles by name, and the rules of each that are judged.
type Profiles = BTreeMap<ProfileName, (Arc<JudgedProfile>, Vec<Arc<Rule>>)>;

#[derive(Clone, Debug)]
struct Cohort {
    membership: Membership,
    rules: Rules,
    n_devices: usize,
}

/// What becomes of the slot of a rule that applies from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heir {
    /// It goes on with the slot of the old rule at this place: that judges the same.
    Unchanged(usize),
    /// It takes over the slot of the old rule at this place, whose criteria were others.
    Edited(usize),
    /// It has none yet.
    New,
}

/// How a cohort goes over from old rules to new ones.
#[derive(Clone, Debug)]
pub(crate) struct Succession {
    /// The rules until now.
    pub(crate) old: Rules,
    /// The rules from now on.
    pub(crate) new: Rules,
    /// One for each new rule.
    pub(crate) heirs: Vec<Heir>,
}

impl Rulebook {
    /// The revision in force; 0 before the first.
    pub(crate) fn revision(&self) -> u64 {
        self.config.revision
    }

    /// Puts another configuration in force. Returns how each cohort whose judging changes goes over; the others'
    /// devices need not be touched.
    pub(crate) fn adopt(&mut self, config: Arc<JudgingConfig>, now: Moment) -> BTreeMap<CohortId, Succession> {
        let touched = self.put_in_force(config);
        self.survey(now);
        let mut successions = BTreeMap::new();
        for (place, cohort) in self.cohorts.iter_mut().enumerate() {
            if !is_target(&touched, &cohort.membership) {
                continue;
            }
            let new = rules_for(&self.profiles, &cohort.membership);
            let succession = Succession::between(&cohort.rules, &new);
            cohort.rules = new;
            if !succession.is_nothing() {
                successions.insert(CohortId(place), succession);
            }
        }
        successions
    }

    /// Makes the profiles ready that are others now. Returns what those were and are attached to: of the rest, nothing
    /// changes.
    fn put_in_force(&mut self, config: Arc<JudgingConfig>) -> Vec<Target> {
        let is_alike = self.config.differs_in_profiles_only(&config);
        let mut touched = Vec::new();
        for profile in &config.profiles {
            let former = self.profiles.get(&profile.name).map(|(former, _)| former);
            if is_alike && former.is_some_and(|former| Arc::ptr_eq(former, profile)) {
                continue;
            }
            touched.extend(former.iter().flat_map(|former| former.targets.iter().cloned()));
            touched.extend(profile.targets.iter().cloned());
            let ready = (Arc::clone(profile), rules_of(profile, &config));
            self.profiles.insert(profile.name.clone(), ready);
        }
        if self.profiles.len() != config.profiles.len() {
            let names: BTreeSet<&ProfileName> = config.profiles.iter().map(|profile| &profile.name).collect();
            let gone = self.profiles.extract_if(.., |name, _| !names.contains(name));
            touched.extend(gone.flat_map(|(_, (profile, _))| profile.targets.clone()));
        }
        self.config = config;
        touched
    }

    /// Looks over the rules that have targets.
    fn survey(&mut self, now: Moment) {
        let before = std::mem::take(&mut self.statistical);
        (self.is_timed, self.has_ages) = (false, false);
        for (profile, rules) in self.profiles.values() {
            for rule in rules.iter().filter(|_| !profile.targets.is_empty()) {
                self.is_timed |= rule.is_timed();
                self.has_ages |= rule.pace == Pace::Age;
                if !matches!(rule.basis, Basis::Fleet(..)) {
                    continue;
                }
                let key = (rule.profile.clone(), rule.behavior.name.clone());
                let old = before.get(&key).filter(|(old, _)| old.fingerprint == rule.fingerprint);
                let since = old.map_or(now, |(_, since)| *since);
                self.statistical.insert(key, (Arc::clone(rule), since));
            }
        }
        let statistical = &self.statistical;
        self.thresholds.retain(|key, threshold| {
            let rule = statistical.get(key);
            rule.is_some_and(|(rule, _)| rule.fingerprint == threshold.window.fingerprint)
        });
    }

    /// Rules that judge by percentile and have targets, and since when they do.
    pub(crate) fn statistical(&self) -> impl Iterator<Item = (&Arc<Rule>, Moment)> {
        self.statistical.values().map(|(rule, since)| (rule, *since))
    }

    /// Remembers a percentile, for explanations.
    pub(crate) fn note_threshold(&mut self, threshold: Threshold) {
        let key = (threshold.window.profile.clone(), threshold.window.behavior.clone());
        let is_its = |(rule, _): &&(Arc<Rule>, Moment)| rule.fingerprint == threshold.window.fingerprint;
        if self.statistical.get(&key).filter(is_its).is_some() {
            self.thresholds.insert(key, threshold);
        }
    }

    /// The newest percentile of a rule.
    pub(crate) fn threshold(&self, profile: &ProfileName, behavior: &BehaviorName) -> Option<&Threshold> {
        self.thresholds.get(&(profile.clone(), behavior.clone()))
    }

    /// Whether a rule is about an age: then a device has deadlines while nothing is wrong.
    pub(crate) fn has_ages(&self) -> bool {
        self.has_ages
    }

    /// Whether time alone brings datapoints.
    pub(crate) fn is_timed(&self) -> bool {
        self.is_timed
    }

    /// Counts one device more into the cohort of this membership, which begins to exist if need be.
    pub(crate) fn join(&mut self, membership: Membership) -> CohortId {
        if let Some(&CohortId(place)) = self.places.get(&membership) {
            if let Some(cohort) = self.cohorts.get_mut(place) {
                cohort.n_devices += 1;
            }
            return CohortId(place);
        }
        let cohort = Cohort {
            rules: rules_for(&self.profiles, &membership),
            membership: membership.clone(),
            n_devices: 1,
        };
        let id = self.vacant.pop().unwrap_or(CohortId(self.cohorts.len()));
        match self.cohorts.get_mut(id.0) {
            Some(vacant) => *vacant = cohort,
            None => self.cohorts.push(cohort),
        }
        self.places.insert(membership, id);
        id
    }

    /// Counts one device less into a cohort, which ceases to exist with its last one.
    pub(crate) fn leave(&mut self, CohortId(place): CohortId) {
        let Some(cohort) = self.cohorts.get_mut(place) else {
            return;
        };
        cohort.n_devices = cohort.n_devices.saturating_sub(1);
        if cohort.n_devices == 0 {
            self.places.remove(&cohort.membership);
            self.vacant.push(CohortId(place));
        }
    }

    /// The membership that the cohort's devices have in common.
    pub(crate) fn membership(&self, CohortId(place): CohortId) -> &Membership {
        &self.cohorts[place].membership
    }

    /// The rules that apply to the cohort's devices.
    pub(crate) fn rules(&self, CohortId(place): CohortId) -> &Rules {
        &self.cohorts[place].rules
    }

    /// The behavior as it is now, if it would still apply to a device that is in no group and registered or not:
    /// what is left of a device's identity once it has been registered or unregistered.
    pub(crate) fn behavior_without_groups(
        &self,
        profile: &ProfileName,
        behavior: &BehaviorName,
        is_registered: bool,
    ) -> Option<&Arc<Behavior>> {
        let (profile, rules) = self.profiles.get(profile)?;
        let membership = Membership {
            is_registered,
            groups: Vec::new(),
        };
        let rule = rules.iter().find(|rule| rule.behavior.name == *behavior)?;
        is_target(&profile.targets, &membership).then_some(&rule.behavior)
    }
}

impl Succession {
    /// What becomes of the slots when these rules take the place of those.
    pub(crate) fn between(old: &Rules, new: &Rules) -> Self {
        let places: BTreeMap<(&ProfileName, &BehaviorName), usize> = old
            .iter()
            .enumerate()
            .map(|(place, rule)| ((&rule.profile, &rule.behavior.name), place))
            .collect();
        let heir = |rule: &Arc<Rule>| {
            let place = places.get(&(&rule.profile, &rule.behavior.name)).copied();
            match place.and_then(|place| Some((place, old.get(place)?))) {
                Some((place, before)) if rule.judges_like(before) => Heir::Unchanged(place),
                // Of another metric the open violation would show values that were never its own.
                Some((place, before)) if rule.is_about_the_same(before) => Heir::Edited(place),
                _ => Heir::New,
            }
        };
        Self {
            heirs: new.iter().map(heir).collect(),
            old: Arc::clone(old),
            new: Arc::clone(new),
        }
    }

    /// Whether every slot stays what and where it is.
    fn is_nothing(&self) -> bool {
        let is_same = |(place, heir): (usize, &Heir)| *heir == Heir::Unchanged(place);
        self.old.len() == self.new.len() && self.heirs.iter().enumerate().all(is_same)
    }
}

fn rules_of(profile: &JudgedProfile, config: &JudgingConfig) -> Vec<Arc<Rule>> {
    let judged = profile.behaviors.iter();
    let judged = judged.filter_map(|behavior| Rule::of(profile, behavior, config));
    let retained = profile.retained.iter();
    let retained = retained.filter_map(|retained| Rule::of_retained(profile, retained, config));
    let mut rules: Vec<Arc<Rule>> = Vec::new();
    for rule in judged.chain(retained) {
        // A violation is identified by the behavior's name: of two of one name the first is judged.
        if rules.iter().all(|one| one.behavior.name != rule.behavior.name) {
            rules.push(Arc::new(rule));
        }
    }
    rules
}

fn rules_for(profiles: &Profiles, membership: &Membership) -> Rules {
    profiles
        .values()
        .filter(|(profile, _)| is_target(&profile.targets, membership))
        .flat_map(|(_, rules)| rules.iter().map(Arc::clone))
        .collect()
}

fn is_target(targets: &[Target], membership: &Membership) -> bool {
    targets.iter().any(|target| match target {
        Target::AllThings => true,
        Target::RegisteredThings => membership.is_registered,
        Target::UnregisteredThings => !membership.is_registered,
        Target::Group(group) => membership.groups.contains(group),
    })
}
