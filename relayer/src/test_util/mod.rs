//! Helpers for tests of this crate and of others: a throw-away PostgreSQL, and a chain in memory. Behind the cargo feature
//! `test-util`; nothing here belongs into production.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

pub mod fake_chain;
pub mod postgres;
