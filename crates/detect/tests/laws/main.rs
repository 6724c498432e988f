//! Laws that hold for all records.
#![expect(clippy::unwrap_used, reason = "a test harness")]

mod config;
mod records;
mod served;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use picket_detect::{Engine, snapshot_revision};
use picket_model::behavior::{Limit, NumericOperator, Test};
use picket_model::fleet::Threshold;
use picket_model::name::DeviceName;
use picket_model::profile::JudgingConfig;
use picket_model::record::{Input, Record, Stamped};
use picket_model::time::Timestamp;
use picket_model::violation::{ChangeKind, ViolationChange, ViolationId};
use proptest::prelude::*;

use config::*;
use records::*;
use served::*;

/// What an engine that is served told at each record, and before it since the one before.
type Story = Vec<Vec<ViolationChange>>;

fn told(served: &mut Served, inputs: &[Input]) -> Story {
    inputs.iter().map(|input| served.take(input.clone()).changes).collect()
}

/// As many as `PROPTEST_CASES` says; a case is long, so fewer than usual if it does not.
fn n_cases() -> u32 {
    let asked_for = std::env::var("PROPTEST_CASES").ok();
    asked_for.and_then(|text| text.parse().ok()).unwrap_or(64)
}

/// The story without what depends on stamps: what is said every five minutes of an age that goes on growing.
fn timeless(story: &Story) -> Vec<Vec<(DeviceName, String, ChangeKind)>> {
    let change = |change: &ViolationChange| {
        let rule = format!("{}/{}", change.profile, change.behavior.name);
        let kind = match change.kind.clone() {
            ChangeKind::Continued { .. } if change.behavior.name.as_str().ends_with("-once") => return None,
            ChangeKind::Raised {
                value, is_supported, ..
            } => ChangeKind::Raised {
                value,
                is_supported,
                is_eager: false,
            },
            kind => kind,
        };
        Some((change.thing.clone(), rule, kind))
    };
    story
        .iter()
        .map(|changes| changes.iter().filter_map(change).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: n_cases(), ..ProptestConfig::default() })]

    // Percentiles come at once, late, again, or for criteria that hold no more.
    #[test]
    fn it_makes_no_difference_whether_revisions_share_profiles(steps in steps(long_gap())) {
        let mut sharing = Engine::bounded(2);
        let mut other = Engine::bounded(2);
        for input in inputs(1_600_000_000_000, &steps, as_it_is) {
            let config = input.config.as_deref().cloned().map(|mut config| {
                for profile in &mut config.profiles {
                    *profile = Arc::new((**profile).clone());
                }
                Arc::new(config)
            });
            let unshared = Input { config, ..input.clone() };
            prop_assert_eq!(sharing.apply(input), other.apply(unshared));
            prop_assert_eq!(sharing.snapshot(), other.snapshot());
        }
    }

    #[test]
    fn a_restored_engine_goes_on_as_the_first(
        steps in steps(long_gap()),
        start in prop_oneof![Just(1_600_000_000_000i64), any::<i64>()],
        restores in prop::collection::vec(any::<bool>(), 81),
        n_unregistered_max in 1usize..4,
        is_prompt in any::<bool>(),
    ) {
        let mut live = Engine::bounded(n_unregistered_max);
        let mut other = Engine::bounded(n_unregistered_max);
        let mut config = Arc::new(JudgingConfig::default());
        let mut thresholds: Vec<Threshold> = Vec::new();
        for ((mut input, step), is_restored) in inputs(start, &steps, as_it_is).into_iter().zip(&steps).zip(restores) {
            if let Some(newer) = &input.config {
                config = Arc::clone(newer);
            }
            let at = input.stamped.at;
            if let What::Threshold(nth) = &step.what && !thresholds.is_empty() {
                input = stamped(at, Record::Threshold(nth.get(&thresholds).clone()));
            }
            let told = live.apply(input.clone());
            prop_assert_eq!(&told, &other.apply(input));
            for sample in told.samples {
                let threshold = threshold(sample);
                if is_prompt {
                    let input = stamped(at, Record::Threshold(threshold.clone()));
                    prop_assert_eq!(live.apply(input.clone()), other.apply(input));
                }
                thresholds.push(threshold);
            }
            prop_assert_eq!(live.next_deadline(), other.next_deadline());
            prop_assert!(live.n_unregistered() <= n_unregistered_max);
            let bytes = live.snapshot();
            prop_assert_eq!(&bytes, &other.snapshot());
            prop_assert_eq!(snapshot_revision(&bytes).unwrap(), live.revision());
            if is_restored {
                other = Engine::restore(&bytes, Arc::clone(&config)).unwrap();
                prop_assert_eq!(&bytes, &other.snapshot());
            }
            for number in 0..N_THINGS {
                for (profile, name) in [("Volumes", "much"), ("Snapshots", "ports"), ("Clients", "sent"), ("Fleet", "bytes")] {
                    let (profile, name) = (profile.parse().unwrap(), name.parse().unwrap());
                    let found = live.explain(&thing(number), &profile, &name);
                    prop_assert_eq!(&found, &other.explain(&thing(number), &profile, &name));
                    if let Some(found) = found {
                        prop_assert!(found.breaches.len() <= 10);
                    }
                }
            }
        }
    }

    #[test]
    fn a_violation_is_raised_once_and_ends_once(mut steps in steps(long_gap())) {
        stay_off_the_end_of_time(&mut steps);
        let mut open: BTreeMap<ViolationId, bool> = BTreeMap::new();
        let mut used: BTreeSet<ViolationId> = BTreeSet::new();
        let inputs = inputs(1_600_000_000_000, &steps, as_it_is);
        for change in told(&mut Served::default(), &inputs).into_iter().flatten() {
            match change.kind {
                ChangeKind::Raised { is_supported, .. } => {
                    prop_assert!(used.insert(change.id), "an id was given twice");
                    open.insert(change.id, is_supported);
                }
                ChangeKind::Continued { .. } => prop_assert!(open.contains_key(&change.id)),
                ChangeKind::Supported { .. } => prop_assert_eq!(open.insert(change.id, true), Some(false)),
                ChangeKind::Cleared { .. } | ChangeKind::Invalidated => {
                    prop_assert!(open.remove(&change.id).is_some());
                }
            }
        }
    }

    /// Once all is told that was due, a downtime or a clock that is set is followed by silence, whatever runs.
    #[test]
    fn downtime_and_clock_steps_tell_nothing(
        mut steps in steps(long_gap()),
        start in 1_600_000_000_000i64..1_600_001_000_000,
        sets in prop::collection::vec(clock_step(), 1..4),
    ) {
        stay_off_the_end_of_time(&mut steps);
        let mut served = Served::default();
        let inputs = inputs(start, &steps, as_it_is);
        told(&mut served, &inputs);
        let mut at = inputs.iter().next_back().unwrap().stamped.at;
        served.take(tick(at));
        for by_millis in sets {
            let (old, new) = (at, at.shifted(by_millis));
            for input in [stamped(new, Record::Clock { old, new }), tick(new)] {
                let told = served.engine.apply(input);
                prop_assert!(told.is_empty(), "{} ms: {:?}", by_millis, told);
            }
            at = new;
        }
    }

    /// What does not depend on where windows end goes on as if nothing had been. Windows that do: those that run at a
    /// downtime or a clock step, before it and after, are not whole, and are not judged at their end.
    #[test]
    fn downtime_and_clock_steps_change_nothing(
        steps in steps(long_gap()),
        sets in prop::collection::vec(prop::option::weighted(0.2, clock_step()), 81),
    ) {
        let steady: Vec<Step> =
            steps.iter().filter(|step| !matches!(step.what, What::Clock { .. })).cloned().collect();
        let mut unsteady = Vec::new();
        for (step, set) in steady.iter().zip(&sets) {
            unsteady.push(step.clone());
            if let Some(by_millis) = *set {
                unsteady.push(Step { gap_millis: 0, what: What::Clock { by_millis } });
            }
        }
        let story = |steps: &[Step]| {
            timeless(&told(&mut Served::default(), &inputs(1_600_000_000_000, steps, without_aligned_windows)))
        };
        let plain = story(&steady);
        let shifted: Vec<_> = story(&unsteady)
            .into_iter()
            .zip(&unsteady)
            .filter(|(_, step)| !matches!(step.what, What::Clock { .. }))
            .map(|(changes, _)| changes)
            .collect();
        prop_assert_eq!(plain, shifted);
    }

    #[test]
    fn forged_records_neither_make_nor_take_away_support(mut steps in steps(long_gap())) {
        stay_off_the_end_of_time(&mut steps);
        forged_records_hide_nothing(&steps)?;
    }

    #[test]
    fn support_needs_genuine_records(mut steps in steps(long_gap())) {
        stay_off_the_end_of_time(&mut steps);
        let (mut mixed, mut pure) = (Served::default(), Served::default());
        let mut in_pure = Book::default();
        for (input, step) in inputs(0, &steps, without_percentiles).into_iter().zip(&steps) {
            in_pure.seen = in_pure.open.keys().cloned().collect();
            let due = tick(before(&input));
            let mut changes = mixed.take(due.clone()).changes;
            in_pure.follow(&TICK, pure.take(due).changes);
            changes.extend(mixed.take(input.clone()).changes);
            if !step.what.is_forged() {
                in_pure.follow(step, pure.take(input).changes);
            }
            for change in changes {
                let is_supported = matches!(
                    change.kind,
                    ChangeKind::Raised { is_supported: true, .. } | ChangeKind::Supported { .. }
                );
                if is_supported {
                    prop_assert!(in_pure.seen.contains(&rule(&change)), "{:?}", change);
                }
            }
        }
    }

    #[test]
    fn partitions_judge_as_one(mut steps in steps(gap()), n_partitions in 2usize..4) {
        stay_off_the_end_of_time(&mut steps);
        // Ids avoid those that slots had which are gone: where the clock went back, and within the millisecond in which rules
        // went. There a partition more or less makes other ids, in the same story.
        for step in &mut steps {
            step.gap_millis = step.gap_millis.max(1);
        }
        let goes_back = |step: &Step| matches!(step.what, What::Clock { by_millis } if by_millis < 0);
        let has_ids = !steps.iter().any(goes_back);
        let (mut one, mut several) = (Partitions::new(1, has_ids), Partitions::new(n_partitions, has_ids));
        for (input, step) in inputs(1_600_000_000_000, &steps, as_it_is).iter().zip(&steps) {
            let due = tick(before(input));
            prop_assert_eq!(one.take(&due, None), several.take(&due, None));
            prop_assert_eq!(one.take(input, step.what.thing()), several.take(input, step.what.thing()));
        }
    }

    #[test]
    fn damaged_snapshots_are_refused_or_read_but_never_panic(
        steps in steps(long_gap()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut served = Served::default();
        let inputs = inputs(1_600_000_000_000, &steps, as_it_is);
        told(&mut served, &inputs);
        let config = inputs.iter().filter_map(|input| input.config.clone()).next_back().unwrap();
        let mut bytes = served.engine.snapshot();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(keep.index(bytes.len()) + 1);
        if let Ok(mut restored) = Engine::restore(&bytes, config) {
            for input in inputs {
                restored.apply(input);
            }
        }
    }

    #[test]
    fn windows_and_runs_agree_with_a_plain_recomputation(
        reports in prop::collection::vec((5_000i64..400_000, 0u64..250), 1..120),
        number in 0u8..3,
    ) {
        let config = config(1, number, as_it_is);
        let mut engine = Engine::new();
        let mut at = 0;
        let stamped = |at, record| Stamped { at: Timestamp::from_millis(at), record };
        let record = Record::Config { revision: 1 };
        engine.apply(Input { stamped: stamped(at, record), config: Some(Arc::new(config.clone())) });
        let volumes = &config.profiles.iter().find(|profile| profile.name.as_str() == "Volumes").unwrap().behaviors;
        let mut plain = [(0u8, None::<()>), (0, None)];
        let mut history: Vec<(i64, u64)> = Vec::new();
        for (nth, (gap, amount)) in (0..).zip(reports) {
            at += gap;
            history.push((at, amount));
            let said = Said {
                thing: 0,
                is_attached: true,
                report_id: nth,
                bytes_out: Some(amount),
                ports: None,
                remote: None,
                temperature: None,
            };
            let changes = engine.apply(Input { stamped: stamped(at, report(&said)), config: None }).changes;
            let sum: u64 = history.iter().filter(|(then, _)| at - 285_000 < *then).map(|(_, amount)| amount).sum();
            let mut expected = Vec::new();
            for (behavior, (run, alarm)) in volumes.iter().zip(&mut plain) {
                let criteria = behavior.criteria.as_ref().unwrap();
                let is_breach = match &criteria.test {
                    Test::Threshold { operator: NumericOperator::LessThanEquals, limit: Limit::Count(limit) } => sum > *limit,
                    _ if at - history[0].0 < 285_000 => continue,
                    _ => sum <= 50,
                };
                *run = if is_breach == alarm.is_some() { 0 } else { *run + 1 };
                let name = behavior.name.to_string();
                let kind = match (&alarm, is_breach) {
                    (None, true) if *run == criteria.n_to_alarm() => "raised",
                    (Some(()), false) if *run == criteria.n_to_clear() => "cleared",
                    (Some(()), true) => "continued",
                    _ => continue,
                };
                match kind {
                    "raised" => (*alarm, *run) = (Some(()), 0),
                    "cleared" => (*alarm, *run) = (None, 0),
                    _ => {}
                }
                expected.push((name, kind));
            }
            let found: Vec<_> = changes
                .into_iter()
                .filter(|change| change.profile.as_str() == "Volumes")
                .map(|change| {
                    let kind = match change.kind {
                        ChangeKind::Raised { .. } => "raised",
                        ChangeKind::Cleared { .. } => "cleared",
                        ChangeKind::Continued { .. } => "continued",
                        _ => "other",
                    };
                    (change.behavior.name.to_string(), kind)
                })
                .collect();
            prop_assert_eq!(found, expected, "at {} ms", at);
        }
    }
}

