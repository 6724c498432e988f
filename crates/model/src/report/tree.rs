//! JSON and CBOR as one tree, so that the report's schema is written once. Depth and size are bounded.
//!
//! The tree lies flat: one list of nodes in the order of the payload, each container followed by what it holds. So
//! reading allocates once, and whoever looks for a member steps over the others at no cost.

use std::borrow::Cow;
use std::fmt;

use minicbor::data::Type;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

/// Levels of nesting that are read; a report has seven.
const DEPTH_MAX: usize = 16;

/// Bytes of payload for which one node is reserved: reports have a node for every 4 to 9.
const BYTES_PER_NODE: usize = 6;

/// A decoded payload, which borrows its texts where it can.
#[derive(Debug)]
pub(super) struct Document<'a> {
    nodes: Vec<Node<'a>>,
}

/// A payload that cannot be read to its end.
#[derive(Debug)]
pub(super) struct Unreadable<'a> {
    /// What the reader stumbled over.
    pub(super) detail: String,
    /// What came before. Containers in which the reader stumbled have no end.
    pub(super) before: Document<'a>,
}

/// A value of a document; a container with all that it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree<'a> {
    node: &'a Node<'a>,
    /// What follows the node: of a container first its content, then what is no longer its own.
    rest: &'a [Node<'a>],
}

/// A value; of a container only the head.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Bool,
    /// A whole number from zero.
    Whole(u64),
    /// A whole number below zero, as CBOR has them: -1 is 0, -2 is 1.
    Negative(u64),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes,
    /// The next so many nodes. `None` if the payload ended first.
    List(Option<usize>),
    /// The next so many nodes: keys, each followed by its value, in the order sent.
    Map(Option<usize>),
}

impl<'a> Document<'a> {
    pub(super) fn from_json(bytes: &'a [u8]) -> Result<Self, Unreadable<'a>> {
        // Texts are not checked one by one if the whole is.
        match str::from_utf8(bytes) {
            Ok(text) => Self::from_reader(bytes.len(), serde_json::Deserializer::from_str(text)),
            Err(_) => Self::from_reader(bytes.len(), serde_json::Deserializer::from_slice(bytes)),
        }
    }

    fn from_reader<R: serde_json::de::Read<'a>>(
        n_bytes: usize,
        mut reader: serde_json::Deserializer<R>,
    ) -> Result<Self, Unreadable<'a>> {
        let mut document = Self::reserved(n_bytes);
        let nodes = &mut document.nodes;
        match (Seed { nodes, depth: 0 })
            .deserialize(&mut reader)
            .and_then(|()| reader.end())
        {
            Ok(()) => Ok(document),
            Err(error) => Err(document.unreadable(error.to_string())),
        }
    }

    pub(super) fn from_cbor(bytes: &'a [u8]) -> Result<Self, Unreadable<'a>> {
        let mut document = Self::reserved(bytes.len());
        let mut reader = minicbor::Decoder::new(bytes);
        match from_cbor(&mut reader, 0, &mut document.nodes).map(|()| bytes.len() - reader.position()) {
            Ok(0) => Ok(document),
            Ok(n_left) => Err(document.unreadable(format!("{n_left} bytes follow the report"))),
            Err(error) => Err(document.unreadable(error.to_string())),
        }
    }

    fn reserved(n_bytes: usize) -> Self {
        Self {
            nodes: Vec::with_capacity(n_bytes / BYTES_PER_NODE + 1),
        }
    }

    fn unreadable(self, detail: String) -> Unreadable<'a> {
        Unreadable { detail, before: self }
    }

    /// The payload's value. `None` only before any was read.
    pub(super) fn root(&self) -> Option<Tree<'_>> {
        Tree::first(&self.nodes)
    }
}

impl<'a> Tree<'a> {
    pub(super) const NULL: Self = Self {
        node: &Node::Null,
        rest: &[],
    };

