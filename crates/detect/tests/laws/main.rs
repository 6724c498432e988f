//! Laws that hold for all records.
#![expect(clippy::unwrap_used, reason = "a test harness")]

mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use picket_detect::{Engine, snapshot_revision};
use picket_model::behavior::{Limit, NumericOperator, Test};
use picket_model::name::DeviceName;
use picket_model::profile::JudgingConfig;
use picket_model::record::{Input, Record, Stamped};
use picket_model::time::Timestamp;
use picket_model::violation::{ChangeKind, ViolationChange, ViolationId};
use proptest::prelude::*;

use records::*;

fn told(engine: &mut Engine, inputs: &[Input]) -> Story {
    inputs.iter().map(|input| engine.apply(input.clone()).changes).collect()
}

/// The story without what depends on stamps.
fn timeless(story: &Story) -> Vec<Vec<(DeviceName, String, ChangeKind)>> {
    let change = |change: &ViolationChange| {
        let rule = format!("{}/{}", change.profile, change.behavior.name);
        (change.thing.clone(), rule, change.kind.clone())
    };
    story
        .iter()
        .map(|changes| changes.iter().map(change).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_makes_no_difference_whether_revisions_share_profiles(steps in steps(long_gap())) {
        let mut sharing = Engine::bounded(2);
        let mut other = Engine::bounded(2);
        for input in inputs(1_600_000_000_000, &steps) {
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
    ) {
        let mut live = Engine::bounded(n_unregistered_max);
        let mut other = Engine::bounded(n_unregistered_max);
        let mut config = Arc::new(JudgingConfig::default());
        for (input, is_restored) in inputs(start, &steps).into_iter().zip(restores) {
            if let Some(newer) = &input.config {
                config = Arc::clone(newer);
            }
            prop_assert_eq!(live.apply(input.clone()), other.apply(input));
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
                for (profile, name) in [("Volumes", "much"), ("Snapshots", "ports")] {
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
        // A slot that ends and begins again within a millisecond has forgotten its ids.
        for step in &mut steps {
            step.gap_millis += i64::from(matches!(step.what, What::Config(_) | What::Member { .. }));
        }
        stay_off_the_end_of_time(&mut steps);
        let mut open: BTreeMap<ViolationId, bool> = BTreeMap::new();
        let mut used: BTreeSet<ViolationId> = BTreeSet::new();
        for change in told(&mut Engine::new(), &inputs(1_600_000_000_000, &steps)).into_iter().flatten() {
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

    #[test]
    fn downtime_and_clock_steps_change_nothing(
        steps in steps(long_gap()),
        sets in prop::collection::vec(prop::option::weighted(0.2, -1_000_000_000_000i64..1_000_000_000_000), 81),
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
        let start = 1_600_000_000_000;
        let plain = timeless(&told(&mut Engine::new(), &inputs(start, &steady)));
        let shifted = timeless(&told(&mut Engine::new(), &inputs(start, &unsteady)));
        let shifted: Vec<_> = shifted
            .into_iter()
            .zip(&unsteady)
            .filter(|(_, step)| !matches!(step.what, What::Clock { .. }))
            .map(|(changes, _)| changes)
            .collect();
        prop_assert_eq!(plain, shifted);
    }

    #[test]
    fn forged_reports_neither_make_nor_take_away_support(mut steps in steps(gap())) {
        stay_off_the_end_of_time(&mut steps);
        forged_reports_hide_nothing(&steps)?;
    }

    #[test]
    fn support_needs_genuine_reports(mut steps in steps(gap())) {
        stay_off_the_end_of_time(&mut steps);
        let (mut mixed, mut pure) = (Engine::new(), Engine::new());
        let mut in_pure = Book::default();
        for (input, step) in inputs(0, &steps).into_iter().zip(&steps) {
            let changes = mixed.apply(input.clone()).changes;
            if !matches!(&step.what, What::Report(said) if !said.is_attached) {
                in_pure.follow(step, pure.apply(input).changes);
            }
            for change in changes {
                let is_supported = matches!(
                    change.kind,
                    ChangeKind::Raised { is_supported: true, .. } | ChangeKind::Supported { .. }
                );
                if is_supported {
                    prop_assert!(in_pure.open.contains_key(&rule(&change)));
                }
            }
        }
    }

    #[test]
    fn damaged_snapshots_are_refused_or_read_but_never_panic(
        steps in steps(long_gap()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut engine = Engine::new();
        let inputs = inputs(0, &steps);
        told(&mut engine, &inputs);
        let config = inputs.iter().filter_map(|input| input.config.clone()).next_back().unwrap();
        let mut bytes = engine.snapshot();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(keep.index(bytes.len()) + 1);
        if let Ok(mut restored) = Engine::restore(&bytes, config) {
            told(&mut restored, &inputs);
        }
    }

    #[test]
    fn windows_and_runs_agree_with_a_plain_recomputation(
        reports in prop::collection::vec((5_000i64..400_000, 0u64..250), 1..120),
        number in 0u8..3,
    ) {
        let config = config(1, number);
        let mut engine = Engine::new();
        let mut at = 0;
        let stamped = |at, record| Stamped { at: Timestamp::from_millis(at), record };
        let record = Record::Config { revision: 1 };
        engine.apply(Input { stamped: stamped(at, record), config: Some(Arc::new(config.clone())) });
        let volumes = &config.profiles[1].behaviors;
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

/// What genuine reports alone raise is open and supported with forged ones between them too.
fn forged_reports_hide_nothing(steps: &[Step]) -> Result<(), TestCaseError> {
    let is_forged = |step: &Step| matches!(&step.what, What::Report(said) if !said.is_attached);
    let all = inputs(0, steps);
    let (mut mixed, mut pure) = (Engine::new(), Engine::new());
    let (mut in_mixed, mut in_pure) = (Book::default(), Book::default());
    for (input, step) in all.into_iter().zip(steps) {
        in_mixed.follow(step, mixed.apply(input.clone()).changes);
        if !is_forged(step) {
            in_pure.follow(step, pure.apply(input).changes);
        }
        for rule in in_pure.open.keys() {
            let found = in_mixed.open.get(rule).map(|(_, is_supported)| *is_supported);
            prop_assert_eq!(found, Some(true), "genuine reports alone alarm, but that is hidden");
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
        let held = forged_reports_hide_nothing(&steps);
        assert!(held.is_ok(), "{by_millis}: {held:?}");
        let raised = told(&mut Engine::new(), &inputs(0, &steps)).concat();
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

/// The open violations, and whether they are supported.
#[derive(Default)]
struct Book {
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
