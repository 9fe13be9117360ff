//! The indexer: follows the contracts and serves balances, history, proofs.

pub mod config;
pub mod error;
pub mod project;
pub mod store;

pub use config::Config;
pub use error::{IndexerError, Result};
