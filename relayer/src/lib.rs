//! The relayer: x402 gate, jobs, ledger and settlement.

pub mod catalog;
pub mod config;
pub mod error;
pub mod payment;
pub mod providers;
pub mod failpoint;
pub mod ledger;
