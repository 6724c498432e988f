//! What an operation takes: its members, where in the request each of them stands, and the constraints on its value.
//!
//! One declaration of an operation gives a table, from which requests are read, and a type, which handlers work with. No
//! constraint of a single value is checked anywhere else. Constraints are those of the AWS IoT service model (2015-05-28).

mod declare;
mod form;
mod json;
mod typed;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use picket_model::time::Timestamp;
use serde_json::{Map, Value};

use crate::percent;

pub(crate) use declare::{member, operations, structures};
pub use form::Form;
pub use typed::{Blob, Field, Members, Typed};

/// An operation of the API.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Its name, as in `CreateThing`.
    pub name: &'static str,
    /// `GET`, `POST`, ...
    pub method: &'static str,
    /// Its path, with a `{member}` for each segment that is one.
    pub path: &'static str,
    /// What it takes.
    pub members: &'static [Member],
}

/// One member of what an operation, or a structure, takes.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its name, as errors say it.
    pub name: &'static str,
    /// Its name on the wire, where that is another.
    pub wire_name: &'static str,
    /// Where it stands.
    pub location: Location,
    /// What its value may be.
    pub shape: &'static Shape,
    /// Whether it must be there.
    pub is_required: bool,
}

/// Where in a request a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// A segment of the path.
    Path,
    /// A parameter of the query.
    Query,
    /// A header.
    Header,
    /// A member of the JSON object in the body, or of a structure in it.
    Body,
    /// The whole body, as it is.
    Payload,
    /// A field of the form in the body.
    Form,
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A text of so many characters, which the pattern fits.
    Text {
        /// Fewest characters.
        len_min: usize,
        /// Most characters.
        len_max: usize,
        /// What it consists of.
        pattern: &'static Pattern,
    },
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A whole number from `min` to `max`.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// Any number.
    Double,
    /// `true` or `false`.
    Boolean,
    /// A point in time; in queries ISO 8601, in bodies seconds since the epoch.
    Timestamp,
    /// So many values of one shape.
    List {
        /// The shape of each.
        of: &'static Self,
        /// Fewest values.
        len_min: usize,
        /// Most values.
        len_max: usize,
    },
    /// Texts with values.
    Map {
        /// The shape of each text.
        key: &'static Self,
        /// The shape of each value.
        value: &'static Self,
    },
    /// Named members; others are ignored.
    Structure(&'static [Member]),
    /// Bytes: the body itself, or base64 elsewhere.
    Blob {
        /// Most bytes.
        size_bytes_max: usize,
    },
    /// Any JSON: in a header in base64.
    EncodedJson,
    /// An object whose members are checked where they are understood: by the nouns.
    Object,
}

/// What a text consists of.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// The regular expression of the service model, which has to match the whole text.
    pub expression: &'static str,
    /// Whether it does.
    pub fits: fn(&str) -> bool,
}

/// Why a request is not what its operation takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadInput {
    /// A member breaks a constraint.
    #[error("1 validation error detected: Value {found} at '{member}' failed to satisfy constraint: {rule}")]
    Member {
        /// Which, with the way to it.
        member: String,
        /// Its value, the beginning of it.
        found: String,
        /// The constraint.
        rule: String,
    },
    /// The body is not a JSON object.
    #[error("request body is not a JSON object: {reason}")]
    Body {
        /// Why not.
        reason: String,
    },
    /// The body is not a form.
    #[error("request is not a form of names and values: {reason}")]
    Form {
        /// Why not.
        reason: String,
    },
}

/// A request, as far as operations read it.
#[derive(Clone, Copy, Debug)]
pub struct RawInput<'a> {
    /// The path of the request line, percent-encoded.
    pub path: &'a str,
    /// What follows `?` in the request line; empty when there is none.
    pub query: &'a str,
    /// Header names in any case, with values.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body; empty when there is none.
    pub body: &'a [u8],
}

/// What an operation takes, read: the type beside the table.
pub trait Input: Sized {
    /// The table.
    const OPERATION: Operation;

