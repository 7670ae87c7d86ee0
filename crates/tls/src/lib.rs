//! TLS to databases and brokers: whose certificates are believed ([`Trust`]), and what is wrong where a connection cannot
//! be made ([`fault`]).
//!
//! Drivers tell failures of TLS in texts of their own, or not at all. So whoever could not log in looks again with a
//! bare handshake, which says the same of every server.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod fault;
mod trust;

pub use fault::{Address, fault};
pub use trust::{Trust, TrustError};
