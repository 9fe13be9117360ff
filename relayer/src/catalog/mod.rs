//! What is on offer and what it costs. The same functions answer `/compute/estimate`, quote a 402 and charge a job.

pub(crate) mod parse;
pub mod tokens;

use std::collections::BTreeMap;

use compute_futures_protocol::{B256, JobKind, ModelRate, RateCard, Usage, Usdc};

use serde_json::{Map, Value};

use crate::{
    config::{Config, ConfigError, LimitsConfig, ModelConfig, RouteConfig},
    error::{ApiError, ApiResult},
    providers::{JobInput, JobOutput},
};

/// Asks for the operator's choice of model.
pub const AUTO: &str = "auto";
/// Most characters that are read out of one document.
pub const MAX_DOCUMENT_CHARACTERS: u64 = 1_000_000;
/// A route's model that stands for whatever name the client asks for.
pub const ANY: &str = "*";

/// Where a model runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// Name of the provider.
    pub provider: String,
    /// The provider's own name of the model, or [`ANY`]; never [`ANY`] where it reaches a provider.
    pub model: String,
    /// Names of input fields where the model's differ from ours; an empty name leaves the field out.
    pub rename: BTreeMap<String, String>,
    /// Further input that the model is always given.
    pub input: Map<String, Value>,
    /// Seconds after which the provider stops a job (kind gpu): what its price covers.
    pub run_seconds: Option<u64>,
}

impl Route {
    /// A model of a provider, with nothing special about it.
    #[must_use]
    pub fn new(provider: &str, model: &str) -> Self {
        Self { provider: provider.to_owned(), model: model.to_owned(), ..Self::default() }
    }
}

/// One model on offer.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Its entry in the rate card: id, kind, prices, limits.
    pub rate: ModelRate,
    /// One sentence for people who choose a model.
    pub description: String,
    /// Further ids that clients may ask for.
    pub aliases: Vec<String>,
    /// Names of the providers that may run it, in order of preference, configured or not.
    pub providers: Vec<String>,
    /// Providers that are configured, in order of preference. Empty: the model is listed, and not available.
    pub routes: Vec<Route>,
    /// Whether it stands for every model of its provider, by the name `owner/model`.
    pub open: bool,
    /// Whether `auto` may choose it.
    pub auto: bool,
}

impl Model {
    /// Whether a client that asks for `id` means this model.
    #[must_use]
    pub fn answers_to(&self, id: &str) -> bool {
        self.rate.id == id || self.aliases.iter().any(|alias| alias == id) || self.open && id.contains('/')
    }

    /// Whether it makes several images in one job: no route leaves their number out.
    #[must_use]
    pub fn makes_several(&self) -> bool {
        self.routes.iter().all(|route| route.rename.get("n").is_none_or(|name| !name.is_empty()))
    }

    /// Whether any provider that could run it is configured.
    #[must_use]
    pub const fn is_configured(&self) -> bool {
        !self.routes.is_empty()
    }
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
        let gates = crate::http::endpoints::gate_prices(&config.gates);
        let mut catalog = Self::new(&config.models, gates, &config.limits, config.terms.rate_card_version)?;
        for (model, configured) in catalog.models.iter_mut().zip(&config.models) {
            let open = configured.routes.iter().map(|route| config.leads_somewhere(configured, route));
            let mut open: std::collections::VecDeque<bool> = open.collect();
            model.routes.retain(|_| open.pop_front().unwrap_or(false));
        }
        Ok(catalog)
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

    /// Models that may run `job`, in order: the one it names, or for `auto` every configured model marked so that can write as
    /// much as is asked for. Never empty for a job made by [`Catalog::parse`].
    pub fn candidates<'a>(&'a self, job: &'a JobInput) -> impl Iterator<Item = &'a Model> {
        let wanted = match job {
            JobInput::TextInference(text) => u64::from(text.max_tokens),
            _ => 0,
        };
        let auto = job.model() == AUTO;
        let several = matches!(job, JobInput::ImageGeneration(image) if image.n > 1);
        self.named(job.kind(), job.model()).filter(move |model| {
            model.is_configured()
                && !(auto && wanted > model.rate.max_output_tokens)
                && (!several || model.makes_several())
        })
    }

    /// Models that a client may mean by `id`. An id of its own goes before a name of the form `owner/model`.
    fn named<'a>(&'a self, kind: JobKind, id: &'a str) -> impl Iterator<Item = &'a Model> {
        let own = self.models.iter().any(|model| {
            model.rate.kind == kind && (model.rate.id == id || model.aliases.iter().any(|alias| alias == id))
        });
        self.models.iter().filter(move |model| {
            model.rate.kind == kind
                && match (id, own) {
                    (AUTO, _) => model.auto && model.is_configured(),
                    (_, true) => model.rate.id == id || model.aliases.iter().any(|alias| alias == id),
                    (_, false) => model.answers_to(id),
                }
        })
    }

