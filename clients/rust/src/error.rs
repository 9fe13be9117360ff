//! What a client of the scheme refuses.

/// Why nothing was signed, or an answer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreditError {
    /// What is offered differs from what this client was told to trust.
    #[error("nothing was signed: {0}")]
    Untrusted(String),
    /// The receipt does not prove what it should. The job ran and was charged: keep the answer as evidence.
    #[error("the receipt does not hold: {0}")]
    BadReceipt(String),
}
