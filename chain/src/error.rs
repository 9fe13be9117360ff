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
    /// The node refuses the transaction (nonce too low, underpriced, insufficient gas funds …).
    #[error("the node refuses the transaction: {0}")]
    Rejected(String),
    /// Wrong settings: unknown chain id, no contract at the address, unreadable key.
    #[error("configuration: {0}")]
    Config(String),
}
