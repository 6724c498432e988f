//! What clients do, counted: messages, refusals and addresses, for each session and about a second at a time.
//!
//! A session counts for itself, under a lock that nobody else wants but whoever collects. The first of its counts puts it
//! on a list, and collecting takes the list: what nobody does costs nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use picket_model::meter::{ClientMeter, DimensionMeter, Sizes, Tally};

use crate::counters::Counters;
use crate::dimensions::{DimensionSet, Dimensions, Inside};
use crate::live::Live;
use crate::memory::Memory;

/// What has been counted and not been collected, of all sessions.
#[derive(Debug)]
pub(crate) struct Metering {
    pub(crate) dimensions: Dimensions,
    counters: Arc<Counters>,
    /// Sessions that have counted something since they were collected. They may have ended.
    active: Mutex<Vec<Arc<Live>>>,
    /// What was counted by dimensions that hold no more.
    set_aside: Mutex<Vec<ClientMeter>>,
    n_active_max: usize,
}

/// What one session counts.
#[derive(Debug, Default)]
pub(crate) struct SessionMeter(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// `None`: nothing since it was collected.
    counted: Option<Box<Counted>>,
    /// Which dimensions the last topics are in. `None`: there are no dimensions, or nothing has been counted yet.
    known: Option<Box<Known>>,
}

#[derive(Debug)]
struct Counted {
    dimensions: Arc<DimensionSet>,
    total: Count,
    /// For each dimension, what was on its topics, and what was on others.
    by_dimension: Vec<[Count; 2]>,
}

#[derive(Debug)]
struct Known {
    revision: u64,
    topics: Memory<Inside>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    sent: Option<Sizes>,
    n_received: u32,
    n_refused: u32,
    /// Whether the client asked for anything: what it is sent tells nothing about where it is.
    is_active: bool,
}

impl Metering {
    /// Nothing counted yet. Beyond so many sessions that nobody collects, further ones do not count.
    pub(crate) fn new(counters: Arc<Counters>, n_active_max: usize) -> Self {
        Self {
            dimensions: Dimensions::default(),
            counters,
            active: Mutex::default(),
            set_aside: Mutex::default(),
            n_active_max,
        }
    }

    /// The client published a message, and was allowed to.
    pub(crate) fn sent(&self, live: &Arc<Live>, topic: &str, size_bytes: usize) {
        let one = Sizes::of(size_bytes);
        self.count(live, topic, |count| {
            count.sent = Some(count.sent.map_or(one, |sizes| sizes.and(one)));
            count.is_active = true;
        });
    }

    /// The client was sent a message.
    pub(crate) fn received(&self, live: &Arc<Live>, topic: &str) {
        self.count(live, topic, |count| {
            count.n_received = count.n_received.saturating_add(1)
        });
    }

    /// Policy refused what the client asked for on this topic, or with this filter.
    pub(crate) fn refused(&self, live: &Arc<Live>, topic: &str) {
        self.count(live, topic, |count| {
            count.n_refused = count.n_refused.saturating_add(1);
            count.is_active = true;
        });
    }

    /// The client subscribed with this filter.
    pub(crate) fn subscribed(&self, live: &Arc<Live>, filter: &str) {
        self.count(live, filter, |count| count.is_active = true);
    }

    /// Takes what has been counted; in no order, and more than one of a client if it had several connections.
    pub(crate) fn take(&self) -> Vec<ClientMeter> {
        let active = std::mem::take(&mut *lock(&self.active));
        let mut meters = std::mem::take(&mut *lock(&self.set_aside));
        meters.reserve(active.len());
        for live in active {
            let counted = lock(&live.meter.0).counted.take();
            meters.extend(counted.map(|counted| counted.into_meter(&live)));
        }
        meters
    }

    fn count(&self, live: &Arc<Live>, topic: &str, note: impl Fn(&mut Count)) {
        let mut inner = lock(&live.meter.0);
        let revision = self.dimensions.revision();
        let is_begun = |counted: &Counted| counted.dimensions.revision == revision;
        if !inner.counted.as_deref().is_some_and(is_begun) {
            self.begin(live, &mut inner);
        }
        let Inner { counted, known } = &mut *inner;
        let Some(counted) = counted else { return };
        note(&mut counted.total);
        let Some(known) = known else { return };
        let dimensions = &counted.dimensions;
        let inside = known
            .topics
            .recall(topic, || dimensions.matching(&live.client_id, topic));
        for (at, [within, beside]) in counted.by_dimension.iter_mut().enumerate() {
            note(if inside.has(at) { within } else { beside });
        }
    }

    /// Begins to count, by the dimensions of now.
    fn begin(&self, live: &Arc<Live>, inner: &mut Inner) {
        let dimensions = self.dimensions.now();
        match inner.counted.take() {
            // It is on the list already.
            Some(old) => {
                let mut set_aside = lock(&self.set_aside);
                if set_aside.len() < self.n_active_max {
                    set_aside.push(old.into_meter(live));
                } else {
                    self.counters.unmetered.add_one();
                }
            }
            None => {
                let mut active = lock(&self.active);
                if self.n_active_max <= active.len() {
                    self.counters.unmetered.add_one();
                    return;
                }
                active.push(Arc::clone(live));
            }
        }
        if dimensions.len() == 0 {
            inner.known = None;
        } else if inner
            .known
            .as_ref()
            .is_none_or(|known| known.revision != dimensions.revision)
        {
            inner.known = Some(Box::new(Known {
                revision: dimensions.revision,
                topics: Memory::default(),
            }));
        }
        inner.counted = Some(Box::new(Counted {
            total: Count::default(),
            by_dimension: vec![Default::default(); dimensions.len()],
            dimensions,
        }));
    }
}

impl Counted {
    fn into_meter(self, live: &Live) -> ClientMeter {
        let tally = |count: Count| count.into_tally(live);
        let counted = self.dimensions.names().zip(self.by_dimension);
        ClientMeter {
            client_id: live.client_id.clone(),
            is_genuine: live.is_genuine(),
            certificate: live.peer.certificate,
            n_refused_attempts: 0,
            // All of them name a topic: this client is connected.
            n_authorization_failures: self.total.n_refused,
            total: tally(self.total),
            dimensions: counted
                .filter(|(_, both)| *both != [Count::default(); 2])
                .map(|(dimension, [inside, outside])| DimensionMeter {
                    dimension: dimension.clone(),
                    inside: tally(inside),
                    outside: tally(outside),
                })
                .collect(),
        }
    }
}

impl Count {
    fn into_tally(self, live: &Live) -> Tally {
        let mut tally = Tally {
            sent: self.sent,
            n_received: self.n_received,
            n_refused: self.n_refused,
            ..Tally::default()
        };
        if self.is_active {
            tally.note_address(live.peer.address);
        }
        tally
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
