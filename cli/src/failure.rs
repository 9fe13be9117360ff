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
            ChainError::Rejected(words) if words.contains("at most are taken") => (
                "too_large",
                "do it in parts: fewer agents now and the others with `escrow allow`, fewer models, fewer sessions"
                    .into(),
            ),
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
    if let Some(name) = name.strip_prefix("ComputeEscrow_").or_else(|| name.strip_prefix("ProviderRegistry_")) {
        return market_hint(name);
    }
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

/// The same for the marketplace's contracts.
fn market_hint(name: &str) -> &'static str {
    match name {
        "NotOwner" | "NotProviderOwner" => "use the key that registered the provider",
        "Retired" => "retired is for good: register another provider",
        "UnknownProvider" | "UnknownEscrow" | "WrongProvider" | "WrongEscrow" => "check the id and the network",
        "InvalidContent"
        | "InvalidEndpoint"
        | "InvalidProviderType"
        | "InvalidRateLimit"
        | "InvalidFeatures"
        | "InvalidModels"
        | "InvalidModelName"
        | "InvalidMaxContext"
        | "InvalidPrice" => "correct the content (see docs/marketplace.md for its limits)",
        "NotCreator" => "use the key that created the escrow",
        "NotAgent" => "the creator lets an agent in: compute-futures escrow allow ESCROW AGENT",
        "AgentUnchanged" => "compute-futures escrow show ESCROW --agent ADDRESS tells who is on the list",
        "InvalidAgent" => "name somebody's address; an escrow that is open to all has no list",
        "InvalidAgentSignature" => {
            "sign the opening again: it names the agent's next nonce, this network and this contract"
        }
        "InvalidMeterSignature" => "the cost must be signed by the session's meter, for this network and this contract",
        "InvalidMeter" => "name the meter that the escrow pins (see `compute-futures escrow show`)",
        "MeterRequired" => "an escrow that is open to all names its meter: --meter ADDRESS",
        "InvalidTerms" | "InvalidCreator" | "InvalidExpiry" | "InvalidSessionLimit" | "InvalidAgents" => {
            "expiry in the future, session limit above zero, at most 32 agents and none with --open-to-all, which needs --meter"
        }
        "ProviderChanged" => {
            "the provider changed its prices or retired: look at them again (`compute-futures provider show`)"
        }
        "InvalidLimit" => "stay within the escrow's session limit (see `compute-futures escrow show`)",
        "InvalidDeadline" => "a session ends before the escrow's expiry, at most 30 days from now",
        "InsufficientUnreserved" => "ask for less, or fund the escrow: compute-futures escrow fund",
        "SessionNotOpen" => "it was never opened, or is over (see `compute-futures session show`)",
        "DeadlinePassed" => "too late to close: compute-futures session lapse gives the reservation back",
        "DeadlineNotPassed" => "it lapses after its deadline (see `compute-futures session show`)",
        "Expired" | "EscrowClosed" => "create another escrow: this one is over",
        "NotExpired" => "until then the creator takes back what is unreserved: compute-futures escrow refund",
        "NothingToRefund" => "nothing is unreserved: what is reserved comes back when its session ends",
        "NothingToFund" => "name an amount above zero",
        "BudgetOverflow" => "fund another escrow",
        "InsufficientEarnings" => "withdraw less (see `compute-futures provider show`)",
        "InvalidRecipient" => "name an address that is somebody's wallet",
        "WrongAddress" => "somebody else was faster: try again",
        _ => "the transaction was not sent; nothing changed",
    }
}