/// What genuine records alone raise is open and supported with forged ones between them too.
fn forged_records_hide_nothing(steps: &[Step]) -> Result<(), TestCaseError> {
    let all = inputs(0, steps, without_percentiles);
    let (mut mixed, mut pure) = (Served::default(), Served::default());
    let (mut in_mixed, mut in_pure) = (Book::default(), Book::default());
    for (input, step) in all.into_iter().zip(steps) {
        // Time passes alike for both, or a record that is left out would move the others.
        let due = tick(before(&input));
        in_mixed.follow(&TICK, mixed.take(due.clone()).changes);
        in_pure.follow(&TICK, pure.take(due).changes);
        in_mixed.follow(step, mixed.take(input.clone()).changes);
        if !step.what.is_forged() {
            in_pure.follow(step, pure.take(input).changes);
            for rule in in_pure.open.keys() {
                let found = in_mixed.open.get(rule).map(|(_, is_supported)| *is_supported);
                prop_assert_eq!(
                    found,
                    Some(true),
                    "genuine records alone alarm, but {:?} is hidden",
                    rule
                );
            }
        }
    }
    Ok(())
}

/// Once failed with clock steps of 10^18 ms: at the end of time the forged report held time up for the genuine ones. Up to
/// there a report that time passes with moves nothing.
#[test]
fn a_forged_report_before_a_clock_step_hides_nothing() {
    let said = |thing, is_attached, report_id, bytes_out| {
        What::Report(Said {
            thing,
            is_attached,
            report_id,
            bytes_out,
            ports: None,
            remote: None,
            temperature: None,
        })
    };
    for by_millis in [0, -1, -400_000, -7_469_621_654_904, 7_469_621_654_904] {
        let steps = [
            (0, What::Config(0)),
            (0, What::Clock { by_millis }),
            (0, said(2, true, 3, Some(301))),
            (285_000, said(0, false, 0, None)),
            (0, What::Clock { by_millis }),
            (0, said(2, true, 4, Some(0))),
            (0, said(2, true, 5, Some(0))),
        ];
        let steps = steps.map(|(gap_millis, what)| Step { gap_millis, what });
        let held = forged_records_hide_nothing(&steps);
        assert!(held.is_ok(), "{by_millis}: {held:?}");
        let raised = told(&mut Served::default(), &inputs(0, &steps, without_aligned_windows)).concat();
        assert_eq!(raised.len(), 2, "quiet for a window, and still so: {raised:?}");
    }
}

