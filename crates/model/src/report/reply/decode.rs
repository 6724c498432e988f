//! Answers as an agent reads them: ours, and AWS's own, which names no report when it refuses one.

use crate::report::tree::{Document, Node, Tree};
use crate::time::Timestamp;
use crate::topic::Format;

/// The most bytes of an answer that are read; AWS's have some 200.
const SIZE_BYTES_MAX: usize = 8 * 1024;

/// What the service said about a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The thing that the report spoke for. Empty if the service did not say.
    pub thing: String,
    /// Which report, if the service said so.
    pub report_id: Option<u64>,
    /// When, by the service's clock.
    pub at: Option<Timestamp>,
    /// What became of the report.
    pub outcome: Outcome,
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Accepted,
    /// It does not count.
    Rejected {
        /// Why, for programs: `InvalidPayload`, `Throttled`, or what else a service says.
        code: String,
        /// Why, in words.
        message: String,
    },
}

/// Why a payload is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReply {
    /// Too many bytes.
    #[error("reply has {size_bytes} bytes, expected at most {SIZE_BYTES_MAX}")]
    TooLarge {
        /// Bytes found.
        size_bytes: usize,
    },
    /// Not the encoding that the topic names.
    #[error("reply is not valid {format}: {detail}")]
    Syntax {
        /// The encoding that the topic names.
        format: Format,
        /// What the reader stumbled over.
        detail: String,
    },
    /// No object with a status that is known.
    #[error("reply has status {found:?}, expected ACCEPTED or REJECTED")]
    Status {
        /// The status, at most 40 characters of it; empty if there is none.
        found: String,
    },
}

impl Reply {
    /// Reads an answer. Only the status is needed; what else is missing or of another type is absent.
    ///
    /// # Errors
    /// The payload is no answer. The report counts as unanswered.
    pub fn decode(format: Format, payload: &[u8]) -> Result<Self, BadReply> {
        if SIZE_BYTES_MAX < payload.len() {
            return Err(BadReply::TooLarge {
                size_bytes: payload.len(),
            });
        }
        let document = match format {
            Format::Json => Document::from_json(payload),
            Format::Cbor => Document::from_cbor(payload),
        }
        .map_err(|unreadable| BadReply::Syntax {
            format,
            detail: unreadable.detail,
        })?;
        let tree = document.root();
        let status = text(tree, "status");
        let outcome = match status {
            "ACCEPTED" => Outcome::Accepted,
            "REJECTED" => {
                let details = member(tree, "statusDetails");
                Outcome::Rejected {
                    code: text(details, "ErrorCode").to_owned(),
                    message: text(details, "ErrorMessage").to_owned(),
                }
            }
            other => {
                let found = other.chars().take(40).collect();
                return Err(BadReply::Status { found });
            }
        };
        Ok(Self {
            thing: text(tree, "thingName").to_owned(),
            report_id: whole(tree, "reportId").and_then(|id| id.try_into().ok()),
            at: whole(tree, "timestamp")
                .and_then(|millis| millis.try_into().ok())
                .map(Timestamp::from_millis),
            outcome,
        })
    }
}

fn member<'t>(tree: Option<Tree<'t>>, key: &str) -> Option<Tree<'t>> {
    tree?
        .members()
        .filter(|(name, _)| *name == key)
        .last()
        .map(|(_, value)| value)
}

fn text<'t>(tree: Option<Tree<'t>>, key: &str) -> &'t str {
    match member(tree, key).map(Tree::node) {
        Some(Node::Text(text)) => text,
        _ => "",
    }
}

fn whole(tree: Option<Tree<'_>>, key: &str) -> Option<i128> {
    member(tree, key)?.whole()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::reply::{Accepted, RejectCode, Rejected};

    #[test]
    fn answers_are_read_as_aws_and_we_write_them() {
        for (json, expected) in [
            (
                r#"{"thingName":"TestThing","reportId":1542697506,"status":"ACCEPTED","timestamp":1542697506269}"#,
                r#"TestThing Some(1542697506) Some(Timestamp(1542697506269)) Accepted"#,
            ),
            (
                r#"{"thingName":"T","status":"REJECTED","statusDetails":{"ErrorCode":"InvalidPayload","ErrorMessage":"Malformed metrics report"},"timestamp":1635802047699}"#,
                r#"T None Some(Timestamp(1635802047699)) Rejected { code: "InvalidPayload", message: "Malformed metrics report" }"#,
            ),
            (
                r#"{"status":"REJECTED","extra":[1]}"#,
                r#" None None Rejected { code: "", message: "" }"#,
            ),
            (
                r#"{"thingName":"T"}"#,
                r#"reply has status "", expected ACCEPTED or REJECTED"#,
            ),
            (
                r#"["ACCEPTED"]"#,
                r#"reply has status "", expected ACCEPTED or REJECTED"#,
            ),
            (
                "{",
                "reply is not valid json: EOF while parsing an object at line 1 column 1",
            ),
        ] {
            let found = match Reply::decode(Format::Json, json.as_bytes()) {
                Ok(reply) => format!(
                    "{} {:?} {:?} {:?}",
                    reply.thing, reply.report_id, reply.at, reply.outcome
                ),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{json}");
        }
        assert_eq!(
            Reply::decode(Format::Json, &[b' '; SIZE_BYTES_MAX + 1]),
            Err(BadReply::TooLarge { size_bytes: 8193 })
        );
    }

    proptest! {
        #[test]
        fn our_answers_read_back(
            thing in "\\PC{1,30}", id: u64, millis: i64, is_known: bool, is_throttled: bool, message in ".{0,99}",
        ) {
            let (thing_name, at) = (thing.parse().unwrap(), Timestamp::from_millis(millis));
            let code = if is_throttled { RejectCode::Throttled } else { RejectCode::InvalidPayload };
            let accepted = Accepted { thing: thing_name, report_id: id, at };
            let rejected = Rejected {
                thing: accepted.thing.clone(),
                report_id: is_known.then_some(id),
                code,
                message: message.clone(),
                at,
            };
            let read = Reply { thing, report_id: Some(id), at: Some(at), outcome: Outcome::Accepted };
            let read_rejected = Reply {
                report_id: rejected.report_id,
                outcome: Outcome::Rejected { code: code.as_str().to_owned(), message },
                ..read.clone()
            };
            for format in [Format::Json, Format::Cbor] {
                prop_assert_eq!(Reply::decode(format, &accepted.encode(format)), Ok(read.clone()));
                prop_assert_eq!(Reply::decode(format, &rejected.encode(format)), Ok(read_rejected.clone()));
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reply::decode(Format::Json, &bytes);
            let _ = Reply::decode(Format::Cbor, &bytes);
        }
    }
}
