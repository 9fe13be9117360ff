//! What can go wrong between us and a chain.

/// Failure of a chain call. `Unavailable` is worth a retry, the others are not.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// No RPC endpoint answered in time; retry later.
    #[error("no RPC endpoint answered: {0}")]
    Unavailable(String),
    /// An endpoint answered something that contradicts itself or the contract.
    #[error("the RPC answer makes no sense: {0}")]
    Inconsistent(String),
    /// The call or transaction would revert; `name` is the contract's error, e.g. `ComputeFutures_AccountClosed`.
    #[error("the contract refuses: {name} {detail}")]
    Reverted {
        /// Name of the Solidity error (or program error on Solana).
        name: String,
        /// Its arguments, printed.
        detail: String,
    },
    /// The node refuses the transaction, or us before it is sent (nonce too low, underpriced, insufficient gas funds …).
    #[error("refused: {0}")]
    Rejected(String),
    /// Wrong settings: unknown chain id, no contract at the address, unreadable key.
    #[error("configuration: {0}")]
    Config(String),
}

/// Why a node refuses a transaction, read from its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// It has this very transaction.
    AlreadyKnown,
    /// The nonce is used: by this transaction, an earlier attempt, or somebody else with the key.
    NonceTooLow,
    /// Another transaction with this nonce is waiting and pays as much or more; offer at least 10% more.
    Underpriced,
    /// Not enough ether for gas.
    InsufficientFunds,
    /// Anything else.
    Other,
}

impl ChainError {
    /// What kind of refusal this is; `None` for errors other than [`ChainError::Rejected`].
    #[must_use]
    pub fn rejection(&self) -> Option<Rejection> {
        let Self::Rejected(words) = self else { return None };
        let words = words.to_ascii_lowercase();
        let says = |any: &[&str]| any.iter().any(|part| words.contains(part));
        Some(if says(&["already known", "already imported", "known transaction", "already exists"]) {
            Rejection::AlreadyKnown
        } else if says(&["nonce too low", "nonce is too low", "invalid nonce", "old nonce"]) {
            Rejection::NonceTooLow
        } else if says(&["underpriced", "fee too low", "gas price too low"]) {
            Rejection::Underpriced
        } else if says(&["insufficient funds", "insufficient balance"]) {
            Rejection::InsufficientFunds
        } else {
            Rejection::Other
        })
    }
}
