//! The compute endpoints over the paid world: every kind of job from credit and per call, batches, durable jobs across restarts,
//! webhooks, streams, files, OpenAI's shapes, sign-in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod anything;
mod attested;
mod batches;
mod cloud;
mod discovery;
mod durable;
mod files;
mod fuzz;
mod kinds;
mod offer_receipt;
mod openai;
mod provider_webhooks;
mod rate_cards;
mod schema;
mod shared;
mod sign_in;
mod streams;
#[path = "../paid/token_chain.rs"]
mod token_chain;
mod webhooks;
#[path = "../paid/world.rs"]
mod world;
