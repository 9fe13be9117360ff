//! The ledger, following and settlement, on SQLite and on PostgreSQL: every test below runs on both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod anvil;
mod fixture;
mod following;
mod gate;
mod holds;
mod model;
mod opening;
mod payments;
mod settling;
mod sponsored;
mod surfpool;
