//! What a provider publishes, and what an execution costs by it.

use std::collections::HashSet;

use alloy_primitives::B256;
use alloy_sol_types::SolStruct;
use serde::{Deserialize, Serialize};

use super::{MAX_SESSION_LIMIT, session_amount, uint48};
use crate::Usdc;

mod sol_types {
    #![allow(missing_docs, unreachable_pub)]
    alloy_sol_types::sol! {
        struct Model { string name; uint48 inputPrice; uint48 outputPrice; uint32 maxContext; }
        struct ProviderContent {
            string endpoint;
            uint8 providerType;
            uint32 rateLimit;
            uint48 minimumCharge;
            string[] features;
            Model[] models;
        }
    }
}

/// Who runs the machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ProviderType {
    /// The provider's own.
    SelfHosted = 0,
    /// A cloud's.
    Cloud = 1,
    /// Many people's.
    Decentralized = 2,
}

impl ProviderType {
    /// As the chain numbers them.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::SelfHosted),
            1 => Some(Self::Cloud),
            2 => Some(Self::Decentralized),
            _ => None,
        }
    }

    /// The chain's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// A model and what it costs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Model {
    /// Identifier, 1 to 128 bytes.
    pub name: String,
    /// For 1,000 input tokens.
    #[serde(with = "session_amount")]
    pub input_price: Usdc,
    /// For 1,000 output tokens.
    #[serde(with = "session_amount")]
    pub output_price: Usdc,
    /// Most tokens of input and output together.
    pub max_context: u32,
}

/// What a provider publishes. Whether the endpoint may be called is for whoever calls it to check.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderContent {
    /// URL of an OpenAI-compatible server, 1 to 256 bytes.
    pub endpoint: String,
    /// Who runs it.
    pub provider_type: ProviderType,
    /// Requests a minute; at least 1.
    pub rate_limit: u32,
    /// Least charge for an inference.
    #[serde(with = "session_amount")]
    pub minimum_charge: Usdc,
    /// Up to 16 capabilities of 1 to 64 bytes.
    pub features: Vec<String>,
    /// 1 to 32, each name once.
    pub models: Vec<Model>,
}

/// What the registry would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Empty or too long.
    #[error("the endpoint must have 1 to 256 bytes")]
    Endpoint,
    /// Zero.
    #[error("the rate limit must be at least 1 request a minute")]
    RateLimit,
    /// Too many, or one is empty or too long.
    #[error("at most 16 features, of 1 to 64 bytes each")]
    Features,
    /// None or too many.
    #[error("a provider has 1 to 32 models; register another provider for more")]
    Models,
    /// Empty, too long, or there twice.
    #[error("each model needs a name of its own of 1 to 128 bytes")]
    ModelName,
    /// Zero.
    #[error("a model's maximum context must be at least 1 token")]
    MaxContext,
    /// More than 48 bits.
    #[error("prices and the minimum charge are at most {MAX_SESSION_LIMIT} USDC")]
    Price,
}

impl ProviderContent {
    /// What ProviderRegistry checks.
    ///
    /// # Errors
    /// The first thing it would refuse.
    pub fn check(&self) -> Result<(), ContentError> {
        let within = |text: &str, most| (1..=most).contains(&text.len());
        if !within(&self.endpoint, 256) {
            return Err(ContentError::Endpoint);
        }
        if self.rate_limit == 0 {
            return Err(ContentError::RateLimit);
        }
        if self.features.len() > 16 || !self.features.iter().all(|feature| within(feature, 64)) {
            return Err(ContentError::Features);
        }
        if !(1..=32).contains(&self.models.len()) {
            return Err(ContentError::Models);
        }
        let mut names = HashSet::new();
        for model in &self.models {
            if !within(&model.name, 128) || !names.insert(model.name.as_str()) {
                return Err(ContentError::ModelName);
            }
            if model.max_context == 0 {
                return Err(ContentError::MaxContext);
            }
        }
        let prices = self.models.iter().flat_map(|model| [model.input_price, model.output_price]);
        if prices.chain([self.minimum_charge]).any(|price| price > MAX_SESSION_LIMIT) {
            return Err(ContentError::Price);
        }
        Ok(())
    }

    /// The EIP-712 struct hash: what the registry stores, and what a session names (I-11).
    #[must_use]
    pub fn hash(&self) -> B256 {
        sol_types::ProviderContent {
            endpoint: self.endpoint.clone(),
            providerType: self.provider_type.number(),
            rateLimit: self.rate_limit,
            minimumCharge: uint48(self.minimum_charge),
            features: self.features.clone(),
            models: self
                .models
                .iter()
                .map(|model| sol_types::Model {
                    name: model.name.clone(),
                    inputPrice: uint48(model.input_price),
                    outputPrice: uint48(model.output_price),
                    maxContext: model.max_context,
                })
                .collect(),
        }
        .eip712_hash_struct()
    }

    /// The model of this name.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name == name)
    }

    /// What an execution of one of its models costs. `None` when it has no such model, or the cost is beyond [`MAX_SESSION_LIMIT`].
    #[must_use]
    pub fn cost(&self, model: &str, input_tokens: u64, output_tokens: u64) -> Option<Usdc> {
        let model = self.model(model)?;
        execution_cost(model.input_price, model.output_price, self.minimum_charge, input_tokens, output_tokens)
    }
}

