//! Forms: how the query protocol writes members. A structure's member is `Structure.Member`, the second value of a list
//! `List.member.2`, the first entry of a map `Map.entry.1.key` with `Map.entry.1.value`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{BadInput, Shape, bad};
use crate::percent;

/// The fields of a form, by name.
///
/// ```
/// use picket_aws::shape::Form;
///
/// let form = Form::parse(b"Action=Publish&Message=a+b%21").unwrap();
/// assert_eq!((form.text("Action"), form.text("Message"), form.text("Subject")), (Some("Publish"), Some("a b!"), None));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form(BTreeMap<String, String>);

/// What the members of an entry are called: in maps as such, and in those that have names of their own.
const KEYS: [&str; 2] = ["key", "Name"];
const VALUES: [&str; 2] = ["value", "Value"];

impl Form {
    /// Reads a form, `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// When it is not encoded as that, or gives a field twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadInput> {
        let malformed = |reason: String| BadInput::Form { reason };
        let text = std::str::from_utf8(bytes).map_err(|err| malformed(err.to_string()))?;
        let decoded = |text: &str| percent::decode(&text.replace('+', " ")).map_err(|err| malformed(err.to_string()));
        let mut fields = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if fields.contains_key(&name) {
                // What stands twice could be read in two ways.
                return Err(bad(&name, value, "Member must be given once"));
            }
            fields.insert(name, value);
        }
        Ok(Self(fields))
    }

    /// The text of a field.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The field of that name, or the fields below it, as a value of that shape; unchecked.
    pub(super) fn value(&self, name: &str, shape: &Shape) -> Result<Option<Value>, BadInput> {
        Ok(match shape {
            Shape::List { of, .. } => self.list(name, of)?.map(Value::from),
            Shape::Map { value, .. } => self.map(name, value)?.map(Value::from),
            Shape::Structure(members) if self.has_below(name) => {
                let mut values = Map::new();
                for member in *members {
                    if let Some(value) = self.value(&format!("{name}.{}", member.wire_name), member.shape)? {
                        values.insert(member.wire_name.to_owned(), value);
                    }
                }
                Some(values.into())
            }
            Shape::Structure(_) | Shape::Object => None,
            _ => self.text(name).map(|text| shape.of_text(name, text)).transpose()?,
        })
    }

    fn list(&self, name: &str, of: &Shape) -> Result<Option<Vec<Value>>, BadInput> {
        let mut values = Vec::new();
        while let Some(value) = self.value(&format!("{name}.member.{}", values.len() + 1), of)? {
            values.push(value);
        }
        // An empty list is written as an empty text.
        let is_there = !values.is_empty() || self.0.contains_key(name);
        Ok(is_there.then_some(values))
    }

    fn map(&self, name: &str, of: &Shape) -> Result<Option<Map<String, Value>>, BadInput> {
        let mut values = Map::new();
        let mut nth = 1;
        loop {
            let entry = format!("{name}.entry.{nth}");
            if !self.has_below(&entry) {
                break;
            }
            let key = KEYS.iter().find_map(|key| self.text(&format!("{entry}.{key}")));
            let key = key.ok_or_else(|| bad(&format!("{entry}.key"), "null", "Member must not be null"))?;
            let mut value = None;
            for member in VALUES {
                value = match value {
                    None => self.value(&format!("{entry}.{member}"), of)?,
                    found => found,
                };
            }
            if values.insert(key.to_owned(), value.unwrap_or_default()).is_some() {
                return Err(bad(&format!("{name}.{key}"), key, "Member must be given once"));
            }
            nth += 1;
        }
        Ok((!values.is_empty()).then_some(values))
    }

    fn has_below(&self, name: &str) -> bool {
        let prefix = format!("{name}.");
        let mut from = self.0.range(prefix.clone()..);
        from.next().is_some_and(|(found, _)| found.starts_with(&prefix))
    }
}

#[cfg(test)]
mod tests {
    use crate::shape::{Input as _, RawInput};
    use crate::wire::sns::{CreateTopic, Publish};

    fn raw(body: &str) -> RawInput<'_> {
        RawInput {
            path: "/",
            query: "",
            headers: &[],
            body: body.as_bytes(),
        }
    }

    #[test]
    fn members_are_read_from_their_fields() {
        let topic = CreateTopic::read(&raw(
            "Action=CreateTopic&Version=2010-03-31&Name=BadIoTDevices&Attributes.entry.1.key=DisplayName\
             &Attributes.entry.1.value=a+b%26c&Tags.member.1.Key=k&Tags.member.1.Value=&Tags.member.2.Key=l\
             &Tags.member.2.Value=v&Unknown.member.1=x",
        ))
        .unwrap();
        assert_eq!(topic.name.as_str(), "BadIoTDevices");
        assert_eq!(topic.attributes.unwrap()["DisplayName"], "a b&c");
        assert_eq!(topic.tags.unwrap().len(), 2);

        let publish = Publish::read(&raw(
            "TopicArn=arn%3Aaws%3Asns%3Aus-east-1%3A123456789012%3At&Message=%C3%BC&MessageAttributes.entry.1.Name=site\
             &MessageAttributes.entry.1.Value.DataType=String&MessageAttributes.entry.1.Value.StringValue=north",
        ))
        .unwrap();
        assert_eq!(
            (publish.message.as_str(), publish.topic_arn.unwrap().name.as_str()),
            ("ü", "t")
        );
        let attributes = publish.message_attributes.unwrap();
        assert_eq!(attributes["site"]["StringValue"], "north");
        assert_eq!(CreateTopic::read(&raw("Name=a&Tags=")).unwrap().tags, Some(Vec::new()));
    }

    #[test]
    fn refusals_name_the_member_the_value_and_the_rule() {
        let long = format!("Name={}", "x".repeat(257));
        for (body, expected) in [
            (
                "",
                "Value null at 'Name' failed to satisfy constraint: Member must not be null",
            ),
            (
                "Name=",
                "at 'Name' failed to satisfy constraint: Member must have length greater than or equal to 1",
            ),
            (
                long.as_str(),
                "at 'Name' failed to satisfy constraint: Member must have length less than or equal to 256",
            ),
            (
                "Name=a.fifo",
                "Value 'a.fifo' at 'Name' failed to satisfy constraint: Member must satisfy regular",
            ),
            (
                "Name=a&Name=b",
                "Value 'b' at 'Name' failed to satisfy constraint: Member must be given once",
            ),
            (
                "Name=a&Attributes.entry.1.value=x",
                "Value null at 'Attributes.entry.1.key'",
            ),
            (
                "Name=a&Attributes.entry.1.key=Colour&Attributes.entry.1.value=x",
                "Value 'Colour' at 'Attributes'",
            ),
            (
                "Name=a&Attributes.entry.1.key=Policy",
                "at 'Attributes.Policy' failed to satisfy constraint: Member must be a",
            ),
            ("Name=a&Tags.member.1.Value=x", "Value null at 'Tags.1.member.Key'"),
            ("Name=%", "is not followed by two hex digits"),
            ("Name=%ff", "not UTF-8"),
        ] {
            let found = CreateTopic::read(&raw(body)).unwrap_err().to_string();
            assert!(found.contains(expected), "{body}: {found}");
        }
    }
}
