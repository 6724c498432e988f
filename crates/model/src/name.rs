//! Names: of things, groups, profiles, behaviors, policies, metrics, and what devices call themselves.
//!
//! Patterns and lengths are those of the AWS IoT service model (2015-05-28).

use std::fmt;
use std::str::FromStr;

/// Why a text is not a name of the wanted kind. The message says what was found and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Empty, or longer than the kind allows.
    #[error("{kind} has {len} bytes, expected 1 to {len_max}")]
    Length {
        /// What was being named, for example `thing name`.
        kind: &'static str,
        /// Bytes found.
        len: usize,
        /// Bytes allowed.
        len_max: usize,
    },
    /// A character outside the kind's alphabet.
    #[error("{kind} has {found:?} at byte {at}, expected only {expected}")]
    Character {
        /// What was being named.
        kind: &'static str,
        /// The first offending character.
        found: char,
        /// Its byte offset.
        at: usize,
        /// The alphabet in words.
        expected: &'static str,
    },
}

fn checked(
    text: &str,
    kind: &'static str,
    len_max: usize,
    expected: &'static str,
    is_allowed: fn(char) -> bool,
) -> Result<(), BadName> {
    if text.is_empty() || len_max < text.len() {
        return Err(BadName::Length {
            kind,
            len: text.len(),
            len_max,
        });
    }
    match text.char_indices().find(|&(_, c)| !is_allowed(c)) {
        Some((at, found)) => Err(BadName::Character {
            kind,
            found,
            at,
            expected,
        }),
        None => Ok(()),
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $len_max:literal, $expected:literal, $is_allowed:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// The most bytes a name of this kind has.
            pub const LEN_BYTES_MAX: usize = $len_max;

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                checked(text, $kind, Self::LEN_BYTES_MAX, $expected, $is_allowed).map(|()| Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

names! {
    /// A thing's name in the registry: 1 to 128 bytes of `[a-zA-Z0-9:_-]`, so never a wildcard or a path in a topic.
    /// What a device calls itself in a topic or as client id is a [`DeviceName`], which is looser.
    ThingName, "thing name", 128, "[a-zA-Z0-9:_-]", is_registry_char;
    /// A thing group's name: 1 to 128 bytes of `[a-zA-Z0-9:_-]`.
    ThingGroupName, "thing group name", 128, "[a-zA-Z0-9:_-]", is_registry_char;
    /// A thing type's name: 1 to 128 bytes of `[a-zA-Z0-9:_-]`.
    ThingTypeName, "thing type name", 128, "[a-zA-Z0-9:_-]", is_registry_char;
    /// A security profile's name: 1 to 128 bytes of `[a-zA-Z0-9:_-]`.
    ProfileName, "security profile name", 128, "[a-zA-Z0-9:_-]", is_registry_char;
    /// A behavior's name, unique in its profile: 1 to 128 bytes of `[a-zA-Z0-9:_-]`.
    BehaviorName, "behavior name", 128, "[a-zA-Z0-9:_-]", is_registry_char;
    /// A custom metric's name: 1 to 128 bytes of `[a-zA-Z0-9:_-]`. It never begins with `aws:`, see [`crate::metric`].
    MetricName, "metric name", 128, "[a-zA-Z0-9:_-]", is_registry_char;
    /// A dimension's name: 1 to 128 bytes of `[a-zA-Z0-9:_-]`.
    DimensionName, "dimension name", 128, "[a-zA-Z0-9:_-]", is_registry_char;
    /// A mitigation action's name: 1 to 128 bytes of `[a-zA-Z0-9_-]`.
    MitigationActionName, "mitigation action name", 128, "[a-zA-Z0-9_-]", is_word_char;
    /// What a caller calls a mitigation task: 1 to 128 bytes of `[a-zA-Z0-9_-]`.
    TaskId, "task id", 128, "[a-zA-Z0-9_-]", is_word_char;
    /// A configured response's name: 1 to 128 bytes of `[a-zA-Z0-9:_-]`.
    ResponseName, "response name", 128, "[a-zA-Z0-9:_-]", is_registry_char;
    /// An IoT policy's name: 1 to 128 bytes of `[a-zA-Z0-9_+=,.@-]`.
    PolicyName, "policy name", 128, "[a-zA-Z0-9_+=,.@-]", is_policy_char;
    /// The name of a topic that alerts go to: 1 to 256 bytes of `[a-zA-Z0-9_-]` (SNS, 2010-03-31).
    TopicName, "topic name", 256, "[a-zA-Z0-9_-]", is_word_char;
    /// What a device calls itself, as client id or in a defender topic: 1 to 128 bytes of UTF-8 without control
    /// characters. A thing of that name need not exist (spec: unregistered things are judged too).
    DeviceName, "device name", 128, "characters that are not control characters", is_device_char;
}

impl From<ThingName> for DeviceName {
    fn from(thing: ThingName) -> Self {
        Self(thing.0)
    }
}

fn is_registry_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-')
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn is_policy_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '=' | ',' | '.' | '@' | '-')
}

fn is_device_char(c: char) -> bool {
    !c.is_control()
}

/// A certificate's identity: the SHA-256 of its DER. Written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateId([u8; 32]);

impl CertificateId {
    /// The identity with these bytes, which are the SHA-256 of a certificate's DER.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateId({self})")
    }
}

/// Why a text is not a certificate id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate id is {found:?}, expected 64 hex digits")]
pub struct BadCertificateId {
    /// The text as found, at most 80 characters of it.
    pub found: String,
}

impl FromStr for CertificateId {
    type Err = BadCertificateId;

    /// Accepts upper and lower case, and the `0x` prefix that the service model's pattern permits.
    fn from_str(text: &str) -> Result<Self, BadCertificateId> {
        let bad = || BadCertificateId {
            found: text.chars().take(80).collect(),
        };
        let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
        if digits.len() != 64 {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (hex_digit(pair[0]), hex_digit(pair[1]));
            *byte = (high.ok_or_else(bad)? << 4) | low.ok_or_else(bad)?;
        }
        Ok(Self(bytes))
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet_and_length() {
        for (text, is_name) in [
            ("Thing03", true),
            ("a:b_c-9", true),
            ("", false),
            ("a/b", false),
            ("a+", false),
            ("pümp", false),
            ("a b", false),
        ] {
            assert_eq!(text.parse::<ThingName>().is_ok(), is_name, "{text:?}");
        }
        assert!("x".repeat(128).parse::<ThingName>().is_ok());
        assert!("x".repeat(129).parse::<ThingName>().is_err());
        assert!("Allow.all@home".parse::<PolicyName>().is_ok());
        assert!("pümp 7/+".parse::<DeviceName>().is_ok());
        assert_eq!(
            "pump\u{7}".parse::<DeviceName>().unwrap_err().to_string(),
            "device name has '\\u{7}' at byte 4, expected only characters that are not control characters"
        );
    }

    #[test]
    fn certificate_ids_read_back() {
        let id = CertificateId::from_bytes([0xab; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(format!("0x{}", id.to_string().to_uppercase()).parse(), Ok(id));
        assert!("ab".parse::<CertificateId>().is_err());
        assert!("é".repeat(32).parse::<CertificateId>().is_err());
    }
}
