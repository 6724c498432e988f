//! What is done about a violation: plan (pure), notify, mitigate.
//!
//! Each (violation, response) acts once, whatever crashes in between. This room never judges.
