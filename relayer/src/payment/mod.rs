//! Who pays, and how: the gate in front of every paid endpoint, and the facilitator behind it.
//!
//! [`wire`] reads what a client presents, [`offer`] says what a request costs, [`gate`] brings both together: [`credit`] proves a
//! job authorisation, [`exact`] takes a plain payment once, [`answer`] and [`report`] write what is sent back.

pub mod answer;
pub mod credit;
mod exact;
pub mod facilitator;
pub mod gate;
pub mod offer;
#[cfg(test)]
mod offer_tests;
pub mod recover;
mod refusal;
pub mod report;
pub mod service;
pub mod settings;
pub mod wire;

pub use gate::{Gate, PaidRequest};
pub use service::{Done, Draw, Payer, Service};
pub use settings::PaymentSettings;
