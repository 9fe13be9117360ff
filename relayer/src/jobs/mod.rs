//! Jobs: a request to a provider under a hold, priced by the catalog.
//!
//! [`Job`] is what the gate serves at once. It knows the most it can cost before it runs, and what it did cost after; between the
//! two stand the hold and the provider. What takes longer than a request goes to the [`queue`]: long predictions and batches
//! ([`batch`]), whose end is asked for ([`status`]) or told ([`webhook`]). Files that jobs make are [`artifacts`]. Whatever goes
//! wrong in between, nothing is charged (I-8).

pub mod answer;
pub mod artifacts;
pub mod batch;
mod form;
mod job;
pub mod queue;
pub mod status;
pub mod webhook;

pub use artifacts::Artifacts;
pub use form::Form;
pub use job::{Job, Paying};
