//! Values of metrics that profiles send out over MQTT, batched by topic.
//!
//! Judging never waits for whoever listens: what does not fit is dropped and counted. A value is sent at most once, since
//! a replay discards what followed from records whose effects are stored.
//!
//! Source of the payload: AWS IoT Device Defender's export of metrics.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use picket_detect::Export;
use picket_endpoint::{Handle, NotPublished};
use picket_model::behavior::DimensionOperator;
use picket_model::value::MetricValue;
use picket_model::value::wire;
use picket_mqtt::Qos;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// Values that may wait to be sent.
const WAITING_MAX: usize = 65_536;

/// Bytes that those values may take in memory, roughly.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// How long a value waits for others with the same topic.
const LINGER: Duration = Duration::from_secs(1);

/// Values in one message, and bytes of them after which a message is sent.
const BATCH_VALUES_MAX: usize = 100;
const BATCH_BYTES_MAX: usize = 100_000;

/// The most bytes of a message, as on AWS.
const PAYLOAD_BYTES_MAX: usize = 128 << 10;

const HEAD: &[u8] = br#"{"version":"1.0","metrics":["#;
const TAIL: &[u8] = b"]}";

/// Takes values of metrics from whoever judges. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Exporter {
    waiting: mpsc::Sender<Waiting>,
    /// A permit is a byte.
    room: Arc<Semaphore>,
    n_dropped: Arc<AtomicU64>,
}

/// What an [`Exporter`] took.
#[derive(Debug)]
pub(crate) struct Exports {
    waiting: mpsc::Receiver<Waiting>,
    n_dropped: Arc<AtomicU64>,
}

/// The task that publishes what was taken.
pub(crate) struct ExportTask<P> {
    exports: Exports,
    /// How many dropped values were told of.
    n_told: u64,
    batches: HashMap<Arc<str>, Batch>,
    /// When what waits is sent, however little it is; `None` when nothing waits.
    send_at: Option<Instant>,
    publisher: P,
}

/// Who publishes messages.
pub(crate) trait Publisher: Send + 'static {
    /// Publishes to whoever is subscribed.
    fn publish(&self, topic: &str, payload: &Bytes) -> Result<(), NotPublished>;
}

impl Publisher for Handle {
    fn publish(&self, topic: &str, payload: &Bytes) -> Result<(), NotPublished> {
        // Who subscribes says whether it is to be at most once.
        Self::publish(self, topic, payload, Qos::AtLeastOnce, false)
    }
}

#[derive(Debug)]
struct Waiting {
    export: Export,
    /// Until it is sent.
    room: OwnedSemaphorePermit,
}

/// Values for one topic.
#[derive(Default)]
struct Batch {
    /// The beginning of the payload.
    payload: Vec<u8>,
    n_values: usize,
    rooms: Vec<OwnedSemaphorePermit>,
}

/// A value as it is sent.
#[derive(Serialize)]
struct Metric<'a> {
    name: &'a str,
    thing: &'a str,
    value: wire::MetricValue,
    /// Milliseconds since the epoch.
    timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimension: Option<Dimension<'a>>,
    /// Of the same datum the highest version counts. Ours are sent once.
    version: u32,
}

#[derive(Serialize)]
struct Dimension<'a> {
    name: &'a str,
    operator: &'static str,
}

/// An exporter, and what it takes.
pub(crate) fn exporter() -> (Exporter, Exports) {
    let (sender, waiting) = mpsc::channel(WAITING_MAX);
    let n_dropped = Arc::new(AtomicU64::new(0));
    let exports = Exports {
        waiting,
        n_dropped: Arc::clone(&n_dropped),
    };
    let exporter = Exporter {
        waiting: sender,
        room: Arc::new(Semaphore::new(WAITING_BYTES_MAX)),
        n_dropped,
    };
    (exporter, exports)
}

impl Exporter {
    /// Takes values without waiting. What there is no room for is dropped and counted.
    pub(crate) fn offer(&self, exports: Vec<Export>) {
        let n_values = exports.len() as u64;
        let n_taken = exports.into_iter().map_while(|export| self.take(export)).count() as u64;
        self.n_dropped.fetch_add(n_values - n_taken, Ordering::Relaxed);
    }

    fn take(&self, export: Export) -> Option<()> {
        let n_permits = u32::try_from(size_bytes(&export)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(n_permits).ok()?;
        self.waiting.try_send(Waiting { export, room }).ok()
    }
}

impl<P: Publisher> ExportTask<P> {
    pub(crate) fn new(exports: Exports, publisher: P) -> Self {
        Self {
            exports,
            n_told: 0,
            batches: HashMap::new(),
            send_at: None,
            publisher,
        }
    }

    /// Runs until `shutdown`; what waits then is sent before it ends.
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        loop {
            let send_at = self.send_at;
            tokio::select! {
                Some(waiting) = self.exports.waiting.recv() => self.add(waiting),
                () = sleep_until(send_at.unwrap_or_else(Instant::now)), if send_at.is_some() => self.send_all(),
                _ = shutdown.wait_for(|is_over| *is_over) => break,
            }
        }
        while let Ok(waiting) = self.exports.waiting.try_recv() {
            self.add(waiting);
        }
        self.send_all();
    }

