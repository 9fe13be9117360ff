//! What jobs cost before discount. The operator commits to its rate card by hash in its terms.

use std::collections::BTreeMap;

use alloy_primitives::{B256, keccak256};
use serde::{Deserialize, Serialize};

use crate::{CanonicalJsonError, Usdc, canonical_json};

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum JobKind {
    TextInference,
    Embeddings,
    ImageGeneration,
    VideoGeneration,
    TextToSpeech,
    SpeechToText,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::TextInference,
        Self::Embeddings,
        Self::ImageGeneration,
        Self::VideoGeneration,
        Self::TextToSpeech,
        Self::SpeechToText,
    ];

    /// Name in URLs and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TextInference => "text-inference",
            Self::Embeddings => "embeddings",
            Self::ImageGeneration => "image-generation",
            Self::VideoGeneration => "video-generation",
            Self::TextToSpeech => "text-to-speech",
            Self::SpeechToText => "speech-to-text",
        }
    }
}

impl std::fmt::Display for JobKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for JobKind {
    type Err = RateCardError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| RateCardError::UnknownKind(name.chars().take(64).collect()))
    }
}

/// What a job used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

/// A rate card that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RateCardError {
    /// Beyond [`Usdc::MAX`].
    #[error("the price of this job exceeds what an account can hold; ask for fewer tokens")]
    PriceTooLarge,
    /// Listed twice.
    #[error("the rate card lists model {0:?} twice; remove one entry")]
    DuplicateModel(String),
    /// Nameless.
    #[error("the rate card has a model with an empty id; give it one")]
    EmptyModelId,
    /// No such kind.
    #[error(
        "unknown job kind {0:?}; use text-inference, embeddings, image-generation, video-generation, text-to-speech or speech-to-text"
    )]
    UnknownKind(String),
    /// Not JSON.
    #[error(transparent)]
    CanonicalJson(#[from] CanonicalJsonError),
}

/// Prices of one model, before discount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelRate {
    /// As callers name it.
    pub id: String,
    /// What it does.
    pub kind: JobKind,
    /// As people read it.
    pub name: String,
    /// For each job, whatever its size.
    pub per_call: Usdc,
    /// For each 1,000 tokens read.
    pub per_1k_input_tokens: Usdc,
    /// For each 1,000 tokens written.
    pub per_1k_output_tokens: Usdc,
    /// Most tokens the model can hold, input and output together.
    pub context_length: u64,
    /// Most tokens it writes in one job.
    pub max_output_tokens: u64,
}

impl ModelRate {
    /// List price of a job: per call + input tokens + output tokens, each token part rounded up to a micro-USDC.
    ///
    /// # Errors
    /// When it exceeds [`Usdc::MAX`].
    pub fn price(&self, usage: &Usage) -> Result<Usdc, RateCardError> {
        let input = per_thousand(self.per_1k_input_tokens, usage.input_tokens);
        let output = per_thousand(self.per_1k_output_tokens, usage.output_tokens);
        let total = u128::from(self.per_call.micros()).saturating_add(input).saturating_add(output);
        u64::try_from(total).ok().and_then(|micros| Usdc::try_from(micros).ok()).ok_or(RateCardError::PriceTooLarge)
    }
}

/// `rate × tokens / 1000`, rounded up; in 128 bits nothing overflows.
fn per_thousand(rate: Usdc, tokens: u64) -> u128 {
    (u128::from(rate.micros()) * u128::from(tokens)).div_ceil(1000)
}

/// An operator's prices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateCard {
    /// Rises with every change.
    pub version: u32,
    /// Whose it is, for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Prices by model.
    pub models: Vec<ModelRate>,
    /// Gate price by endpoint, as `POST /api/v1/compute-futures/execute`.
    #[serde(default)]
    pub gates: BTreeMap<String, Usdc>,
}

impl RateCard {
    /// The model callers know by this id.
    #[must_use]
    pub fn model(&self, id: &str) -> Option<&ModelRate> {
        self.models.iter().find(|model| model.id == id)
    }

    /// Checks that every model has an id of its own.
    ///
    /// # Errors
    /// Names the model at fault.
    pub fn validate(&self) -> Result<(), RateCardError> {
        let mut seen = std::collections::HashSet::new();
        for model in &self.models {
            if model.id.is_empty() {
                return Err(RateCardError::EmptyModelId);
            }
            if !seen.insert(model.id.as_str()) {
                return Err(RateCardError::DuplicateModel(model.id.clone()));
            }
        }
        Ok(())
    }

    /// Canonical JSON (RFC 8785): what [`RateCard::hash`] hashes and what an operator publishes.
    ///
    /// # Errors
    /// Those of the JSON writer.
    pub fn canonical(&self) -> Result<Vec<u8>, RateCardError> {
        Ok(canonical_json(self)?)
    }

