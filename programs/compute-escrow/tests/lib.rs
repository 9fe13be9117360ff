//! ProviderRegistry and ComputeEscrow in litesvm: every verb, every wrong account, forged signatures, the shared vectors, and the promises
//! side by side with the model of `protocol/`. The programs are those of `programs/fixtures`; `make programs` builds them.
#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod compute_units;
mod lives;
mod promises;
mod registry;
mod support;
mod vectors;
mod verbs;
