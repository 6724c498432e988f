//! The names of what is known: variables in texts, keys in conditions.

use std::borrow::Cow;
use std::fmt;

use crate::context::{CertificateVariables, Context};

/// A name of something known of the connection. Names are compared without regard to case, as IAM does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Key {
    ClientId,
    SourceIp,
    ThingName,
    ThingTypeName,
    /// `iot:Connection.Thing.Attributes[name]`
    Attribute(Box<str>),
    IsAttached,
    ConnectAttributes,
    /// `iot:Certificate.<name>` for the first value, `iot:Certificate.<name>.<n>` for the others, counted from 0.
    Certificate {
        name: Box<str>,
        index: usize,
    },
    /// `iot:Certificate.<name>.List`, all values.
    CertificateList(Box<str>),
    CertificateAvailableKeys,
    DomainName,
    CurrentTime,
    EpochTime,
    /// `aws:SecureTransport`: devices have no other.
    SecureTransport,
    /// Known to others or to nobody: never told.
    Foreign(Box<str>),
}

/// The values of a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum KeyValues<'a> {
    /// The caller did not say.
    NotTold,
    /// The connection has no such thing.
    Absent,
    /// One value.
    One(Cow<'a, str>),
    /// A set, perhaps empty.
    Many(Vec<&'a str>),
}

impl Key {
    const NAMED: [(&'static str, Self); 11] = [
        ("iot:ClientId", Self::ClientId),
        ("aws:SourceIp", Self::SourceIp),
        ("iot:Connection.Thing.ThingName", Self::ThingName),
        ("iot:Connection.Thing.ThingTypeName", Self::ThingTypeName),
        ("iot:Connection.Thing.IsAttached", Self::IsAttached),
        ("iot:ConnectAttributes", Self::ConnectAttributes),
        ("iot:Certificate.AvailableKeys", Self::CertificateAvailableKeys),
        ("iot:DomainName", Self::DomainName),
        ("aws:CurrentTime", Self::CurrentTime),
        ("aws:EpochTime", Self::EpochTime),
        ("aws:SecureTransport", Self::SecureTransport),
    ];

    pub(crate) fn of(name: &str) -> Self {
        let named = Self::NAMED
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        if let Some((_, key)) = named {
            return key;
        }
        if let Some(rest) = strip_prefix(name, "iot:Connection.Thing.Attributes[") {
            return rest.strip_suffix(']').map_or_else(
                || Self::Foreign(name.into()),
                |attribute| Self::Attribute(attribute.into()),
            );
        }
        let Some(rest) = strip_prefix(name, "iot:Certificate.") else {
            return Self::Foreign(name.into());
        };
        match rest.rsplit_once('.') {
            Some((name, last)) if last.eq_ignore_ascii_case("List") => Self::CertificateList(name.into()),
            Some((name, last)) if last.bytes().all(|digit| digit.is_ascii_digit()) => match last.parse() {
                Ok(index) => Self::Certificate {
                    name: name.into(),
                    index,
                },
                Err(_) => Self::Foreign(rest.into()),
            },
            _ => Self::Certificate {
                name: rest.into(),
                index: 0,
            },
        }
    }

    /// Whether the answer depends on the time.
    pub(crate) fn is_time(&self) -> bool {
        matches!(self, Self::CurrentTime | Self::EpochTime)
    }

    /// Whether it is a field of the certificate.
    pub(crate) fn is_of_certificate(&self) -> bool {
        matches!(
            self,
            Self::Certificate { .. } | Self::CertificateList(_) | Self::CertificateAvailableKeys
        )
    }

    /// Whether the caller did not say.
    pub(crate) fn is_untold(&self, context: &Context) -> bool {
        self.values(context, false) == KeyValues::NotTold
    }

    /// The one value as text, if there is exactly one.
    pub(crate) fn text<'a>(&self, context: &'a Context) -> Option<Cow<'a, str>> {
        match self.values(context, false) {
            KeyValues::One(value) => Some(value),
            KeyValues::NotTold | KeyValues::Absent | KeyValues::Many(_) => None,
        }
    }

    /// All values. What a client asked for at connect is known at connect alone.
    pub(crate) fn values<'a>(&self, context: &'a Context, is_connect: bool) -> KeyValues<'a> {
        let one = |value: Option<&'a str>| value.map_or(KeyValues::Absent, |value| KeyValues::One(value.into()));
        let told = |value: Option<String>| value.map_or(KeyValues::NotTold, |value| KeyValues::One(value.into()));
        match self {
            Self::ClientId if context.client_id.is_empty() => KeyValues::NotTold,
            Self::ClientId => one(Some(&context.client_id)),
            Self::SourceIp => told(context.source_ip.map(|address| address.to_canonical().to_string())),
            Self::ThingName => one(context.thing_name.as_deref()),
            Self::ThingTypeName | Self::Attribute(_) if context.thing_name.is_none() => KeyValues::Absent,
            Self::ThingTypeName => match &context.thing {
                None => KeyValues::NotTold,
                Some(facts) => one(facts.type_name.as_deref()),
            },
            Self::Attribute(name) => match &context.thing {
                None => KeyValues::NotTold,
                Some(facts) => one(facts.attributes.get(name).map(AsRef::as_ref)),
            },
            Self::IsAttached => one(Some(if context.is_attached { "true" } else { "false" })),
            Self::ConnectAttributes if is_connect => {
                let persistent = context.connect.persistent.then_some("PersistentConnect");
                let last_will = context.connect.last_will.then_some("LastWill");
                KeyValues::Many(persistent.into_iter().chain(last_will).collect())
            }
            Self::Certificate { .. } | Self::CertificateList(_) | Self::CertificateAvailableKeys => {
                match &context.certificate {
                    None => KeyValues::NotTold,
                    Some(certificate) => self.of_certificate(certificate),
                }
            }
            Self::SecureTransport => one(Some("true")),
            Self::DomainName => one(context.domain_name.as_deref()),
            Self::CurrentTime => told(context.now.map(|now| crate::date::written(now.millis()))),
            Self::EpochTime => told(context.now.map(|now| now.millis().div_euclid(1000).to_string())),
            Self::ConnectAttributes => KeyValues::Absent,
            Self::Foreign(_) => KeyValues::NotTold,
        }
    }

    fn of_certificate<'a>(&self, certificate: &'a CertificateVariables) -> KeyValues<'a> {
        match self {
            Self::Certificate { name, index } => match certificate_values(certificate, name).nth(*index).flatten() {
                None => KeyValues::Absent,
                Some(value) => KeyValues::One(value.into()),
            },
            Self::CertificateList(name) => {
                let values: Vec<&str> = certificate_values(certificate, name).flatten().collect();
                if values.is_empty() {
                    KeyValues::Absent
                } else {
                    KeyValues::Many(values)
                }
            }
            _ => KeyValues::Many(certificate.names()),
        }
    }
}

/// The values of a certificate's variable, `None` for those that AWS would not put in.
fn certificate_values<'a>(certificate: &'a CertificateVariables, name: &str) -> impl Iterator<Item = Option<&'a str>> {
    const LEN_CHARS_MAX: usize = 1024;
    certificate.values(name).map(|value| {
        let is_replaced = !value.contains(['*', '$', '+', '?', '#']) && value.chars().nth(LEN_CHARS_MAX).is_none();
        is_replaced.then_some(value)
    })
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(name) => write!(f, "iot:Connection.Thing.Attributes[{name}]"),
            Self::Certificate { name, index: 0 } => write!(f, "iot:Certificate.{name}"),
            Self::Certificate { name, index } => write!(f, "iot:Certificate.{name}.{index}"),
            Self::CertificateList(name) => write!(f, "iot:Certificate.{name}.List"),
            Self::Foreign(name) => f.write_str(name),
            key => {
                let named = Self::NAMED.iter().find(|(_, known)| known == key);
                f.write_str(named.map_or("", |(name, _)| name))
            }
        }
    }
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}
