//! The marketplace: a whole relayer over a real node and the real contracts, on both chains; what moves money on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod bad_input;
mod closing;
mod escrows;
mod opening;
mod reorgs;
mod world;