    fn first(nodes: &'a [Node<'a>]) -> Option<Self> {
        nodes.split_first().map(|(node, rest)| Self { node, rest })
    }

    pub(super) fn node(self) -> &'a Node<'a> {
        self.node
    }

    pub(super) fn is_null(self) -> bool {
        *self.node == Node::Null
    }

    /// Whether the payload goes on after this value.
    pub(super) fn is_whole(self) -> bool {
        !matches!(self.node, Node::List(None) | Node::Map(None))
    }

    /// The items of a list, none of anything else.
    pub(super) fn items(self) -> impl Iterator<Item = Tree<'a>> + Clone {
        let mut nodes = match self.node {
            Node::List(n_nodes) => self.content(*n_nodes),
            _ => &[],
        };
        std::iter::from_fn(move || {
            let item = Self::first(nodes)?;
            nodes = item.after();
            Some(item)
        })
    }

    /// The members of an object, none of anything else. Of repeated keys the last one counts, as in most JSON readers.
    pub(super) fn members(self) -> impl Iterator<Item = (&'a str, Tree<'a>)> + Clone {
        let mut nodes = match self.node {
            Node::Map(n_nodes) => self.content(*n_nodes),
            _ => &[],
        };
        std::iter::from_fn(move || {
            let (Node::Text(key), rest) = nodes.split_first()? else {
                return None;
            };
            let value = Self::first(rest)?;
            nodes = value.after();
            Some((key.as_ref(), value))
        })
    }

    fn content(self, n_nodes: Option<usize>) -> &'a [Node<'a>] {
        n_nodes
            .and_then(|n_nodes| self.rest.get(..n_nodes))
            .unwrap_or(self.rest)
    }

    /// The nodes that follow this value.
    fn after(self) -> &'a [Node<'a>] {
        match self.node {
            Node::List(n_nodes) | Node::Map(n_nodes) => {
                n_nodes.and_then(|n_nodes| self.rest.get(n_nodes..)).unwrap_or_default()
            }
            _ => self.rest,
        }
    }

    /// The value in words, for messages.
    pub(super) fn kind(self) -> &'static str {
        match self.node {
            Node::Null => "null",
            Node::Bool => "a boolean",
            Node::Whole(_) | Node::Negative(_) | Node::Float(_) => "a number",
            Node::Text(_) => "a text",
            Node::Bytes => "bytes",
            Node::List(_) => "a list",
            Node::Map(_) => "an object",
        }
    }

    /// A whole number of either sign that is not written as a float.
    pub(super) fn whole(self) -> Option<i128> {
        match *self.node {
            Node::Whole(value) => Some(value.into()),
            Node::Negative(below) => Some(-1 - i128::from(below)),
            _ => None,
        }
    }
}

/// Opens a container: what is pushed until [`close`] is its content.
fn open(nodes: &mut Vec<Node<'_>>, head: Node<'static>) -> usize {
    nodes.push(head);
    nodes.len()
}

