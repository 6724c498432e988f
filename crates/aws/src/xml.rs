//! Text in answers of the query protocol, which are XML.

/// The namespace of the answers of SNS, by its version.
pub const SNS_NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";

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
