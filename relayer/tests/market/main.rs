//! The marketplace: a whole relayer over a real node and the real contracts, on both chains; what moves money on both databases; providers
//! that serve, and providers that lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

#[path = "../compute/anything.rs"]
mod anything;
mod bad_input;
mod closing;
mod escrows;
mod fuzz;
mod inference;
mod malicious;
mod meter;
mod opening;
mod provider;
mod reorgs;
mod serving;
mod sign_in;
mod solana;
mod world;
