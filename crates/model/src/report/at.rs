//! A value with the place where it stands, so that a refusal can say where it found what.

use std::fmt;

use super::Voided;
use super::decode::ReportError;
use super::tree::{Node, Tree};

/// The largest whole number that every agent's doubles carry exactly: 2^53. Larger counters have wrapped.
const COUNTER_MAX: u64 = 1 << 53;

/// Left-out data that are listed; more are dropped silently, so that a report cannot make its own record grow.
const VOIDED_MAX: usize = 32;

/// Bytes kept of a text: interfaces have names, and addresses are short.
const TEXT_BYTES_MAX: usize = 256;

/// A value with the place where it stands. Absent and `null` are the same.
#[derive(Clone, Copy)]
pub(super) struct At<'t> {
    pub(super) tree: Option<Tree<'t>>,
    pub(super) path: &'static str,
}

impl<'t> At<'t> {
    /// The members of these names, each under its long key, else under its short one.
    pub(super) fn members<const N: usize>(self, names: &'static [Name; N]) -> Result<[At<'t>; N], ReportError> {
        let (mut under_long, mut under_short) = ([None; N], [None; N]);
        for (key, value) in self.object()?.members() {
            if value.is_null() {
                continue;
            }
            for (n, name) in names.iter().enumerate() {
                if key == name.long {
                    under_long[n] = Some(value);
                } else if key == name.short {
                    under_short[n] = Some(value);
                }
            }
        }
        Ok(std::array::from_fn(|n| At {
            tree: under_long[n].or(under_short[n]),
            path: names[n].path,
        }))
    }

    /// An object; an absent one has no members.
    pub(super) fn object(self) -> Result<Tree<'t>, ReportError> {
        match self.tree {
            Some(tree) if !matches!(tree.node(), Node::Map(_)) => Err(self.not(tree.kind(), "an object")),
            tree => Ok(tree.unwrap_or(Tree::NULL)),
        }
    }

    /// How many items a list has; `null` ones are absent.
    pub(super) fn n_listed(self) -> Result<Option<usize>, ReportError> {
        match self.tree {
            Some(tree) if !matches!(tree.node(), Node::List(_)) => Err(self.not(tree.kind(), "a list")),
            tree => Ok(tree.map(|_| self.items("").count())),
        }
    }

    /// The items of a list that are not absent.
    pub(super) fn items(self, path: &'static str) -> impl Iterator<Item = At<'t>> {
        let items = self.tree.unwrap_or(Tree::NULL).items();
        items
            .filter(|item| !item.is_null())
            .map(move |item| At { tree: Some(item), path })
    }

    /// A text; a very long one is cut.
    pub(super) fn text(self) -> Result<Option<&'t str>, ReportError> {
        let Some(tree) = self.tree else { return Ok(None) };
        match tree.node() {
            Node::Text(text) if text.len() <= TEXT_BYTES_MAX => Ok(Some(text)),
            Node::Text(text) => {
                let end = text.char_indices().nth(TEXT_BYTES_MAX / 4).map(|(end, _)| end);
                Ok(end.map_or(Some(text.as_ref()), |end| text.get(..end)))
            }
            _ => Err(self.not(tree.kind(), "a text")),
        }
    }

    /// A whole number, also when written as a float.
    #[expect(clippy::cast_possible_truncation, reason = "the float is whole and within 1e20")]
    fn number(self) -> Result<Option<i128>, ReportError> {
        let Some(tree) = self.tree else { return Ok(None) };
        match tree.node() {
            Node::Float(value) if value.fract() == 0.0 && value.abs() < 1e20 => Ok(Some(*value as i128)),
            Node::Float(value) => Err(self.not(&value.to_string(), "a whole number")),
            _ => match tree.whole() {
                None => Err(self.not(tree.kind(), "a number")),
                whole => Ok(whole),
            },
        }
    }

    /// The total of a block: as sent, else as counted. One that was left out is not counted anew: lists are samples.
    pub(super) fn total(self, n_listed: Option<usize>, voided: &mut Vec<Voided>) -> Result<Option<u64>, ReportError> {
        if self.tree.is_none() {
            return Ok(n_listed.map(|n_listed| u64::try_from(n_listed).unwrap_or(u64::MAX)));
        }
        self.counter(voided)
    }

    pub(super) fn port(self) -> Result<Option<u16>, ReportError> {
        let Some(value) = self.number()? else { return Ok(None) };
        u16::try_from(value)
            .map(Some)
            .map_err(|_| self.not(&value.to_string(), "a port, 0 to 65535"))
    }

    pub(super) fn report_id(self) -> Result<u64, ReportError> {
        let value = self.number()?.ok_or_else(|| self.missing("a number"))?;
        let id = i64::try_from(value).ok().and_then(|value| u64::try_from(value).ok());
        id.ok_or_else(|| self.not(&value.to_string(), "a number of at least 0 and below 2^63"))
    }

    /// All agents send "1.0"; a later minor version only adds members.
    pub(super) fn version(self) -> Result<(), ReportError> {
        let text = self.text()?.ok_or_else(|| self.missing("a text like \"1.0\""))?;
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        match text.split_once('.') {
            Some(("1", minor)) if is_number(minor) => Ok(()),
            _ => Err(self.not(&format!("{text:?}"), "version \"1.x\"")),
        }
    }

    /// A count; a number that counts nothing is left out, and the report counts all the same.
    pub(super) fn counter(self, voided: &mut Vec<Voided>) -> Result<Option<u64>, ReportError> {
        let found = match self.tree.map(Tree::node) {
            // Not whole, not finite, or far beyond what fits.
            Some(Node::Float(value)) if value.fract() != 0.0 || 1e20 <= value.abs() => format!("{value:e}"),
            _ => match self.number()? {
                None => return Ok(None),
                Some(value) => match u64::try_from(value) {
                    Ok(counter) if counter <= COUNTER_MAX => return Ok(Some(counter)),
                    _ => value.to_string(),
                },
            },
        };
        let reason =
            format_args!("{found} is no count, expected a whole number from 0 to 2^53: a counter that wrapped?");
        self.void(reason, voided);
        Ok(None)
    }

    /// Notes that the datum here is left out.
    pub(super) fn void(self, reason: impl fmt::Display, voided: &mut Vec<Voided>) {
        leave_out(voided, self.path, reason);
    }

    pub(super) fn missing(self, expected: &'static str) -> ReportError {
        self.not("missing", expected)
    }

    pub(super) fn not(self, found: &str, expected: &'static str) -> ReportError {
        let found = found.chars().take(80).collect();
        ReportError::Shape {
            path: self.path.to_owned(),
            found,
            expected,
            report_id: None,
        }
    }
}

/// Notes that a datum is left out.
pub(super) fn leave_out(voided: &mut Vec<Voided>, path: impl fmt::Display, reason: impl fmt::Display) {
    if voided.len() < VOIDED_MAX {
        voided.push(Voided {
            path: path.to_string(),
            reason: reason.to_string(),
        });
    }
}

/// A member's names, and where it stands, for messages.
pub(super) struct Name {
    long: &'static str,
    short: &'static str,
    path: &'static str,
}

pub(super) const fn name(long: &'static str, short: &'static str, path: &'static str) -> Name {
    Name { long, short, path }
}
