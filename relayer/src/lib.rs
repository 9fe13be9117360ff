//! The relayer: x402 gate, jobs, ledger and settlement.

pub mod catalog;
pub mod config;
pub mod error;
pub mod failpoint;
/// HTTP.
pub mod http {
    pub mod endpoints;
    pub mod shapes;
}
pub mod jobs;
pub mod ledger;
pub mod settlement;
pub mod follow;
pub mod payment;
pub mod providers;
pub mod telemetry;
