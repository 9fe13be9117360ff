//! The indexer: follows the contracts and serves balances, history, proofs.
//!
//! Everything that belongs to one chain is a `network`; several share the process and the port, and nothing else (ADR 012).
//! One event walks `follow` (chain → ranges) → `project` (events → rows) → `store` (rows → SQL); one request walks
//! `http/<resource>` → `store`. `market` does the same for the marketplace, with the same cursor. `receipts` fetches what operators publish and checks it; `audit` re-derives an account's
//! charges from chain and receipts alone. Everything stored is derived from the chain and can be deleted.

pub mod audit;
pub mod config;
pub mod error;
mod failpoint;
pub mod follow;
pub mod http;
pub mod market;
pub mod network;
pub mod project;
pub mod receipts;
pub mod solvency;
mod startup;
pub mod store;
mod telemetry;

pub use audit::{AuditReport, Finding, audit};
pub use config::{Config, NetworkConfig, OperatorSource};
pub use error::{IndexerError, Result};
pub use startup::{Options, run, run_on, run_with};
pub use telemetry::init as init_telemetry;
