//! The service's answer to a report.
//!
//! Source of the shape: AWS's documented replies; `timestamp` is in milliseconds, `ErrorCode` and `ErrorMessage` begin
//! with capitals, all else is camelCase.

mod decode;

use crate::name::DeviceName;
use crate::time::Timestamp;
use crate::topic::Format;

pub use decode::{BadReply, Outcome, Reply};

/// The most characters of a rejection's message.
const MESSAGE_CHARS_MAX: usize = 400;

/// The report was parsed and is durable. Nothing is said about what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The thing in the topic.
    pub thing: DeviceName,
    /// The report's own id.
    pub report_id: u64,
    /// When it was stored.
    pub at: Timestamp,
}

/// The report does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The thing in the topic.
    pub thing: DeviceName,
    /// The report's own id, if it could be read.
    pub report_id: Option<u64>,
    /// Why, for programs.
    pub code: RejectCode,
    /// Why, in words.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// Why a report does not count. Some clients know no other codes and fail on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectCode {
    /// It could not be understood.
    InvalidPayload,
    /// Too many, or not stored: send again later.
    Throttled,
}

impl RejectCode {
    /// The code on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidPayload => "InvalidPayload",
            Self::Throttled => "Throttled",
        }
    }
}

impl Accepted {
    /// The payload of the reply.
    pub fn encode(&self, format: Format) -> Vec<u8> {
        let reply = wire::Reply {
            thing_name: self.thing.as_str(),
            report_id: Some(self.report_id),
            status: "ACCEPTED",
            status_details: None,
            timestamp: self.at.millis(),
        };
        reply.encode(format)
    }
}

impl Rejected {
    /// The payload of the reply; a very long message is cut.
    pub fn encode(&self, format: Format) -> Vec<u8> {
        let message: String = self.message.chars().take(MESSAGE_CHARS_MAX).collect();
        let reply = wire::Reply {
            thing_name: self.thing.as_str(),
            report_id: self.report_id,
            status: "REJECTED",
            status_details: Some(wire::Details {
                error_code: self.code.as_str(),
                error_message: &message,
            }),
            timestamp: self.at.millis(),
        };
        reply.encode(format)
    }
}

mod wire {
    use minicbor::Encoder;

    use crate::topic::Format;

    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Reply<'a> {
        pub(super) thing_name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(super) report_id: Option<u64>,
        pub(super) status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(super) status_details: Option<Details<'a>>,
        pub(super) timestamp: i64,
    }

    #[derive(serde::Serialize)]
    #[serde(rename_all = "PascalCase")]
    pub(super) struct Details<'a> {
        pub(super) error_code: &'static str,
        pub(super) error_message: &'a str,
    }

    impl Reply<'_> {
        pub(super) fn encode(&self, format: Format) -> Vec<u8> {
            match format {
                // Texts and numbers cannot fail to be written into memory.
                Format::Json => serde_json::to_vec(self).unwrap_or_default(),
                Format::Cbor => self.cbor().unwrap_or_default(),
            }
        }

        fn cbor(&self) -> Result<Vec<u8>, minicbor::encode::Error<std::convert::Infallible>> {
            let n_members = 3 + u64::from(self.report_id.is_some()) + u64::from(self.status_details.is_some());
            let mut encoder = Encoder::new(Vec::new());
            encoder.map(n_members)?.str("thingName")?.str(self.thing_name)?;
            if let Some(report_id) = self.report_id {
                encoder.str("reportId")?.u64(report_id)?;
            }
            encoder.str("status")?.str(self.status)?;
            if let Some(details) = &self.status_details {
                encoder.str("statusDetails")?.map(2)?;
                encoder.str("ErrorCode")?.str(details.error_code)?;
                encoder.str("ErrorMessage")?.str(details.error_message)?;
            }
            encoder.str("timestamp")?.i64(self.timestamp)?;
            Ok(encoder.into_writer())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_have_the_shape_that_agents_read() {
        let accepted = Accepted {
            thing: "TestThing".parse().unwrap(),
            report_id: 1_542_697_506,
            at: Timestamp::from_millis(1_542_697_506_269),
        };
        assert_eq!(
            String::from_utf8(accepted.encode(Format::Json)).unwrap(),
            r#"{"thingName":"TestThing","reportId":1542697506,"status":"ACCEPTED","timestamp":1542697506269}"#
        );
        let rejected = Rejected {
            thing: "myThing".parse().unwrap(),
            report_id: None,
            code: RejectCode::InvalidPayload,
            message: "Malformed metrics report".to_owned(),
            at: Timestamp::from_millis(1_635_802_047_699),
        };
        assert_eq!(
            String::from_utf8(rejected.encode(Format::Json)).unwrap(),
            r#"{"thingName":"myThing","status":"REJECTED","statusDetails":{"ErrorCode":"InvalidPayload","ErrorMessage":"Malformed metrics report"},"timestamp":1635802047699}"#
        );
        let cbor = rejected.encode(Format::Cbor);
        let shown = minicbor::display(&cbor).to_string();
        assert!(
            shown.contains(r#""statusDetails": {"ErrorCode": "InvalidPayload""#),
            "{shown}"
        );
    }
}
