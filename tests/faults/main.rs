//! What happens when something dies: the relayer at every step, the chain's newest blocks, the RPC, the provider, the indexer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chain;
mod crash;
mod indexer;
mod provider;
mod queue;
