//! Conditions of statements.

use std::cmp::Ordering;
use std::net::IpAddr;

use picket_model::behavior::Cidr;

use crate::date;
use crate::document::Effect;
use crate::key::{Key, KeyValues};
use crate::pattern::{Joined, Pattern, Values, Wildcards};

/// One line of a condition block: all lines must hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    key: Key,
    quantifier: Option<Quantifier>,
    /// `...IfExists`: holds when the key has no value.
    if_exists: bool,
    /// `...Not...`: holds when the value fits none of the operands.
    is_negated: bool,
    operands: Operands,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    /// `ForAllValues:`, also of no value.
    All,
    /// `ForAnyValue:`
    Any,
}

/// What the key's values are compared with: one of them must fit.
#[derive(Clone, Debug, PartialEq)]
enum Operands {
    /// Equal, or alike if the pattern has wildcards.
    Texts(Vec<Pattern>),
    /// Equal but for case.
    TextsAnyCase(Vec<Pattern>),
    Flag(bool),
    Ranges(Vec<Cidr>),
    Numbers(Comparison, Vec<f64>),
    Dates(Comparison, Vec<i64>),
    /// Whether the key must be without value.
    Null(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equals,
    Less,
    LessEquals,
    Greater,
    GreaterEquals,
}

/// Why a condition cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadCondition {
    #[error("condition operator {found:?} is not known")]
    Operator { found: String },
    #[error("condition operator {operator} was given {found:?}, expected {expected}")]
    Operand {
        operator: String,
        found: String,
        expected: &'static str,
    },
    #[error("condition operator {operator} was given no value for {key}")]
    Empty { operator: String, key: String },
}

impl Condition {
    pub(crate) fn parse(written: &str, key: &str, operands: &[&str]) -> Result<Self, BadCondition> {
        if operands.is_empty() {
            return Err(BadCondition::Empty {
                operator: clipped(written),
                key: clipped(key),
            });
        }
        let (quantifier, operator) = match written.split_once(':') {
            Some(("ForAllValues", operator)) => (Some(Quantifier::All), operator),
            Some(("ForAnyValue", operator)) => (Some(Quantifier::Any), operator),
            _ => (None, written),
        };
        let (operator, if_exists) = match operator.strip_suffix("IfExists") {
            Some(operator) if operator != "Null" => (operator, true),
            _ => (operator, false),
        };
        let (operands, is_negated) = parsed(operator, operands).map_err(|error| error.in_words(written))?;
        Ok(Self {
            key: Key::of(key),
            quantifier,
            if_exists,
            is_negated,
            operands,
        })
    }

    /// Whether the condition holds. What the caller did not tell holds in a deny and fails in an allow.
    pub(crate) fn holds(&self, effect: Effect, is_connect: bool, values: Values<'_>) -> bool {
        if effect == Effect::Deny
            && self
                .operands
                .patterns()
                .iter()
                .any(|text| text.is_untold(values.context))
        {
            return true;
        }
        // A condition is never a filter to subscribe to: values are put in as they are.
        let values = Values {
            is_filter: false,
            untold_is_any: false,
            ..values
        };
        let found = self.key.values(values.context, is_connect);
        if let Operands::Null(is_wanted_absent) = self.operands {
            return match found {
                KeyValues::NotTold => effect == Effect::Deny,
                KeyValues::Absent => is_wanted_absent,
                KeyValues::One(_) | KeyValues::Many(_) => !is_wanted_absent,
            };
        }
        let fits = |value: &str| self.operands.fit(value, values) != self.is_negated;
        match (found, self.quantifier) {
            (KeyValues::NotTold, _) => effect == Effect::Deny,
            (KeyValues::Absent, Some(Quantifier::All)) => true,
            (KeyValues::Absent, Some(Quantifier::Any)) => self.if_exists,
            (KeyValues::Absent, None) => self.if_exists || self.is_negated,
            (KeyValues::One(value), _) => fits(&value),
            (KeyValues::Many(found), Some(Quantifier::All)) => found.into_iter().all(fits),
            (KeyValues::Many(found), Some(Quantifier::Any)) => found.into_iter().any(fits),
            (KeyValues::Many(found), None) if self.is_negated => found.into_iter().all(fits),
            (KeyValues::Many(found), None) => found.into_iter().any(fits),
        }
    }

    /// What it asks, and the variables in the operands.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        let operands = self.operands.patterns().iter().flat_map(Pattern::keys);
        std::iter::once(&self.key).chain(operands)
    }

    /// Whether every variable in the operands has a value.
    pub(crate) fn is_resolved(&self, values: Values<'_>) -> bool {
        self.operands
            .patterns()
            .iter()
            .all(|pattern| pattern.is_resolved(values))
    }
}

impl Operands {
    /// Those that may have variables in them.
    fn patterns(&self) -> &[Pattern] {
        match self {
            Self::Texts(patterns) | Self::TextsAnyCase(patterns) => patterns,
            Self::Flag(_) | Self::Ranges(_) | Self::Numbers(..) | Self::Dates(..) | Self::Null(_) => &[],
        }
    }

