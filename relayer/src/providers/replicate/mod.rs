//! Adapter for Replicate: predictions that are created, polled, cancelled, and told of by signed webhooks.
//!
//! Files that a prediction makes expire within the hour; they are fetched at once and handed on as bytes.

mod input;
mod output;
mod webhook;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};

use super::upstream::{Upstream, secret};
use super::{JobInput, Outcome, Pending, Provider, ProviderError, WebhookFault};
use crate::catalog::Route;
use crate::config::{ConfigError, ProviderConfig};

/// How long Replicate is asked to keep the request open for an answer.
const WAIT_SECONDS: u64 = 30;
/// When to look after a prediction first.
const POLL_AFTER: Duration = Duration::from_secs(2);

/// Replicate's API, or one like it.
#[derive(Debug)]
pub struct Replicate {
    upstream: Upstream,
    /// Seconds after which Replicate itself cancels a prediction: a bound on what a job can cost the operator.
    deadline_seconds: u64,
    webhook_url: Option<String>,
    webhook_secret: Option<webhook::Secret>,
}

impl Replicate {
    /// The adapter as configured; API key and webhook secret are read from the environment.
    ///
    /// # Errors
    /// As for [`super::OpenAi::from_config`]; a webhook secret that is not set or not of the form `whsec_…`.
    pub fn from_config(config: &ProviderConfig) -> Result<Self, ConfigError> {
        let wrong = |text: String| ConfigError::Invalid(vec![format!("providers: {}: {text}", config.name)]);
        let text = match config.webhook_secret_env.as_str() {
            "" => None,
            variable => {
                Some(secret(variable).ok_or_else(|| wrong(format!("the environment variable {variable} is not set")))?)
            }
        };
        Self::with_webhook_secret(config, text.as_deref())
    }

    /// The same with the secret that it signs webhooks with.
    ///
    /// # Errors
    /// As for [`Replicate::from_config`].
    pub fn with_webhook_secret(config: &ProviderConfig, secret: Option<&str>) -> Result<Self, ConfigError> {
        let wrong = |text: String| ConfigError::Invalid(vec![format!("providers: {}: {text}", config.name)]);
        let webhook_secret = match secret {
            None => None,
            Some(text) => Some(
                webhook::Secret::parse(text)
                    .ok_or_else(|| wrong("the webhook secret is none; it reads whsec_…".into()))?,
            ),
        };
        if !config.webhook_url.is_empty() && webhook_secret.is_none() {
            return Err(wrong(
                "webhook_url without webhook_secret_env: nobody could tell a webhook from a forgery".into(),
            ));
        }
        Ok(Self {
            upstream: Upstream::from_config(config)?,
            deadline_seconds: config.job_seconds,
            webhook_url: (!config.webhook_url.is_empty()).then(|| config.webhook_url.clone()),
            webhook_secret,
        })
    }

    async fn create(&self, route: &Route, job: &JobInput) -> Result<Map<String, Value>, ProviderError> {
        let mut body = json!({ "version": route.model, "input": self.input(route, job).await? });
        if let (Some(webhook), Some(object)) = (&self.webhook_url, body.as_object_mut()) {
            object.insert("webhook".into(), webhook.as_str().into());
            object.insert("webhook_events_filter".into(), json!(["completed"]));
        }
        // A job that outlives its request anyway is not waited for.
        let wait = if job.kind().is_long() { 1 } else { WAIT_SECONDS };
        let seconds = route.run_seconds.map_or(self.deadline_seconds, |covered| covered.min(self.deadline_seconds));
        let request = self
            .upstream
            .post("predictions")?
            .header("Prefer", format!("wait={wait}"))
            .header("Cancel-After", format!("{seconds}s"))
            .json(&body);
        self.upstream.json(request).await
    }

    /// What a prediction has come to.
    async fn outcome(&self, job: &JobInput, prediction: &Map<String, Value>) -> Result<Outcome, ProviderError> {
        match prediction.get("status").and_then(Value::as_str) {
            Some("starting" | "processing") => {
                let upstream_id = prediction.get("id").and_then(Value::as_str).filter(|id| is_id(id));
                let upstream_id = upstream_id.ok_or_else(|| self.upstream.bad("it has no id"))?.to_owned();
                Ok(Outcome::Pending(Pending { upstream_id, poll_after: POLL_AFTER }))
            }
            Some("succeeded") => self.answer(job, prediction).await.map(Outcome::Done),
            Some("failed") => Err(self.upstream.failed("the model ended with an error")),
            Some("canceled" | "aborted") => Err(self.upstream.failed("it was cancelled there")),
            _ => Err(self.upstream.bad("it has no status")),
        }
    }
}

/// An id that is safe in a path.
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[async_trait]
impl Provider for Replicate {
    fn name(&self) -> &str {
        &self.upstream.name
    }

    async fn run(&self, route: &Route, job: &JobInput) -> Result<Outcome, ProviderError> {
        let prediction = self.create(route, job).await?;
        self.outcome(job, &prediction).await
    }

    async fn poll(&self, upstream_id: &str, job: &JobInput) -> Result<Outcome, ProviderError> {
        if !is_id(upstream_id) {
            return Err(self.upstream.failed("its id is none"));
        }
        let prediction = self.upstream.json(self.upstream.get(&format!("predictions/{upstream_id}"))?).await?;
        self.outcome(job, &prediction).await
    }

    async fn cancel(&self, upstream_id: &str) -> Result<(), ProviderError> {
        if !is_id(upstream_id) {
            return Ok(());
        }
        self.upstream.json(self.upstream.post(&format!("predictions/{upstream_id}/cancel"))?).await.map(|_| ())
    }

    fn webhook(&self, headers: &HeaderMap, body: &[u8]) -> Result<String, WebhookFault> {
        let secret = self.webhook_secret.as_ref().ok_or(WebhookFault::NotExpected)?;
        secret.verify(headers, body, crate::ledger::now_ms() / 1000)?;
        let prediction: Value = serde_json::from_slice(body).map_err(|_| WebhookFault::Body)?;
        prediction.get("id").and_then(Value::as_str).filter(|id| is_id(id)).map(str::to_owned).ok_or(WebhookFault::Body)
    }
}