/// max(minimum, ⌈input price × tokens / 1000⌉ + ⌈output price × tokens / 1000⌉): each part is rounded up to a micro-USDC. `None` beyond
/// [`MAX_SESSION_LIMIT`].
#[must_use]
pub fn execution_cost(
    input_price: Usdc,
    output_price: Usdc,
    minimum_charge: Usdc,
    input_tokens: u64,
    output_tokens: u64,
) -> Option<Usdc> {
    // Below 2^56 × 2^64 each: 128 bits hold both.
    let part = |price: Usdc, tokens: u64| (u128::from(price.micros()) * u128::from(tokens)).div_ceil(1000);
    let metered = part(input_price, input_tokens) + part(output_price, output_tokens);
    let cost = Usdc::try_from(u64::try_from(metered.max(u128::from(minimum_charge.micros()))).ok()?).ok()?;
    (cost <= MAX_SESSION_LIMIT).then_some(cost)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn content() -> ProviderContent {
        ProviderContent {
            endpoint: "https://provider.example/v1".into(),
            provider_type: ProviderType::Cloud,
            rate_limit: 60,
            minimum_charge: Usdc::from_micros(10),
            features: vec!["streaming".into()],
            models: vec![Model {
                name: "m".into(),
                input_price: Usdc::from_micros(100),
                output_price: Usdc::from_micros(300),
                max_context: 4096,
            }],
        }
    }

    #[test]
    fn the_type_is_spelled_as_documented() {
        assert_eq!(
            sol_types::ProviderContent::eip712_encode_type(),
            "ProviderContent(string endpoint,uint8 providerType,uint32 rateLimit,uint48 minimumCharge,string[] features,\
             Model[] models)Model(string name,uint48 inputPrice,uint48 outputPrice,uint32 maxContext)"
        );
    }

    #[test]
    fn content_is_checked_as_the_registry_does() {
        assert_eq!(content().check(), Ok(()));
        type Fault = fn(&mut ProviderContent);
        let faults: [(Fault, ContentError); 12] = [
            (|c| c.endpoint.clear(), ContentError::Endpoint),
            (|c| c.endpoint = "x".repeat(257), ContentError::Endpoint),
            (|c| c.rate_limit = 0, ContentError::RateLimit),
            (|c| c.features = vec!["x".into(); 17], ContentError::Features),
            (|c| c.features = vec![String::new()], ContentError::Features),
            (|c| c.features = vec!["x".repeat(65)], ContentError::Features),
            (|c| c.models.clear(), ContentError::Models),
            (|c| c.models = vec![c.models[0].clone(); 33], ContentError::Models),
            (|c| c.models.push(c.models[0].clone()), ContentError::ModelName),
            (|c| c.models[0].name = "x".repeat(129), ContentError::ModelName),
            (|c| c.models[0].max_context = 0, ContentError::MaxContext),
            (|c| c.models[0].input_price = Usdc::from_micros(1 << 48), ContentError::Price),
        ];
        for (fault, error) in faults {
            let mut bad = content();
            fault(&mut bad);
            assert_eq!(bad.check(), Err(error));
        }
    }

    #[test]
    fn json_is_plain_and_refuses_what_the_chain_cannot_hold() {
        let json = serde_json::to_value(content()).unwrap();
        assert_eq!(json["providerType"], "cloud");
        assert_eq!(json["models"][0]["inputPrice"], "100");
        assert_eq!(serde_json::from_value::<ProviderContent>(json.clone()).unwrap(), content());
        let mut large = json.clone();
        large["minimumCharge"] = (1_u64 << 48).to_string().into();
        assert!(serde_json::from_value::<ProviderContent>(large).is_err());
        let mut unknown = json;
        unknown["price"] = "1".into();
        assert!(serde_json::from_value::<ProviderContent>(unknown).is_err());
    }

    #[test]
    fn a_model_it_does_not_have_has_no_price() {
        assert_eq!(content().cost("m", 1_000, 1_000), Some(Usdc::from_micros(400)));
        assert_eq!(content().cost("m", 1, 1), Some(Usdc::from_micros(10)));
        assert_eq!(content().cost("n", 1, 1), None);
        assert_eq!(execution_cost(MAX_SESSION_LIMIT, Usdc::ZERO, Usdc::ZERO, u64::MAX, 0), None);
        assert_eq!(execution_cost(Usdc::MAX, Usdc::MAX, Usdc::MAX, u64::MAX, u64::MAX), None);
    }

    proptest! {
        /// More tokens never cost less, rounding adds less than two micro-USDC, and nothing is below the minimum.
        #[test]
        fn costs_are_what_tokens_cost(input in 0u64..1 << 32, output in 0u64..1 << 32, input_price in 0u64..1 << 24,
            output_price in 0u64..1 << 24, minimum in 0u64..1 << 24, more in 0u64..1000)
        {
            let cost = |input, output| {
                execution_cost(Usdc::from_micros(input_price), Usdc::from_micros(output_price), Usdc::from_micros(minimum), input, output)
                    .map(Usdc::micros)
            };
            let exact = u128::from(input_price) * u128::from(input) + u128::from(output_price) * u128::from(output);
            if let Some(now) = cost(input, output) {
                prop_assert!(now >= minimum);
                prop_assert!(u128::from(now) * 1000 >= exact);
                prop_assert!(now == minimum || u128::from(now) * 1000 < exact + 2000);
                if let Some(then) = cost(input + more, output) {
                    prop_assert!(then >= now);
                }
            } else {
                prop_assert!(exact / 1000 + 2 > u128::from(MAX_SESSION_LIMIT.micros()));
            }
        }
    }
}
