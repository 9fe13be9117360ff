//! The embedded provider: real work with no network and no weights. It is named for what it is (ADR 007).

mod embedding;
mod sentences;
mod summary;

use async_trait::async_trait;
use compute_futures_protocol::Usage;
use serde_json::{Map, Value, json};

use super::{Answer, JobInput, Outcome, Provider, ProviderError, Role};
use crate::catalog::Route;

/// Id of the extractive summary.
pub const SUMMARY_MODEL: &str = "local/extractive-summary";
/// Id of the hashed embeddings.
pub const EMBEDDINGS_MODEL: &str = "local/hashed-embeddings";

/// Above this many bytes a job leaves the async threads.
const INLINE_BYTES: usize = 16 * 1024;

/// Extractive summaries and hashed lexical embeddings, computed here.
#[derive(Debug, Clone)]
pub struct Local {
    name: String,
}

impl Local {
    /// The embedded provider under the operator's name for it.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }
}

#[async_trait]
impl Provider for Local {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&self, route: &Route, job: &JobInput) -> Result<Outcome, ProviderError> {
        let size: usize = match job {
            JobInput::TextInference(job) => job.messages.iter().map(|message| message.content.len()).sum(),
            JobInput::Embeddings(job) => job.input.iter().map(String::len).sum(),
            _ => 0,
        };
        if size <= INLINE_BYTES {
            return self.compute(&route.model, job).map(Outcome::Done);
        }
        let (this, model, job) = (self.clone(), route.model.clone(), job.clone());
        tokio::task::spawn_blocking(move || this.compute(&model, &job))
            .await
            .map_err(|_| ProviderError::Unavailable { provider: self.name.clone(), reason: "its worker ended".into() })?
            .map(Outcome::Done)
    }
}

impl Local {
    fn compute(&self, upstream_model: &str, job: &JobInput) -> Result<Answer, ProviderError> {
        let unknown = || ProviderError::Unavailable {
            provider: self.name.clone(),
            reason: format!("it has no model {upstream_model:?} for {}", job.kind()),
        };
        match job {
            JobInput::TextInference(job) if upstream_model == SUMMARY_MODEL => {
                let last = job
                    .messages
                    .iter()
                    .rev()
                    .find(|message| message.role == Role::User && !message.content.trim().is_empty());
                let text = last
                    .or_else(|| job.messages.iter().rev().find(|message| !message.content.trim().is_empty()))
                    .map_or("", |message| message.content.as_str());
                let summary = summary::summarize(text, job.max_tokens as usize);
                let input: usize = job.messages.iter().map(|message| sentences::count_tokens(&message.content)).sum();
                let body = json!({ "choices": [{
                    "index": 0,
                    "message": { "role": "assistant", "content": summary.text },
                    "finish_reason": if summary.cut { "length" } else { "stop" },
                }] });
                Ok(answer(body, input, sentences::count_tokens(&summary.text)))
            }
            JobInput::Embeddings(job) if upstream_model == EMBEDDINGS_MODEL => {
                let dimensions = job.dimensions.unwrap_or(embedding::DEFAULT_DIMENSIONS) as usize;
                let data: Vec<Value> = job
                    .input
                    .iter()
                    .enumerate()
                    .map(|(index, text)| json!({ "object": "embedding", "index": index, "embedding": embedding::embed(text, dimensions) }))
                    .collect();
                let input: usize = job.input.iter().map(|text| sentences::count_tokens(text)).sum();
                Ok(answer(json!({ "data": data }), input, 0))
            }
            _ => Err(unknown()),
        }
    }
}

fn answer(body: Value, input: usize, output: usize) -> Answer {
    let body = match body {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    Answer { body, usage: Some(Usage::tokens(input as u64, output as u64)), artifacts: Vec::new() }
}
