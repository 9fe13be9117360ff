//! Against a real node: anvil, Circle's USDC, the contract.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod failover;
mod local;
mod logs;
mod market;
mod market_story;
mod posting;
mod proxy;
mod verbs;
mod world;
