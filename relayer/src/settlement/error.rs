//! Why a chain action does not happen, or not yet.

use compute_futures_chain::ChainError;
use compute_futures_protocol::AccountId;

use super::Purpose;
use crate::follow::FollowError;
use crate::ledger::LedgerError;

/// A refusal, a failure or a wait that took too long.
#[derive(Debug, thiserror::Error)]
pub enum SettlementError {
    /// The ledger refuses or fails.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The chain refuses or fails.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Following fails.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The contract refuses the action for good.
    #[error("{purpose} is refused: {reason}")]
    Refused {
        /// The action.
        purpose: Purpose,
        /// The contract's words.
        reason: String,
    },
    /// Not confirmed in time. It goes on in the background; asking again waits on.
    #[error("{what} is not confirmed yet; it goes on, ask again later")]
    Pending {
        /// What is waited for.
        what: String,
    },
    /// Jobs of the account did not end in time; the refund goes on when they have.
    #[error("{jobs} USDC are still held by running jobs of account {account}; the refund goes on when they end")]
    JobsInFlight {
        /// The account.
        account: AccountId,
        /// Held.
        jobs: compute_futures_protocol::Usdc,
    },
    /// Settings that cannot work.
    #[error("{0}")]
    Config(String),
}

impl From<sqlx::Error> for SettlementError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}
