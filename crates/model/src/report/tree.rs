//! JSON and CBOR as one tree, so that the report's schema is written once. Depth and size are bounded.

use std::borrow::Cow;
use std::fmt;

use minicbor::data::Type;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

/// Levels of nesting that are read; a report has seven.
pub(super) const DEPTH_MAX: usize = 16;

/// A decoded value that borrows its texts from the payload where it can.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree<'a> {
    Null,
    Bool(bool),
    /// Any whole number that both encodings can carry.
    Whole(i128),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes,
    List(Vec<Tree<'a>>),
    /// In the order sent. Of repeated keys the last one counts, as in most JSON readers.
    Map(Vec<(Cow<'a, str>, Tree<'a>)>),
}

impl<'a> Tree<'a> {
    pub(super) fn from_json(bytes: &'a [u8]) -> Result<Self, String> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let tree = Seed { depth: 0 }
            .deserialize(&mut reader)
            .map_err(|error| error.to_string())?;
        reader.end().map_err(|error| error.to_string())?;
        Ok(tree)
    }

    pub(super) fn from_cbor(bytes: &'a [u8]) -> Result<Self, String> {
        let mut reader = minicbor::Decoder::new(bytes);
        let tree = from_cbor(&mut reader, 0).map_err(|error| error.to_string())?;
        match bytes.len() - reader.position() {
            0 => Ok(tree),
            n_left => Err(format!("{n_left} bytes follow the report")),
        }
    }

    /// The value in words, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Whole(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::Bytes => "bytes",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }
}

struct Seed {
    depth: usize,
}

impl Seed {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(format_args!("more than {DEPTH_MAX} levels of nesting")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Tree<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Tree<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Tree<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Tree<'de>, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree<'de>, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree<'de>, E> {
        Ok(Tree::Whole(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree<'de>, E> {
        Ok(Tree::Whole(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree<'de>, E> {
        Ok(Tree::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self.deeper()?)? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = access.next_key_seed(Seed { depth: DEPTH_MAX })? {
            let Tree::Text(key) = key else {
                return Err(A::Error::custom("a key that is not a text"));
            };
            members.push((key, access.next_value_seed(self.deeper()?)?));
        }
        Ok(Tree::Map(members))
    }
}

fn from_cbor<'a>(reader: &mut minicbor::Decoder<'a>, depth: usize) -> Result<Tree<'a>, minicbor::decode::Error> {
    if DEPTH_MAX < depth {
        return Err(minicbor::decode::Error::message(format!(
            "more than {DEPTH_MAX} levels of nesting"
        )));
    }
    Ok(match reader.datatype()? {
        Type::Null | Type::Undefined => {
            reader.skip()?;
            Tree::Null
        }
        Type::Bool => Tree::Bool(reader.bool()?),
        Type::F16 => Tree::Float(reader.f16()?.into()),
        Type::F32 => Tree::Float(reader.f32()?.into()),
        Type::F64 => Tree::Float(reader.f64()?),
        Type::String => Tree::Text(Cow::Borrowed(reader.str()?)),
        Type::StringIndef => {
            let parts: Result<String, _> = reader.str_iter()?.collect();
            Tree::Text(Cow::Owned(parts?))
        }
        Type::Bytes | Type::BytesIndef => {
            reader.skip()?;
            Tree::Bytes
        }
        Type::Tag => {
            reader.tag()?;
            from_cbor(reader, depth + 1)?
        }
        Type::Array | Type::ArrayIndef => Tree::List(list(reader, depth)?),
        Type::Map | Type::MapIndef => Tree::Map(map(reader, depth)?),
        _ => Tree::Whole(reader.int()?.into()),
    })
}

fn list<'a>(reader: &mut minicbor::Decoder<'a>, depth: usize) -> Result<Vec<Tree<'a>>, minicbor::decode::Error> {
    // The promised length is not trusted: memory grows with what is really there.
    let n_items = reader.array()?;
    let mut items = Vec::new();
    while !at_end(reader, n_items, items.len())? {
        items.push(from_cbor(reader, depth + 1)?);
    }
    Ok(items)
}

fn map<'a>(
    reader: &mut minicbor::Decoder<'a>,
    depth: usize,
) -> Result<Vec<(Cow<'a, str>, Tree<'a>)>, minicbor::decode::Error> {
    let n_members = reader.map()?;
    let (mut members, mut n_read) = (Vec::new(), 0);
    while !at_end(reader, n_members, n_read)? {
        let (key, value) = (from_cbor(reader, depth + 1)?, from_cbor(reader, depth + 1)?);
        // A key that is no text names nothing that anybody knows.
        if let Tree::Text(key) = key {
            members.push((key, value));
        }
        n_read += 1;
    }
    Ok(members)
}

fn at_end(
    reader: &mut minicbor::Decoder<'_>,
    n_promised: Option<u64>,
    n_read: usize,
) -> Result<bool, minicbor::decode::Error> {
    match n_promised {
        Some(n_promised) => Ok(u64::try_from(n_read).is_ok_and(|n_read| n_promised <= n_read)),
        None if reader.datatype()? == Type::Break => reader.skip().map(|()| true),
        None => Ok(false),
    }
}