/// Where stamps cannot go further, no time passes: there a record that is left out moves the others.
fn stay_off_the_end_of_time(steps: &mut [Step]) {
    for step in steps {
        if let What::Clock { by_millis } = &mut step.what {
            *by_millis %= 10_000_000;
        }
    }
}

/// The open violations, and whether they are supported; and which were open at the newest record or still are.
#[derive(Default)]
struct Book {
    seen: BTreeSet<(DeviceName, String, String)>,
    open: BTreeMap<(DeviceName, String, String), (ViolationId, bool)>,
    registered: BTreeSet<DeviceName>,
}

impl Book {
    fn follow(&mut self, step: &Step, changes: Vec<ViolationChange>) {
        if let What::Member {
            thing: number,
            is_registered,
            ..
        } = step.what
        {
            let name = thing(number);
            if is_registered != self.registered.contains(&name) {
                // From here on it counts as another device.
                self.open.retain(|(thing, ..), _| *thing != name);
            }
            if is_registered {
                self.registered.insert(name);
            } else {
                self.registered.remove(&name);
            }
        }
        for change in changes {
            let rule = rule(&change);
            self.seen.insert(rule.clone());
            let is_it = self.open.get(&rule).is_some_and(|(id, _)| *id == change.id);
            match change.kind {
                ChangeKind::Raised { is_supported, .. } => drop(self.open.insert(rule, (change.id, is_supported))),
                ChangeKind::Supported { .. } => drop(self.open.insert(rule, (change.id, true))),
                ChangeKind::Cleared { .. } | ChangeKind::Invalidated if is_it => drop(self.open.remove(&rule)),
                _ => {}
            }
        }
    }
}

fn rule(change: &ViolationChange) -> (DeviceName, String, String) {
    (
        change.thing.clone(),
        change.profile.to_string(),
        change.behavior.name.to_string(),
    )
}
