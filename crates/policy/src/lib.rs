//! IoT policy documents: may this principal do this.
//!
//! Pure: a document is parsed once, a question is answered from memory. This room never looks anything up, and it does not
//! know what a report or a violation is.
//!
//! A [`Document`] is parsed from JSON, any number of them make a [`PolicySet`], and [`PolicySet::decide`] answers a
//! [`Request`] in a [`Context`]: an explicit deny wins, else an allow permits, else the answer is no.
//!
//! Three choices make a policy that cannot be fully understood err on the safe side, where AWS keeps silent:
//! - a resource with a variable that has no value matches nothing, but it does not spare anything from a `Deny` with
//!   `NotResource`, and an `Allow` with `NotResource` and such a variable grants nothing;
//! - what the caller did not tell (the address, the time, the certificate's fields, the thing's type and attributes), or what
//!   nobody here knows (`aws:PrincipalTag/...`), holds in a `Deny` and fails in an `Allow`: a condition on it, and a resource
//!   with it as a variable;
//! - a value with `+` or `#` is not put into what an `Allow` lets a client subscribe to: a client that calls itself `+`
//!   would otherwise turn `topicfilter/${iot:ClientId}/news` into everybody's news.
//!
//! Source of the rules: AWS IoT Core's policies (actions, resources, variables, conditions).

mod condition;
mod context;
mod date;
mod document;
mod key;
mod pattern;
mod request;
mod resource;
mod set;

pub use context::{CertificateVariables, ConnectAttributes, Context, ThingFacts};
pub use document::{Asks, BadPolicy, Document};
pub use request::{Action, Decision, Request};
pub use set::{PolicySet, Reach};
