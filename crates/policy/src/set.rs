//! All the policies that concern one principal.

use std::sync::Arc;

use crate::context::Context;
use crate::document::{Asks, Document};
use crate::request::{Decision, Request};

/// All the policies that concern one principal. Cheap to clone. The default is empty, and so denies everything.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    documents: Arc<[(Arc<Document>, Reach)]>,
}

/// How much of a document counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of its statements.
    Full,
    /// Only what it denies: for policies of things that the principal might be.
    DenyOnly,
}

impl Reach {
    /// What counts of a document's answer.
    fn of(self, decision: Decision) -> Decision {
        match (self, decision) {
            (Self::DenyOnly, Decision::Allow) => Decision::ImplicitDeny,
            _ => decision,
        }
    }
}

impl PolicySet {
    /// The set of these documents. Their order means nothing.
    pub fn new(documents: Vec<(Arc<Document>, Reach)>) -> Self {
        Self {
            documents: documents.into(),
        }
    }

    /// What any of the documents asks for.
    pub fn asks(&self) -> Asks {
        self.documents.iter().fold(Asks::default(), |asks, (document, _)| Asks {
            time: asks.time || document.asks().time,
            certificate: asks.certificate || document.asks().certificate,
        })
    }

    /// The same set with the documents' answers kept apart, in the order in which they were given.
    pub fn answers(&self, context: &Context, request: Request<'_>) -> impl Iterator<Item = Decision> {
        self.documents
            .iter()
            .map(move |(document, reach)| reach.of(document.decide(context, request)))
    }

    /// Whether the request is permitted: an explicit deny wins, else an allow permits, else it is denied implicitly.
    pub fn decide(&self, context: &Context, request: Request<'_>) -> Decision {
        let mut decision = Decision::ImplicitDeny;
        for (document, reach) in self.documents.iter() {
            match reach.of(document.decide(context, request)) {
                Decision::ExplicitDeny => return Decision::ExplicitDeny,
                Decision::Allow => decision = Decision::Allow,
                Decision::ImplicitDeny => {}
            }
        }
        decision
    }
}
