//! The AWS-compatible control plane over HTTP: service functions, request and response, status codes.
//!
//! No request is served before its signature is verified, and one function knows status codes. This room holds no SQL.
