//! What happens when something dies: the relayer at every step, the chain's newest blocks, the RPC, the provider, the indexer, the marketplace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chain;
mod crash;
mod indexer;
mod market;
mod provider;
mod queue;
