//! The AWS-compatible control plane over HTTP: service functions, request and response, status codes.
//!
//! No request is served before its signature is verified, and one function knows status codes. This room holds no SQL, and
//! it decides nothing about devices: it changes what others decide by, and tells them before it answers.
//!
//! Reading order: [`serve`] (connections), [`router()`] (what a request goes through), `service` (what each operation does), `keys` (who calls).

pub mod access;
pub mod broker;
mod call;
pub mod compatibility;
mod error;
mod guard;
pub mod keys;
mod listen;
mod page;
pub mod router;
pub mod service;
mod state;

pub use broker::Broker;
pub use error::ApiError;
pub use keys::KeyRing;
pub use listen::{Limits, serve};
pub use router::{router, router_within};
pub use state::{Api, ApiState, Caller, Explainer, Explanation, Live, MessageCertificate};
