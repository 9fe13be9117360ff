//! An answer that comes in pieces, metered as it passes: whatever happens, what was handed out is known.

use compute_futures_protocol::Usage;
use futures::StreamExt as _;
use serde_json::{Map, Value, json};

use super::{Answer, Chunk, Chunks, JobOutput, Outcome, ProviderError};

/// A whole answer as a stream of one piece.
pub(super) fn whole(outcome: Outcome, provider: &str) -> Result<Chunks, ProviderError> {
    let bad = |reason: &str| ProviderError::BadAnswer { provider: provider.to_owned(), reason: reason.to_owned() };
    let Outcome::Done(answer) = outcome else { return Err(bad("it streams nothing")) };
    let choice =
        answer.body.get("choices").and_then(|choices| choices.get(0)).ok_or_else(|| bad("it has no choices"))?;
    let text = |name: &str| choice["message"][name].as_str().unwrap_or_default().to_owned();
    let delta = Chunk::Delta { content: text("content"), reasoning: text("reasoning_content") };
    let finish_reason = finish_reason(choice["finish_reason"].as_str());
    let end = Chunk::End { finish_reason, usage: answer.usage };
    Ok(futures::stream::iter([Ok(delta), Ok(end)]).boxed())
}

/// Why an answer ended, in the words that we know.
pub(super) fn finish_reason(stated: Option<&str>) -> &'static str {
    match stated {
        Some("length") => "length",
        Some("content_filter") => "content_filter",
        _ => "stop",
    }
}

/// How the text of a stream becomes an output with clamped usage.
type Meter = Box<dyn FnOnce(Answer) -> JobOutput + Send>;

/// A chat job whose text comes in pieces. Take pieces with [`JobStream::next`] until there are no more, or the client is
/// gone; then [`JobStream::finish`] says what was produced, which is what is charged.
pub struct JobStream {
    provider: String,
    model: String,
    chunks: Chunks,
    content: String,
    reasoning: String,
    usage: Option<Usage>,
    finish_reason: Option<&'static str>,
    ended: bool,
    meter: Meter,
}

impl std::fmt::Debug for JobStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobStream")
            .field("provider", &self.provider)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl JobStream {
    pub(super) fn new(provider: &str, model: &str, chunks: Chunks, meter: Meter) -> Self {
        Self {
            provider: provider.to_owned(),
            model: model.to_owned(),
            chunks,
            content: String::new(),
            reasoning: String::new(),
            usage: None,
            finish_reason: None,
            ended: false,
            meter,
        }
    }

    /// Name of the provider that does the work.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Id of the catalog model that does the work (never `auto`).
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The next piece of text, never empty; `None` once there is no more, whether it ended or was cut. Cancel-safe.
    pub async fn next(&mut self) -> Option<Delta> {
        while !self.ended {
            match self.chunks.next().await {
                Some(Ok(Chunk::Delta { content, reasoning })) => {
                    if content.is_empty() && reasoning.is_empty() {
                        continue;
                    }
                    self.content.push_str(&content);
                    self.reasoning.push_str(&reasoning);
                    return Some(Delta { content, reasoning });
                }
                Some(Ok(Chunk::End { finish_reason, usage })) => {
                    self.finish_reason = Some(finish_reason);
                    self.usage = usage;
                    self.ended = true;
                }
                Some(Err(error)) => {
                    tracing::warn!(provider = self.provider, model = self.model, %error, "a stream was cut");
                    self.ended = true;
                }
                None => self.ended = true,
            }
        }
        None
    }

    /// Whether the provider ended the answer itself. A cut stream delivered something, and not all.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.finish_reason.is_some()
    }

    /// What was produced so far, with its usage clamped to it: the answer of a job that ended, was cut, or whose client is
    /// gone. A cut one has the finish reason `cut`. `None`: nothing was produced, and nothing may be charged (I-8).
    #[must_use]
    pub fn finish(self) -> Option<JobOutput> {
        if self.content.is_empty() && self.reasoning.is_empty() {
            return None;
        }
        let mut message = json!({ "role": "assistant", "content": self.content });
        if !self.reasoning.is_empty() {
            message["reasoning_content"] = Value::from(self.reasoning);
        }
        let finish_reason = self.finish_reason.unwrap_or("cut");
        let choices = json!([{ "index": 0, "message": message, "finish_reason": finish_reason }]);
        let body = Map::from_iter([("choices".to_owned(), choices)]);
        Some((self.meter)(Answer { body, usage: self.usage, artifacts: Vec::new() }))
    }
}

/// A piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// Of the answer.
    pub content: String,
    /// Of the reasoning, where the model shows it.
    pub reasoning: String,
}