    fn add(&mut self, Waiting { export, room }: Waiting) {
        self.send_at.get_or_insert_with(|| Instant::now() + LINGER);
        let value = encoded(&export);
        if PAYLOAD_BYTES_MAX < HEAD.len() + value.len() + TAIL.len() {
            self.exports.n_dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut batch = self.batches.remove(&export.topic).unwrap_or_default();
        if !batch.has_room(value.len()) {
            self.send(&export.topic, std::mem::take(&mut batch));
        }
        batch.add(&value, room);
        if batch.is_full() {
            self.send(&export.topic, batch);
        } else {
            self.batches.insert(export.topic, batch);
        }
    }

    fn send_all(&mut self) {
        self.send_at = None;
        for (topic, batch) in std::mem::take(&mut self.batches) {
            self.send(&topic, batch);
        }
        let n_dropped = self.exports.n_dropped.load(Ordering::Relaxed);
        if self.n_told < n_dropped {
            tracing::warn!(
                n_values = n_dropped - self.n_told,
                n_values_since_start = n_dropped,
                "dropped values that were to go out over MQTT: there are too many of them, or one is too large"
            );
            self.n_told = n_dropped;
        }
    }

    fn send(&self, topic: &str, batch: Batch) {
        let n_values = batch.n_values;
        if let Err(error) = self.publisher.publish(topic, &batch.finished()) {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, topic, "values cannot be published");
            self.exports.n_dropped.fetch_add(n_values as u64, Ordering::Relaxed);
        }
    }
}

impl Batch {
    fn has_room(&self, len_bytes: usize) -> bool {
        self.payload.len() + 1 + len_bytes + TAIL.len() <= PAYLOAD_BYTES_MAX
    }

    fn is_full(&self) -> bool {
        BATCH_VALUES_MAX <= self.n_values || BATCH_BYTES_MAX <= self.payload.len()
    }

    fn add(&mut self, value: &[u8], room: OwnedSemaphorePermit) {
        self.payload
            .extend_from_slice(if self.n_values == 0 { HEAD } else { b"," });
        self.payload.extend_from_slice(value);
        self.n_values += 1;
        self.rooms.push(room);
    }

    fn finished(mut self) -> Bytes {
        self.payload.extend_from_slice(TAIL);
        self.payload.into()
    }
}

fn encoded(export: &Export) -> Vec<u8> {
    let dimension = export.dimension.as_ref().map(|dimension| Dimension {
        name: dimension.name.as_str(),
        operator: dimension.operator.unwrap_or(DimensionOperator::In).as_str(),
    });
    let metric = Metric {
        name: &export.metric,
        thing: export.thing.as_str(),
        value: (&export.value).into(),
        timestamp: export.at.millis(),
        dimension,
        version: 1,
    };
    // Texts and finite numbers always have a JSON form.
    serde_json::to_vec(&metric).unwrap_or_default()
}

