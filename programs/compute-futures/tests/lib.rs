//! The program in litesvm: every verb, every wrong account, forged signatures, the shared vectors, and the promises side by side with the
//! model of `protocol/`. The program is `programs/fixtures/compute_futures.so`; `make programs` builds it.
#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod arithmetic;
mod compute_units;
mod ed25519;
mod promises;
mod support;
mod vectors;
mod verbs;
