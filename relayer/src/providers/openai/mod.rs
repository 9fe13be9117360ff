//! Adapter for anything that speaks OpenAI's API: chat (also piece by piece), embeddings, images, speech and transcription.
//!
//! The URL is the operator's own choice and trusted; the answer is not: it is bounded in time and size, redirects are not
//! followed, and only what was understood is passed on.

mod chat;
mod embeddings;
mod media;

use async_trait::async_trait;
use compute_futures_protocol::Usage;
use serde_json::{Map, Value};

pub(super) use media::{drawn, spoken, transcript, whole_seconds};

use super::upstream::Upstream;
use super::{Chunks, JobInput, Outcome, Provider, ProviderError};
use crate::catalog::Route;
use crate::config::{ConfigError, ProviderConfig};

/// One OpenAI-compatible API.
#[derive(Debug)]
pub struct OpenAi {
    upstream: Upstream,
}

impl OpenAi {
    /// The adapter as configured; the API key is read from the environment.
    ///
    /// # Errors
    /// A base URL that is not https (or loopback with `allow_insecure`), a key that is not set, a header that is none.
    pub fn from_config(config: &ProviderConfig) -> Result<Self, ConfigError> {
        Ok(Self { upstream: Upstream::from_config(config)? })
    }
}

#[async_trait]
impl Provider for OpenAi {
    fn name(&self) -> &str {
        &self.upstream.name
    }

    async fn run(&self, route: &Route, job: &JobInput) -> Result<Outcome, ProviderError> {
        let model = route.model.as_str();
        let answer = match job {
            JobInput::TextInference(job) => self.chat(model, job).await,
            JobInput::Embeddings(job) => self.embed(model, job).await,
            JobInput::ImageGeneration(job) => self.draw(model, job).await,
            JobInput::TextToSpeech(job) => self.speak(model, job).await,
            JobInput::SpeechToText(job) => self.transcribe(model, job).await,
            JobInput::VideoGeneration(_) | JobInput::DocumentParsing(_) | JobInput::Gpu(_) => {
                Err(self.upstream.unavailable(&format!("it does no {}", job.kind())))
            }
        };
        answer.map(Outcome::Done)
    }

    async fn stream(&self, route: &Route, job: &JobInput) -> Result<Chunks, ProviderError> {
        match job {
            JobInput::TextInference(job) => self.chat_stream(&route.model, job).await,
            _ => Err(self.upstream.unavailable(&format!("it streams no {}", job.kind()))),
        }
    }
}

/// What the provider says it used; nonsense counts as silence.
fn read_usage(answer: &Map<String, Value>) -> Option<Usage> {
    let usage = answer.get("usage")?;
    Some(Usage::tokens(
        usage.get("prompt_tokens")?.as_u64()?,
        usage.get("completion_tokens").map_or(Some(0), Value::as_u64)?,
    ))
}