fn close(nodes: &mut [Node<'_>], content_from: usize) {
    let n_nodes = nodes.len() - content_from;
    if let Some(Node::List(end) | Node::Map(end)) = nodes.get_mut(content_from - 1) {
        *end = Some(n_nodes);
    }
}

/// Reads one value of JSON onto the end of the nodes.
struct Seed<'n, 'de> {
    nodes: &'n mut Vec<Node<'de>>,
    depth: usize,
}

impl<'de> Seed<'_, 'de> {
    fn deeper<E: serde::de::Error>(&mut self) -> Result<Seed<'_, 'de>, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(format_args!("more than {DEPTH_MAX} levels of nesting")));
        }
        Ok(Seed {
            nodes: self.nodes,
            depth: self.depth + 1,
        })
    }

    /// A key is a text: what is deeper than any value may be.
    fn key(&mut self) -> Seed<'_, 'de> {
        Seed {
            nodes: self.nodes,
            depth: DEPTH_MAX,
        }
    }

    fn push<E>(self, node: Node<'de>) -> Result<(), E> {
        self.nodes.push(node);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_, 'de> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.push(Node::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.push(Node::Bool)
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.push(Node::Whole(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.push(whole(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.push(Node::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        self.push(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.push(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<(), A::Error> {
        let content_from = open(self.nodes, Node::List(None));
        while access.next_element_seed(self.deeper()?)?.is_some() {}
        close(self.nodes, content_from);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<(), A::Error> {
        let content_from = open(self.nodes, Node::Map(None));
        while access.next_key_seed(self.key())?.is_some() {
            access.next_value_seed(self.deeper()?)?;
        }
        close(self.nodes, content_from);
        Ok(())
    }
}

/// Whole numbers of both encodings are from -2^64 to 2^64-1.
fn whole(value: i128) -> Node<'static> {
    match u64::try_from(value) {
        Ok(value) => Node::Whole(value),
        Err(_) => Node::Negative(u64::try_from(-1 - value).unwrap_or(u64::MAX)),
    }
}

/// Reads one value of CBOR onto the end of the nodes.
fn from_cbor<'a>(
    reader: &mut minicbor::Decoder<'a>,
    depth: usize,
    nodes: &mut Vec<Node<'a>>,
) -> Result<(), minicbor::decode::Error> {
    if DEPTH_MAX < depth {
        return Err(minicbor::decode::Error::message(format!(
            "more than {DEPTH_MAX} levels of nesting"
        )));
    }
    let node = match reader.datatype()? {
        Type::Null | Type::Undefined => {
            reader.skip()?;
            Node::Null
        }
        Type::Bool => {
            reader.bool()?;
            Node::Bool
        }
        Type::F16 => Node::Float(reader.f16()?.into()),
        Type::F32 => Node::Float(reader.f32()?.into()),
        Type::F64 => Node::Float(reader.f64()?),
        Type::String => Node::Text(Cow::Borrowed(reader.str()?)),
        Type::StringIndef => {
            let parts: Result<String, _> = reader.str_iter()?.collect();
            Node::Text(Cow::Owned(parts?))
        }
        Type::Bytes | Type::BytesIndef => {
            reader.skip()?;
            Node::Bytes
        }
        Type::Tag => {
            reader.tag()?;
            return from_cbor(reader, depth + 1, nodes);
        }
        Type::Array | Type::ArrayIndef => return list(reader, depth, nodes),
        Type::Map | Type::MapIndef => return map(reader, depth, nodes),
        _ => whole(reader.int()?.into()),
    };
    nodes.push(node);
    Ok(())
}

fn list<'a>(
    reader: &mut minicbor::Decoder<'a>,
    depth: usize,
    nodes: &mut Vec<Node<'a>>,
) -> Result<(), minicbor::decode::Error> {
    // The promised length is not trusted: memory grows with what is really there.
    let (n_items, mut n_read) = (reader.array()?, 0);
    let content_from = open(nodes, Node::List(None));
    while !at_end(reader, n_items, n_read)? {
        from_cbor(reader, depth + 1, nodes)?;
        n_read += 1;
    }
    close(nodes, content_from);
    Ok(())
}

fn map<'a>(
    reader: &mut minicbor::Decoder<'a>,
    depth: usize,
    nodes: &mut Vec<Node<'a>>,
) -> Result<(), minicbor::decode::Error> {
    let (n_members, mut n_read) = (reader.map()?, 0);
    let content_from = open(nodes, Node::Map(None));
    while !at_end(reader, n_members, n_read)? {
        let member_from = nodes.len();
        from_cbor(reader, depth + 1, nodes)?;
        from_cbor(reader, depth + 1, nodes)?;
        // A key that is no text names nothing that anybody knows.
        if !matches!(nodes.get(member_from), Some(Node::Text(_))) {
            nodes.truncate(member_from);
        }
        n_read += 1;
    }
    close(nodes, content_from);
    Ok(())
}

fn at_end(
    reader: &mut minicbor::Decoder<'_>,
    n_promised: Option<u64>,
    n_read: u64,
) -> Result<bool, minicbor::decode::Error> {
    match n_promised {
        Some(n_promised) => Ok(n_promised <= n_read),
        None if reader.datatype()? == Type::Break => reader.skip().map(|()| true),
        None => Ok(false),
    }
}
