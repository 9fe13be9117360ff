//! What the gate must know about the deployment it takes payments for.

use std::time::Duration;

use compute_futures_protocol::{Address, Chain, Domain, SolanaAddress, TokenDomain};

/// USDC as `exact` payments name it on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asset {
    /// The contract and its EIP-712 domain: what payments are signed for.
    Evm(TokenDomain),
    /// The mint, and who pays the fee of a payment's transaction.
    Solana {
        /// Circle's.
        mint: SolanaAddress,
        /// The facilitator's key.
        fee_payer: SolanaAddress,
    },
}

impl Asset {
    /// Address of the token.
    #[must_use]
    pub const fn address(&self) -> Address {
        match self {
            Self::Evm(domain) => Address::Evm(domain.token),
            Self::Solana { mint, .. } => Address::Solana(*mint),
        }
    }

    /// The token's EIP-712 domain, on an EVM chain.
    #[must_use]
    pub const fn evm(&self) -> Option<&TokenDomain> {
        match self {
            Self::Evm(domain) => Some(domain),
            Self::Solana { .. } => None,
        }
    }
}

/// A deployment on one network as payments see it. Built once at startup.
#[derive(Debug, Clone)]
pub struct PaymentSettings {
    /// The chain everything settles on.
    pub chain: Chain,
    /// EIP-712 domain of the ComputeFutures contract: what job authorisations are signed for.
    pub domain: Domain,
    /// USDC: what `exact` payments are made in.
    pub token: Asset,
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
    /// `maxTimeoutSeconds` on an EVM chain.
    pub const MAX_TIMEOUT_SECONDS: u64 = 300;
    /// `maxTimeoutSeconds` on Solana: a transaction can be included for 150 blocks after the one it names, about a minute.
    pub const SOLANA_TIMEOUT_SECONDS: u64 = 60;
    /// `resolve_wait` unless told otherwise.
    pub const RESOLVE_WAIT: Duration = Duration::from_secs(20);
}
