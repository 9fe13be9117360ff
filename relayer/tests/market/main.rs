//! The marketplace: sessions metered over HTTP, on the real contracts; the meter alone, on both engines; providers that lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod inference;
mod malicious;
mod meter;
mod provider;
mod serving;
mod solana;
