//! What a statement is about.

use crate::key::Key;
use crate::pattern::{Joined, Pattern, Values, Wildcards};
use crate::request::Request;

/// One entry of `Resource` or `NotResource`: `*`, or an ARN in which the region is not looked at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Resource {
    /// `*`
    Every,
    /// Of another service than `iot`: never asked for.
    Foreign,
    /// `arn:<partition>:iot:<region>:<account>:<rest>`
    Iot {
        /// `None` when the ARN names no account, or `*`.
        account: Option<Pattern>,
        rest: Pattern,
    },
}

/// Why a text is no resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("resource is {found:?}, expected * or arn:aws:iot:<region>:<account>:<type>/<name>")]
pub(crate) struct BadResource {
    found: String,
}

impl Resource {
    pub(crate) fn parse(text: &str) -> Result<Self, BadResource> {
        let bad = || BadResource {
            found: text.chars().take(200).collect(),
        };
        if text == "*" {
            return Ok(Self::Every);
        }
        let [arn, _partition, service, _region, account, rest] = segments(text).ok_or_else(bad)?;
        if arn != "arn" || account.contains(['/', '$']) {
            return Err(bad());
        }
        let parse = |segment| Pattern::parse(segment, Wildcards::Special).map_err(|_| bad());
        if !parse(service)?.matches_plain("iot") {
            return Ok(Self::Foreign);
        }
        Ok(Self::Iot {
            account: match account {
                "" | "*" => None,
                account => Some(parse(account)?),
            },
            rest: parse(rest)?,
        })
    }

    pub(crate) fn matches(&self, request: Request<'_>, values: Values<'_>) -> bool {
        match self {
            Self::Every => true,
            Self::Foreign => false,
            Self::Iot { account, rest } => {
                let is_account = match (account, &values.context.account_id) {
                    (Some(account), Some(own)) => account.matches(Joined("", own), values),
                    (None, _) | (_, None) => true,
                };
                is_account && rest.matches(Joined(request.action.resource_prefix(), request.name), values)
            }
        }
    }

    /// The variables in it.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        let patterns = match self {
            Self::Every | Self::Foreign => [None, None],
            Self::Iot { account, rest } => [account.as_ref(), Some(rest)],
        };
        patterns.into_iter().flatten().flat_map(Pattern::keys)
    }

    /// Whether every variable has a value.
    pub(crate) fn is_resolved(&self, values: Values<'_>) -> bool {
        match self {
            Self::Every | Self::Foreign => true,
            Self::Iot { rest, .. } => rest.is_resolved(values),
        }
    }
}

/// The six parts of an ARN, the last with all its colons. A `*` stands for colons too, so a text with fewer parts, such
/// as `arn:aws:iot:*`, is completed at its first part that is `*` alone.
fn segments(text: &str) -> Option<[&str; 6]> {
    let mut segments = Vec::with_capacity(6);
    let (mut start, mut is_variable) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if text[..at].ends_with('$') => is_variable = true,
            b'}' => is_variable = false,
            b':' if !is_variable && segments.len() < 5 => {
                segments.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    segments.push(&text[start..]);
    while segments.len() < 6 {
        let star = segments.iter().position(|segment| *segment == "*")?;
        segments.insert(star, "*");
    }
    segments.try_into().ok()
}
