//! What can go wrong between a client and a relayer.

use compute_futures_protocol::Usdc;
use compute_futures_x402::CreditError;
use serde_json::Value;

/// Failure of a call. Unless it says otherwise nothing was paid.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// No answer.
    #[error("{url} does not answer: {reason}")]
    Unreachable {
        /// What was called.
        url: String,
        /// Why, as far as known.
        reason: String,
    },
    /// The relayer (or indexer) says no.
    #[error("{error} (HTTP {status}, {code})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Stable name of the error.
        code: String,
        /// What happened.
        error: String,
        /// What to do.
        hint: String,
        /// Figures for programs, e.g. `ceilingNeeded`.
        extra: Option<Value>,
        /// Whether a payment that came with the request may be charged all the same.
        may_charge: bool,
    },
    /// An answer that makes no sense.
    #[error("{url} sent an unusable answer: {reason}")]
    BadAnswer {
        /// What was called.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// What is offered differs from what this client was told to trust; nothing was signed.
    #[error("nothing was signed: {0}")]
    Untrusted(String),
    /// The price is above the client's own bound; nothing was signed.
    #[error("nothing was signed: {0}")]
    TooExpensive(String),
    /// The session has spent what it may.
    #[error(
        "nothing was signed: this costs up to {needed} USDC, more than is left of the session's limit of {limit} USDC"
    )]
    SessionLimit {
        /// What the session may spend in all.
        limit: Usdc,
        /// What this may cost.
        needed: Usdc,
    },
    /// The account's ceiling is too low for this job, and the client was not told to raise it so far.
    #[error("the account's ceiling must rise to {needed} USDC for this job; nothing was charged")]
    CeilingTooLow {
        /// The least ceiling that lets it run.
        needed: Usdc,
    },
    /// The receipt does not prove what it should. The job ran and was charged: keep the answer as evidence.
    #[error("the receipt does not hold: {0}")]
    BadReceipt(String),
    /// The payment could not be made.
    #[error("the payment could not be signed: {0}")]
    Signing(String),
}

impl ClientError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable { .. } => "check the URL (--relayer, --indexer) and that the service runs".into(),
            Self::Refused { hint, .. } => hint.clone(),
            Self::BadAnswer { .. } => {
                "check that the URL is a relayer's (or indexer's) of this product and version".into()
            }
            Self::Untrusted(_) => {
                "check --network, --contract and --operator against what the operator publishes".into()
            }
            Self::SessionLimit { .. } => "ask for less, or start again with a higher --limit".into(),
            Self::TooExpensive(_) => "raise --max if the price is right".into(),
            Self::BadReceipt(_) => {
                "keep the answer; compare it with `compute-futures verify`, and take it up with the operator".into()
            }
            Self::CeilingTooLow { needed } => {
                format!("allow it: --raise-ceiling {needed} or more, or --yes for all of the credit")
            }
            Self::Signing(_) => "check the key".into(),
        }
    }

    /// Stable name for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Refused { code, .. } => code,
            Self::BadAnswer { .. } => "bad_answer",
            Self::Untrusted(_) => "untrusted_offer",
            Self::SessionLimit { .. } => "session_limit",
            Self::TooExpensive(_) => "too_expensive",
            Self::CeilingTooLow { .. } => "ceiling_too_low",
            Self::BadReceipt(_) => "bad_receipt",
            Self::Signing(_) => "signing_failed",
        }
    }
}

impl From<CreditError> for ClientError {
    fn from(error: CreditError) -> Self {
        match error {
            CreditError::Untrusted(what) => Self::Untrusted(what),
            CreditError::BadReceipt(what) => Self::BadReceipt(what),
        }
    }
}
