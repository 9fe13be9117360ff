//! The marketplace: providers, escrows, sessions (docs/marketplace.md), followed beside the contract with its cursor and its blocks.
//!
//! One event walks `fold` (events → rows, checked step by step against `protocol::market`) → `project` (rows → SQL, in the
//! transaction of the range). `receipts` fetches what meters publish of closed sessions and checks it; `outcomes` asks them
//! how providers did; `metrics` adds both up.

mod agent;
mod deployment;
mod escrow;
mod fold;
pub mod metrics;
mod outcomes;
mod project;
mod provider;
pub mod receipts;
mod rollback;
mod session;
mod solvency;
mod tables;

pub use agent::AgentRow;
pub use deployment::{Deployment, MarketAt, bind};
pub use escrow::EscrowRow;
pub use fold::{Finding, Fold, Folded, Known};
pub use outcomes::HOURS;
pub(crate) use outcomes::OutcomePoller;
pub(crate) use project::{catch_up, forget, write};
pub use provider::ProviderRow;
pub(crate) use receipts::SessionFetcher;
pub(crate) use rollback::roll_back;
pub use session::SessionRow;
pub use solvency::MarketSolvency;
pub(crate) use solvency::check as check_solvency;
pub use tables::{Key, MARKET_RECEIPTS};
