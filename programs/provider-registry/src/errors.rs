//! What is refused, and what to do about it. Names follow `IProviderRegistry`.

use anchor_lang::prelude::*;

/// Codes start at 6000, in this order; the order never changes.
#[error_code]
pub enum ProviderRegistryError {
    /// 6000
    #[msg("only the provider's owner may do this")]
    NotOwner,
    /// 6001
    #[msg("retired is for good; register again")]
    Retired,
    /// 6002
    #[msg("the endpoint must have 1 to 256 bytes")]
    InvalidEndpoint,
    /// 6003
    #[msg("the provider type is 0 (self-hosted), 1 (cloud) or 2 (decentralized)")]
    InvalidProviderType,
    /// 6004
    #[msg("the rate limit must be at least 1 request a minute")]
    InvalidRateLimit,
    /// 6005
    #[msg("at most 16 features, of 1 to 64 bytes each")]
    InvalidFeatures,
    /// 6006
    #[msg("a provider has 1 to 32 models; register another provider for more")]
    InvalidModels,
    /// 6007
    #[msg("each model needs a name of its own of 1 to 128 bytes")]
    InvalidModelName,
    /// 6008
    #[msg("a model's maximum context must be at least 1 token")]
    InvalidMaxContext,
    /// 6009
    #[msg("prices and the minimum charge are below 2^48 micro-USDC")]
    InvalidPrice,
    /// 6010
    #[msg("not the address of the next provider; read the registry and build the transaction again")]
    WrongAddress,
}
