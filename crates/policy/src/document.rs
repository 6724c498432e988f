//! A policy document: statements that allow and deny.

mod wire;

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::condition::{BadCondition, Condition};
use crate::context::Context;
use crate::key::{Key, KeyValues};
use crate::pattern::{Pattern, Values, Wildcards};
use crate::request::{Action, Decision, Request};
use crate::resource::{BadResource, Resource};

/// A policy document, parsed: nothing in it is left to interpretation.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    statements: Vec<Statement>,
    asks: Asks,
}

/// Which of the things that cost something to tell a document asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// [`Context::now`].
    pub time: bool,
    /// [`Context::certificate`].
    pub certificate: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Statement {
    effect: Effect,
    actions: Actions,
    /// `NotResource`: everything but the resources.
    is_other_resources: bool,
    resources: Vec<Resource>,
    conditions: Vec<Condition>,
}

/// What a statement does when it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// `Allow`
    Allow,
    /// `Deny`
    Deny,
}

/// Which of [`Action::ALL`] a statement is about, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Actions(u16);

/// Why a text is no policy document.
#[derive(Debug, thiserror::Error)]
pub enum BadPolicy {
    /// Longer than a policy may be.
    #[error(
        "policy has {found} characters without whitespace, at most {} are allowed",
        Document::LEN_CHARS_MAX
    )]
    TooLong {
        /// Characters found, not counting whitespace.
        found: usize,
    },
    /// Mostly whitespace, and too much of it to be read.
    #[error(
        "policy has {found} bytes with whitespace, at most {} are read",
        Document::SIZE_BYTES_MAX
    )]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// Not JSON, a key that is not known, a key twice, or a value of the wrong kind: the source says which.
    #[error("policy is not JSON of the documented shape")]
    Shape(#[source] serde_json::Error),
    /// `Version` is neither of the two that exist.
    #[error("policy version is {found:?}, expected \"2012-10-17\"")]
    Version {
        /// The version as found.
        found: String,
    },
    /// No statement at all.
    #[error("policy has no statement")]
    Empty,
    /// A statement cannot be understood.
    #[error("statement {position}: {reason}")]
    Statement {
        /// Which statement, counted from 1.
        position: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl Document {
    /// The most characters, not counting whitespace, that a document has: AWS IoT's quota.
    pub const LEN_CHARS_MAX: usize = 2048;
    /// The most bytes with whitespace that are read: the service model's bound.
    pub const SIZE_BYTES_MAX: usize = 404_600;

    /// What this document alone says.
    pub fn decide(&self, context: &Context, request: Request<'_>) -> Decision {
        let mut decision = Decision::ImplicitDeny;
        for statement in &self.statements {
            // Once allowed, only a deny can change the answer.
            if statement.effect == Effect::Allow && decision == Decision::Allow {
                continue;
            }
            if statement.matches(context, request) {
                match statement.effect {
                    Effect::Deny => return Decision::ExplicitDeny,
                    Effect::Allow => decision = Decision::Allow,
                }
            }
        }
        decision
    }

    /// What it asks for.
    pub fn asks(&self) -> Asks {
        self.asks
    }

    /// The names of what the statements about this action ask for and what has no value in this context, each once.
    pub fn missing(&self, context: &Context, action: Action) -> BTreeSet<String> {
        let about = self
            .statements
            .iter()
            .filter(|statement| statement.actions.contain(action));
        let has_no_value = |key: &&Key| {
            let found = key.values(context, action == Action::Connect);
            matches!(found, KeyValues::NotTold | KeyValues::Absent)
        };
        about
            .flat_map(Statement::keys)
            .filter(has_no_value)
            .map(Key::to_string)
            .collect()
    }
}

impl FromStr for Document {
    type Err = BadPolicy;

    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        if Self::SIZE_BYTES_MAX < text.len() {
            return Err(BadPolicy::TooLarge { found: text.len() });
        }
        let found = text.chars().filter(|c| !c.is_whitespace()).count();
        if Self::LEN_CHARS_MAX < found {
            return Err(BadPolicy::TooLong { found });
        }
        let written: wire::Document = serde_json::from_str(text).map_err(BadPolicy::Shape)?;
        match written.version.as_deref() {
            None | Some("2012-10-17" | "2008-10-17") => {}
            Some(found) => {
                let found = found.chars().take(40).collect();
                return Err(BadPolicy::Version { found });
            }
        }
        if written.statement.0.is_empty() {
            return Err(BadPolicy::Empty);
        }
        let statements = written.statement.0.into_iter().enumerate().map(|(index, statement)| {
            Statement::try_from(statement).map_err(|bad| BadPolicy::Statement {
                position: index + 1,
                reason: bad.to_string(),
            })
        });
        let statements: Vec<Statement> = statements.collect::<Result<_, _>>()?;
        let asks = Asks {
            time: statements.iter().flat_map(Statement::keys).any(Key::is_time),
            certificate: statements.iter().flat_map(Statement::keys).any(Key::is_of_certificate),
        };
        Ok(Self { statements, asks })
    }
}

impl Statement {
    fn keys(&self) -> impl Iterator<Item = &Key> {
        let resources = self.resources.iter().flat_map(Resource::keys);
        resources.chain(self.conditions.iter().flat_map(Condition::keys))
    }

    fn matches(&self, context: &Context, request: Request<'_>) -> bool {
        if !self.actions.contain(request.action) {
            return false;
        }
        let is_allow = self.effect == Effect::Allow;
        let is_filter = is_allow && request.action == Action::Subscribe;
        let values = Values {
            context,
            is_filter,
            // With `NotResource` the list says what is spared: there a variable that is not told spares nothing.
            untold_is_any: !is_allow && !self.is_other_resources,
        };
        let is_listed = || self.resources.iter().any(|resource| resource.matches(request, values));
        let is_about = if self.is_other_resources {
            let is_resolved = || self.resources.iter().all(|resource| resource.is_resolved(values));
            !is_listed() && (!is_allow || is_resolved())
        } else {
            is_listed()
        };
        let is_connect = request.action == Action::Connect;
        let holds = |condition: &Condition| {
            condition.holds(self.effect, is_connect, values) && (!is_allow || condition.is_resolved(values))
        };
        is_about && self.conditions.iter().all(holds)
    }
}

impl Actions {
    fn contain(self, action: Action) -> bool {
        self.0 & Self::bit(action) != 0
    }

    /// The actions that a pattern such as `iot:Pub*` names, whatever the case. Those of other services are none.
    fn named(pattern: &str) -> Result<Self, BadStatement> {
        let bad = || BadStatement::Action {
            found: pattern.chars().take(80).collect(),
        };
        if pattern != "*" && !pattern.contains(':') || pattern.contains('$') {
            return Err(bad());
        }
        let pattern = Pattern::parse(&pattern.to_ascii_lowercase(), Wildcards::Special).map_err(|_| bad())?;
        let is_named = |action: &Action| pattern.matches_plain(&action.as_str().to_ascii_lowercase());
        let bits = Action::ALL.into_iter().filter(is_named).map(Self::bit);
        Ok(Self(bits.fold(0, |bits, bit| bits | bit)))
    }

    fn bit(action: Action) -> u16 {
        const {
            assert!(
                Action::ALL.len() <= u16::BITS as usize,
                "every action needs a bit of its own"
            )
        };
        1 << (action as u16)
    }
}

/// Why a statement cannot be understood.
#[derive(Debug, thiserror::Error)]
enum BadStatement {
    #[error("effect is {found:?}, expected Allow or Deny")]
    Effect { found: String },
    #[error("expected one of {expected}, and not empty")]
    OneOf { expected: &'static str },
    #[error("action is {found:?}, expected * or iot:<name>")]
    Action { found: String },
    #[error(transparent)]
    Resource(#[from] BadResource),
    #[error(transparent)]
    Condition(#[from] BadCondition),
}

impl TryFrom<wire::Statement> for Statement {
    type Error = BadStatement;

    fn try_from(written: wire::Statement) -> Result<Self, BadStatement> {
        let effect = match written.effect.as_str() {
            "Allow" => Effect::Allow,
            "Deny" => Effect::Deny,
            found => {
                let found = found.chars().take(40).collect();
                return Err(BadStatement::Effect { found });
            }
        };
        let (patterns, is_other_actions) = either(written.action, written.not_action, "Action and NotAction")?;
        let mut actions = Actions::default();
        for pattern in &patterns {
            actions.0 |= Actions::named(pattern)?.0;
        }
        if is_other_actions {
            actions.0 = !actions.0;
        }
        let (texts, is_other_resources) = either(written.resource, written.not_resource, "Resource and NotResource")?;
        let resources = texts
            .iter()
            .map(|text| Resource::parse(text))
            .collect::<Result<_, _>>()?;
        let mut conditions = Vec::new();
        for (operator, keys) in &written.condition.0 {
            for (key, operands) in &keys.0 {
                let operands: Vec<&str> = operands.0.iter().map(|operand| operand.0.as_str()).collect();
                conditions.push(Condition::parse(operator, key, &operands)?);
            }
        }
        Ok(Self {
            effect,
            actions,
            is_other_resources,
            resources,
            conditions,
        })
    }
}

/// The list under one of two keys, and whether it is the second.
fn either(
    these: Option<wire::OneOrMany<String>>,
    others: Option<wire::OneOrMany<String>>,
    expected: &'static str,
) -> Result<(Vec<String>, bool), BadStatement> {
    match (these, others) {
        (Some(these), None) if !these.0.is_empty() => Ok((these.0, false)),
        (None, Some(others)) if !others.0.is_empty() => Ok((others.0, true)),
        _ => Err(BadStatement::OneOf { expected }),
    }
}
