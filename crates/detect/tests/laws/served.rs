//! Engines served as the server serves them.

use std::collections::BTreeMap;

use picket_detect::{Engine, Outcome};
use picket_model::behavior::Statistic;
use picket_model::fleet::{FleetSample, Quantity, Threshold, WindowKey};
use picket_model::record::{Input, Record, Stamped};
use picket_model::time::Timestamp;
use picket_model::violation::{ViolationChange, ViolationId};

/// The engine of a single partition: it is told the time when it wants to be, and its percentiles are the fleet's.
#[derive(Default)]
pub(crate) struct Served {
    pub(crate) engine: Engine,
    /// The newest stamp: there is none before it unless the clock is set.
    last: Option<Timestamp>,
}

impl Served {
    /// Takes a record, and all that is due before it.
    pub(crate) fn take(&mut self, input: Input) -> Outcome {
        let mut told = Outcome::default();
        // Nobody tells the time while the server is down.
        let is_clock = matches!(input.stamped.record, Record::Clock { .. });
        let until = input.stamped.at;
        while let Some(due) = self.engine.next_deadline().filter(|due| !is_clock && *due < until) {
            let at = self.last.map_or(due, |last| last.max(due));
            told.append(self.apply(tick(at)));
            assert_ne!(self.engine.next_deadline(), Some(due), "the engine does not go on");
        }
        self.last = Some(until);
        told.append(self.apply(input));
        told
    }

    fn apply(&mut self, input: Input) -> Outcome {
        let at = input.stamped.at;
        let mut told = self.engine.apply(input);
        for sample in std::mem::take(&mut told.samples) {
            let threshold = threshold(sample);
            told.append(self.engine.apply(stamped(at, Record::Threshold(threshold))));
        }
        told
    }
}

/// The engines of several partitions.
pub(crate) struct Partitions {
    engines: Vec<Engine>,
    has_ids: bool,
}

impl Partitions {
    pub(crate) fn new(n_partitions: usize, has_ids: bool) -> Self {
        Self {
            has_ids,
            engines: vec![Engine::new(); n_partitions],
        }
    }

    /// Takes a record, which goes to one partition if it is about one thing; what was told, by thing. Windows end in all
    /// partitions at once.
    pub(crate) fn take(&mut self, input: &Input, thing: Option<u8>) -> Vec<ViolationChange> {
        let n_partitions = self.engines.len();
        let is_concerned = |nth: usize| thing.is_none_or(|thing| usize::from(thing) % n_partitions == nth);
        let mut told = Outcome::default();
        for (_, engine) in self
            .engines
            .iter_mut()
            .enumerate()
            .filter(|(nth, _)| is_concerned(*nth))
        {
            told.append(engine.apply(input.clone()));
        }
        let mut windows: BTreeMap<WindowKey, (usize, Statistic, Vec<Quantity>)> = BTreeMap::new();
        for sample in std::mem::take(&mut told.samples) {
            let window = windows
                .entry(sample.window)
                .or_insert((0, sample.statistic, Vec::new()));
            window.0 += 1;
            window.2.extend(sample.values);
        }
        for (window, (n_in, statistic, values)) in windows {
            assert_eq!(n_in, n_partitions, "a partition did not hand in {window:?}");
            let threshold = Threshold::of(window, statistic, values);
            for engine in &mut self.engines {
                told.append(engine.apply(stamped(input.stamped.at, Record::Threshold(threshold.clone()))));
            }
        }
        told.changes.sort_by(|a, b| a.thing.cmp(&b.thing));
        if !self.has_ids {
            told.changes
                .iter_mut()
                .for_each(|change| change.id = ViolationId([0; 16]));
        }
        told.changes
    }
}

pub(crate) fn threshold(sample: FleetSample) -> Threshold {
    Threshold::of(sample.window, sample.statistic, sample.values)
}

/// When the server's clock last showed the time before this record.
pub(crate) fn before(input: &Input) -> Timestamp {
    match input.stamped.record {
        Record::Clock { old, .. } => old,
        _ => input.stamped.at,
    }
}

pub(crate) fn tick(at: Timestamp) -> Input {
    stamped(at, Record::Tick)
}

pub(crate) fn stamped(at: Timestamp, record: Record) -> Input {
    Input {
        stamped: Stamped { at, record },
        config: None,
    }
}