    /// The members that the table let through, each as its type.
    ///
    /// # Errors
    /// When a value of the right shape is still none of its type.
    fn from_members(members: &mut Members) -> Result<Self, BadInput>;

    /// Reads a request of this operation.
    ///
    /// # Errors
    /// When a member is missing, or breaks a constraint: it says which, what was found and what the rule is.
    fn read(raw: &RawInput<'_>) -> Result<Self, BadInput> {
        Self::from_members(&mut Self::OPERATION.read(raw)?)
    }
}

impl Operation {
    /// The members of a request that are in the table, checked one by one.
    ///
    /// # Errors
    /// When a member is missing, or breaks a constraint.
    pub fn read(&self, raw: &RawInput<'_>) -> Result<Members, BadInput> {
        let has_body = self.members.iter().any(|member| member.location == Location::Body);
        let mut body = if has_body { json::object(raw.body)? } else { Map::new() };
        let has_form = self.members.iter().any(|member| member.location == Location::Form);
        let form = if has_form {
            Form::parse(raw.body)?
        } else {
            Form::default()
        };
        let mut members = Map::new();
        for member in self.members {
            let value = match member.location {
                Location::Path => Some(member.text(self.segment(member.wire_name, raw.path))?),
                Location::Query => member
                    .only(query_values(raw.query, member.wire_name))?
                    .map(|text| member.text(text))
                    .transpose()?,
                Location::Header => {
                    let of_member = raw
                        .headers
                        .iter()
                        .filter(|(name, _)| name.eq_ignore_ascii_case(member.wire_name));
                    member
                        .only(of_member.map(|(_, text)| *text))?
                        .map(|text| member.shape.of_text(member.name, text))
                        .transpose()?
                }
                Location::Body => body.remove(member.wire_name),
                Location::Form => form.value(member.wire_name, member.shape)?,
                // What is bytes is text among the members.
                Location::Payload => (!raw.body.is_empty()).then(|| STANDARD.encode(raw.body).into()),
            };
            member.admit("", value, &mut members)?;
        }
        Ok(Members::from(members))
    }

    /// The segment of the raw path that stands where the table has `{name}`.
    fn segment<'a>(&self, name: &str, raw_path: &'a str) -> &'a str {
        let label = |segment: &str| segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) == Some(name);
        self.path
            .split('/')
            .zip(raw_path.split('/'))
            .find(|(segment, _)| label(segment))
            .map_or("", |(_, raw)| raw)
    }
}

impl Member {
    /// The one value there is, if any: what stands twice could be read in two ways.
    fn only<'a>(&self, mut values: impl Iterator<Item = &'a str>) -> Result<Option<&'a str>, BadInput> {
        let first = values.next();
        match values.next() {
            Some(second) => Err(bad(self.name, second, "Member must be given once")),
            None => Ok(first),
        }
    }

    /// A percent-encoded text as a value of this member's shape.
    fn text(&self, raw: &str) -> Result<Value, BadInput> {
        let text = percent::decode(raw).map_err(|err| bad(self.name, raw, format!("percent-encoded text ({err})")))?;
        self.shape.of_text(self.name, &text)
    }

    /// Puts the value to the others if it is right. `null` is the same as nothing.
    fn admit(&self, parent: &str, value: Option<Value>, members: &mut Map<String, Value>) -> Result<(), BadInput> {
        let path = if parent.is_empty() {
            self.name.to_owned()
        } else {
            format!("{parent}.{}", self.name)
        };
        match value.filter(|value| !value.is_null()) {
            None if self.is_required => Err(bad(&path, "null", "Member must not be null")),
            None => Ok(()),
            Some(value) => {
                members.insert(self.name.to_owned(), self.shape.check(&path, value)?);
                Ok(())
            }
        }
    }
}

