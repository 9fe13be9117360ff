//! Against a real node: anvil, Circle's USDC, the contract.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod local;
mod verbs;
mod world;
