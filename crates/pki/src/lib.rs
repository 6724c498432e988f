//! Keys, certificates, fingerprints.
//!
//! Pure but for randomness. A certificate is known by the SHA-256 of its DER, never by a name written in it. This room
//! never decides who may come in.
