//! Settings: defaults ← TOML file ← environment, strict, and able to explain themselves.
//!
//! [`sections`] and [`networks`] declare every key once. [`Config::load`] reads them, [`Config::validate`] refuses what cannot work and says
//! what to do, [`print::render`] prints them with documentation.

mod convert;
mod load;
mod networks;
pub mod print;
pub mod section;
mod sections;
mod validate;

use serde::{Deserialize, Serialize};

pub use compute_futures_chain::KeySource;
pub use convert::NetworkSettings;
pub use load::{ConfigError, ENV_PREFIX};
pub use networks::{BaseConfig, SolanaConfig};
pub use sections::{
    AdminConfig, FacilitatorConfig, GatesConfig, LedgerConfig, LimitsConfig, LogConfig, LogFormat, ModelConfig,
    ProviderConfig, ProviderKind, RouteConfig, ServerConfig, SettlementConfig, TermsConfig, TierConfig,
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
    pub terms: TermsConfig,
    pub gates: GatesConfig,
    pub limits: LimitsConfig,
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
            terms: TermsConfig::default(),
            gates: GatesConfig::default(),
            limits: LimitsConfig::default(),
            admin: AdminConfig::default(),
            log: LogConfig::default(),
            providers: vec![ProviderConfig { name: "local".into(), ..ProviderConfig::default() }],
            models: default_models(),
        }
    }
}

/// What the embedded provider offers, at the prices of the seeds: $0.03 a text, $0.005 an embeddings call.
fn default_models() -> Vec<ModelConfig> {
    use crate::providers::local::{EMBEDDINGS_MODEL, SUMMARY_MODEL};
    use compute_futures_protocol::{JobKind, Usdc};
    let local = |id: &str,
                 name: &str,
                 kind: JobKind,
                 description: &str,
                 per_call: u64,
                 context_length: u32,
                 max_output_tokens: u32| ModelConfig {
        id: id.into(),
        name: name.into(),
        kind,
        description: description.into(),
        routes: vec![RouteConfig { provider: "local".into(), model: String::new() }],
        per_call: Usdc::from_micros(per_call),
        context_length,
        max_output_tokens,
        auto: true,
        ..ModelConfig::default()
    };
    vec![
        local(
            SUMMARY_MODEL,
            "Extractive summary",
            JobKind::TextInference,
            "Extractive summary: picks the sentences of the last message that carry it. Deterministic, no neural weights involved.",
            30_000,
            1_048_576,
            4096,
        ),
        local(
            EMBEDDINGS_MODEL,
            "Hashed embeddings",
            JobKind::Embeddings,
            "Hashed lexical embeddings: signed feature hashing of words and character n-grams. Deterministic, no neural weights involved.",
            5_000,
            1_048_576,
            0,
        ),
    ]
}

#[cfg(test)]
mod tests;
