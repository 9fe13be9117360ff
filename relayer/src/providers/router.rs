//! Model → provider, with fallbacks. What comes out is clamped to what the request allows.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Answer, JobInput, JobOutput, OpenAi, Provider, ProviderError, Usage,
    breaker::{Breaker, BreakerState},
    local::Local,
};
use crate::{
    catalog::{Catalog, Model},
    config::{ConfigError, ProviderConfig, ProviderKind},
};

/// A provider and what we think of it.
struct Entry {
    provider: Arc<dyn Provider>,
    breaker: Breaker,
}

/// Health of one provider, for /ready.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ProviderHealth {
    /// Name of the provider.
    pub name: String,
    /// State of its breaker.
    pub breaker: BreakerState,
}

/// All providers, behind the catalog that says who runs what.
pub struct Providers {
    catalog: Arc<Catalog>,
    entries: HashMap<String, Entry>,
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.health()).finish()
    }
}

impl Providers {
    /// Builds the configured providers; keys are read from the environment here, once.
    ///
    /// # Errors
    /// A missing key, a base URL that cannot be used, or a route to a provider that is not configured.
    pub fn from_config(configs: &[ProviderConfig], catalog: Arc<Catalog>) -> Result<Self, ConfigError> {
        let mut providers = Self { catalog, entries: HashMap::new() };
        for config in configs {
            let provider: Arc<dyn Provider> = match config.kind {
                ProviderKind::Local => Arc::new(Local::new(&config.name)),
                ProviderKind::OpenAi => Arc::new(OpenAi::from_config(config)?),
            };
            providers.add(provider, config.breaker_failures, Duration::from_secs(config.breaker_seconds));
        }
        for model in providers.catalog.models() {
            if let Some(route) = model.routes.iter().find(|route| !providers.entries.contains_key(&route.provider)) {
                return Err(ConfigError::Invalid(vec![format!(
                    "models: {} is routed to provider `{}`, which [[providers]] does not name; add it or change the route",
                    model.rate.id, route.provider
                )]));
            }
        }
        Ok(providers)
    }

    /// Adds or replaces a provider.
    pub fn add(&mut self, provider: Arc<dyn Provider>, breaker_failures: u32, breaker_pause: Duration) {
        self.entries.insert(
            provider.name().to_owned(),
            Entry { provider, breaker: Breaker::new(breaker_failures, breaker_pause) },
        );
    }

    /// Runs a job on the first model and provider that can, in the catalog's order.
    ///
    /// The usage in the answer is at most [`Catalog::max_usage`] of the model that ran, whatever the provider claims: nobody is
    /// ever charged above the hold (I-8).
    ///
    /// # Errors
    /// The last failure, when none can. Nothing was delivered.
    pub async fn run(&self, job: &JobInput) -> Result<JobOutput, ProviderError> {
        let mut last = None;
        for model in self.catalog.candidates(job) {
            for route in &model.routes {
                match self.run_on(&route.provider, &route.model, model, job).await {
                    Ok(output) => return Ok(output),
                    Err(error) if !error.worth_another_provider() => return Err(error),
                    Err(error) => last = Some(error),
                }
            }
        }
        Err(last.unwrap_or_else(|| ProviderError::Unavailable {
            provider: "none".into(),
            reason: format!("no provider runs {}", job.model()),
        }))
    }

    async fn run_on(
        &self,
        name: &str,
        upstream_model: &str,
        model: &Model,
        job: &JobInput,
    ) -> Result<JobOutput, ProviderError> {
        let unavailable = |reason: &str| ProviderError::Unavailable { provider: name.into(), reason: reason.into() };
        let entry = self.entries.get(name).ok_or_else(|| unavailable("it is not configured"))?;
        let Some(leave) = entry.breaker.enter() else {
            count(name, "breaker_open");
            return Err(unavailable("it failed repeatedly and is left alone for a while"));
        };
        let started = Instant::now();
        let result = entry.provider.run(upstream_model, job).await;
        metrics::histogram!("relayer_provider_seconds", "provider" => name.to_owned())
            .record(started.elapsed().as_secs_f64());
        match result {
            Ok(answer) => {
                leave.succeed();
                count(name, "ok");
                Ok(self.accept(name, model, job, answer))
            }
            Err(error) => {
                count(name, error.outcome());
                // A refusal is about this request; it says that the provider is there and well.
                if matches!(error, ProviderError::Refused { .. }) {
                    leave.succeed();
                } else {
                    tracing::warn!(provider = name, model = model.rate.id, %error, "a provider failed");
                    leave.fail();
                }
                Err(error)
            }
        }
    }

    /// Clamps the claimed usage: input by what was sent, output by what was asked for and by what was received.
    fn accept(&self, name: &str, model: &Model, job: &JobInput, answer: Answer) -> JobOutput {
        let bound = self.catalog.max_usage(model, job);
        let received = crate::catalog::tokens::output_upper_bound(&answer.body);
        let claimed = answer.usage.unwrap_or_else(|| crate::catalog::tokens::estimate(job, &answer.body));
        let usage = Usage {
            input_tokens: claimed.input_tokens.min(bound.input_tokens),
            output_tokens: claimed.output_tokens.min(bound.output_tokens).min(received),
        };
        if usage != claimed {
            tracing::warn!(
                provider = name,
                model = model.rate.id,
                ?claimed,
                ?usage,
                "the provider claims more tokens than there can be; clamped"
            );
            metrics::counter!("relayer_provider_usage_clamped_total", "provider" => name.to_owned()).increment(1);
        }
        JobOutput { provider: name.to_owned(), model: model.rate.id.clone(), body: answer.body, usage }
    }

    /// Health of every provider, by name.
    #[must_use]
    pub fn health(&self) -> Vec<ProviderHealth> {
        let mut health: Vec<_> = self
            .entries
            .iter()
            .map(|(name, entry)| ProviderHealth { name: name.clone(), breaker: entry.breaker.state() })
            .collect();
        health.sort_by(|a, b| a.name.cmp(&b.name));
        health
    }

    /// Whether any provider of this model would be asked now.
    #[must_use]
    pub fn is_available(&self, model: &Model) -> bool {
        model
            .routes
            .iter()
            .filter_map(|route| self.entries.get(&route.provider))
            .any(|entry| entry.breaker.state() != BreakerState::Open)
    }
}

fn count(provider: &str, outcome: &'static str) {
    metrics::counter!("relayer_provider_requests_total", "provider" => provider.to_owned(), "outcome" => outcome)
        .increment(1);
}
