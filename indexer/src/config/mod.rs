//! Settings: defaults ← TOML file ← environment, strict. `config.example.toml` documents every key.

mod load;
mod print;

use std::{collections::BTreeMap, fmt, net::SocketAddr};

use alloy::primitives::address;
use compute_futures_protocol::{Address, Chain};
use serde::{Deserialize, Serialize};
use url::Url;

pub use load::ENV_PREFIX;

/// Circle's USDC on Base.
const USDC_ON_BASE: Address = Address::Evm(address!("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"));

/// Every setting of the indexer; `config.example.toml` says what each means.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Config {
    pub server: ServerConfig,
    pub chain: ChainConfig,
    pub database: DatabaseConfig,
    pub follow: FollowConfig,
    pub solvency: SolvencyConfig,
    pub receipts: ReceiptsConfig,
    pub log: LogConfig,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct ServerConfig {
    pub bind: SocketAddr,
    pub max_subscribers: usize,
    pub max_subscribers_per_client: usize,
    pub heartbeat_seconds: u64,
    pub request_timeout_seconds: u64,
    pub requests_per_second: u32,
    pub requests_burst: u32,
    pub trust_forwarded_for: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 4021)),
            max_subscribers: 1000,
            max_subscribers_per_client: 50,
            heartbeat_seconds: 15,
            request_timeout_seconds: 20,
            requests_per_second: 100,
            requests_burst: 500,
            trust_forwarded_for: false,
        }
    }
}

/// `[chain]`
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct ChainConfig {
    pub network: Chain,
    #[serde(deserialize_with = "load::list")]
    pub rpc_urls: Vec<String>,
    pub contract: Address,
    pub token: Address,
    pub deployment_block: u64,
}

impl Default for ChainConfig {
    fn default() -> Self {
        Self {
            network: Chain::Base,
            rpc_urls: vec!["https://mainnet.base.org".into()],
            contract: Address::ZERO,
            token: USDC_ON_BASE,
            deployment_block: 0,
        }
    }
}

/// RPC URLs often hold a key: only how many there are is shown.
impl fmt::Debug for ChainConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainConfig")
            .field("network", &self.network)
            .field("rpc_urls", &format_args!("{} hidden", self.rpc_urls.len()))
            .field("contract", &self.contract)
            .field("token", &self.token)
            .field("deployment_block", &self.deployment_block)
            .finish()
    }
}

/// `[database]`
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct DatabaseConfig {
    pub url: String,
    pub connections: u32,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { url: "sqlite:compute-futures-indexer.db".into(), connections: 8 }
    }
}

/// The URL may hold a password.
impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseConfig").field("url", &"hidden").field("connections", &self.connections).finish()
    }
}

/// `[follow]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct FollowConfig {
    pub poll_interval_ms: u64,
    pub events_per_range: usize,
    pub max_range_blocks: u64,
    pub prefetch: usize,
    pub extra_window: u64,
}

impl Default for FollowConfig {
    fn default() -> Self {
        Self { poll_interval_ms: 1000, events_per_range: 5000, max_range_blocks: 10_000, prefetch: 4, extra_window: 64 }
    }
}

/// `[solvency]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct SolvencyConfig {
    pub interval_seconds: u64,
}

impl Default for SolvencyConfig {
    fn default() -> Self {
        Self { interval_seconds: 30 }
    }
}

/// `[receipts]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct ReceiptsConfig {
    pub concurrency: usize,
    pub timeout_seconds: u64,
    pub max_bytes: u64,
    pub retry_seconds: u64,
    /// By operator index (as text: environment variables and TOML keys are text).
    pub operators: BTreeMap<String, OperatorSource>,
}

impl Default for ReceiptsConfig {
    fn default() -> Self {
        Self { concurrency: 4, timeout_seconds: 30, max_bytes: 64 << 20, retry_seconds: 5, operators: BTreeMap::new() }
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

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct LogConfig {
    pub filter: String,
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Text }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}