impl Shape {
    /// What a text in a path, a query or a header means.
    fn of_text(&self, name: &str, text: &str) -> Result<Value, BadInput> {
        match self {
            Self::Integer { .. } => text
                .parse::<i64>()
                .map(Value::from)
                .map_err(|_| bad(name, text, "Member must be a whole number")),
            Self::Boolean => text
                .parse::<bool>()
                .map(Value::from)
                .map_err(|_| bad(name, text, "Member must be true or false")),
            Self::EncodedJson => STANDARD
                .decode(text)
                .ok()
                .and_then(|json| serde_json::from_slice(&json).ok())
                .ok_or_else(|| bad(name, text, "Member must be JSON in base64")),
            _ => Ok(Value::from(text)),
        }
    }

    /// The value without what the table does not know.
    fn check(&self, path: &str, value: Value) -> Result<Value, BadInput> {
        match (self, value) {
            (
                Self::Text {
                    len_min,
                    len_max,
                    pattern,
                },
                Value::String(text),
            ) => {
                check_len(path, &text, text.chars().count(), *len_min, *len_max)?;
                if !(pattern.fits)(&text) {
                    let rule = format!("Member must satisfy regular expression pattern: {}", pattern.expression);
                    return Err(bad(path, text, rule));
                }
                Ok(text.into())
            }
            (Self::Choice(choices), Value::String(text)) => {
                if !choices.contains(&text.as_str()) {
                    let rule = format!("Member must satisfy enum value set: [{}]", choices.join(", "));
                    return Err(bad(path, text, rule));
                }
                Ok(text.into())
            }
            (Self::Integer { min, max }, Value::Number(number)) => check_integer(path, &number, *min, *max),
            (Self::Double, value @ Value::Number(_)) | (Self::Boolean, value @ Value::Bool(_)) => Ok(value),
            (Self::Timestamp, Value::String(text)) => match parse_timestamp(&text) {
                Some(_) => Ok(text.into()),
                None => Err(bad(path, text, "Member must be a time like 2026-01-02T03:04:05Z")),
            },
            (Self::Timestamp, Value::Number(secs)) => match timestamp_of_secs(&secs) {
                Some(_) => Ok(secs.into()),
                None => Err(bad(path, secs, "Member must be a time in seconds since the epoch")),
            },
            (Self::List { of, len_min, len_max }, Value::Array(values)) => {
                check_len(
                    path,
                    format!("of {} elements", values.len()),
                    values.len(),
                    *len_min,
                    *len_max,
                )?;
                let checked = values.into_iter().enumerate().map(|(at, value)| {
                    // AWS counts members of lists from 1.
                    of.check(&format!("{path}.{}.member", at + 1), value)
                });
                checked.collect()
            }
            (Self::Map { key, value: of }, Value::Object(values)) => {
                let mut checked = Map::new();
                for (name, value) in values {
                    key.check(path, name.as_str().into())?;
                    checked.insert(name.clone(), of.check(&format!("{path}.{name}"), value)?);
                }
                Ok(checked.into())
            }
            (Self::Structure(table), Value::Object(mut values)) => {
                let mut checked = Map::new();
                for member in *table {
                    member.admit(path, values.remove(member.wire_name), &mut checked)?;
                }
                Ok(checked.into())
            }
            (Self::Object, value @ Value::Object(_)) | (Self::EncodedJson, value) => Ok(value),
            (Self::Blob { size_bytes_max }, Value::String(text)) => check_blob(path, text, *size_bytes_max),
            (shape, value) => Err(bad(path, value, format!("Member must be {}", shape.kind()))),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } | Self::Choice(_) => "a string",
            Self::Integer { .. } => "a whole number",
            Self::Double => "a number",
            Self::Boolean => "true or false",
            Self::Blob { .. } => "a string in base64",
            Self::EncodedJson => "JSON",
            Self::Timestamp => "a time",
            Self::List { .. } => "a list",
            Self::Map { .. } | Self::Structure(_) | Self::Object => "an object",
        }
    }
}

