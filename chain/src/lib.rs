//! The only place with contract bindings: read state, follow events, post transactions.
//!
//! Everything above this crate speaks [`ChainReader`], [`ChainWriter`] and [`EventKind`]; nothing above it branches on the chain.

mod error;
mod event;
pub mod evm;
mod keys;
pub mod market;
mod reader;
pub mod solana;
mod transport;
mod writer;

pub use error::{ChainError, Rejection};
pub use event::{ChainEvent, EventKind, EventMeta, EventRange};
pub use keys::KeySource;
pub use reader::{AccountOnChain, BlockRef, ChainReader, Finality, Heads, OperatorOnChain};
pub use writer::{
    Action, ChainWriter, DebitRow, Fees, Lifetime, Progress, SignedTransaction, Sponsorship, TransactionOutcome,
    Validity,
};
