//! Chat, at once and piece by piece (server-sent events).

use std::time::Duration;

use futures::{StreamExt as _, stream};
use serde_json::{Map, Value, json};
use sse_stream::SseStream;

use super::{OpenAi, read_usage};
use crate::providers::stream::finish_reason;
use crate::providers::{Answer, Chunk, Chunks, ProviderError, TextInference, Usage};

/// How much longer than a whole answer a stream may take: as long as pieces keep coming.
const STREAM_FACTOR: u32 = 5;

impl OpenAi {
    pub(super) async fn chat(&self, model: &str, job: &TextInference) -> Result<Answer, ProviderError> {
        let answer = self
            .upstream
            .json(self.upstream.post("chat/completions")?.json(&Self::chat_request(model, job, false)))
            .await?;
        self.read_chat(&answer)
    }

    pub(super) async fn chat_stream(&self, model: &str, job: &TextInference) -> Result<Chunks, ProviderError> {
        let (idle, limit) = (self.upstream.timeout, self.upstream.response_limit);
        let request = self.upstream.post("chat/completions")?.json(&Self::chat_request(model, job, true));
        let response = self.upstream.head(request.timeout(idle * STREAM_FACTOR)).await?;
        let mut received = 0_usize;
        // Cut before the parser's buffer: one endless line must not fill the memory.
        let bytes = response.bytes_stream().map(move |piece| {
            let piece = piece.map_err(|_| Cut::Broken)?;
            received = received.saturating_add(piece.len());
            if received > limit { Err(Cut::TooLarge) } else { Ok(piece) }
        });
        let reader = Reader {
            events: SseStream::from_bytes_stream(bytes.boxed()).boxed(),
            idle,
            finish_reason: None,
            usage: None,
            ended: false,
            bad: self.upstream.bad("it is no stream of chat chunks"),
            late: self.upstream.late(),
        };
        Ok(stream::unfold(reader, |mut reader| async move { reader.next().await.map(|item| (item, reader)) }).boxed())
    }

    fn chat_request(model: &str, job: &TextInference, stream: bool) -> Value {
        let mut body =
            json!({ "model": model, "messages": job.messages, "max_tokens": job.max_tokens, "stream": stream });
        if let Some(object) = body.as_object_mut() {
            let mut set = |name: &str, value: Option<Value>| {
                if let Some(value) = value {
                    object.insert(name.into(), value);
                }
            };
            set("temperature", job.temperature.clone().map(Value::from));
            set("top_p", job.top_p.clone().map(Value::from));
            set("frequency_penalty", job.frequency_penalty.clone().map(Value::from));
            set("presence_penalty", job.presence_penalty.clone().map(Value::from));
            set("stream_options", stream.then(|| json!({ "include_usage": true })));
            set("seed", job.seed.map(Value::from));
            set("stop", (!job.stop.is_empty()).then(|| json!(job.stop)));
        }
        body
    }

    /// Passes on one choice: its text, its reasoning where shown, and why it ended.
    fn read_chat(&self, answer: &Map<String, Value>) -> Result<Answer, ProviderError> {
        let choice = answer
            .get("choices")
            .and_then(|choices| choices.get(0))
            .ok_or_else(|| self.upstream.bad("it has no choices"))?;
        let message = choice
            .get("message")
            .and_then(Value::as_object)
            .ok_or_else(|| self.upstream.bad("its choice has no message"))?;
        let content = message.get("content").and_then(Value::as_str).unwrap_or_default();
        if content.is_empty() {
            return Err(self.upstream.bad("its message is empty"));
        }
        let mut passed_on = json!({ "role": "assistant", "content": content });
        let reasoning =
            ["reasoning_content", "reasoning"].into_iter().find_map(|name| message.get(name)).and_then(Value::as_str);
        if let (Some(reasoning), Some(object)) = (reasoning, passed_on.as_object_mut()) {
            object.insert("reasoning_content".into(), reasoning.into());
        }
        let finish_reason = finish_reason(choice.get("finish_reason").and_then(Value::as_str));
        let body = Map::from_iter([(
            "choices".to_owned(),
            json!([{ "index": 0, "message": passed_on, "finish_reason": finish_reason }]),
        )]);
        Ok(Answer { body, usage: read_usage(answer), artifacts: Vec::new() })
    }
}

#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("the connection broke")]
    Broken,
    #[error("the stream is too large")]
    TooLarge,
}

/// Reads chunks off a stream of events.
struct Reader<S> {
    events: S,
    idle: Duration,
    finish_reason: Option<&'static str>,
    usage: Option<Usage>,
    ended: bool,
    bad: ProviderError,
    late: ProviderError,
}

impl<S, E> Reader<S>
where
    S: stream::Stream<Item = Result<sse_stream::Sse, E>> + Unpin,
{
    /// The next chunk; `None` when the stream is over. A stream that ends without saying so has no [`Chunk::End`].
    async fn next(&mut self) -> Option<Result<Chunk, ProviderError>> {
        while !self.ended {
            let event = match tokio::time::timeout(self.idle, self.events.next()).await {
                Err(_) => return self.fail(self.late.clone()),
                Ok(Some(Err(_))) => return self.fail(self.bad.clone()),
                Ok(None) => return self.end(),
                Ok(Some(Ok(event))) => event,
            };
            let Some(data) = event.data.as_deref().map(str::trim).filter(|data| !data.is_empty()) else { continue };
            if data == "[DONE]" {
                return self.end();
            }
            let Ok(Value::Object(chunk)) = serde_json::from_str::<Value>(data) else {
                return self.fail(self.bad.clone());
            };
            if chunk.contains_key("error") {
                return self.fail(self.bad.clone());
            }
            if let Some(usage) = read_usage(&chunk) {
                self.usage = Some(usage);
            }
            let Some(choice) = chunk.get("choices").and_then(|choices| choices.get(0)) else { continue };
            if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
                self.finish_reason = Some(finish_reason(Some(reason)));
            }
            let text = |names: &[&str]| {
                names.iter().find_map(|name| choice["delta"][name].as_str()).unwrap_or_default().to_owned()
            };
            let (content, reasoning) = (text(&["content"]), text(&["reasoning_content", "reasoning"]));
            if !content.is_empty() || !reasoning.is_empty() {
                return Some(Ok(Chunk::Delta { content, reasoning }));
            }
        }
        None
    }

    fn fail(&mut self, error: ProviderError) -> Option<Result<Chunk, ProviderError>> {
        self.ended = true;
        Some(Err(error))
    }

    fn end(&mut self) -> Option<Result<Chunk, ProviderError>> {
        self.ended = true;
        let (finish_reason, usage) = (self.finish_reason?, self.usage);
        Some(Ok(Chunk::End { finish_reason, usage }))
    }
}
