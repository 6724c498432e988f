//! Topics that Picket itself speaks on: where a device reports, and where it reads the answer.
//!
//! Source: AWS IoT's reserved topics. The format is chosen by the topic, never guessed from the payload.

use std::fmt;
use std::str::FromStr;

use crate::name::{BadName, DeviceName};

/// One of the six topics that a thing and the service speak on about reports:
/// `$aws/things/<thing>/defender/metrics/{json,cbor}[/accepted|/rejected]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DefenderTopic {
    /// The thing that the report speaks for. It is one level of a topic: one that was parsed holds no `/`, `+` or `#`.
    pub thing: DeviceName,
    /// How the payload is encoded; an answer has the format of what it answers.
    pub format: Format,
    /// What is said here.
    pub kind: TopicKind,
}

/// How a report and its answer are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `json`
    Json,
    /// `cbor`
    Cbor,
}

/// What is said on a defender topic, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicKind {
    /// Devices publish reports here; nobody may subscribe.
    Report,
    /// The service says that it took a report; devices may only subscribe.
    Accepted,
    /// The service says why it did not take a report; devices may only subscribe.
    Rejected,
}

/// Why a topic below `$aws/things/+/defender/metrics/` is none of the six.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTopic {
    /// The level of the thing is no device name.
    #[error("topic names no thing")]
    Thing(#[source] BadName),
    /// The level of the thing is, or holds, a wildcard.
    #[error("topic names a thing with {found:?}, expected a name without wildcards")]
    Wildcard {
        /// The wildcard.
        found: char,
    },
    /// The last levels are none of the six endings.
    #[error("topic ends in {found:?}, expected json or cbor, alone or followed by /accepted or /rejected")]
    Ending {
        /// What follows `metrics/`, at most 80 characters of it.
        found: String,
    },
}

/// Whether the service keeps the topic for itself: everything that begins with `$`.
pub fn is_reserved(topic: &str) -> bool {
    topic.starts_with('$')
}

impl DefenderTopic {
    /// Reads a topic name. `None` when it is not below `$aws/things/+/defender/metrics/`.
    ///
    /// # Errors
    /// It is below, but is none of the six topics: no operation on it is supported.
    pub fn parse(topic: &str) -> Result<Option<Self>, BadTopic> {
        let Some((thing, ending)) = topic
            .strip_prefix(THINGS_PREFIX)
            .and_then(|rest| rest.split_once('/'))
            .and_then(|(thing, rest)| Some((thing, rest.strip_prefix(MIDDLE)?)))
        else {
            return Ok(None);
        };
        let (format, kind) = ending_from(ending)?;
        if let Some(found) = thing.chars().find(|c| matches!(c, '+' | '#')) {
            return Err(BadTopic::Wildcard { found });
        }
        let thing = thing.parse().map_err(BadTopic::Thing)?;
        Ok(Some(Self { thing, format, kind }))
    }

    /// The topic of the same thing and format on which something else is said.
    #[must_use]
    pub fn with_kind(&self, kind: TopicKind) -> Self {
        Self { kind, ..self.clone() }
    }
}

impl fmt::Display for DefenderTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { thing, format, kind } = self;
        let ending = match kind {
            TopicKind::Report => "",
            TopicKind::Accepted => "/accepted",
            TopicKind::Rejected => "/rejected",
        };
        write!(f, "{THINGS_PREFIX}{thing}/{MIDDLE}{format}{ending}")
    }
}

impl Format {
    /// The level of the topic.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Cbor => "cbor",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("format is {found:?}, expected json or cbor")]
pub struct BadFormat {
    /// The text as found, at most 80 characters of it.
    pub found: String,
}

impl FromStr for Format {
    type Err = BadFormat;

    fn from_str(text: &str) -> Result<Self, BadFormat> {
        [Self::Json, Self::Cbor]
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| BadFormat {
                found: text.chars().take(80).collect(),
            })
    }
}

/// What every topic that belongs to a thing begins with; the thing's name follows.
pub const THINGS_PREFIX: &str = "$aws/things/";
const MIDDLE: &str = "defender/metrics/";

