//! Settings: defaults ← TOML file ← environment, strict. `config.example.toml` documents every key.

mod load;
mod network;
mod print;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use load::ENV_PREFIX;
pub use network::{NetworkConfig, OperatorSource};

/// Every setting of the indexer; `config.example.toml` says what each means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Config {
    pub server: ServerConfig,
    pub base: NetworkConfig,
    pub solana: NetworkConfig,
    pub database: DatabaseConfig,
    pub follow: FollowConfig,
    pub solvency: SolvencyConfig,
    pub receipts: ReceiptsConfig,
    pub market: MarketConfig,
    pub log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig::default(),
            base: NetworkConfig::base(),
            solana: NetworkConfig::solana(),
            database: DatabaseConfig::default(),
            follow: FollowConfig::default(),
            solvency: SolvencyConfig::default(),
            receipts: ReceiptsConfig::default(),
            market: MarketConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Config {
    /// The networks that are followed, Base first.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkConfig> {
        [&self.base, &self.solana].into_iter().filter(|network| network.enabled)
    }
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

/// `[database]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct DatabaseConfig {
    pub connections: u32,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { connections: 8 }
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
}

impl Default for ReceiptsConfig {
    fn default() -> Self {
        Self { concurrency: 4, timeout_seconds: 30, max_bytes: 64 << 20, retry_seconds: 5 }
    }
}

/// `[market]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct MarketConfig {
    pub outcomes_seconds: u64,
}

impl Default for MarketConfig {
    fn default() -> Self {
        Self { outcomes_seconds: 60 }
    }
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
