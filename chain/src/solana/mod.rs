//! Solana. Accounts, instructions and events of the program: docs/adr/010-solana.md.
//!
//! [`SolanaReader`] reads and follows, [`SolanaWriter`] signs and posts. A block's number is its slot. What is confirmed by two
//! thirds of the stake counts as `latest` and `safe`, rooted slots as `finalized`.

mod bytes;
mod config;
mod event;
mod failure;
mod fee_payer;
mod follow;
mod instruction;
#[cfg(feature = "local")]
pub mod local;
mod market;
mod message;
mod pages;
mod past;
mod pay;
mod payment;
mod plan;
mod program;
mod reader;
mod sponsored;
mod state;
mod tables;
mod transaction;
mod writer;

use compute_futures_protocol::{Address, SolanaAddress};

use crate::ChainError;

pub use config::SolanaConfig;
pub use fee_payer::FeePayer;
pub use market::{MarketPrograms, SolanaMarket};
pub use payment::{PaidTransaction, PaymentStatus, TokenTransfer};
pub use program::usdc_mint;
pub use reader::SolanaReader;
pub use transaction::TokenBalance;
pub use writer::{FeeLimits, SolanaWriter};

/// The address on Solana; any other is none here.
fn solana(address: Address) -> Result<SolanaAddress, ChainError> {
    address
        .solana()
        .ok_or_else(|| ChainError::Rejected(format!("{address} is no address on Solana; use 32 bytes in base58")))
}
