//! The embedded provider: real work with no network and no weights. It is named for what it is (ADR 007).

mod documents;
mod embedding;
pub mod parser;
mod sentences;
mod speech;
mod summary;

use std::time::Duration;

use async_trait::async_trait;
use compute_futures_outbound::Reach;
use compute_futures_protocol::Usage;
use futures::StreamExt as _;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use unicode_segmentation::UnicodeSegmentation as _;

use self::parser::{Fault, Parser};
use super::stream::finish_reason;
use super::upstream::fetch_source;
use super::{Answer, Chunk, Chunks, DocumentParsing, JobInput, Outcome, Provider, ProviderError, Role, Source};
use crate::catalog::Route;
use crate::config::ProviderConfig;

/// Id of the extractive summary.
pub const SUMMARY_MODEL: &str = "local/extractive-summary";
/// Id of the hashed embeddings.
pub const EMBEDDINGS_MODEL: &str = "local/hashed-embeddings";

/// Id of the parser of documents.
pub const DOCUMENTS_MODEL: &str = "local/document-text";
/// Id of the voice, which needs espeak-ng.
pub const SPEECH_MODEL: &str = "local/espeak-ng";

/// Whether this machine can run a model of the embedded provider.
#[must_use]
pub fn can_run(model: &str) -> bool {
    match model {
        SUMMARY_MODEL | EMBEDDINGS_MODEL | DOCUMENTS_MODEL => true,
        SPEECH_MODEL => speech::is_installed(),
        _ => false,
    }
}

/// Documents that are parsed at once, each in a process of its own.
static PARSERS: Semaphore = Semaphore::const_new(4);
/// Time to fetch a document from a stranger's address.
const FETCH_TIME: Duration = Duration::from_secs(20);

/// Above this many bytes a job leaves the async threads.
const INLINE_BYTES: usize = 16 * 1024;

/// Summaries, embeddings, documents and, with espeak-ng, speech: computed here.
#[derive(Debug, Clone)]
pub struct Local {
    name: String,
    reach: Reach,
    file_limit: usize,
    parser: Parser,
}

impl Local {
    /// The embedded provider under the operator's name for it.
    #[must_use]
    pub fn new(config: &ProviderConfig) -> Self {
        let reach = if config.files_anywhere { Reach::Anywhere } else { Reach::Public };
        let parser = Parser::this_program();
        Self { name: config.name.clone(), reach, file_limit: config.file_limit_bytes, parser }
    }

    /// The same where this program's `main` does not look for [`parser::ARGUMENT`]: documents are parsed by one that does.
    #[must_use]
    pub fn parsing_with(self, program: std::path::PathBuf) -> Self {
        Self { parser: Parser::program(program), ..self }
    }

    async fn document(&self, job: &DocumentParsing) -> Result<Answer, ProviderError> {
        let blob = match &job.document {
            Source::Inline(blob) => blob.clone(),
            Source::Url(url) => {
                let client = self.reach.client(FETCH_TIME).map_err(|_| self.unavailable("no HTTP client"))?;
                fetch_source(&client, self.reach, url, self.file_limit).await?
            }
        };
        let _place = tokio::time::timeout(parser::TIME, PARSERS.acquire())
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| self.unavailable("too many documents are being parsed"))?;
        match self.parser.parse(&blob).await {
            Ok(body) => {
                let characters = body.get("characters").and_then(Value::as_u64).unwrap_or_default();
                Ok(Answer { body, usage: Some(Usage { characters, ..Usage::default() }), artifacts: Vec::new() })
            }
            Err(Fault::Document(reason)) => Err(ProviderError::File { reason }),
            Err(Fault::Parser(reason)) => Err(self.unavailable(reason)),
        }
    }

    fn unavailable(&self, reason: &str) -> ProviderError {
        ProviderError::Unavailable { provider: self.name.clone(), reason: reason.to_owned() }
    }
}

#[async_trait]
impl Provider for Local {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&self, route: &Route, job: &JobInput) -> Result<Outcome, ProviderError> {
        let size: usize = match job {
            JobInput::DocumentParsing(job) if route.model == DOCUMENTS_MODEL => {
                return self.document(job).await.map(Outcome::Done);
            }
            JobInput::TextToSpeech(job) if route.model == SPEECH_MODEL => {
                return speech::speak(&self.name, job).await.map(Outcome::Done);
            }
            JobInput::TextInference(job) => job.messages.iter().map(|message| message.content.len()).sum(),
            JobInput::Embeddings(job) => job.input.iter().map(String::len).sum(),
            _ => 0,
        };
        if size <= INLINE_BYTES {
            return self.compute(&route.model, job).map(Outcome::Done);
        }
        let (this, model, job) = (self.clone(), route.model.clone(), job.clone());
        let work = tokio::task::spawn_blocking(move || this.compute(&model, &job)).await;
        work.map_err(|_| self.unavailable("its worker ended"))?.map(Outcome::Done)
    }

    /// The summary is there at once; it is handed out sentence by sentence.
    async fn stream(&self, route: &Route, job: &JobInput) -> Result<Chunks, ProviderError> {
        let Outcome::Done(answer) = self.run(route, job).await? else {
            return Err(self.unavailable("it streams nothing"));
        };
        let choice = answer.body.get("choices").and_then(|choices| choices.get(0)).cloned().unwrap_or_default();
        let text = choice["message"]["content"].as_str().unwrap_or_default();
        let pieces = text
            .split_sentence_bounds()
            .map(|piece| Ok(Chunk::Delta { content: piece.to_owned(), reasoning: String::new() }));
        let end = Chunk::End { finish_reason: finish_reason(choice["finish_reason"].as_str()), usage: answer.usage };
        let chunks: Vec<_> = pieces.chain([Ok(end)]).collect();
        Ok(futures::stream::iter(chunks).boxed())
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
