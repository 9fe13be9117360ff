//! The marketplace: sessions of agents with providers that registered on chain, metered here.

mod inference;
mod outcomes;

pub(super) use inference::inference;
pub use outcomes::OutcomesAnswer;
pub(super) use outcomes::outcomes;
