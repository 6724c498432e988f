//! All the policies that concern one principal.

use std::sync::Arc;

use crate::context::Context;
use crate::document::Document;
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

impl PolicySet {
    /// The set of these documents. Their order means nothing.
    pub fn new(documents: Vec<(Arc<Document>, Reach)>) -> Self {
        Self {
            documents: documents.into(),
        }
    }

    /// Whether the request is permitted: an explicit deny wins, else an allow permits, else it is denied implicitly.
    pub fn decide(&self, context: &Context, request: Request<'_>) -> Decision {
        let mut decision = Decision::ImplicitDeny;
        for (document, reach) in self.documents.iter() {
            match document.decide(context, request) {
                Decision::ExplicitDeny => return Decision::ExplicitDeny,
                Decision::Allow if *reach == Reach::Full => decision = Decision::Allow,
                Decision::Allow | Decision::ImplicitDeny => {}
            }
        }
        decision
    }
}
