//! The registry: things, groups, certificates, policies.
