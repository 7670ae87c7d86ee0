//! The launcher: the first process of a container of a tenant's own image. It starts the tenant's program
//! when the runner, in a container of its own, says so, and ends all that is left of it afterwards.
//!
//! | step | module |
//! |---|---|
//! | what runner and launcher say to each other | [`wire`] |
//! | connection to the runner, one a run | [`serve`] |
//! | one run: start, wait, end | [`process`] |
//!
//! The program's standard streams are pipes that the runner made: nothing of them goes through here. The
//! runner trusts nothing that comes from this side, for the tenant's program may be behind it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod process;
pub mod serve;
pub mod wire;

#[cfg(test)]
mod tests;
