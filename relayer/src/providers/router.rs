//! Model → provider, with fallbacks. What comes out is clamped to what the request allows.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::{
    Answer, Chunk, Chunks, JobInput, JobOutput, JobStream, OpenAi, Outcome, Pending, Provider, ProviderError,
    Replicate, Usage, WebhookFault,
    breaker::{Breaker, BreakerState},
    local::Local,
};
use crate::{
    catalog::{ANY, Catalog, Model, Route},
    config::{ConfigError, ProviderConfig, ProviderKind},
};

/// A job that a provider works on, as it is written down to survive a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// Name of the provider.
    pub provider: String,
    /// Id of the catalog model (never `auto`).
    pub model: String,
    /// The provider's own id of the job.
    pub upstream_id: String,
    /// Milliseconds to wait before asking; back off from there.
    pub poll_after_ms: u64,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// The answer, clamped.
    Done(JobOutput),
    /// Ask again with [`Providers::poll`], or [`Providers::cancel`] it.
    Pending(Ticket),
}

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
    /// A missing key of a provider that is not optional, or a base URL that cannot be used.
    pub fn from_config(configs: &[ProviderConfig], catalog: Arc<Catalog>) -> Result<Self, ConfigError> {
        let mut providers = Self { catalog, entries: HashMap::new() };
        for config in configs.iter().filter(|config| config.is_usable()) {
            let provider: Arc<dyn Provider> = match config.kind {
                ProviderKind::Local => Arc::new(Local::new(config)),
                ProviderKind::OpenAi => Arc::new(OpenAi::from_config(config)?),
                ProviderKind::Replicate => Arc::new(Replicate::from_config(config)?),
            };
            providers.add(provider, config.breaker_failures, Duration::from_secs(config.breaker_seconds));
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

    /// Runs a job to its end on the first model and provider that can, in the catalog's order. A job that its provider keeps
    /// is waited for, at most for `patience`, and then cancelled.
    ///
    /// # Errors
    /// The last failure, when none can. Nothing was delivered.
    pub async fn run(&self, job: &JobInput, patience: Duration) -> Result<JobOutput, ProviderError> {
        let until = Instant::now() + patience;
        let mut ticket = match self.start(job).await? {
            Progress::Done(output) => return Ok(output),
            Progress::Pending(ticket) => ticket,
        };
        let provider = Arc::clone(&self.entry(&ticket.provider)?.provider);
        let mut guard = CancelOnDrop { provider, upstream_id: Some(ticket.upstream_id.clone()) };
        let mut pause = Duration::from_millis(ticket.poll_after_ms);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ProviderError::Timeout { provider: ticket.provider, seconds: patience.as_secs() });
            }
            tokio::time::sleep(pause.min(left)).await;
            match self.poll(job, &ticket).await {
                Ok(Progress::Done(output)) => {
                    guard.upstream_id = None;
                    return Ok(output);
                }
                Ok(Progress::Pending(later)) => {
                    ticket = later;
                    pause = (pause * 3 / 2).min(Duration::from_secs(5));
                }
                Err(error) if error.is_final() => {
                    guard.upstream_id = None;
                    return Err(error);
                }
                Err(_) => pause = (pause * 2).min(Duration::from_secs(10)),
            }
        }
    }

    /// Runs or starts a job on the first model and provider that can, in the catalog's order.
    ///
    /// The usage in the answer is at most [`Catalog::max_usage`] of the model that ran, whatever the provider claims: nobody is
    /// ever charged above the hold (I-8).
    ///
    /// # Errors
    /// The last failure, when none can. Nothing was delivered.
    pub async fn start(&self, job: &JobInput) -> Result<Progress, ProviderError> {
        match self.first(job, Want::Outcome).await? {
            (entry, model, Got::Outcome(outcome)) => Ok(self.progress(entry, model, job, outcome)),
            (entry, ..) => Err(unexpected(entry.provider.name())),
        }
    }

    /// Asks how a pending job is.
    ///
    /// # Errors
    /// [`ProviderError::is_final`] says whether it is over, or to be asked for again later.
    pub async fn poll(&self, job: &JobInput, ticket: &Ticket) -> Result<Progress, ProviderError> {
        let entry = self.entry(&ticket.provider)?;
        let model = self.catalog.model(job.kind(), &ticket.model).ok_or_else(|| ProviderError::Failed {
            provider: ticket.provider.clone(),
            reason: format!("model {} is not on offer any more", ticket.model),
        })?;
        let outcome = entry.provider.poll(&ticket.upstream_id, job).await?;
        Ok(self.progress(entry, model, job, outcome))
    }

    /// Stops a pending job. One that has ended already is no error.
    ///
    /// # Errors
    /// [`ProviderError`] when the provider could not be told.
    pub async fn cancel(&self, ticket: &Ticket) -> Result<(), ProviderError> {
        self.entry(&ticket.provider)?.provider.cancel(&ticket.upstream_id).await
    }

    /// Runs a chat job whose text comes in pieces, on the first model and provider that can. Once a piece came there is no
    /// other provider: what was produced is what there is.
    ///
    /// # Errors
    /// The last failure, when none can. Nothing was delivered.
    pub async fn stream(&self, job: &JobInput) -> Result<JobStream, ProviderError> {
        let (entry, model, chunks) = match self.first(job, Want::Chunks).await? {
            (entry, model, Got::Chunks(chunks)) => (entry, model, chunks),
            (entry, ..) => return Err(unexpected(entry.provider.name())),
        };
        let (name, id) = (entry.provider.name().to_owned(), model.rate.id.clone());
        let (bound, sent, provider) = (self.catalog.max_usage(model, job), job.clone(), name.clone());
        let meter = Box::new(move |answer: Answer| accept(&provider, &id, &bound, &sent, answer));
        Ok(JobStream::new(&name, &model.rate.id, chunks, meter))
    }

    /// Which job of `provider` a webhook is about; the signature is checked first.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn webhook(
        &self,
        provider: &str,
        headers: &reqwest::header::HeaderMap,
        body: &[u8],
    ) -> Result<String, WebhookFault> {
        self.entries.get(provider).ok_or(WebhookFault::NotExpected)?.provider.webhook(headers, body)
    }

    fn entry(&self, name: &str) -> Result<&Entry, ProviderError> {
        self.entries.get(name).ok_or_else(|| ProviderError::Unavailable {
            provider: name.to_owned(),
            reason: "it is not configured".to_owned(),
        })
    }

    fn progress(&self, entry: &Entry, model: &Model, job: &JobInput, outcome: Outcome) -> Progress {
        let provider = entry.provider.name();
        match outcome {
            Outcome::Done(answer) => {
                let bound = self.catalog.max_usage(model, job);
                Progress::Done(accept(provider, &model.rate.id, &bound, job, answer))
            }
            Outcome::Pending(Pending { upstream_id, poll_after }) => Progress::Pending(Ticket {
                provider: provider.to_owned(),
                model: model.rate.id.clone(),
                upstream_id,
                poll_after_ms: u64::try_from(poll_after.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    /// Tries models and their providers in order until one does it. What it does delivers nothing when it fails.
    async fn first<'a>(&'a self, job: &'a JobInput, want: Want) -> Result<(&'a Entry, &'a Model, Got), ProviderError> {
        let mut last = None;
        for model in self.catalog.candidates(job) {
            for route in &model.routes {
                match self.guarded(route, model, job, want).await {
                    Ok((entry, got)) => return Ok((entry, model, got)),
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

    /// One attempt, under the provider's breaker, counted and timed.
    async fn guarded(
        &self,
        route: &Route,
        model: &Model,
        job: &JobInput,
        want: Want,
    ) -> Result<(&Entry, Got), ProviderError> {
        let name = route.provider.as_str();
        let entry = self.entry(name)?;
        let Some(leave) = entry.breaker.enter() else {
            count(name, "breaker_open");
            return Err(ProviderError::Unavailable {
                provider: name.into(),
                reason: "it failed repeatedly and is left alone for a while".into(),
            });
        };
        let named;
        let route = if route.model == ANY {
            named = Route { model: job.model().to_owned(), ..route.clone() };
            &named
        } else {
            route
        };
        let started = Instant::now();
        let result = attempt(entry.provider.as_ref(), route, job, want).await;
        metrics::histogram!("relayer_provider_seconds", "provider" => name.to_owned())
            .record(started.elapsed().as_secs_f64());
        match &result {
            Ok(_) => {
                leave.succeed();
                count(name, "ok");
            }
            Err(error) => {
                count(name, error.outcome());
                // A refusal is about this request; it says that the provider is there and well.
                if error.is_about_the_request() {
                    leave.succeed();
                } else {
                    tracing::warn!(provider = name, model = model.rate.id, %error, "a provider failed");
                    leave.fail();
                }
            }
        }
        result.map(|got| (entry, got))
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

/// What is wanted of a provider.
#[derive(Debug, Clone, Copy)]
enum Want {
    Outcome,
    Chunks,
}

/// What it gave.
enum Got {
    Outcome(Outcome),
    Chunks(Chunks),
}

async fn attempt(provider: &dyn Provider, route: &Route, job: &JobInput, want: Want) -> Result<Got, ProviderError> {
    Ok(match want {
        Want::Outcome => Got::Outcome(provider.run(route, job).await?),
        Want::Chunks => Got::Chunks(first_piece(provider.stream(route, job).await?, provider.name()).await?),
    })
}

fn unexpected(provider: &str) -> ProviderError {
    ProviderError::BadAnswer { provider: provider.to_owned(), reason: "it is not what was asked for".to_owned() }
}

/// Waits for the first piece of text, so that a stream which breaks before it can still go to another provider.
async fn first_piece(mut chunks: Chunks, provider: &str) -> Result<Chunks, ProviderError> {
    loop {
        match chunks.next().await {
            Some(Ok(Chunk::Delta { content, reasoning })) if content.is_empty() && reasoning.is_empty() => {}
            Some(Ok(first @ Chunk::Delta { .. })) => {
                return Ok(futures::stream::iter([Ok(first)]).chain(chunks).boxed());
            }
            Some(Err(error)) => return Err(error),
            Some(Ok(Chunk::End { .. })) | None => {
                return Err(ProviderError::BadAnswer {
                    provider: provider.to_owned(),
                    reason: "it is empty".to_owned(),
                });
            }
        }
    }
}

/// Clamps the claimed usage: input by what was sent, output by what was asked for and by what was received.
fn accept(provider: &str, model: &str, bound: &Usage, job: &JobInput, answer: Answer) -> JobOutput {
    let received = crate::catalog::tokens::output_upper_bound(&answer.body);
    let ours = crate::catalog::tokens::estimate(job, &answer);
    let stated = answer.usage.is_some();
    let claimed = answer.usage.unwrap_or(ours);
    let mut usage = claimed.min_each(bound);
    usage.output_tokens = usage.output_tokens.min(received);
    // What was delivered can be counted here; nobody's word is needed.
    (usage.images, usage.characters) = (ours.images.min(bound.images), ours.characters.min(bound.characters));
    if stated && usage != claimed {
        tracing::warn!(provider, model, ?claimed, ?usage, "the provider claims more than there can be; clamped");
        metrics::counter!("relayer_provider_usage_clamped_total", "provider" => provider.to_owned()).increment(1);
    }
    JobOutput {
        provider: provider.to_owned(),
        model: model.to_owned(),
        body: answer.body,
        usage,
        artifacts: answer.artifacts,
    }
}

/// Cancels a job at its provider when nobody waits for it any more: it would cost the operator and serve nobody.
struct CancelOnDrop {
    provider: Arc<dyn Provider>,
    upstream_id: Option<String>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let Some(upstream_id) = self.upstream_id.take() else { return };
        let provider = Arc::clone(&self.provider);
        // Outside a runtime there is nobody to tell: the process is ending.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = provider.cancel(&upstream_id).await {
                tracing::warn!(provider = provider.name(), %error, "a job that nobody waits for was not cancelled");
            }
        });
    }
}

fn count(provider: &str, outcome: &'static str) {
    metrics::counter!("relayer_provider_requests_total", "provider" => provider.to_owned(), "outcome" => outcome)
        .increment(1);
}
