//! The relayer: x402 gate, jobs, ledger and settlement.
//!
//! One request: [`http`] → [`payment`] (402 or proof) → [`ledger`] (hold) → [`jobs`] and [`providers`] → [`ledger`] (charge and
//! receipt) → answer. In the background [`follow`] reads the chain into the ledger and [`settlement`] posts batches.
//! [`market`] meters sessions of the marketplace.
//! [`network`] brings up what belongs to one chain, [`startup`] wires it together.

pub mod catalog;
pub mod config;
pub mod error;
pub mod failpoint;
pub mod follow;
pub mod http;
pub mod jobs;
pub mod ledger;
pub mod market;
pub mod network;
pub mod payment;
pub mod providers;
pub mod settlement;
pub mod startup;
pub mod telemetry;

pub use startup::{Running, run, start};
#[cfg(feature = "test-util")]
pub mod test_util;
