//! Topic names and filters: what may be one, and which filter matches which name.
//!
//! Limits and the rule about `sensor/#` are those of AWS IoT Core.

mod tree;

pub use tree::{Shared, Tree};

/// The most bytes of UTF-8 a topic name or filter has.
pub const LEN_BYTES_MAX: usize = 256;

/// The most slashes in a topic name or filter: eight levels.
pub const N_SLASHES_MAX: usize = 7;

/// Why a text is no topic name or no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTopic {
    /// Empty, or too long.
    #[error("topic has {len_bytes} bytes, expected 1 to {LEN_BYTES_MAX}")]
    Length {
        /// Bytes found.
        len_bytes: usize,
    },
    /// Too many levels.
    #[error("topic has {n_slashes} slashes, expected at most {N_SLASHES_MAX}")]
    Levels {
        /// Slashes found.
        n_slashes: usize,
    },
    /// The character U+0000, which MQTT forbids.
    #[error("topic has a NUL character")]
    Nul,
    /// A wildcard in a name, or a wildcard in a filter that is not a level of its own, or `#` before the last level.
    #[error("topic has a wildcard where none may be")]
    Wildcard,
}

/// Checks a topic name, as used in a PUBLISH.
///
/// # Errors
/// What is wrong with it; nobody may publish there.
pub fn check_name(topic: &str) -> Result<(), BadTopic> {
    if topic.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(BadTopic::Wildcard);
    }
    check_size(topic)
}

/// Checks a topic filter, as used in a SUBSCRIBE.
///
/// # Errors
/// What is wrong with it; nobody may subscribe to it.
pub fn check_filter(filter: &str) -> Result<(), BadTopic> {
    check_size(filter)?;
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let is_right = match level {
            "#" => levels.peek().is_none(),
            "+" => true,
            _ => !level.bytes().any(|byte| matches!(byte, b'+' | b'#')),
        };
        if !is_right {
            return Err(BadTopic::Wildcard);
        }
    }
    Ok(())
}

/// Whether a filter has wildcards, so that it can match more than the one topic of the same text.
pub fn has_wildcard(filter: &str) -> bool {
    filter.bytes().any(|byte| matches!(byte, b'+' | b'#'))
}

/// Whether a filter matches a topic name; both must have passed their checks.
///
/// As on AWS, `sensor/#` does not match its parent `sensor`; a wildcard as first level matches no topic that begins with
/// `$`.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut wanted, mut levels) = (filter.split('/'), topic.split('/'));
    loop {
        match (wanted.next(), levels.next()) {
            (Some("#"), Some(_)) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

/// A filter as written in a SUBSCRIBE, which may be `$share/<group>/<filter>`.
///
/// # Errors
/// It begins with `$share/` but names no group or no filter.
pub fn split_share(filter: &str) -> Result<(Option<&str>, &str), BadTopic> {
    let Some(rest) = filter.strip_prefix("$share/") else {
        return Ok((None, filter));
    };
    match rest.split_once('/') {
        Some((group, _)) if group.is_empty() || has_wildcard(group) => Err(BadTopic::Wildcard),
        Some((_, "")) | None => Err(BadTopic::Length { len_bytes: 0 }),
        Some((group, filter)) => Ok((Some(group), filter)),
    }
}

fn check_size(text: &str) -> Result<(), BadTopic> {
    if text.is_empty() || LEN_BYTES_MAX < text.len() {
        return Err(BadTopic::Length { len_bytes: text.len() });
    }
    let (mut n_slashes, mut has_nul) = (0, false);
    for byte in text.bytes() {
        n_slashes += usize::from(byte == b'/');
        has_nul |= byte == 0;
    }
    if has_nul {
        return Err(BadTopic::Nul);
    }
    if N_SLASHES_MAX < n_slashes {
        return Err(BadTopic::Levels { n_slashes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_filters_keep_their_limits() {
        let long = "x".repeat(257);
        for (text, is_name, is_filter) in [
            ("sensor/1", true, true),
            ("/", true, true),
            ("a//b", true, true),
            ("a/b/c/d/e/f/g/h", true, true),
            ("a/b/c/d/e/f/g/h/i", false, false),
            ("", false, false),
            (&long[1..], true, true),
            (&long, false, false),
            ("a\0b", false, false),
            ("+", false, true),
            ("#", false, true),
            ("a/+/b", false, true),
            ("a/#", false, true),
            ("a/#/b", false, false),
            ("a+", false, false),
            ("a/b#", false, false),
            ("$aws/things/Thing03/defender/metrics/json/accepted", true, true),
        ] {
            assert_eq!(check_name(text).is_ok(), is_name, "name {text:?}");
            assert_eq!(check_filter(text).is_ok(), is_filter, "filter {text:?}");
        }
    }

    #[test]
    fn filters_match_level_by_level() {
        for (filter, topic, is_match) in [
            ("sensor", "sensor", true),
            ("sensor", "sensors", false),
            ("sensor/#", "sensor/1", true),
            ("sensor/#", "sensor/1/2", true),
            ("sensor/#", "sensor", false), // AWS's rule; MQTT itself says true
            ("sensor/#", "sensor/", true),
            ("sensor/+", "sensor/1", true),
            ("sensor/+", "sensor/", true),
            ("sensor/+", "sensor/1/2", false),
            ("sensor/+", "sensor", false),
            ("+/+", "/", true),
            ("#", "a/b", true),
            ("#", "$aws/x", false),
            ("+/x", "$aws/x", false),
            ("$aws/#", "$aws/x", true),
            ("$aws/+/x", "$aws/y/x", true),
            ("a/+/c/#", "a/b/c/d", true),
            ("a/+/c/#", "a/b/d/c", false),
        ] {
            assert_eq!(matches(filter, topic), is_match, "{filter} {topic}");
        }
    }

    #[test]
    fn shared_filters_name_a_group() {
        for (text, expected) in [
            ("a/b", Ok((None, "a/b"))),
            ("$share/g/a/#", Ok((Some("g"), "a/#"))),
            ("$share/g", Err(BadTopic::Length { len_bytes: 0 })),
            ("$share/g/", Err(BadTopic::Length { len_bytes: 0 })),
            ("$share//a", Err(BadTopic::Wildcard)),
            ("$share/+/a", Err(BadTopic::Wildcard)),
        ] {
            assert_eq!(split_share(text), expected, "{text}");
        }
    }
}
