//! The relayer: x402 gate, jobs, ledger and settlement.

pub mod error;
pub mod payment;
pub mod providers;
