//! Who pays, and how: the gate in front of every paid endpoint, and the facilitator behind it.
//!
//! [`wire`] reads what a client presents, [`offer`] says what a request costs and on which networks, [`gates`] brings both together
//! and hands the payment to the [`gate`] of its network. Then by scheme:
//! [`credit`] proves a job authorisation and `spend` charges it; `collect` takes a plain payment, `exact` settles it once.
//! `transfer` takes one that was made
//! before. [`answer`] and [`report`] write what is sent back, [`recover`] ends what a crash left open.

pub mod answer;
mod collect;
pub mod credit;
mod exact;
pub mod facilitator;
pub mod gate;
pub mod gates;
pub mod later;
pub mod offer;
#[cfg(test)]
mod offer_tests;
mod on_chain;
pub mod recover;
mod refusal;
pub mod report;
pub mod service;
pub mod settings;
mod spend;
pub(crate) mod streamed;
mod transfer;
pub mod wire;

pub use gate::{Gate, PaidRequest};
pub use gates::Gates;
pub use service::{Done, Draw, Payer, Service};
pub use settings::{Asset, PaymentSettings};
