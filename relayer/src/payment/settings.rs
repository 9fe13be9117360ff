//! What the gate must know about the deployment it takes payments for.

use std::time::Duration;

use compute_futures_protocol::{Address, Chain, Domain, TokenDomain};

/// The deployment as payments see it. Built once at startup.
#[derive(Debug, Clone)]
pub struct PaymentSettings {
    /// The chain everything settles on.
    pub chain: Chain,
    /// EIP-712 domain of the ComputeFutures contract: what job authorisations are signed for.
    pub domain: Domain,
    /// The USDC contract and its EIP-712 domain: what `exact` payments are signed for.
    pub token: TokenDomain,
    /// This operator's index in the contract.
    pub operator_index: u32,
    /// This operator's address.
    pub operator: Address,
    /// Where `exact` payments go (deposits go to their deposit address instead).
    pub pay_to: Address,
    /// Origin under which clients reach this relayer, without a trailing slash: `https://relayer.example`. Only named in
    /// answers; nothing is decided by it.
    pub public_url: String,
    /// How long a client may take to present a payment, in seconds. It must outlive the slowest job, because an `exact`
    /// payment settles after the work.
    pub max_timeout_seconds: u64,
    /// How long a request waits to learn what became of a settlement whose answer was lost.
    pub resolve_wait: Duration,
}

impl PaymentSettings {
    /// `maxTimeoutSeconds` unless told otherwise.
    pub const MAX_TIMEOUT_SECONDS: u64 = 300;
    /// `resolve_wait` unless told otherwise.
    pub const RESOLVE_WAIT: Duration = Duration::from_secs(20);
}
