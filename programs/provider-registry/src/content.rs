//! What a provider publishes, and the bounds of it. Whether the endpoint answers, or is a public https address, is for callers to check.

use anchor_lang::prelude::*;

use crate::errors::ProviderRegistryError;

/// Highest price and minimum charge: 48 bits, 281 million USDC.
pub const MAX_PRICE: u64 = (1 << 48) - 1;
/// Kinds of providers: 0 self-hosted, 1 cloud, 2 decentralized.
pub const PROVIDER_TYPES: u8 = 3;
const MAX_ENDPOINT: usize = 256;
const MAX_FEATURES: usize = 16;
const MAX_FEATURE: usize = 64;
const MAX_MODELS: usize = 32;
const MAX_MODEL_NAME: usize = 128;

/// What a provider publishes.
#[derive(AnchorSerialize, AnchorDeserialize, Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// URL of an OpenAI-compatible server, 1 to 256 bytes.
    pub endpoint: String,
    /// Who runs the machines: 0 self-hosted, 1 cloud, 2 decentralized.
    pub provider_type: u8,
    /// Requests a minute; at least 1.
    pub rate_limit: u32,
    /// Least charge for an inference, micro-USDC; below 2^48.
    pub minimum_charge: u64,
    /// Up to 16 capabilities of 1 to 64 bytes.
    pub features: Vec<String>,
    /// 1 to 32.
    pub models: Vec<Model>,
}

/// A model and what it costs.
#[derive(AnchorSerialize, AnchorDeserialize, Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Identifier, 1 to 128 bytes; each once.
    pub name: String,
    /// Micro-USDC per 1,000 input tokens; below 2^48.
    pub input_price: u64,
    /// Micro-USDC per 1,000 output tokens; below 2^48.
    pub output_price: u64,
    /// Most tokens of input and output together; at least 1.
    pub max_context: u32,
}

impl Content {
    /// Refuses what is out of bounds.
    pub fn check(&self) -> Result<()> {
        use ProviderRegistryError as Refused;
        require!(within(&self.endpoint, MAX_ENDPOINT), Refused::InvalidEndpoint);
        require!(self.provider_type < PROVIDER_TYPES, Refused::InvalidProviderType);
        require!(self.rate_limit != 0, Refused::InvalidRateLimit);
        require!(self.minimum_charge <= MAX_PRICE, Refused::InvalidPrice);
        let features = &self.features;
        let bounded = features.len() <= MAX_FEATURES && features.iter().all(|feature| within(feature, MAX_FEATURE));
        require!(bounded, Refused::InvalidFeatures);
        require!((1..=MAX_MODELS).contains(&self.models.len()), Refused::InvalidModels);
        for (i, model) in self.models.iter().enumerate() {
            // Two prices for one name would be an argument later.
            let once = self.models[..i].iter().all(|other| other.name != model.name);
            require!(once && within(&model.name, MAX_MODEL_NAME), Refused::InvalidModelName);
            require!(model.max_context != 0, Refused::InvalidMaxContext);
            require!(model.input_price <= MAX_PRICE && model.output_price <= MAX_PRICE, Refused::InvalidPrice);
        }
        Ok(())
    }
}

fn within(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len())
}
