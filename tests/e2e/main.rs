//! The whole product over a real chain, each test with processes of its own; every test ends with books that balance.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod cli;
mod deposits;
mod every_endpoint;
mod exits;
mod facilitator;
mod idempotency;
mod jobs;
mod live;
mod market;
mod postgres;
mod sponsored;
mod stock;
mod stories;
