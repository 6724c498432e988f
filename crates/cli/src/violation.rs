//! `picket violation`.

use std::str::FromStr;

use jiff::{Span, Timestamp, ZonedDateTime};
use picket_aws::call::Call;
use picket_model::name::{DeviceName, ProfileName};
use picket_model::violation::ViolationId;
use serde_json::json;

use crate::client::Paging;
use crate::clock;
use crate::desk::Desk;
use crate::explanation;
use crate::failure::Failure;
use crate::field::{metric_value, text, time};
use crate::output::Column;

/// What to do with violations.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// List the violations that are in alarm now
    List {
        #[command(flatten)]
        filter: Filter,
    },
    /// List what happened: alarms that were raised, cleared and invalidated
    Events {
        #[command(flatten)]
        filter: Filter,
        /// From when on: a time such as 2026-01-02T03:04:05Z, or how long ago, such as 30m, 12h or 7d
        #[arg(long, default_value = "24h", value_name = "TIME")]
        since: Moment,
        /// Until when; now when absent
        #[arg(long, value_name = "TIME")]
        until: Option<Moment>,
    },
    /// Say what was normal, what was seen, and what was done about it
    Explain {
        /// The violation's id
        violation: ViolationId,
    },
    /// Note what you think of a violation; it has no effect on judging
    Verify {
        /// The violation's id
        violation: ViolationId,
        /// Your verdict
        state: Verdict,
        /// Why
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
}

/// Which violations are wanted.
#[derive(Debug, clap::Args)]
pub struct Filter {
    /// Only those of this device
    #[arg(long, value_name = "THING")]
    pub thing: Option<DeviceName>,
    /// Only those of this profile
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<ProfileName>,
}

/// What an operator thinks of a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Verdict {
    /// There was nothing; the profile is wrong
    #[value(name = "FALSE_POSITIVE")]
    FalsePositive,
    /// It happened and is harmless
    #[value(name = "BENIGN_POSITIVE")]
    BenignPositive,
    /// It happened and is harmful
    #[value(name = "TRUE_POSITIVE")]
    TruePositive,
    /// Not known
    #[value(name = "UNKNOWN")]
    Unknown,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::FalsePositive => "FALSE_POSITIVE",
            Self::BenignPositive => "BENIGN_POSITIVE",
            Self::TruePositive => "TRUE_POSITIVE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// A time, or how long ago it was.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// A point in time.
    At(Timestamp),
    /// Before now.
    Ago(Span),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        match text.parse::<Span>() {
            Ok(span) if !span.is_negative() => Ok(Self::Ago(span)),
            _ => {
                Err("expected a time such as 2026-01-02T03:04:05Z, or how long ago, such as 30m, 12h or 7d".to_owned())
            }
        }
    }
}

impl Moment {
    /// As the query string has it: ISO 8601 in UTC.
    pub(crate) fn query_text(self, now: &ZonedDateTime) -> String {
        let at = match self {
            Self::At(at) => at,
            Self::Ago(span) => now.checked_sub(span).map_or(Timestamp::UNIX_EPOCH, |at| at.timestamp()),
        };
        // There is nothing to list before the epoch, and a year has four digits.
        let at = at.max(Timestamp::UNIX_EPOCH);
        at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
    }
}

const COLUMNS: [Column; 7] = [
    ("VIOLATION", |item| text(item, "violationId")),
    ("THING", |item| text(item, "thingName")),
    ("PROFILE", |item| text(item, "securityProfileName")),
    ("BEHAVIOR", |item| text(&item["behavior"], "name")),
    ("SINCE", |item| time(item, "violationStartTime")),
    ("LAST VALUE", |item| metric_value(item, "lastViolationValue")),
    ("VERDICT", |item| text(item, "verificationState")),
];

const EVENT_COLUMNS: [Column; 7] = [
    ("TIME", |item| time(item, "violationEventTime")),
    ("EVENT", |item| text(item, "violationEventType")),
    ("THING", |item| text(item, "thingName")),
    ("PROFILE", |item| text(item, "securityProfileName")),
    ("BEHAVIOR", |item| text(&item["behavior"], "name")),
    ("VALUE", |item| metric_value(item, "metricValue")),
    ("VIOLATION", |item| text(item, "violationId")),
];

impl Verb {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::List { filter } => {
                let call = filter.narrow(Call::get(&["active-violations"]));
                desk.list(call, Paging::Token, "activeViolations", &COLUMNS).await
            }
            Self::Events { filter, since, until } => {
                let now = clock::zoned();
                let call = filter
                    .narrow(Call::get(&["violation-events"]))
                    .query("startTime", &since.query_text(&now))
                    .query(
                        "endTime",
                        &until.unwrap_or(Moment::At(now.timestamp())).query_text(&now),
                    );
                desk.list(call, Paging::Token, "violationEvents", &EVENT_COLUMNS).await
            }
            Self::Explain { violation } => explain(desk, violation).await,
            Self::Verify {
                violation,
                state,
                description,
            } => {
                let mut body = json!({ "verificationState": state.as_str() });
                if let Some(description) = description {
                    body["verificationStateDescription"] = description.into();
                }
                let call = Call::post(&["violations", "verification-state", &violation.to_string()]).json(&body);
                desk.act(call, &format!("violation {violation} is {}", state.as_str()))
                    .await
            }
        }
    }
}

impl Filter {
    fn narrow(&self, call: Call) -> Call {
        call.query_if("thingName", self.thing.as_ref().map(DeviceName::as_str))
            .query_if("securityProfileName", self.profile.as_ref().map(ProfileName::as_str))
    }
}

async fn explain(desk: &Desk, violation: ViolationId) -> Result<(), Failure> {
    let call = Call::get(&["picket", "v1", "violations", &violation.to_string(), "explain"]);
    let answer = desk.client.call(&call).await?;
    if desk.output.is_json() {
        return desk.output.json(&answer);
    }
    desk.output.text(&explanation::in_words(&answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_times_or_spans_back_from_now() {
        let now: ZonedDateTime = "2026-01-09T04:00:00+01:00[Europe/Berlin]".parse().unwrap();
        for (text, expected) in [
            ("2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05.000000Z")),
            ("2026-01-02T03:04:05.678+02:00", Some("2026-01-02T01:04:05.678000Z")),
            ("30m", Some("2026-01-09T02:30:00.000000Z")),
            ("7d", Some("2026-01-02T03:00:00.000000Z")),
            ("1h 30m", Some("2026-01-09T01:30:00.000000Z")),
            ("9000y", Some("1970-01-01T00:00:00.000000Z")),
            ("-1h", None),
            ("soon", None),
            ("", None),
        ] {
            let found = text.parse::<Moment>().ok().map(|moment| moment.query_text(&now));
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }
}
