//! placeholder
pub mod doors;
