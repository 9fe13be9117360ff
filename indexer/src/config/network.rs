//! `[base]` and `[solana]`: all that differs from chain to chain.

use std::{collections::BTreeMap, fmt};

use alloy::primitives::address;
use compute_futures_chain::solana::usdc_mint;
use compute_futures_protocol::{Address, Chain, SolanaAddress};
use serde::{Deserialize, Serialize};
use url::Url;

use super::load;

/// Circle's USDC on Base.
const USDC_ON_BASE: Address = Address::Evm(address!("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"));

/// One network. No field has a default of its own: each of the two sections has its own defaults, [`NetworkConfig::base`] and
/// [`NetworkConfig::solana`].
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct NetworkConfig {
    pub enabled: bool,
    pub network: Chain,
    #[serde(deserialize_with = "load::list")]
    pub rpc_urls: Vec<String>,
    /// On Solana the program.
    pub contract: Address,
    /// On Solana the mint.
    pub token: Address,
    /// On Solana the slot.
    pub deployment_block: u64,
    /// ProviderRegistry; zero, with the next: no marketplace is followed. On Solana the program.
    pub market_registry: Address,
    /// ComputeEscrow; on Solana the program.
    pub market_escrow: Address,
    /// On Solana the slot.
    pub market_deployment_block: u64,
    pub database_url: String,
    /// By operator index (as text: environment variables and TOML keys are text).
    pub operators: BTreeMap<String, OperatorSource>,
}

impl NetworkConfig {
    /// Defaults of `[base]`.
    #[must_use]
    pub fn base() -> Self {
        Self {
            enabled: true,
            network: Chain::Base,
            rpc_urls: vec!["https://mainnet.base.org".into()],
            contract: Address::ZERO,
            token: USDC_ON_BASE,
            deployment_block: 0,
            market_registry: Address::ZERO,
            market_escrow: Address::ZERO,
            market_deployment_block: 0,
            database_url: "sqlite:compute-futures-indexer.db".into(),
            operators: BTreeMap::new(),
        }
    }

    /// Defaults of `[solana]`.
    #[must_use]
    pub fn solana() -> Self {
        let nobody = SolanaAddress::default();
        Self {
            enabled: false,
            network: Chain::Solana,
            rpc_urls: vec!["https://api.mainnet-beta.solana.com".into()],
            contract: nobody.into(),
            token: usdc_mint(Chain::Solana).unwrap_or(nobody).into(),
            deployment_block: 0,
            market_registry: nobody.into(),
            market_escrow: nobody.into(),
            market_deployment_block: 0,
            database_url: "sqlite:compute-futures-indexer-solana.db".into(),
            operators: BTreeMap::new(),
        }
    }

    /// Whether a marketplace is named.
    #[must_use]
    pub fn has_market(&self) -> bool {
        !self.market_escrow.is_zero()
    }

    /// The section it stands in.
    #[must_use]
    pub fn section(&self) -> &'static str {
        if self.network.evm_chain_id().is_some() { "base" } else { "solana" }
    }
}

/// RPC URLs often hold a key, the database's a password: neither is shown.
impl fmt::Debug for NetworkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkConfig")
            .field("enabled", &self.enabled)
            .field("network", &self.network)
            .field("rpc_urls", &format_args!("{} hidden", self.rpc_urls.len()))
            .field("contract", &self.contract)
            .field("token", &self.token)
            .field("deployment_block", &self.deployment_block)
            .field("market_registry", &self.market_registry)
            .field("market_escrow", &self.market_escrow)
            .field("market_deployment_block", &self.market_deployment_block)
            .field("database_url", &"hidden")
            .field("operators", &self.operators)
            .finish()
    }
}

/// Where an operator publishes its receipts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorSource {
    /// Base URL of its relayer.
    pub url: Url,
    /// Permit http and private addresses.
    #[serde(default)]
    pub allow_insecure: bool,
}
