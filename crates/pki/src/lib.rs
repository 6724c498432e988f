//! Keys, certificates, fingerprints.
//!
//! Pure but for randomness. A certificate is known by the SHA-256 of its DER, never by a name written in it. This room
//! never decides who may come in, and it reads no clock: the time is an argument, in milliseconds since the epoch.

mod authority;
mod facts;
mod fields;
mod key;
mod request;
mod signer;

pub use authority::{Authority, Issued, PkiError};
pub use facts::{BadCertificate, CertificateFacts, fingerprint};
pub use fields::fields;
pub use key::KeyKind;
pub use request::BadRequest;
pub use signer::MessageSigner;
