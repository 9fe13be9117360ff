//! Which chain, which contract, through which RPC endpoints.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use alloy::primitives::Address as EvmAddress;
use compute_futures_protocol::Chain;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::ChainError;

/// Where the contract is and how to reach it. `Debug` shows hosts only: RPC URLs often carry an API key.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvmConfig {
    /// The chain; the RPC endpoints must agree.
    pub chain: Chain,
    /// RPC endpoints, best first. The others take over while the first ones fail.
    pub rpc_urls: Vec<Url>,
    /// The ComputeFutures contract.
    pub contract: EvmAddress,
    /// USDC; must be what the contract's `token()` says.
    pub token: EvmAddress,
    /// Block the contract was deployed in. When absent it is searched for, which needs an endpoint with old state.
    #[serde(default)]
    pub deployment_block: Option<u64>,
    /// How long one request may take before the next endpoint is tried. In configuration files: milliseconds.
    #[serde(rename = "request_timeout_ms", with = "millis", default = "default_request_timeout")]
    pub request_timeout: Duration,
    /// Most blocks asked for in one `eth_getLogs`; less is found out by itself.
    #[serde(default = "default_max_log_range")]
    pub max_log_range: u64,
    /// Blocks under the newest one that count as safe where the endpoint has no `safe` tag.
    #[serde(default = "default_safe_depth")]
    pub safe_depth: u64,
    /// Blocks under the newest one that count as finalized where the endpoint has no `finalized` tag.
    #[serde(default = "default_finalized_depth")]
    pub finalized_depth: u64,
    /// An endpoint this many blocks behind the best one is passed over.
    #[serde(default = "default_max_head_lag")]
    pub max_head_lag: u64,
}

fn default_request_timeout() -> Duration {
    Duration::from_secs(10)
}

const fn default_max_log_range() -> u64 {
    10_000
}

// Base: a block every 2 s, batches on Ethereum within minutes, finality of Ethereum about 15 minutes after that.
const fn default_safe_depth() -> u64 {
    300
}

const fn default_finalized_depth() -> u64 {
    900
}

const fn default_max_head_lag() -> u64 {
    15
}

impl EvmConfig {
    /// Defaults for everything but the addresses.
    #[must_use]
    pub fn new(chain: Chain, rpc_urls: Vec<Url>, contract: EvmAddress, token: EvmAddress) -> Self {
        Self {
            chain,
            rpc_urls,
            contract,
            token,
            deployment_block: None,
            request_timeout: default_request_timeout(),
            max_log_range: default_max_log_range(),
            safe_depth: default_safe_depth(),
            finalized_depth: default_finalized_depth(),
            max_head_lag: default_max_head_lag(),
        }
    }

    /// The published deployment on `chain`.
    ///
    /// # Errors
    /// [`ChainError::Config`] for a chain without one.
    pub fn published(chain: Chain, rpc_urls: Vec<Url>) -> Result<Self, ChainError> {
        let deployment = published_deployment(chain).ok_or_else(|| {
            ChainError::Config(format!("there is no published deployment on {chain}; set contract and token"))
        })?;
        Ok(Self::new(chain, rpc_urls, deployment.contract, deployment.token))
    }

    /// Checks what can be checked without a network.
    pub(crate) fn validate(&self) -> Result<u64, ChainError> {
        let chain_id = self.chain.evm_chain_id().ok_or_else(|| {
            ChainError::Config(format!("{} is not an EVM chain; use eip155:8453 or eip155:84532", self.chain))
        })?;
        if self.rpc_urls.is_empty() {
            return Err(ChainError::Config("no RPC URL; set at least one".into()));
        }
        if let Some(url) = self.rpc_urls.iter().find(|url| !matches!(url.scheme(), "http" | "https")) {
            return Err(ChainError::Config(format!(
                "the RPC URL of host {:?} has the scheme {:?}; use http or https",
                url.host_str().unwrap_or_default(),
                url.scheme()
            )));
        }
        if self.request_timeout.is_zero() || self.max_log_range == 0 {
            return Err(ChainError::Config("request timeout and log range must be above zero".into()));
        }
        Ok(chain_id)
    }
}

impl fmt::Debug for EvmConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.rpc_urls.iter().map(|url| url.host_str().unwrap_or("?")).collect();
        f.debug_struct("EvmConfig")
            .field("chain", &self.chain)
            .field("rpc_hosts", &hosts)
            .field("contract", &self.contract)
            .field("token", &self.token)
            .field("deployment_block", &self.deployment_block)
            .field("request_timeout", &self.request_timeout)
            .field("max_log_range", &self.max_log_range)
            .field("safe_depth", &self.safe_depth)
            .field("finalized_depth", &self.finalized_depth)
            .field("max_head_lag", &self.max_head_lag)
            .finish()
    }
}

/// Addresses of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deployment {
    /// The ComputeFutures contract.
    pub contract: EvmAddress,
    /// USDC.
    pub token: EvmAddress,
}

/// Where the deterministic deployment puts the contract on `chain`; `None` for chains without USDC of Circle's known to us.
#[must_use]
pub fn published_deployment(chain: Chain) -> Option<Deployment> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        token: EvmAddress,
        compute_futures: EvmAddress,
    }
    #[derive(Deserialize)]
    struct File {
        deployments: std::collections::BTreeMap<String, Entry>,
    }
    // Committed and generated, so a failure here would fail every test; no chain is then known.
    static FILE: LazyLock<Option<File>> =
        LazyLock::new(|| serde_json::from_str(include_str!("../../../contracts/abi/deployment.json")).ok());

    let entry = FILE.as_ref()?.deployments.get(&chain.evm_chain_id()?.to_string())?;
    Some(Deployment { contract: entry.compute_futures, token: entry.token })
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn debug_hides_keys_in_urls() {
        let url = Url::parse("https://base.example/v2/SECRETKEY").unwrap();
        let config = EvmConfig::published(Chain::Base, vec![url]).unwrap();
        let text = format!("{config:?}");
        assert!(text.contains("base.example") && !text.contains("SECRETKEY"), "{text}");
    }

    #[test]
    fn published_deployments_are_read() {
        assert!(published_deployment(Chain::Base).is_some());
        assert!(published_deployment(Chain::BaseSepolia).is_some());
        assert!(published_deployment(Chain::Solana).is_none());
    }

    #[test]
    fn file_form_fills_defaults() {
        let config: EvmConfig = serde_json::from_value(serde_json::json!({
            "chain": "eip155:8453", "rpc_urls": ["http://127.0.0.1:8545"],
            "contract": EvmAddress::ZERO, "token": EvmAddress::ZERO, "request_timeout_ms": 1500,
        }))
        .unwrap();
        assert_eq!(config.request_timeout, Duration::from_millis(1500));
        assert_eq!(config.max_log_range, 10_000);
        assert!(config.validate().is_ok());
    }
}
