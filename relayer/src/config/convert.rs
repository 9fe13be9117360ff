//! The settings in the words of the parts that they are for.

use std::time::Duration;

use compute_futures_chain::{
    KeySource,
    evm::{EvmConfig, published_deployment},
    solana::{SolanaConfig as SolanaRpc, usdc_mint},
};
use compute_futures_outbound::Reach;
use compute_futures_protocol::{Address, B256, Chain, EvmAddress, Terms, Tier, TokenDomain, Usdc};

use super::{BaseConfig, Config, ConfigError, ProviderConfig, SolanaConfig};

/// What every network has, whichever it is: its section without what only its kind of chain knows.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // the sections document each
pub struct NetworkSettings<'a> {
    /// Name of the section.
    pub section: &'static str,
    pub chain: Chain,
    pub rpc_urls: &'a [String],
    pub poll_interval_ms: u64,
    pub trust_latest: Usdc,
    pub trust_safe: Usdc,
    pub max_follow_lag_blocks: u64,
    pub operator_key: &'a KeySource,
    pub facilitator_key: &'a KeySource,
    pub facilitator_url: &'a str,
    pub facilitator_token_env: &'a str,
    pub pay_to: Address,
    pub ledger_url: &'a str,
    pub market_registry: Address,
    pub market_escrow: Address,
    pub market_deployment_block: u64,
    /// Wei per gas, or micro-lamports per compute unit.
    pub max_fee: u128,
    pub max_rows: u64,
}

macro_rules! settings {
    ($section:literal, $config:expr, $max_fee:expr) => {
        NetworkSettings {
            section: $section,
            chain: $config.network,
            rpc_urls: &$config.rpc_urls,
            poll_interval_ms: $config.poll_interval_ms,
            trust_latest: $config.trust_latest,
            trust_safe: $config.trust_safe,
            max_follow_lag_blocks: $config.max_follow_lag_blocks,
            operator_key: &$config.operator_key,
            facilitator_key: &$config.facilitator_key,
            facilitator_url: &$config.facilitator_url,
            facilitator_token_env: &$config.facilitator_token_env,
            pay_to: $config.pay_to,
            ledger_url: &$config.ledger_url,
            market_registry: $config.market_registry,
            market_escrow: $config.market_escrow,
            market_deployment_block: $config.market_deployment_block,
            max_fee: $max_fee,
            max_rows: $config.max_rows,
        }
    };
}

impl NetworkSettings<'_> {
    /// Whether a marketplace is named on this network.
    #[must_use]
    pub fn has_market(&self) -> bool {
        !self.market_escrow.is_zero()
    }
}

fn invalid(text: String) -> ConfigError {
    ConfigError::Invalid(vec![text])
}

fn urls(section: &str, urls: &[String]) -> Result<Vec<url::Url>, ConfigError> {
    urls.iter()
        .map(|url| url.parse().map_err(|_| invalid(format!("{section}.rpc_urls holds something that is not a URL"))))
        .collect()
}

impl BaseConfig {
    /// The settings that every network has.
    #[must_use]
    pub fn settings(&self) -> NetworkSettings<'_> {
        settings!("base", self, u128::from(self.max_fee_gwei) * 1_000_000_000)
    }

    /// The token's EIP-712 domain.
    #[must_use]
    pub fn token_domain(&self, token: EvmAddress) -> TokenDomain {
        let circle = TokenDomain::usdc(self.chain_id(), token);
        if self.token_name.is_empty() {
            return circle;
        }
        TokenDomain { name: self.token_name.clone(), version: self.token_version.clone(), ..circle }
    }

    /// How to reach the contract.
    ///
    /// # Errors
    /// When an RPC URL is none, or no contract is known for the network.
    pub fn evm(&self) -> Result<EvmConfig, ConfigError> {
        let published = published_deployment(self.network);
        let known = |configured: Address, published: Option<EvmAddress>, key: &str| match (configured, published) {
            (Address::ZERO, Some(address)) => Ok(address),
            (Address::ZERO, None) => Err(invalid(format!("{key} is not set, and none is known for {}", self.network))),
            (address, _) => address.evm().ok_or_else(|| invalid(format!("{key} is no address on {}", self.network))),
        };
        Ok(EvmConfig {
            deployment_block: (self.deployment_block > 0).then_some(self.deployment_block),
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            max_log_range: self.max_log_range,
            safe_depth: self.safe_depth,
            finalized_depth: self.finalized_depth,
            max_head_lag: self.max_head_lag,
            ..EvmConfig::new(
                self.network,
                urls("base", &self.rpc_urls)?,
                known(self.contract, published.map(|deployment| deployment.contract), "base.contract")?,
                known(self.token, published.map(|deployment| deployment.token), "base.token")?,
            )
        })
    }

    /// EIP-155 chain id. Zero only for settings that [`Config::validate`] refuses.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.network.evm_chain_id().unwrap_or_default()
    }
}

