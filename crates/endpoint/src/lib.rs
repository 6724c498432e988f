//! Where devices arrive: TLS, certificate to principal, sessions, authorization on every path.
//!
//! No packet goes in or out of a session that policy does not allow now. This room knows no registry, no log and no
//! database: it asks through the traits in `doors`.
