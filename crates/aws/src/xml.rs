//! Answers of the query protocol, which are XML.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The namespace of the answers of SNS, by its version.
pub const SNS_NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";

/// What an operation of the query protocol answers.
pub trait Answer {
    /// Whether there is anything to say: operations that have nothing answer without `<...Result>`.
    const HAS_RESULT: bool = true;

    /// Writes what there is to say.
    fn write(&self, xml: &mut Xml);
}

/// A document, as far as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Xml(String);

/// The answer of an operation, as a document.
pub fn document<A: Answer>(operation: &str, answer: &A, request_id: &str) -> String {
    let mut result = Xml::default();
    if A::HAS_RESULT {
        result.element(&format!("{operation}Result"), |xml| answer.write(xml));
    }
    format!(
        "<{operation}Response xmlns=\"{SNS_NAMESPACE}\">{}<ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata>\
         </{operation}Response>",
        result.0,
        text(request_id)
    )
}

impl Xml {
    /// Adds an element with a text in it.
    pub fn text(&mut self, name: &str, content: &str) {
        self.element(name, |xml| xml.0.push_str(&text(content)));
    }

    /// Adds such an element if there is a text.
    pub fn text_if(&mut self, name: &str, content: Option<&str>) {
        if let Some(content) = content {
            self.text(name, content);
        }
    }

    /// Adds a list, each of whose values is a `<member>`.
    pub fn list<T>(&mut self, name: &str, values: &[T], each: impl Fn(&mut Self, &T)) {
        self.element(name, |xml| {
            for value in values {
                xml.element("member", |xml| each(xml, value));
            }
        });
    }

    /// Adds a map, each of whose entries is an `<entry>` with `<key>` and `<value>`.
    pub fn map(&mut self, name: &str, values: &BTreeMap<String, String>) {
        self.element(name, |xml| {
            for (key, value) in values {
                xml.element("entry", |xml| {
                    xml.text("key", key);
                    xml.text("value", value);
                });
            }
        });
    }

    fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.0 += &format!("<{name}>");
        content(self);
        self.0 += &format!("</{name}>");
    }
}

/// What an answer of the query protocol says: the result of an operation, or an error, as JSON with texts only. A list is an
/// array and a map an object; what is empty is an empty text. `None` when the document is not of that form.
pub fn read(document: &str) -> Option<Value> {
    let mut reader = Reader(document.trim());
    if reader.0.starts_with("<?") {
        reader.0 = reader.0.split_once("?>")?.1.trim_start();
    }
    let (name, mut value) = reader.element(0)?;
    let operation = name.strip_suffix("Response")?;
    let is_whole = reader.0.trim_end().is_empty();
    let result = match operation {
        "Error" => value["Error"].take(),
        _ => value
            .get_mut(format!("{operation}Result"))
            .map_or_else(|| Value::Object(Map::new()), Value::take),
    };
    is_whole.then_some(result)
}

/// How deep elements of an answer lie within each other, at most.
const DEPTH_MAX: usize = 16;

/// What of a document is not read yet.
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    /// The next element, which begins here: its name and what is in it.
    fn element(&mut self, depth: usize) -> Option<(&'a str, Value)> {
        if DEPTH_MAX < depth {
            return None;
        }
        let (tag, rest) = self.0.strip_prefix('<')?.split_once('>')?;
        self.0 = rest;
        let name = tag.trim_end_matches('/').split_whitespace().next()?;
        let mut children = Vec::new();
        let mut text = String::new();
        while !tag.ends_with('/') {
            let (between, _) = self.0.split_once('<')?;
            text += &unescaped(between)?;
            self.0 = self.0.get(between.len()..)?;
            if let Some(end) = self.0.strip_prefix("</") {
                let (closed, rest) = end.split_once('>')?;
                self.0 = rest;
                if closed.trim_end() == name {
                    break;
                }
                return None;
            }
            children.push(self.element(depth + 1)?);
        }
        Some((name, value_of(children, text)))
    }
}