impl SolanaConfig {
    /// The settings that every network has.
    #[must_use]
    pub fn settings(&self) -> NetworkSettings<'_> {
        settings!("solana", self, u128::from(self.max_fee_micro_lamports))
    }

    /// How to reach the program.
    ///
    /// # Errors
    /// When an RPC URL is none, the program is not set, or the mint is not the one that it knows.
    pub fn rpc(&self) -> Result<SolanaRpc, ConfigError> {
        let program =
            self.contract.solana().filter(|_| !self.contract.is_zero()).ok_or_else(|| {
                invalid("solana.contract is not set; put the program's address there, in base58".into())
            })?;
        let circle = usdc_mint(self.network).map(Address::Solana);
        if !self.token.is_zero() && Some(self.token) != circle {
            return Err(invalid(
                "solana.token is not Circle's USDC, and the program knows no other; leave it out".into(),
            ));
        }
        let mut config = SolanaRpc::new(self.network, urls("solana", &self.rpc_urls)?, program);
        config.deployment_slot = self.deployment_block;
        config.request_timeout = Duration::from_millis(self.request_timeout_ms);
        config.max_head_lag = self.max_head_lag;
        Ok(config)
    }
}

impl Config {
    /// The networks that this relayer serves, Base first.
    #[must_use]
    pub fn networks(&self) -> Vec<NetworkSettings<'_>> {
        let base = self.base.enabled.then(|| self.base.settings());
        let solana = self.solana.enabled.then(|| self.solana.settings());
        base.into_iter().chain(solana).collect()
    }

    /// The settings of a network that this relayer serves.
    #[must_use]
    pub fn network(&self, chain: Chain) -> Option<NetworkSettings<'_>> {
        self.networks().into_iter().find(|settings| settings.chain == chain)
    }

    /// The settings of a network's ledger.
    #[must_use]
    pub fn ledger(&self, network: &NetworkSettings<'_>) -> crate::ledger::LedgerConfig {
        let ledger = &self.ledger;
        crate::ledger::LedgerConfig {
            url: network.ledger_url.to_owned(),
            connections: ledger.connections,
            trust_latest: network.trust_latest,
            trust_safe: network.trust_safe,
            lease_seconds: ledger.lease_seconds,
            hold_seconds: ledger.hold_seconds,
            most_rows: None,
            keep_answers_days: ledger.keep_answers_days,
        }
    }

    /// The settings of a network's settlement.
    #[must_use]
    pub fn settlement(&self, network: &NetworkSettings<'_>) -> crate::settlement::SettlementConfig {
        let settlement = &self.settlement;
        crate::settlement::SettlementConfig {
            max_receipts: settlement.max_receipts,
            max_value: settlement.max_value,
            max_age_seconds: settlement.max_age_seconds,
            max_rows: network.max_rows,
            rebroadcast_seconds: settlement.rebroadcast_seconds,
            max_fee_wei: network.max_fee,
            poll_ms: network.poll_interval_ms,
            most_unposted: settlement.most_unposted,
            most_unposted_seconds: settlement.most_unposted_seconds,
            flush_seconds: settlement.flush_seconds,
            refund_seconds: settlement.refund_seconds,
            follow: crate::follow::FollowConfig::default(),
        }
    }

    /// The providers, with an address to be told at where they have a secret to sign with and this relayer is on the public internet.
    #[must_use]
    pub fn providers_to_start(&self) -> Vec<ProviderConfig> {
        let at_home = |provider: &ProviderConfig| {
            let mut provider = provider.clone();
            let url = format!("{}/api/v1/providers/{}/webhook", self.server.public_url, provider.name);
            let public = url.parse().is_ok_and(|url| Reach::Public.check(&url).is_ok());
            if provider.webhook_url.is_empty() && !provider.webhook_secret_env.is_empty() && public {
                provider.webhook_url = url;
            }
            provider
        };
        self.providers.iter().map(at_home).collect()
    }

    /// The terms these settings offer, with the hash of their own rate card.
    ///
    /// # Errors
    /// When the models make no rate card.
    pub fn on_chain_terms(&self) -> Result<Terms, ConfigError> {
        Ok(self.terms(crate::catalog::Catalog::from_config(self)?.rate_card_hash()))
    }

    /// The terms these settings offer.
    #[must_use]
    pub fn terms(&self, rate_card_hash: B256) -> Terms {
        Terms {
            refund_delay: self.terms.refund_delay_seconds,
            minimum_deposit: self.terms.minimum_deposit,
            rate_card_hash,
            tiers: self
                .terms
                .tiers
                .iter()
                .map(|tier| Tier { minimum_deposit: tier.minimum_deposit, discount_bps: tier.discount_bps })
                .collect(),
        }
    }
}