fn ending_from(ending: &str) -> Result<(Format, TopicKind), BadTopic> {
    match ending {
        "json" => Ok((Format::Json, TopicKind::Report)),
        "cbor" => Ok((Format::Cbor, TopicKind::Report)),
        "json/accepted" => Ok((Format::Json, TopicKind::Accepted)),
        "cbor/accepted" => Ok((Format::Cbor, TopicKind::Accepted)),
        "json/rejected" => Ok((Format::Json, TopicKind::Rejected)),
        "cbor/rejected" => Ok((Format::Cbor, TopicKind::Rejected)),
        _ => Err(BadTopic::Ending {
            found: ending.chars().take(80).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_six_topics_of_a_thing_are_spoken_on() {
        for (topic, expected) in [
            ("$aws/things/Thing03/defender/metrics/json", "Thing03 json Report"),
            ("$aws/things/Thing03/defender/metrics/cbor", "Thing03 cbor Report"),
            ("$aws/things/a b/defender/metrics/json/accepted", "a b json Accepted"),
            ("$aws/things/pümp/defender/metrics/cbor/rejected", "pümp cbor Rejected"),
            ("$aws/things/Thing03/shadow/update", "-"),
            ("$aws/things/Thing03/defender/metrics", "-"),
            ("$aws/things/a/b/defender/metrics/json", "-"),
            ("x$aws/things/Thing03/defender/metrics/json", "-"),
            ("aws/things/Thing03/defender/metrics/json", "-"),
            ("$aws/things", "-"),
            ("", "-"),
            (
                "$aws/things/Thing03/defender/metrics/xml",
                "topic ends in \"xml\", expected json or cbor, alone or followed by /accepted or /rejected",
            ),
            (
                "$aws/things/Thing03/defender/metrics/json/",
                "topic ends in \"json/\", expected json or cbor, alone or followed by /accepted or /rejected",
            ),
            (
                "$aws/things/+/defender/metrics/json",
                "topic names a thing with '+', expected a name without wildcards",
            ),
            ("$aws/things//defender/metrics/json", "topic names no thing"),
            ("$aws/things/pump\u{7}/defender/metrics/json", "topic names no thing"),
        ] {
            let found = match DefenderTopic::parse(topic) {
                Ok(Some(DefenderTopic { thing, format, kind })) => format!("{thing} {format} {kind:?}"),
                Ok(None) => "-".to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{topic:?}");
        }
    }

    #[test]
    fn a_thing_is_named_by_at_most_128_bytes() {
        let topic = |n| format!("$aws/things/{}/defender/metrics/json", "x".repeat(n));
        assert!(DefenderTopic::parse(&topic(128)).unwrap().is_some());
        assert!(matches!(DefenderTopic::parse(&topic(129)), Err(BadTopic::Thing(_))));
    }

    #[test]
    fn answers_go_to_the_thing_and_format_of_the_report() {
        let report = DefenderTopic::parse("$aws/things/T/defender/metrics/cbor")
            .unwrap()
            .unwrap();
        assert_eq!(
            report.with_kind(TopicKind::Rejected).to_string(),
            "$aws/things/T/defender/metrics/cbor/rejected"
        );
        assert!(is_reserved(&report.to_string()));
        assert!(!is_reserved("temperature-device-03"));
    }

    proptest! {
        #[test]
        fn topics_read_back(
            name in "[^/+#\\p{Cc}]{1,32}",
            format in prop::sample::select(vec![Format::Json, Format::Cbor]),
            kind in prop::sample::select(vec![TopicKind::Report, TopicKind::Accepted, TopicKind::Rejected]),
        ) {
            let topic = DefenderTopic { thing: name.parse().unwrap(), format, kind };
            prop_assert_eq!(DefenderTopic::parse(&topic.to_string()), Ok(Some(topic)));
            prop_assert_eq!(format.as_str().parse(), Ok(format));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "(\\$aws/things/)?.{0,40}(/defender/metrics/)?.{0,20}") {
            let _ = DefenderTopic::parse(&text);
        }
    }
}
