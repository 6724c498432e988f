//! The gateway: what a device published becomes a record, or is refused at once with the reason.

use std::sync::{Arc, Mutex, PoisonError};

use picket_endpoint::doors::{Inbox, Outcome, Pending, Reply, Submission, Verdict};
use picket_model::record::{Record, ReportRecord, Sender};
use picket_model::report::reply::{Accepted, RejectCode, Rejected};
use picket_model::report::{self, Report, ReportError};
use picket_model::time::Timestamp;
use picket_model::topic::{DefenderTopic, Format, TopicKind};
use picket_store::log::partition_of;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::directory::Directory;
use crate::throttle::Throttle;
use crate::writer::{LogWriter, NotStored};

/// Takes reports from the endpoint and hands them to the log's writer.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) clock: Arc<Clock>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) throttle: Mutex<Throttle>,
    pub(crate) writer: LogWriter,
    pub(crate) n_partitions: u16,
}

impl Inbox for Gateway {
    fn submit(&self, submission: Submission) -> Pending {
        let Submission {
            topic,
            payload,
            certificate,
            client_id,
        } = submission;
        let report = match decode(topic.format, &payload) {
            Ok(report) => report,
            Err(error) => {
                return self.refused(&topic, error.report_id(), RejectCode::InvalidPayload, error.to_string());
            }
        };
        let payload_hash = report::payload_hash(&payload);
        let report_id = report.report_id;
        if !self
            .throttle()
            .admits(&topic.thing, (report_id, payload_hash), self.clock.now())
        {
            let message = "too many reports from this thing, send fewer".to_owned();
            return self.refused(&topic, Some(report_id), RejectCode::Throttled, message);
        }
        let is_attached = self.directory.is_attached(&certificate, &topic.thing);
        let sender = Sender {
            certificate,
            client_id,
            is_attached,
        };
        let record = Record::Report(Box::new(ReportRecord {
            thing: topic.thing.clone(),
            payload_hash,
            sender,
            report,
        }));
        self.store(topic, report_id, record, payload.len())
    }
}

impl Gateway {
    fn store(&self, topic: DefenderTopic, report_id: u64, record: Record, size_bytes: usize) -> Pending {
        let partition = partition_of(topic.thing.as_str(), self.n_partitions);
        let (verdict, later) = oneshot::channel();
        let clock = Arc::clone(&self.clock);
        self.writer.offer(
            partition,
            record,
            size_bytes,
            Box::new(move |outcome| {
                let answer = match outcome {
                    Ok(at) => acceptance(&topic, report_id, at),
                    Err(NotStored) => not_stored(&topic, report_id, clock.now()),
                };
                // A session that ended meanwhile gets no answer; its report is kept all the same.
                drop(verdict.send(answer));
            }),
        );
        Pending::Later(later)
    }

    fn refused(&self, topic: &DefenderTopic, report_id: Option<u64>, code: RejectCode, message: String) -> Pending {
        tracing::debug!(?code, "refused a report");
        Pending::Ready(Verdict {
            outcome: Outcome::Settled,
            reply: Some(rejection(topic, report_id, code, message, self.clock.now())),
        })
    }

    fn throttle(&self) -> std::sync::MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decode(format: Format, payload: &[u8]) -> Result<Report, ReportError> {
    match format {
        Format::Json => Report::from_json(payload),
        Format::Cbor => Report::from_cbor(payload),
    }
}

fn acceptance(topic: &DefenderTopic, report_id: u64, at: Timestamp) -> Verdict {
    let accepted = Accepted {
        thing: topic.thing.clone(),
        report_id,
        at,
    };
    Verdict {
        outcome: Outcome::Settled,
        reply: Some(reply(topic, TopicKind::Accepted, accepted.encode(topic.format))),
    }
}

fn not_stored(topic: &DefenderTopic, report_id: u64, at: Timestamp) -> Verdict {
    let message = "not stored, send again".to_owned();
    Verdict {
        outcome: Outcome::NotStored,
        reply: Some(rejection(topic, Some(report_id), RejectCode::Throttled, message, at)),
    }
}

fn rejection(topic: &DefenderTopic, report_id: Option<u64>, code: RejectCode, message: String, at: Timestamp) -> Reply {
    let rejected = Rejected {
        thing: topic.thing.clone(),
        report_id,
        code,
        message,
        at,
    };
    reply(topic, TopicKind::Rejected, rejected.encode(topic.format))
}

fn reply(topic: &DefenderTopic, kind: TopicKind, payload: Vec<u8>) -> Reply {
    let topic = DefenderTopic {
        thing: topic.thing.clone(),
        format: topic.format,
        kind,
    };
    Reply {
        topic: topic.to_string(),
        payload: payload.into(),
    }
}
