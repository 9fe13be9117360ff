//! The indexer against chains in memory and real ones, on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod audit;
mod following;
mod http;
mod market;
mod market_http;
mod market_lies;
mod market_real;
mod market_receipts;
mod networks;
mod postgres;
mod real;
mod receipts;
mod support;
mod surfpool;