fn value_of(children: Vec<(&str, Value)>, text: String) -> Value {
    match children.first().map(|(name, _)| *name) {
        None => Value::String(text),
        Some("member") => children.into_iter().map(|(_, value)| value).collect(),
        Some("entry") => {
            let entries = children.into_iter().filter_map(|(_, mut entry)| {
                let name = entry["key"].as_str()?.to_owned();
                Some((name, entry["value"].take()))
            });
            Value::Object(entries.collect())
        }
        Some(_) => children
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// A text without escapes; `None` for an escape that is none.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('&');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let (escape, rest) = part.split_once(';')?;
        plain.push(match escape {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = escape.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        });
        plain += rest;
    }
    Some(plain)
}

/// A text as it stands between two tags. What no XML document can hold, not even escaped (control characters but for tab
/// and line ends, U+FFFE, U+FFFF), becomes U+FFFD.
///
/// ```
/// assert_eq!(picket_aws::xml::text("a<b & \u{1}"), "a&lt;b &amp; \u{fffd}");
/// ```
pub fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            // A parser makes a line feed of a bare one.
            '\r' => escaped.push_str("&#13;"),
            '\t' | '\n' => escaped.push(char),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push(char::REPLACEMENT_CHARACTER),
            _ => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::sns::{Attributes, SubscriptionSummary, Subscriptions, Topics};

    #[test]
    fn what_is_written_is_read() {
        let hard = "a<b> & \"c\" 'd' ü\r\n\t&lt;";
        let topics = Topics {
            topic_arns: vec!["one".to_owned(), hard.to_owned()],
            next_token: Some("t".to_owned()),
        };
        let attributes = Attributes {
            attributes: [
                ("DisplayName".to_owned(), hard.to_owned()),
                ("Owner".to_owned(), String::new()),
            ]
            .into(),
        };
        let subscriptions = Subscriptions {
            subscriptions: vec![SubscriptionSummary {
                subscription_arn: "arn".to_owned(),
                owner: "o".to_owned(),
                protocol: "https",
                endpoint: hard.to_owned(),
                topic_arn: "t".to_owned(),
            }],
            next_token: None,
        };
        for (document, expected) in [
            (
                document("ListTopics", &topics, "id"),
                json!({ "Topics": [{ "TopicArn": "one" }, { "TopicArn": hard }], "NextToken": "t" }),
            ),
            (
                document("ListTopics", &Topics::default(), "id"),
                json!({ "Topics": "" }),
            ),
            (
                document("GetTopicAttributes", &attributes, "id"),
                json!({ "Attributes": { "DisplayName": hard, "Owner": "" } }),
            ),
            (
                document("ListSubscriptions", &subscriptions, "id"),
                json!({ "Subscriptions": [
                    { "SubscriptionArn": "arn", "Owner": "o", "Protocol": "https", "Endpoint": hard, "TopicArn": "t" }
                ] }),
            ),
            (document("DeleteTopic", &crate::wire::Done {}, "id"), json!({})),
            (
                "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"x\"> <Error><Type/><Code>NotFound</Code></Error>\n\
                 <RequestId>r</RequestId></ErrorResponse>\n"
                    .to_owned(),
                json!({ "Type": "", "Code": "NotFound" }),
            ),
            (
                "<PublishResponse><PublishResult><MessageId>&#x41;&#66;</MessageId></PublishResult></PublishResponse>"
                    .to_owned(),
                json!({ "MessageId": "AB" }),
            ),
        ] {
            assert_eq!(read(&document), Some(expected), "{document}");
        }
    }

    #[test]
    fn what_is_none_is_not_read() {
        let deep = format!(
            "<aResponse>{}{}</aResponse>",
            "<b>".repeat(10_000),
            "</b>".repeat(10_000)
        );
        for document in [
            "",
            "{}",
            "<aResponse>",
            "<aResponse></bResponse>",
            "<a></a>",
            "<aResponse></aResponse><b/>",
            "<aResponse>&unknown;</aResponse>",
            "<aResponse>&#xd800;</aResponse>",
            "<aResponse><",
            "<",
            "<>",
            deep.as_str(),
        ] {
            assert_eq!(read(document), None, "{}", &document[..document.len().min(60)]);
        }
    }
}