fn check_blob(path: &str, text: String, size_bytes_max: usize) -> Result<Value, BadInput> {
    match STANDARD.decode(&text) {
        Err(_) => Err(bad(path, text, "Member must be base64")),
        Ok(bytes) => {
            check_len(
                path,
                format!("of {} bytes", bytes.len()),
                bytes.len(),
                0,
                size_bytes_max,
            )?;
            Ok(text.into())
        }
    }
}

fn check_integer(path: &str, number: &serde_json::Number, min: i64, max: i64) -> Result<Value, BadInput> {
    match number.as_i64() {
        None => Err(bad(path, number, "Member must be a whole number")),
        Some(found) if found < min => Err(bad(
            path,
            number,
            format!("Member must have value greater than or equal to {min}"),
        )),
        Some(found) if max < found => Err(bad(
            path,
            number,
            format!("Member must have value less than or equal to {max}"),
        )),
        Some(found) => Ok(found.into()),
    }
}

fn check_len(path: &str, found: impl ToString, len: usize, min: usize, max: usize) -> Result<(), BadInput> {
    if len < min {
        Err(bad(
            path,
            found,
            format!("Member must have length greater than or equal to {min}"),
        ))
    } else if max < len {
        Err(bad(
            path,
            found,
            format!("Member must have length less than or equal to {max}"),
        ))
    } else {
        Ok(())
    }
}

/// The raw texts of the parameters of that name. Names are never encoded by AWS's clients.
fn query_values<'a>(query: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(move |(found, _)| *found == name)
        .map(|(_, value)| value)
}

fn bad(member: &str, found: impl ToString, rule: impl Into<String>) -> BadInput {
    let found: String = found.to_string().chars().take(200).collect();
    BadInput::Member {
        member: member.to_owned(),
        found: if found == "null" { found } else { format!("'{found}'") },
        rule: rule.into(),
    }
}

fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_millis(at.as_millisecond()))
}

