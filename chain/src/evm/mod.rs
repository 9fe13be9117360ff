//! Base and its kin.
//!
//! [`EvmReader`] reads and follows, [`EvmWriter`] signs and posts, [`KeySource`] says where a key is kept. One request walks
//! `reader` or `writer` → `transport` → an endpoint; one event walks `logs` → [`crate::EventKind`].

mod bindings;
mod blocks;
mod call;
mod config;
#[cfg(feature = "local")]
pub mod local;
mod logs;
mod market;
mod reader;
mod revert;
mod writer;

use compute_futures_protocol::{Address, EvmAddress};

use crate::ChainError;

pub use config::{Deployment, EvmConfig, published_deployment};
pub use market::{EvmMarket, MarketContracts, published_market};
pub use reader::EvmReader;
pub use writer::EvmWriter;

/// The address on an EVM chain; any other is none here.
fn evm(address: Address) -> Result<EvmAddress, ChainError> {
    address.evm().ok_or_else(|| {
        ChainError::Rejected(format!("{address} is no address on an EVM chain; use 0x and 40 hexadecimal digits"))
    })
}
