//! The interface on Solana, over Surfpool with the program's fixture.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod cluster;
mod failover;
mod market;
#[path = "../it/market_story.rs"]
mod market_story;
mod past;
mod posting;
#[path = "../it/proxy.rs"]
#[allow(dead_code)] // What only EVM chains ask for.
mod proxy;
mod sponsored;
mod tables;
mod verbs;
mod world;
