//! A whole relayer on a local chain: anvil with Circle's USDC and the contract, SQLite, the embedded facilitator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod boot;
mod facilitator;
mod world;