    fn fit(&self, value: &str, values: Values<'_>) -> bool {
        match self {
            Self::Texts(patterns) => patterns
                .iter()
                .any(|pattern| pattern.matches(Joined("", value), values)),
            Self::TextsAnyCase(patterns) => {
                let value = value.to_lowercase();
                let rendered = |pattern: &Pattern| pattern.rendered(values);
                patterns
                    .iter()
                    .filter_map(rendered)
                    .any(|text| text.to_lowercase() == value)
            }
            Self::Flag(flag) => value.parse() == Ok(*flag),
            Self::Ranges(ranges) => {
                let address = value.parse::<IpAddr>();
                address.is_ok_and(|address| ranges.iter().any(|range| range.contains(&address)))
            }
            Self::Numbers(comparison, numbers) => {
                let value = value.parse::<f64>();
                value.is_ok_and(|value| numbers.iter().any(|number| comparison.holds(value.partial_cmp(number))))
            }
            Self::Dates(comparison, dates) => {
                let value = date::parsed(value);
                value.is_some_and(|value| dates.iter().any(|date| comparison.holds(Some(value.cmp(date)))))
            }
            Self::Null(_) => false,
        }
    }
}

impl Comparison {
    fn holds(self, found: Option<Ordering>) -> bool {
        match self {
            Self::Equals => found == Some(Ordering::Equal),
            Self::Less => found == Some(Ordering::Less),
            Self::LessEquals => matches!(found, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => found == Some(Ordering::Greater),
            Self::GreaterEquals => matches!(found, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

/// What is wrong, before it is known how the operator was written.
enum Wrong {
    Operator,
    Operand { found: String, expected: &'static str },
}

impl Wrong {
    fn in_words(self, operator: &str) -> BadCondition {
        match self {
            Self::Operator => BadCondition::Operator {
                found: clipped(operator),
            },
            Self::Operand { found, expected } => BadCondition::Operand {
                operator: clipped(operator),
                found,
                expected,
            },
        }
    }
}

/// The operands of a bare operator, and whether it is a negated one.
fn parsed(operator: &str, operands: &[&str]) -> Result<(Operands, bool), Wrong> {
    let texts = |wildcards| {
        let parse = |text: &str| Pattern::parse(text, wildcards).ok();
        each(operands, "a text in which every ${ is closed", parse)
    };
    let ranges = || {
        each(operands, "an address or a range such as 192.0.2.0/24", |text| {
            text.parse().ok()
        })
        .map(Operands::Ranges)
    };
    let flag = || each(operands, "true or false", flag_of);
    Ok(match operator {
        "StringEquals" => (Operands::Texts(texts(Wildcards::Plain)?), false),
        "StringNotEquals" => (Operands::Texts(texts(Wildcards::Plain)?), true),
        "StringEqualsIgnoreCase" => (Operands::TextsAnyCase(texts(Wildcards::Plain)?), false),
        "StringNotEqualsIgnoreCase" => (Operands::TextsAnyCase(texts(Wildcards::Plain)?), true),
        "StringLike" => (Operands::Texts(texts(Wildcards::Special)?), false),
        "StringNotLike" => (Operands::Texts(texts(Wildcards::Special)?), true),
        "IpAddress" => (ranges()?, false),
        "NotIpAddress" => (ranges()?, true),
        "Bool" | "Null" => {
            let flags = flag()?;
            let [flag] = flags[..] else {
                let found = operands.join(", ");
                return Err(Wrong::Operand {
                    found: clipped(&found),
                    expected: "one of true and false",
                });
            };
            (
                if operator == "Bool" {
                    Operands::Flag(flag)
                } else {
                    Operands::Null(flag)
                },
                false,
            )
        }
        _ => compared(operator, operands)?,
    })
}

/// The numeric and date operators.
fn compared(operator: &str, operands: &[&str]) -> Result<(Operands, bool), Wrong> {
    let (is_numeric, comparison) = match (operator.strip_prefix("Numeric"), operator.strip_prefix("Date")) {
        (Some(comparison), _) => (true, comparison),
        (None, Some(comparison)) => (false, comparison),
        (None, None) => return Err(Wrong::Operator),
    };
    let (comparison, is_negated) = match comparison {
        "Equals" => (Comparison::Equals, false),
        "NotEquals" => (Comparison::Equals, true),
        "LessThan" => (Comparison::Less, false),
        "LessThanEquals" => (Comparison::LessEquals, false),
        "GreaterThan" => (Comparison::Greater, false),
        "GreaterThanEquals" => (Comparison::GreaterEquals, false),
        _ => return Err(Wrong::Operator),
    };
    let finite = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    let operands = if is_numeric {
        Operands::Numbers(comparison, each(operands, "a number", finite)?)
    } else {
        Operands::Dates(
            comparison,
            each(operands, "a date such as 2026-01-02T03:04:05Z", date::parsed)?,
        )
    };
    Ok((operands, is_negated))
}

fn each<T>(operands: &[&str], expected: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Wrong> {
    let wrong = |text: &str| Wrong::Operand {
        found: clipped(text),
        expected,
    };
    operands
        .iter()
        .map(|text| parse(text).ok_or_else(|| wrong(text)))
        .collect()
}

fn flag_of(text: &str) -> Option<bool> {
    let is = |flag: &str| text.eq_ignore_ascii_case(flag);
    if is("true") {
        Some(true)
    } else {
        is("false").then_some(false)
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(120).collect()
}
