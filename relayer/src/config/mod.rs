//! Settings: defaults ← TOML file ← environment, strict, and able to explain themselves.
//!
//! [`sections`] and [`networks`] declare every key once. [`Config::load`] reads them, [`Config::validate`] refuses what cannot work and says
//! what to do, [`print::render`] prints them with documentation.

mod convert;
mod load;
mod networks;
pub mod print;
mod rates;
pub mod section;
mod sections;
mod validate;

use serde::{Deserialize, Serialize};

pub use compute_futures_chain::KeySource;
pub use convert::NetworkSettings;
pub use load::{ConfigError, ENV_PREFIX};
pub use networks::{BaseConfig, SolanaConfig};
pub use sections::{
    AdminConfig, CatalogConfig, FacilitatorConfig, GatesConfig, JobsConfig, LedgerConfig, LimitsConfig, LogConfig,
    LogFormat, MarketConfig, ModelConfig, OutputsConfig, ProviderConfig, ProviderKind, RouteConfig, ServerConfig,
    SettlementConfig, TermsConfig, TierConfig,
};

/// Every setting of the relayer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)] // each section documents itself
pub struct Config {
    pub server: ServerConfig,
    pub base: BaseConfig,
    pub solana: SolanaConfig,
    pub ledger: LedgerConfig,
    pub settlement: SettlementConfig,
    pub facilitator: FacilitatorConfig,
    pub market: MarketConfig,
    pub terms: TermsConfig,
    pub gates: GatesConfig,
    pub limits: LimitsConfig,
    pub catalog: CatalogConfig,
    pub jobs: JobsConfig,
    pub outputs: OutputsConfig,
    pub admin: AdminConfig,
    pub log: LogConfig,
    pub providers: Vec<ProviderConfig>,
    pub models: Vec<ModelConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig::default(),
            base: BaseConfig::default(),
            solana: SolanaConfig::default(),
            ledger: LedgerConfig::default(),
            settlement: SettlementConfig::default(),
            facilitator: FacilitatorConfig::default(),
            market: MarketConfig::default(),
            terms: TermsConfig::default(),
            gates: GatesConfig::default(),
            limits: LimitsConfig::default(),
            catalog: CatalogConfig::default(),
            jobs: JobsConfig::default(),
            outputs: OutputsConfig::default(),
            admin: AdminConfig::default(),
            log: LogConfig::default(),
            providers: rates::BUILT_IN.providers.clone(),
            models: rates::BUILT_IN.models.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
