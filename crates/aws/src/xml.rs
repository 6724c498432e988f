//! Answers of the query protocol, which are XML.

use std::collections::BTreeMap;

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
