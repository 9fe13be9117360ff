//! The marketplace (docs/adr/014-marketplace.md) in the same words for every chain: what happened, what stands, what can be done.
//!
//! [`MarketReader`] reads it; a [`MarketAction`] is posted as [`crate::Action::Market`] by a writer that knows the market.

mod action;
mod event;
mod reader;

pub use action::{MarketAction, SignedCost};
pub use event::{MarketEvent, SessionRejection};
pub use reader::{EscrowOnChain, MarketReader, ProviderOnChain, SessionOnChain, SessionTerms, UnsignedVerb};
