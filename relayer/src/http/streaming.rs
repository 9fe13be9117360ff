//! Chat piece by piece: chunks as OpenAI writes them, then `event: receipt`, then `data: [DONE]`.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::jobs::Job;
use crate::payment::credit::unix_now;
use crate::payment::offer::Offer;
use crate::payment::report::Answer;
use crate::payment::streamed::{Pen, event};
use crate::payment::{Gates, PaidRequest};
use crate::providers::Delta;

/// Whose clients read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `compute/text-inference`.
    Compute,
    /// `/v1/chat/completions`.
    OpenAi,
}

/// Answers a chat job piece by piece.
pub(super) async fn serve(gates: &Gates, request: &PaidRequest, offer: &Offer, job: Job, shape: Shape) -> Response {
    gates.stream(request, offer, job, Arc::new(Chunks::new(shape))).await
}

struct Chunks {
    shape: Shape,
    id: String,
    created: u64,
    model: std::sync::OnceLock<String>,
}

impl Chunks {
    fn new(shape: Shape) -> Self {
        let id = format!("chatcmpl-{}", uuid::Uuid::new_v4().simple());
        Self { shape, id, created: unix_now(), model: std::sync::OnceLock::new() }
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<&str>) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model.get().map_or("", String::as_str),
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
        })
    }

    /// The end of the text with its usage, the receipt with the whole answer that it covers, the end of the stream.
    fn close(&self, answer: &Answer) -> Vec<Bytes> {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let payment: Value = serde_json::from_slice(&answer.extra).unwrap_or_default();
        let compute = body.get("compute").unwrap_or(&body);
        let finish_reason = compute["choices"][0]["finish_reason"].as_str().unwrap_or("stop");
        // Clients of OpenAI know no such reason: to them the text is as long as it got.
        let finish_reason = if finish_reason == "cut" { "length" } else { finish_reason };
        let mut last = self.chunk(&json!({}), Some(finish_reason));
        last["usage"] = compute["usage"].clone();
        // A chunk without text to those who read chunks alone.
        let mut receipt = self.chunk(&json!({}), None);
        receipt["answer"] = body;
        receipt["payment"] = payment;
        vec![event(None, &last), event(Some("receipt"), &receipt), Bytes::from_static(b"data: [DONE]\n\n")]
    }
}

impl Pen for Chunks {
    fn start(&self, model: &str) -> Vec<Bytes> {
        let _ = self.model.set(model.to_owned());
        vec![event(None, &self.chunk(&json!({ "role": "assistant", "content": "" }), None))]
    }

    fn piece(&self, delta: &Delta) -> Bytes {
        let mut fields = json!({});
        if !delta.content.is_empty() {
            fields["content"] = Value::from(delta.content.as_str());
        }
        if !delta.reasoning.is_empty() {
            fields["reasoning_content"] = Value::from(delta.reasoning.as_str());
        }
        event(None, &self.chunk(&fields, None))
    }

    fn end(&self, answer: &Answer) -> Vec<Bytes> {
        self.close(answer)
    }

    fn broken(&self, error: &ApiError) -> Vec<Bytes> {
        let body = match self.shape {
            Shape::Compute => error.body(),
            Shape::OpenAi => super::openai::error_body(error),
        };
        vec![event(Some("error"), &body), Bytes::from_static(b"data: [DONE]\n\n")]
    }

    fn again(&self, answer: &Answer) -> Vec<Bytes> {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let compute = body.get("compute").unwrap_or(&body);
        let message = &compute["choices"][0]["message"];
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let mut events = self.start(compute["model"].as_str().unwrap_or_default());
        events.push(self.piece(&Delta { content: text("content"), reasoning: text("reasoning_content") }));
        events.extend(self.close(answer));
        events
    }
}
