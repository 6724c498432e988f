//! The names of what is known: variables in texts, keys in conditions.

use std::borrow::Cow;

use crate::context::Context;

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
    /// Known to others or to nobody: never has a value.
    Foreign,
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
    const NAMED: [(&'static str, Self); 10] = [
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
    ];

    pub(crate) fn of(name: &str) -> Self {
        let named = Self::NAMED
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        if let Some((_, key)) = named {
            return key;
        }
        if let Some(rest) = strip_prefix(name, "iot:Connection.Thing.Attributes[") {
            return rest
                .strip_suffix(']')
                .map_or(Self::Foreign, |attribute| Self::Attribute(attribute.into()));
        }
        let Some(rest) = strip_prefix(name, "iot:Certificate.") else {
            return Self::Foreign;
        };
        match rest.rsplit_once('.') {
            Some((name, last)) if last.eq_ignore_ascii_case("List") => Self::CertificateList(name.into()),
            Some((name, last)) if last.bytes().all(|digit| digit.is_ascii_digit()) => match last.parse() {
                Ok(index) => Self::Certificate {
                    name: name.into(),
                    index,
                },
                Err(_) => Self::Foreign,
            },
            _ => Self::Certificate {
                name: rest.into(),
                index: 0,
            },
        }
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
            Self::ClientId => one(Some(&context.client_id)),
            Self::SourceIp => told(context.source_ip.map(|address| address.to_canonical().to_string())),
            Self::ThingName => one(context.thing_name.as_deref()),
            Self::ThingTypeName => one(context.thing_type.as_deref()),
            Self::Attribute(name) => one(context.attributes.get(name).map(AsRef::as_ref)),
            Self::IsAttached => one(Some(if context.is_attached { "true" } else { "false" })),
            Self::ConnectAttributes if is_connect => {
                let persistent = context.connect.persistent.then_some("PersistentConnect");
                let last_will = context.connect.last_will.then_some("LastWill");
                KeyValues::Many(persistent.into_iter().chain(last_will).collect())
            }
            Self::Certificate { name, index } => one(certificate_values(context, name).nth(*index).flatten()),
            Self::CertificateList(name) => {
                let values: Vec<&str> = certificate_values(context, name).flatten().collect();
                if values.is_empty() {
                    KeyValues::Absent
                } else {
                    KeyValues::Many(values)
                }
            }
            Self::CertificateAvailableKeys => KeyValues::Many(context.certificate.keys().map(AsRef::as_ref).collect()),
            Self::DomainName => one(context.domain_name.as_deref()),
            Self::CurrentTime => told(context.now.map(|now| crate::date::written(now.millis()))),
            Self::EpochTime => told(context.now.map(|now| now.millis().div_euclid(1000).to_string())),
            Self::ConnectAttributes | Self::Foreign => KeyValues::Absent,
        }
    }
}

/// The values of a certificate's variable, `None` for those that AWS would not put in.
fn certificate_values<'a>(context: &'a Context, name: &str) -> impl Iterator<Item = Option<&'a str>> {
    const LEN_CHARS_MAX: usize = 1024;
    let values = context.certificate.get(name).into_iter().flatten();
    values.map(|value| {
        let is_replaced = !value.contains(['*', '$', '+', '?', '#']) && value.chars().nth(LEN_CHARS_MAX).is_none();
        is_replaced.then_some(value.as_ref())
    })
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}
