//! AWS's shapes, ARNs, error names, SigV4.
//!
//! Pure: it signs and verifies bytes it is given. It opens no connection, reads no clock, and decides nothing about
//! devices.

pub mod call;
pub mod operator;
pub mod percent;
pub mod sigv4;