/// What a value takes in memory and as JSON, roughly.
fn size_bytes(export: &Export) -> usize {
    let value = match &export.value {
        MetricValue::Count(_) | MetricValue::Number(_) => 0,
        MetricValue::Ports(ports) => 8 * ports.len(),
        MetricValue::Addresses(addresses) => 48 * addresses.len(),
        MetricValue::Numbers(numbers) => 24 * numbers.len(),
        MetricValue::Strings(strings) => strings.iter().map(|text| 32 + 2 * text.len()).sum(),
    };
    256 + export.metric.len() + export.thing.as_str().len() + value
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use picket_model::behavior::MetricDimension;
    use picket_model::time::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    /// Messages that were published: topic and payload.
    #[derive(Clone, Default)]
    struct Board(Arc<Mutex<Vec<(String, Bytes)>>>);

    impl Publisher for Board {
        fn publish(&self, topic: &str, payload: &Bytes) -> Result<(), NotPublished> {
            assert!(payload.len() <= PAYLOAD_BYTES_MAX);
            if topic == "full" {
                return Err(NotPublished::NoRoom);
            }
            self.0.lock().unwrap().push((topic.to_owned(), payload.clone()));
            Ok(())
        }
    }

    impl Board {
        /// Topic and number of values of each message, by topic, in their order.
        fn batches(&self) -> Vec<(String, usize)> {
            let count = |payload: &Bytes| {
                let message: Value = serde_json::from_slice(payload).unwrap();
                message["metrics"].as_array().unwrap().len()
            };
            let messages = self.0.lock().unwrap();
            let mut batches: Vec<_> = messages
                .iter()
                .map(|(topic, payload)| (topic.clone(), count(payload)))
                .collect();
            batches.sort_by(|one, other| one.0.cmp(&other.0));
            batches
        }
    }

    fn export(topic: &str, value: MetricValue) -> Export {
        Export {
            topic: topic.into(),
            thing: "pump-7".parse().unwrap(),
            metric: "aws:num-messages-sent".to_owned(),
            dimension: None,
            value,
            at: Timestamp::from_millis(1_700_000_000_000),
        }
    }

    fn counts(topic: &str, n: usize) -> Vec<Export> {
        vec![export(topic, MetricValue::Count(12)); n]
    }

    /// Runs the task over what is offered; says what it published, and how many values it dropped.
    async fn publish(exports: Vec<Export>) -> (Board, u64) {
        let board = Board::default();
        let (exporter, taken) = exporter();
        let task = ExportTask::new(taken, board.clone());
        let shutdown = watch::Sender::new(false);
        let running = tokio::spawn(task.run(shutdown.subscribe()));
        exporter.offer(exports);
        shutdown.send_replace(true);
        running.await.unwrap();
        (board, exporter.n_dropped.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_message_has_the_documented_shape() {
        let dimension = MetricDimension {
            name: "Alerts".parse().unwrap(),
            operator: Some(DimensionOperator::NotIn),
        };
        let narrowed = Export {
            dimension: Some(dimension),
            ..export("fleet/metrics", MetricValue::Ports([22, 4444].into()))
        };
        let (board, n_dropped) = publish(vec![export("fleet/metrics", MetricValue::Count(12)), narrowed]).await;
        let messages = board.0.lock().unwrap();
        let [(topic, payload)] = &messages[..] else {
            panic!("{messages:?}")
        };
        assert_eq!((topic.as_str(), n_dropped), ("fleet/metrics", 0));
        let expected = json!({
            "version": "1.0",
            "metrics": [
                {
                    "name": "aws:num-messages-sent",
                    "thing": "pump-7",
                    "value": { "count": 12 },
                    "timestamp": 1_700_000_000_000_i64,
                    "version": 1,
                },
                {
                    "name": "aws:num-messages-sent",
                    "thing": "pump-7",
                    "value": { "ports": [22, 4444] },
                    "timestamp": 1_700_000_000_000_i64,
                    "dimension": { "name": "Alerts", "operator": "NOT_IN" },
                    "version": 1,
                },
            ],
        });
        assert_eq!(serde_json::from_slice::<Value>(payload).unwrap(), expected);
    }

    #[tokio::test]
    async fn values_share_messages_by_topic_as_far_as_they_fit() {
        let text = |len: usize| export("big", MetricValue::Strings(vec!["x".repeat(len)]));
        for (exports, expected, n_expected) in [
            (vec![], vec![], 0),
            (counts("a", 100), vec![("a", 100)], 0),
            (counts("a", 250), vec![("a", 100), ("a", 100), ("a", 50)], 0),
            (
                [counts("a", 60), counts("b", 60), counts("a", 60)].concat(),
                vec![("a", 100), ("a", 20), ("b", 60)],
                0,
            ),
            // Sent as soon as there are 100 kB, and before there would be more than 128 KiB.
            (
                vec![text(60_000), text(60_000), text(60_000)],
                vec![("big", 2), ("big", 1)],
                0,
            ),
            (vec![text(90_000), text(90_000)], vec![("big", 1), ("big", 1)], 0),
            // A value that fits no message is left out, and the others are not.
            (
                [counts("big", 2), vec![text(140_000)], counts("big", 2)].concat(),
                vec![("big", 4)],
                1,
            ),
            // What nobody can take is counted too.
            ([counts("full", 3), counts("a", 1)].concat(), vec![("a", 1)], 3),
        ] {
            let (board, n_dropped) = publish(exports).await;
            let expected: Vec<(String, usize)> = expected.into_iter().map(|(topic, n)| (topic.to_owned(), n)).collect();
            assert_eq!((board.batches(), n_dropped), (expected, n_expected));
        }
    }

    #[tokio::test]
    async fn what_waits_has_a_bound_and_the_rest_is_counted() {
        let large = || export("a", MetricValue::Strings(vec!["x".repeat(100_000)]));
        for (exports, n_max) in [
            (counts("a", WAITING_MAX + 7), WAITING_MAX as u64),
            ((0..400).map(|_| large()).collect(), WAITING_BYTES_MAX as u64 / 200_000),
        ] {
            let (exporter, taken) = exporter();
            let task = ExportTask::new(taken, Board::default());
            let n_values = exports.len() as u64;
            exporter.offer(exports);
            let n_taken = n_values - exporter.n_dropped.load(Ordering::Relaxed);
            assert!(n_taken <= n_max && 0 < n_taken, "{n_taken}");
            // Once it is sent there is room again.
            let shutdown = watch::Sender::new(true);
            task.run(shutdown.subscribe()).await;
            assert_eq!(exporter.room.available_permits(), WAITING_BYTES_MAX);
        }
    }

    #[tokio::test]
    async fn a_lone_value_is_sent_although_no_other_comes() {
        let board = Board::default();
        let (exporter, taken) = exporter();
        let task = ExportTask::new(taken, board.clone());
        let shutdown = watch::Sender::new(false);
        let running = tokio::spawn(task.run(shutdown.subscribe()));
        for n_messages in [1, 2] {
            exporter.offer(counts("a", 1));
            while board.batches().len() < n_messages {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(board.batches(), vec![("a".to_owned(), 1); 2]);
        shutdown.send_replace(true);
        running.await.unwrap();
    }
}
