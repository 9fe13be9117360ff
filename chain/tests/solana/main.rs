//! The interface on Solana, over Surfpool with the program's fixture.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod past;
mod posting;
mod verbs;
mod world;
