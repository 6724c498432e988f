//! IoT policy documents: may this principal do this.
//!
//! Pure: a document is parsed once, a question is answered from memory. This room never looks anything up, and it does not
//! know what a report or a violation is.
