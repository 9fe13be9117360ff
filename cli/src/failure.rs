//! The one form in which the command line says that something went wrong: what happened, and what to do.

use compute_futures_chain::ChainError;
use serde::Serialize;

use crate::client::ClientError;

/// Result of a command.
pub type Outcome<T> = Result<T, Failure>;

/// What went wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// What happened.
    pub error: String,
    /// Stable name for programs.
    pub code: String,
    /// What to do.
    pub hint: String,
}

impl Failure {
    /// What happened, and what to do.
    pub fn new(code: &str, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { error: error.into(), code: code.into(), hint: hint.into() }
    }

    /// Something that was checked and did not hold.
    pub fn broken(error: impl Into<String>) -> Self {
        Self::new("does_not_hold", error, "this must not happen: keep the output, and report it")
    }

    /// A file that cannot be read or written.
    pub fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new("file", format!("{}: {error}", path.display()), "check the path and its permissions")
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self { error: error.to_string(), code: error.code().into(), hint: error.hint() }
    }
}

impl From<ChainError> for Failure {
    fn from(error: ChainError) -> Self {
        let (code, hint) = match &error {
            ChainError::Unavailable(_) => ("rpc_unavailable", "check --rpc, or try again later".into()),
            ChainError::Inconsistent(_) => {
                ("rpc_inconsistent", "check that --rpc and --contract belong together".into())
            }
            ChainError::Reverted { name, .. } => ("refused_by_contract", revert_hint(name).to_owned()),
            ChainError::Rejected(_) => (
                "refused_by_node",
                "check that the key's address holds ETH (Base) or SOL (Solana) for fees on this network".into(),
            ),
            ChainError::Config(_) => ("configuration", "check --network, --rpc, --contract and --key".into()),
        };
        Self { error: error.to_string(), code: code.into(), hint }
    }
}

/// What a person does about a contract error.
pub(crate) fn revert_hint(name: &str) -> &'static str {
    match name.trim_start_matches("ComputeFutures_") {
        "NotOwner" => "use the owner's key; a delegate cannot do this",
        "NotSpender" => "use the owner's or the delegate's key",
        "NotOperator" | "NotAccountOperator" => "use the operator's key",
        "AccountClosed" => "open a new account: this one is closed",
        "DepositTooSmall" => "deposit at least the operator's minimum (see `compute-futures operator terms`)",
        "CeilingNotRaised" => "a ceiling only rises: name a higher one",
        "RefundNotDue" => {
            "wait until the refund delay is over, or ask the operator (`compute-futures refund` without flags)"
        }
        "RefundNotRequested" => "start the delay first: compute-futures refund --request",
        "RefundAlreadyRequested" => "the delay is running: claim after it with compute-futures refund --claim",
        "NothingToSweep" => "transfer USDC to the deposit address first, more than its fee",
        "UnknownAccount" | "UnknownOperator" | "WrongAccountAddress" | "WrongOperatorAddress" => {
            "check the id and the network"
        }
        "InsufficientEarnings" => "withdraw less (see `compute-futures operator status`)",
        "InvalidRecipient" | "InvalidOwner" => "name an address that is somebody's wallet",
        "InvalidSignature" => "sign with the owner's key, for this network and contract",
        _ => "the transaction was not sent; nothing changed",
    }
}
