//! Values of what the broker measured: one for each aligned bucket of five minutes that is over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use picket_model::metric::BrokerMetric;
use picket_model::time::Timestamp;
use picket_model::value::MetricValue;

use super::super::activity::{Activity, BUCKET_MILLIS, SizesSum, Topics, What};
use super::super::read::{Reader, Trouble};
use super::super::row::Row as _;
use super::{Sight, Value, ValueKey, ValueQuery};
use crate::log::Seq;

/// What happened in a bucket, as far as the query asks.
#[derive(Debug, Default)]
struct Bucket {
    sent: Option<SizesSum>,
    n_received: u64,
    n_failures: u64,
    n_attempts: u64,
    n_disconnects: u64,
    addresses: BTreeSet<IpAddr>,
}

/// The values, newest first, each with the end of its bucket as its time. A client that was connected in a bucket in which
/// nothing happened has a count of 0.
pub(super) fn values(
    reader: &Reader,
    sight: Sight<Activity>,
    metric: BrokerMetric,
    query: &ValueQuery,
) -> Result<Vec<Value>, Trouble> {
    let mut rows = sight.waiting;
    for file in sight.days.iter().flatten() {
        let open = reader.open(file, Activity::COLUMNS)?;
        let found = reader.guarded(file, || {
            let mut found: Vec<Activity> = Vec::new();
            // What concerns every client has none.
            for name in ["", query.device.as_str()] {
                for span in open.rows_of(name)? {
                    found.extend(open.rows::<Activity>(span)?);
                }
            }
            Ok(found)
        })?;
        rows.extend(found);
    }
    rows.sort_by_key(|row| (row.at, row.seq));
    let (first, last) = (first_bucket(query.from), last_bucket(query.until));
    let mut buckets = filled(&rows, query, first, last);
    let values = std::iter::from_fn(move || buckets.pop_last()).filter_map(|(number, bucket)| {
        let key = ValueKey {
            at: Timestamp::from_millis((number + 1).saturating_mul(BUCKET_MILLIS)),
            seq: Seq(0),
        };
        let is_in = query.after.is_none_or(|after| key < after);
        Some((key, bucket.value(metric)?)).filter(|_| is_in)
    });
    Ok(values.take(query.n_max).collect())
}

/// The first bucket that ends in time.
fn first_bucket(from: Timestamp) -> i64 {
    let end = from
        .millis()
        .saturating_add(BUCKET_MILLIS - 1)
        .div_euclid(BUCKET_MILLIS);
    end.saturating_sub(1)
}

/// The last bucket that is over.
fn last_bucket(until: Timestamp) -> i64 {
    until.millis().div_euclid(BUCKET_MILLIS).saturating_sub(1)
}

fn filled(rows: &[Activity], query: &ValueQuery, first: i64, last: i64) -> BTreeMap<i64, Bucket> {
    let mut buckets: BTreeMap<i64, Bucket> = BTreeMap::new();
    let mut connected: BTreeSet<u64> = BTreeSet::new();
    let mut since = i64::MIN;
    // Whoever is connected from one bucket to another is there in all of those between.
    let stay = |buckets: &mut BTreeMap<i64, Bucket>, since: i64, until: i64| {
        for number in since.max(first)..=until.min(last) {
            buckets.entry(number).or_default();
        }
    };
    for row in rows {
        let number = row.at.millis().div_euclid(BUCKET_MILLIS);
        if !connected.is_empty() {
            stay(&mut buckets, since, number);
        }
        since = number;
        match &row.what {
            What::Connected(came) => connected.insert(came.connection),
            What::Disconnected(came, _) => connected.remove(&came.connection),
            What::SessionsEnded => {
                connected.clear();
                continue;
            }
            What::Meter(_) => false,
        };
        if (first..=last).contains(&number) {
            buckets.entry(number).or_default().add(row, query);
        }
    }
    if !connected.is_empty() {
        stay(&mut buckets, since, last);
    }
    buckets
}

impl Bucket {
    fn add(&mut self, row: &Activity, query: &ValueQuery) {
        match &row.what {
            What::Meter(measured) => {
                let is_of_all = measured.topics == Topics::All;
                if is_of_all {
                    self.n_attempts += measured.n_refused_attempts;
                }
                let wanted = query.dimension.as_ref().map(|(name, is_inside)| (name, *is_inside));
                if measured.topics.dimension() != wanted {
                    return;
                }
                self.sent = match (self.sent, measured.sent) {
                    (Some(own), Some(other)) => Some(own.and(other)),
                    (own, other) => own.or(other),
                };
                self.n_received += measured.n_received;
                self.n_failures += if is_of_all {
                    measured.n_authorization_failures
                } else {
                    measured.n_refused
                };
                self.addresses.extend(&measured.addresses);
            }
            What::Connected(came) => {
                self.n_attempts += 1;
                // A connection is on no topic.
                if query.dimension.is_none() {
                    self.addresses.insert(came.address);
                }
            }
            What::Disconnected(..) => self.n_disconnects += 1,
            What::SessionsEnded => {}
        }
    }

    fn value(&self, metric: BrokerMetric) -> Option<MetricValue> {
        Some(match metric {
            BrokerMetric::MessageByteSize => MetricValue::Count(self.sent?.max_bytes),
            BrokerMetric::NumMessagesSent => MetricValue::Count(self.sent.map_or(0, |sent| sent.n_messages)),
            BrokerMetric::NumMessagesReceived => MetricValue::Count(self.n_received),
            BrokerMetric::NumAuthorizationFailures => MetricValue::Count(self.n_failures),
            BrokerMetric::SourceIpAddress if self.addresses.is_empty() => return None,
            BrokerMetric::SourceIpAddress => MetricValue::Addresses(self.addresses.clone()),
            BrokerMetric::NumConnectionAttempts => MetricValue::Count(self.n_attempts),
            BrokerMetric::NumDisconnects => MetricValue::Count(self.n_disconnects),
            BrokerMetric::DisconnectDuration => return None,
        })
    }
}