    /// The most that `job` can use on `model`: every byte a token, as many tokens written as it asks for, as many seconds as the
    /// model is ever charged for.
    #[must_use]
    pub fn max_usage(&self, model: &Model, job: &JobInput) -> Usage {
        let rate = &model.rate;
        let none = Usage::default();
        match job {
            JobInput::TextInference(text) => {
                Usage::tokens(tokens::input_upper_bound(job).min(rate.context_length), u64::from(text.max_tokens))
            }
            JobInput::Embeddings(_) => Usage::tokens(tokens::input_upper_bound(job).min(rate.context_length), 0),
            JobInput::ImageGeneration(image) => Usage { images: u64::from(image.n), ..none },
            JobInput::VideoGeneration(video) => {
                let asked = video.seconds.map_or(rate.max_seconds, u64::from);
                Usage { seconds: asked.min(rate.max_seconds), ..none }
            }
            JobInput::TextToSpeech(speech) => Usage { characters: speech.input.chars().count() as u64, ..none },
            JobInput::DocumentParsing(_) => Usage { characters: MAX_DOCUMENT_CHARACTERS, ..none },
            JobInput::SpeechToText(_) | JobInput::Gpu(_) => Usage { seconds: rate.max_seconds, ..none },
        }
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
        most.ok_or_else(|| self.not_on_offer(job.kind(), job.model()))
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
        let usage = output.usage.min_each(&self.max_usage(model, job));
        Ok(price_at(model, &usage)?.min(self.max_price(job)?))
    }

    /// [`Catalog::price`] for an account that was opened under the rate card `opened_under`: the lower of both cards' prices.
    /// Without a card (a payment per call, or terms set from elsewhere) it is today's.
    ///
    /// # Errors
    /// When `output` names a model that is not on offer.
    pub fn price_under(&self, job: &JobInput, output: &JobOutput, opened_under: Option<&RateCard>) -> ApiResult<Usdc> {
        let today = self.price(job, output)?;
        let (Some(card), Some(model)) = (opened_under, self.model(job.kind(), &output.model)) else { return Ok(today) };
        let usage = output.usage.min_each(&self.max_usage(model, job));
        Ok(card.locked_price(&model.rate, &usage).map_err(too_large)?.min(today))
    }

    /// Why nothing runs a job that names `id`: there is no such model, or no provider of it is configured here.
    fn not_on_offer(&self, kind: JobKind, id: &str) -> ApiError {
        let Some(model) = self.named(kind, id).next() else {
            if id == AUTO {
                return self.not_configured(kind, id, "");
            }
            return self.unknown_model(kind, id);
        };
        self.not_configured(kind, id, &model.providers.join(" or "))
    }

    /// 503 before any payment: known, and nobody here runs it.
    fn not_configured(&self, kind: JobKind, id: &str, providers: &str) -> ApiError {
        let usable: Vec<&str> = self
            .models
            .iter()
            .filter(|model| model.rate.kind == kind && model.is_configured())
            .map(|model| model.rate.id.as_str())
            .collect();
        let id: String = id.chars().take(64).collect();
        let hint = if usable.is_empty() {
            format!("nothing was charged; this operator runs no {kind} at present, see GET /api/v1/compute/models")
        } else {
            format!("nothing was charged; use \"auto\" or one of: {}", usable.join(", "))
        };
        let needs = if providers.is_empty() { String::new() } else { format!(" ({providers})") };
        let error = format!("no provider of {kind} model {id:?} is configured here{needs}");
        ApiError::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "model_unavailable", error, hint)
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
    model.rate.price(usage).map_err(too_large)
}

fn too_large(error: compute_futures_protocol::RateCardError) -> ApiError {
    ApiError::bad_request("price_too_large", error.to_string(), "ask for less")
}

impl From<&ModelConfig> for Model {
    fn from(config: &ModelConfig) -> Self {
        let route = |route: &RouteConfig| Route {
            provider: route.provider.clone(),
            model: if route.model.is_empty() { config.id.clone() } else { route.model.clone() },
            rename: route.rename.clone(),
            input: route.input.clone().into_iter().collect(),
            run_seconds: (config.kind == JobKind::Gpu && config.max_seconds > 0).then_some(config.max_seconds.into()),
        };
        Self {
            rate: ModelRate {
                name: if config.name.is_empty() { config.id.clone() } else { config.name.clone() },
                per_call: config.per_call,
                per_1k_input_tokens: config.per_1k_input,
                per_1k_output_tokens: config.per_1k_output,
                context_length: u64::from(config.context_length),
                max_output_tokens: u64::from(config.max_output_tokens),
                per_image: config.per_image,
                per_second: config.per_second,
                per_1k_characters: config.per_1k_characters,
                max_seconds: u64::from(config.max_seconds),
                ..ModelRate::of(&config.id, config.kind)
            },
            description: config.description.clone(),
            aliases: config.aliases.clone(),
            providers: config.routes.iter().map(|route| route.provider.clone()).collect(),
            routes: config.routes.iter().map(route).collect(),
            open: config.routes.iter().any(|route| route.model == ANY),
            auto: config.auto,
        }
    }
}

#[cfg(test)]
mod tests;
