//! The settings in the words of the parts that they are for.

use std::time::Duration;

use compute_futures_chain::evm::{EvmConfig, published_deployment};
use compute_futures_protocol::{Address, B256, Chain, EvmAddress, Terms, Tier, TokenDomain};

use super::{Config, ConfigError};

impl Config {
    /// The ledger's own settings.
    #[must_use]
    pub fn ledger(&self) -> crate::ledger::LedgerConfig {
        let ledger = &self.ledger;
        crate::ledger::LedgerConfig {
            url: ledger.url.clone(),
            connections: ledger.connections,
            trust_latest: self.chain.trust_latest,
            trust_safe: self.chain.trust_safe,
            lease_seconds: ledger.lease_seconds,
            hold_seconds: ledger.hold_seconds,
            keep_answers_days: ledger.keep_answers_days,
        }
    }

    /// Settlement's own settings.
    #[must_use]
    pub fn settlement(&self) -> crate::settlement::SettlementConfig {
        let settlement = &self.settlement;
        crate::settlement::SettlementConfig {
            max_receipts: settlement.max_receipts,
            max_value: settlement.max_value,
            max_age_seconds: settlement.max_age_seconds,
            max_rows: settlement.max_rows,
            rebroadcast_seconds: settlement.rebroadcast_seconds,
            max_fee_wei: u128::from(settlement.max_fee_gwei) * 1_000_000_000,
            poll_ms: self.chain.poll_interval_ms,
            most_unposted: settlement.most_unposted,
            most_unposted_seconds: settlement.most_unposted_seconds,
            flush_seconds: settlement.flush_seconds,
            refund_seconds: settlement.refund_seconds,
            follow: crate::follow::FollowConfig::default(),
        }
    }

    /// The token's EIP-712 domain.
    #[must_use]
    pub fn token_domain(&self, token: EvmAddress) -> TokenDomain {
        let circle = TokenDomain::usdc(self.chain_id(), token);
        if self.chain.token_name.is_empty() {
            return circle;
        }
        TokenDomain { name: self.chain.token_name.clone(), version: self.chain.token_version.clone(), ..circle }
    }

    /// How to reach the contract.
    ///
    /// # Errors
    /// When an RPC URL is none, or no contract is known for the network.
    pub fn evm(&self) -> Result<EvmConfig, ConfigError> {
        let chain = &self.chain;
        let invalid = |text: String| ConfigError::Invalid(vec![text]);
        let published = published_deployment(chain.network);
        let known = |configured: Address, published: Option<EvmAddress>, key: &str| match (configured, published) {
            (Address::ZERO, Some(address)) => Ok(address),
            (Address::ZERO, None) => Err(invalid(format!("{key} is not set, and none is known for {}", chain.network))),
            (address, _) => address.evm().ok_or_else(|| invalid(format!("{key} is no address on {}", chain.network))),
        };
        let rpc_urls = chain
            .rpc_urls
            .iter()
            .map(|url| url.parse().map_err(|_| invalid("chain.rpc_urls holds something that is not a URL".into())))
            .collect::<Result<_, _>>()?;
        Ok(EvmConfig {
            deployment_block: (chain.deployment_block > 0).then_some(chain.deployment_block),
            request_timeout: Duration::from_millis(chain.request_timeout_ms),
            max_log_range: chain.max_log_range,
            safe_depth: chain.safe_depth,
            finalized_depth: chain.finalized_depth,
            max_head_lag: chain.max_head_lag,
            ..EvmConfig::new(
                chain.network,
                rpc_urls,
                known(chain.contract, published.map(|deployment| deployment.contract), "chain.contract")?,
                known(chain.token, published.map(|deployment| deployment.token), "chain.token")?,
            )
        })
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

    /// EIP-155 chain id. Zero only for settings that [`Config::validate`] refuses.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        Chain::evm_chain_id(self.chain.network).unwrap_or_default()
    }
}