    /// keccak256 of the canonical JSON: the `rateCardHash` of the operator's terms.
    ///
    /// # Errors
    /// Those of the JSON writer.
    pub fn hash(&self) -> Result<B256, RateCardError> {
        Ok(keccak256(self.canonical()?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn micros(amount: u64) -> Usdc {
        Usdc::from_micros(amount)
    }

    fn model() -> ModelRate {
        ModelRate {
            id: "local/extract".into(),
            kind: JobKind::TextInference,
            name: "Extractive summary".into(),
            per_call: micros(1000),
            per_1k_input_tokens: micros(150),
            per_1k_output_tokens: micros(600),
            context_length: 32_768,
            max_output_tokens: 1024,
        }
    }

    fn card() -> RateCard {
        RateCard { version: 1, operator: None, models: vec![model()], gates: BTreeMap::new() }
    }

    #[test]
    fn each_part_is_rounded_up() {
        let price =
            |input_tokens, output_tokens| model().price(&Usage { input_tokens, output_tokens }).unwrap().micros();
        assert_eq!(price(0, 0), 1000);
        assert_eq!(price(1, 0), 1001);
        assert_eq!(price(0, 1), 1001);
        assert_eq!(price(1, 1), 1002);
        assert_eq!(price(1000, 1000), 1750);
        assert_eq!(price(1001, 1001), 1752);
    }

    #[test]
    fn a_price_beyond_every_account_is_an_error() {
        let usage = Usage { input_tokens: u64::MAX, output_tokens: u64::MAX };
        assert!(matches!(model().price(&usage), Err(RateCardError::PriceTooLarge)));
        let dear = ModelRate {
            per_1k_input_tokens: Usdc::MAX,
            per_1k_output_tokens: Usdc::MAX,
            per_call: Usdc::MAX,
            ..model()
        };
        assert!(matches!(dear.price(&usage), Err(RateCardError::PriceTooLarge)));
        assert!(matches!(dear.price(&Usage { input_tokens: 1, output_tokens: 0 }), Err(RateCardError::PriceTooLarge)));
        assert_eq!(dear.price(&Usage::default()).unwrap(), Usdc::MAX);
    }

    #[test]
    fn canonical_form_and_hash() {
        let mut card = card();
        card.gates.insert("POST /api/v1/compute-futures/execute".into(), micros(1000));
        let text = String::from_utf8(card.canonical().unwrap()).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"gates":{"POST /api/v1/compute-futures/execute":"1000"},"models":[{"contextLength":32768,"#,
                r#""id":"local/extract","kind":"text-inference","maxOutputTokens":1024,"name":"Extractive summary","#,
                r#""per1kInputTokens":"150","per1kOutputTokens":"600","perCall":"1000"}],"version":1}"#
            )
        );
        assert_eq!(card.hash().unwrap(), keccak256(&text));
        assert_eq!(serde_json::from_str::<RateCard>(&text).unwrap(), card);
        card.models[0].per_call = micros(1001);
        assert_ne!(card.hash().unwrap(), keccak256(&text));
    }

    #[test]
    fn models_have_ids_of_their_own() {
        assert!(card().validate().is_ok());
        let twice = RateCard { models: vec![model(), model()], ..card() };
        assert!(matches!(twice.validate(), Err(RateCardError::DuplicateModel(id)) if id == "local/extract"));
        let nameless = RateCard { models: vec![ModelRate { id: String::new(), ..model() }], ..card() };
        assert!(matches!(nameless.validate(), Err(RateCardError::EmptyModelId)));
        assert_eq!(card().model("local/extract"), Some(&model()));
        assert_eq!(card().model("nobody"), None);
    }

    #[test]
    fn kinds_are_known_by_their_names() {
        for kind in JobKind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
            assert_eq!(kind.name().parse::<JobKind>().unwrap(), kind);
        }
        assert!("telepathy".parse::<JobKind>().is_err());
    }

    proptest! {
        #[test]
        fn more_tokens_never_cost_less_and_rounding_adds_less_than_two_micros(
            input_tokens in 0u64..1 << 32, output_tokens in 0u64..1 << 32, more in 0u64..1 << 20,
        ) {
            let price =
                |input_tokens, output_tokens| model().price(&Usage { input_tokens, output_tokens }).unwrap().micros();
            let cost = price(input_tokens, output_tokens);
            prop_assert!(cost <= price(input_tokens + more, output_tokens));
            prop_assert!(cost <= price(input_tokens, output_tokens + more));
            let exact_times_1000 = 1_000_000 + 150 * input_tokens + 600 * output_tokens;
            prop_assert!(cost * 1000 >= exact_times_1000 && cost * 1000 - exact_times_1000 < 2000);
        }
    }
}