/// Within what ISO 8601 can say: the years from -9999 to 9999.
fn timestamp_of_secs(secs: &serde_json::Number) -> Option<Timestamp> {
    let at = jiff::SignedDuration::try_from_secs_f64(secs.as_f64()?).ok()?;
    // A fraction of a second has no exact binary form: .678 comes as a little less.
    let at = jiff::Timestamp::from_duration(at)
        .ok()?
        .round(jiff::Unit::Millisecond)
        .ok()?;
    Some(Timestamp::from_millis(at.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{AttachThingPrincipal, CreateThing, CreateThingGroup, ListThings, ListViolationEvents};

    fn raw<'a>(path: &'a str, query: &'a str, headers: &'a [(&'a str, &'a str)], body: &'a str) -> RawInput<'a> {
        RawInput {
            path,
            query,
            headers,
            body: body.as_bytes(),
        }
    }

    #[test]
    fn members_are_read_from_where_they_stand() {
        let body =
            r#"{"attributePayload":{"attributes":{"site":"north"},"unknown":1},"thingTypeName":null,"other":[]}"#;
        let thing = CreateThing::read(&raw("/things/a%3Ab", "", &[], body)).unwrap();
        assert_eq!(thing.thing_name.as_str(), "a:b");
        assert_eq!(thing.thing_type_name, None);
        assert_eq!(thing.attribute_payload.unwrap().attributes.unwrap()["site"], "north");

        let headers = [("X-Amzn-Principal", "arn:aws:iot:eu-west-1:123456789012:thing/x")];
        let query = "thingPrincipalType=EXCLUSIVE_THING";
        let attach = AttachThingPrincipal::read(&raw("/things/p/principals", query, &headers, "")).unwrap();
        assert_eq!(attach.principal.region, "eu-west-1");
        assert_eq!(attach.thing_principal_type.as_deref(), Some("EXCLUSIVE_THING"));

        let list = ListThings::read(&raw("/things", "maxResults=250&usePrefixAttributeValue=true", &[], "")).unwrap();
        assert_eq!(
            (list.max_results, list.use_prefix_attribute_value),
            (Some(250), Some(true))
        );

        let query = "startTime=2026-01-02T03%3A04%3A05.678000Z&endTime=2026-01-02T03%3A04%3A05Z";
        let events = ListViolationEvents::read(&raw("/violation-events", query, &[], "")).unwrap();
        assert_eq!(events.start_time.millis(), 1_767_323_045_678);
        assert_eq!(events.end_time.millis(), 1_767_323_045_000);
    }

    #[test]
    fn refusals_name_the_member_the_value_and_the_rule() {
        let long = "x".repeat(129);
        let long_name = format!("{{\"thingTypeName\":\"{long}\"}}");
        let attribute = |value: &str| format!("{{\"attributePayload\":{{\"attributes\":{value}}}}}");
        for (path, body, expected) in [
            (
                "/things/a%2Fb",
                "",
                "Value 'a/b' at 'thingName' failed to satisfy constraint: Member must satisfy regular",
            ),
            (
                "/things/",
                "",
                "Value '' at 'thingName' failed to satisfy constraint: Member must have length greater",
            ),
            ("/things/%ff", "", "percent-encoded text (decoded text is not UTF-8)"),
            (
                "/things/a",
                long_name.as_str(),
                "at 'thingTypeName' failed to satisfy constraint: Member must have length less",
            ),
            (
                "/things/a",
                r#"{"thingTypeName":7}"#,
                "Value '7' at 'thingTypeName' failed to satisfy constraint: Member must be a string",
            ),
            (
                "/things/a",
                &attribute("[]"),
                "at 'attributePayload.attributes' failed to satisfy constraint: Member must be an object",
            ),
            (
                "/things/a",
                &attribute(r#"{"a":"ü"}"#),
                "Value 'ü' at 'attributePayload.attributes.a' failed",
            ),
            (
                "/things/a",
                &attribute(r#"{"ü":"a"}"#),
                "Value 'ü' at 'attributePayload.attributes' failed",
            ),
            ("/things/a", &attribute(r#"{"a":null}"#), "Member must be a string"),
            ("/things/a", "[]", "request body is not a JSON object"),
            ("/things/a", "{", "request body is not a JSON object"),
            ("/things/a", &"[".repeat(1000), "request body is not a JSON object"),
        ] {
            let found = CreateThing::read(&raw(path, "", &[], body)).unwrap_err().to_string();
            assert!(found.contains(expected), "{path} {body}: {found}");
        }
    }

    #[test]
    fn refusals_of_parameters_lists_and_headers_do_so_too() {
        for (query, expected) in [
            (
                "maxResults=0",
                "Value '0' at 'maxResults' failed to satisfy constraint: Member must have value greater than or equal to 1",
            ),
            ("maxResults=251", "less than or equal to 250"),
            ("maxResults=5.0", "Member must be a whole number"),
            ("maxResults=", "Member must be a whole number"),
            (
                "usePrefixAttributeValue=yes",
                "Value 'yes' at 'usePrefixAttributeValue'",
            ),
        ] {
            let found = ListThings::read(&raw("/things", query, &[], ""))
                .unwrap_err()
                .to_string();
            assert!(found.contains(expected), "{query}: {found}");
        }
        for (body, expected) in [
            (
                r#"{"tags":[{"Value":"v"}]}"#,
                "Value null at 'tags.1.member.Key' failed to satisfy constraint: Member must not be null",
            ),
            (
                r#"{"tags":{}}"#,
                "at 'tags' failed to satisfy constraint: Member must be a list",
            ),
        ] {
            let found = CreateThingGroup::read(&raw("/thing-groups/g", "", &[], body))
                .unwrap_err()
                .to_string();
            assert!(found.contains(expected), "{body}: {found}");
        }
        let found = AttachThingPrincipal::read(&raw("/things/a/principals", "", &[], ""))
            .unwrap_err()
            .to_string();
        assert!(found.contains("Value null at 'principal'"), "{found}");
    }
}
