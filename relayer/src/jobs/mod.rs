//! Jobs: a request to a provider under a hold, priced by the catalog.
//!
//! [`Job`] is what the gate serves. It knows the most it can cost before it runs, and what it did cost after; between the two
//! stand the hold and the provider. Whatever goes wrong in between, nothing is charged (I-8).

mod job;

pub use job::{Job, Paying};
