//! What is on offer and what it costs. The same functions answer `/compute/estimate`, quote a 402 and charge a job.

mod parse;
pub mod tokens;

use std::collections::BTreeMap;

use compute_futures_protocol::{B256, JobKind, ModelRate, RateCard, Usage, Usdc};

use crate::{
    config::{Config, ConfigError, LimitsConfig, ModelConfig},
    error::{ApiError, ApiResult},
    providers::{JobInput, JobOutput},
};

/// Asks for the operator's choice of model.
pub const AUTO: &str = "auto";
/// Kinds of job that are served.
pub const KINDS: [JobKind; 2] = [JobKind::TextInference, JobKind::Embeddings];

/// Where a model runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Name of the provider.
    pub provider: String,
    /// The provider's own name of the model.
    pub model: String,
}

/// One model on offer.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Its entry in the rate card: id, kind, prices, limits.
    pub rate: ModelRate,
    /// One sentence for people who choose a model.
    pub description: String,
    /// Providers in order of preference.
    pub routes: Vec<Route>,
    /// Whether `auto` may choose it.
    pub auto: bool,
}

/// Every model, and the rate card made of them.
#[derive(Debug, Clone)]
pub struct Catalog {
    models: Vec<Model>,
    limits: LimitsConfig,
    card: RateCard,
    canonical: Vec<u8>,
    hash: B256,
}

impl Catalog {
    /// The catalog of these models. `gates` are the prices of the calls themselves by endpoint, `version` the number that the
    /// operator raises with every change.
    ///
    /// # Errors
    /// Names what is wrong with which model.
    pub fn new(
        models: &[ModelConfig],
        gates: BTreeMap<String, Usdc>,
        limits: &LimitsConfig,
        version: u32,
    ) -> Result<Self, ConfigError> {
        let models: Vec<Model> = models.iter().map(Model::from).collect();
        let card = RateCard {
            version,
            operator: None,
            models: models.iter().map(|model| model.rate.clone()).collect(),
            gates,
        };
        let invalid =
            |error: compute_futures_protocol::RateCardError| ConfigError::Invalid(vec![format!("models: {error}")]);
        card.validate().map_err(invalid)?;
        let (canonical, hash) = (card.canonical().map_err(invalid)?, card.hash().map_err(invalid)?);
        Ok(Self { models, limits: limits.clone(), card, canonical, hash })
    }

    /// The catalog that the settings describe.
    ///
    /// # Errors
    /// Names what is wrong with which model.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        Self::new(
            &config.models,
            crate::http::endpoints::gate_prices(&config.gates),
            &config.limits,
            config.terms.rate_card_version,
        )
    }

    /// Every model, in file order.
    #[must_use]
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The rate card.
    #[must_use]
    pub const fn rate_card(&self) -> &RateCard {
        &self.card
    }

    /// The rate card as it is published: canonical JSON, whose keccak256 is [`Catalog::rate_card_hash`].
    #[must_use]
    pub fn rate_card_canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// Hash of the rate card: `rateCardHash` of the terms on-chain.
    #[must_use]
    pub const fn rate_card_hash(&self) -> B256 {
        self.hash
    }

    /// The model of that kind with that id.
    #[must_use]
    pub fn model(&self, kind: JobKind, id: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.rate.kind == kind && model.rate.id == id)
    }

    /// Models that may run `job`, in order: the one it names, or for `auto` every model marked so that can write as much as is
    /// asked for. Never empty for a job made by [`Catalog::parse`].
    pub fn candidates<'a>(&'a self, job: &'a JobInput) -> impl Iterator<Item = &'a Model> {
        let (kind, id) = (job.kind(), job.model());
        let wanted = match job {
            JobInput::TextInference(text) => u64::from(text.max_tokens),
            JobInput::Embeddings(_) => 0,
        };
        self.models.iter().filter(move |model| {
            model.rate.kind == kind
                && if id == AUTO { model.auto && wanted <= model.rate.max_output_tokens } else { model.rate.id == id }
        })
    }

    /// The most that `job` can use on `model`: every byte a token, and as many tokens written as it asks for.
    #[must_use]
    pub fn max_usage(&self, model: &Model, job: &JobInput) -> Usage {
        let output_tokens = match job {
            JobInput::TextInference(job) => u64::from(job.max_tokens),
            JobInput::Embeddings(_) => 0,
        };
        Usage { input_tokens: tokens::input_upper_bound(job).min(model.rate.context_length), output_tokens }
    }

    /// The most that `job` can cost before discount, whichever model runs it: what a hold reserves and what a payment per call
    /// pays.
    ///
    /// # Errors
    /// When no model runs it, or the price exceeds what an account can hold.
    pub fn max_price(&self, job: &JobInput) -> ApiResult<Usdc> {
        let mut most = None;
        for model in self.candidates(job) {
            most = most.max(Some(self.max_price_on(model, job)?));
        }
        most.ok_or_else(|| self.unknown_model(job.kind(), job.model()))
    }

    /// The most that `job` can cost on one model.
    ///
    /// # Errors
    /// When the price exceeds what an account can hold.
    pub fn max_price_on(&self, model: &Model, job: &JobInput) -> ApiResult<Usdc> {
        price_at(model, &self.max_usage(model, job))
    }

    /// What `job` costs before discount, now that it ran. Never above [`Catalog::max_price`], for any usage whatever.
    ///
    /// # Errors
    /// When `output` names a model that is not on offer.
    pub fn price(&self, job: &JobInput, output: &JobOutput) -> ApiResult<Usdc> {
        let model =
            self.model(job.kind(), &output.model).ok_or_else(|| self.unknown_model(job.kind(), &output.model))?;
        let bound = self.max_usage(model, job);
        let usage = Usage {
            input_tokens: output.usage.input_tokens.min(bound.input_tokens),
            output_tokens: output.usage.output_tokens.min(bound.output_tokens),
        };
        Ok(price_at(model, &usage)?.min(self.max_price(job)?))
    }

    fn unknown_model(&self, kind: JobKind, id: &str) -> ApiError {
        let known: Vec<&str> =
            self.models.iter().filter(|model| model.rate.kind == kind).map(|model| model.rate.id.as_str()).collect();
        let id: String = id.chars().take(64).collect();
        ApiError::bad_request(
            "unknown_model",
            format!("no {kind} model is called {id:?}"),
            format!("use \"auto\" or one of: {}; GET /api/v1/compute/models lists them with prices", known.join(", ")),
        )
    }
}

fn price_at(model: &Model, usage: &Usage) -> ApiResult<Usdc> {
    model
        .rate
        .price(usage)
        .map_err(|error| ApiError::bad_request("price_too_large", error.to_string(), "ask for fewer tokens"))
}

impl From<&ModelConfig> for Model {
    fn from(config: &ModelConfig) -> Self {
        Self {
            rate: ModelRate {
                id: config.id.clone(),
                kind: config.kind,
                name: if config.name.is_empty() { config.id.clone() } else { config.name.clone() },
                per_call: config.per_call,
                per_1k_input_tokens: config.per_1k_input,
                per_1k_output_tokens: config.per_1k_output,
                context_length: u64::from(config.context_length),
                max_output_tokens: u64::from(config.max_output_tokens),
            },
            description: config.description.clone(),
            routes: config
                .routes
                .iter()
                .map(|route| Route {
                    provider: route.provider.clone(),
                    model: if route.model.is_empty() { config.id.clone() } else { route.model.clone() },
                })
                .collect(),
            auto: config.auto,
        }
    }
}

#[cfg(test)]
mod tests;
