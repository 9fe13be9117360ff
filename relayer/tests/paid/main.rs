//! The paid endpoints: over a chain in memory and a facilitator that does as it is told (`gate`, `bad_input`), and on a real node
//! with the real token, the real facilitator and the stock client (`quickstart`); on both networks behind one relayer (`solana`, `head`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod bad_input;
mod both;
mod credit;
mod deposits;
mod exact;
mod head;
mod local;
mod quickstart;
mod solana;
mod token_chain;
mod world;
