//! The x402 facilitator: verifies and settles `exact` payments, in-process or at a URL.
//!
//! `settle` tells a refusal from an unknown result. After `Unknown` the payment may or may not be on-chain: whoever calls
//! asks the chain before anything is served, refused or retried.

use serde_json::Value;

/// A payment that would settle now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Address that pays.
    pub payer: String,
}

/// The payment does not hold; nothing was taken. `reason` is an x402 error reason, e.g. `invalid_signature`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The payment is not valid against the requirements.
    #[error("the payment is refused: {reason}")]
    Refused {
        /// x402 error reason.
        reason: String,
        /// Address that would pay, when known.
        payer: Option<String>,
    },
    /// The facilitator cannot tell now (down, no RPC): nothing was taken, try again.
    #[error("the facilitator is not available: {0}")]
    Unavailable(String),
}

/// A payment that is on-chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Transaction hash.
    pub transaction: String,
    /// Network as the facilitator names it.
    pub network: String,
    /// Address that paid.
    pub payer: String,
}

/// A payment that did not settle, or may not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// Refused before anything was sent, or reverted: nothing was taken.
    #[error("the settlement is refused: {reason}")]
    Refused {
        /// x402 error reason.
        reason: String,
    },
    /// Timeout or lost answer: ask the chain (`authorization_used`).
    #[error("the settlement result is unknown: {0}")]
    Unknown(String),
}
