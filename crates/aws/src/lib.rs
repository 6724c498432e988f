//! AWS's shapes, ARNs, error names, SigV4.
//!
//! Pure: it signs and verifies bytes it is given. It opens no connection, reads no clock, and decides nothing about
//! devices.
//!
//! Reading order: [`service`] (what is called), [`sigv4`] (who calls), [`shape`] (what a request may hold, and how it is read), [`wire`] (the operations),
//! [`arn`], [`error`], [`xml`]; for clients [`call`] and [`operator`].

pub mod arn;
pub mod call;
pub mod error;
pub mod operator;
pub mod percent;
pub mod service;
pub mod shape;
pub mod sigv4;
pub mod wire;
pub mod xml;
