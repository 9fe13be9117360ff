//! What an agent asks for, what goes to a provider, and what comes back.

use compute_futures_protocol::market::{SessionId, SessionReceipt};
use compute_futures_protocol::{B256, Bytes, Usdc, canonical_json, keccak256};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value, json};
use utoipa::ToSchema;

use crate::catalog::tokens;
use crate::config::LimitsConfig;
use crate::error::{ApiError, ApiResult};
use crate::http::paid::{invalid, json_body};
use crate::market::meter::{Count, Metered, Side, Signed, tokenizer};
use crate::market::provider_client::Answered;
use crate::market::routing::Wants;
use crate::payment::PaidRequest;
use crate::providers::{Message, Role};

const EXAMPLE: &str = "{\"model\": \"…\", \"messages\": [{\"role\": \"user\", \"content\": \"…\"}]}";
/// Longest name of a model, as the registry has it.
const LONGEST_NAME: usize = 128;

/// One inference on the budget of a session.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InferenceRequest {
    /// As a provider of the marketplace names it (GET /api/v1/market/providers).
    #[schema(example = "llama-3.3-70b", min_length = 1, max_length = 128)]
    pub model: String,
    /// The conversation, oldest first.
    pub messages: Vec<InferenceMessage>,
    /// Only this provider. Left out: the best of those that the agent has a session with.
    pub provider_id: Option<u32>,
    /// Most tokens in the answer; fewer are asked for when the order's maxCost does not pay for them.
    #[serde(alias = "max_tokens")]
    #[schema(minimum = 1)]
    pub max_tokens: Option<u32>,
    /// Passed on to the model.
    #[schema(minimum = 0, maximum = 2, value_type = Option<f64>)]
    pub temperature: Option<Number>,
    /// CAIP-2 name of the network. Only the offer of a 402 depends on it: an order names its own.
    pub network: Option<String>,
    /// The session that is to pay. Only the offer of a 402 depends on it: an order names its own.
    #[schema(value_type = Option<String>, example = "4294967297")]
    pub session_id: Option<SessionId>,
}

/// A message of the conversation.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InferenceMessage {
    /// Who said it.
    pub role: Role,
    /// A text, or a list of text parts.
    #[schema(value_type = String, example = "Summarize this contract: …")]
    pub content: Content,
}

/// Text, in either of the forms that OpenAI's clients send.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// As it is.
    Text(String),
    /// In parts.
    Parts(Vec<TextPart>),
}

/// A part of a message.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum TextPart {
    /// The only kind that is served.
    Text {
        /// The text.
        text: String,
    },
}

/// An inference that can be asked for.
#[derive(Debug, Clone)]
pub(crate) struct Chat {
    pub(crate) model: String,
    messages: Vec<Message>,
    temperature: Option<Number>,
    asked: u32,
    pub(crate) provider: Option<u32>,
    pub(crate) network: Option<String>,
    pub(crate) session: Option<SessionId>,
    /// Tokens that a chat template may add.
    template: u64,
    input_most: u64,
    input_likely: u64,
}

/// Answer of an inference.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InferenceAnswer {
    /// The execution: keccak256 of agent and nonce of the order.
    #[schema(value_type = String)]
    pub id: B256,
    /// As it was asked for.
    pub model: String,
    /// One.
    pub choices: Vec<InferenceChoice>,
    /// What is charged for.
    pub usage: InferenceUsage,
    /// What it cost.
    pub cost: InferenceCost,
    /// From request to whole answer, in milliseconds.
    pub latency_ms: u64,
    /// Who served.
    pub provider_id: u32,
    /// What the meter signed: a leaf of the session's Merkle tree. Its `outputHash` is keccak256 of the canonical JSON (RFC 8785) of this
    /// answer's `id`, `model`, `choices` and `usage`.
    #[schema(value_type = Object)]
    pub receipt: SessionReceipt,
    /// Over the receipt, by the session's meter.
    #[schema(value_type = String)]
    pub receipt_signature: Bytes,
}

/// What was written.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InferenceChoice {
    /// Zero.
    pub index: u32,
    /// What was said.
    pub message: InferenceReply,
    /// `stop`, `length` or `content_filter`.
    #[schema(example = "stop")]
    pub finish_reason: String,
}

/// The message that was written.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InferenceReply {
    /// `assistant`.
    #[schema(example = "assistant")]
    pub role: String,
    /// The text.
    pub content: String,
    /// What the model thought, where that is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
}

/// Tokens that are charged for.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InferenceUsage {
    /// Read.
    pub prompt_tokens: u64,
    /// Written.
    pub completion_tokens: u64,
    /// Both.
    pub total_tokens: u64,
}

/// What an inference cost.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InferenceCost {
    /// In micro-USDC.
    #[schema(value_type = String, example = "123")]
    pub amount: Usdc,
    /// In USDC, for people.
    #[schema(example = "0.000123")]
    pub usdc: String,
    /// The transaction that paid for the session, once there is one: ask again with the same order.
    pub transaction: Option<String>,
    /// The session that pays.
    #[schema(value_type = String, example = "4294967297")]
    pub session_id: SessionId,
}

impl Chat {
    /// Reads a request.
    ///
    /// # Errors
    /// 400 that names the field; 413.
    pub(crate) fn read(request: &PaidRequest, limits: &LimitsConfig) -> ApiResult<Self> {
        let asked: InferenceRequest = json_body(request, EXAMPLE)?;
        let send = |what: &str| format!("send {what}: {EXAMPLE}");
        if asked.model.is_empty() || asked.model.len() > LONGEST_NAME {
            return Err(invalid("`model` is not a name of 1 to 128 bytes", send("the name of a model")));
        }
        if asked.messages.is_empty() || asked.messages.len() > limits.max_messages {
            return Err(invalid(
                format!("there are {} messages", asked.messages.len()),
                format!("send 1 to {}", limits.max_messages),
            ));
        }
        let messages: Vec<Message> = asked.messages.into_iter().map(InferenceMessage::plain).collect();
        if messages.iter().all(|message| message.content.trim().is_empty()) {
            return Err(invalid("the messages hold no text", send("some text")));
        }
        let size: usize = messages.iter().map(|message| message.content.len()).sum();
        if size > limits.max_input_bytes {
            return Err(ApiError::new(
                axum::http::StatusCode::PAYLOAD_TOO_LARGE,
                "input_too_large",
                format!("the conversation holds {size} bytes of text"),
                format!("send at most {} bytes in one request", limits.max_input_bytes),
            ));
        }
        if asked.max_tokens == Some(0) {
            return Err(invalid("`maxTokens` is zero", "ask for at least one token, or leave it out"));
        }
        // Passed on as it is written; nothing is computed with it.
        if asked.temperature.as_ref().and_then(Number::as_f64).is_some_and(|value| !(0.0..=2.0).contains(&value)) {
            return Err(invalid(
                "`temperature` is not between 0 and 2",
                "send a number between 0 and 2, or leave it out",
            ));
        }
        let template = tokens::PER_JOB + tokens::PER_MESSAGE * messages.len() as u64;
        Ok(Self {
            model: asked.model,
            messages,
            temperature: asked.temperature,
            asked: asked.max_tokens.unwrap_or(limits.default_max_tokens.max(1)),
            provider: asked.provider_id,
            network: asked.network,
            session: asked.session_id,
            template,
            input_most: template + size as u64,
            input_likely: (size as u64).div_ceil(4),
        })
    }

    /// What a provider must be able to do.
    pub(crate) fn wants(&self, max_cost: Option<Usdc>) -> Wants<'_> {
        Wants {
            model: &self.model,
            input_likely: self.input_likely,
            input_most: self.input_most,
            output: u64::from(self.asked),
            max_cost,
        }
    }

    /// The body for a provider: OpenAI's, as plain as it can be.
    pub(crate) fn body(&self, max_tokens: u64) -> bytes::Bytes {
        let mut body =
            json!({ "model": self.model, "messages": self.messages, "max_tokens": max_tokens, "stream": false });
        if let Some(temperature) = &self.temperature {
            body["temperature"] = Value::Number(temperature.clone());
        }
        body.to_string().into()
    }

    /// What can be counted of an answer, when `asked` tokens were asked for. It takes time that grows with the texts.
    pub(crate) fn count(&self, answered: &Answered, asked: u64) -> Count {
        let written = || [Some(&answered.content), answered.reasoning.as_ref()].into_iter().flatten();
        let counted = tokenizer::read(self.messages.iter().map(|message| message.content.as_str()));
        Count {
            input: Side { counted, template: self.template, most: self.input_most },
            output: Side {
                counted: tokenizer::written(written().map(String::as_str)),
                template: 0,
                // The mark at the end is a token without text.
                most: written().map(|text| text.len() as u64 + 1).sum(),
            },
            asked,
        }
    }
}

impl InferenceMessage {
    fn plain(self) -> Message {
        let content = match self.content {
            Content::Text(text) => text,
            Content::Parts(parts) => {
                parts.into_iter().map(|TextPart::Text { text }| text).collect::<Vec<_>>().join("\n")
            }
        };
        Message { role: self.role, content }
    }
}

/// An answer before it has a receipt.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    id: B256,
    model: String,
    choices: Vec<InferenceChoice>,
    usage: InferenceUsage,
    latency_ms: u64,
    provider: u32,
}

impl Draft {
    pub(crate) fn new(id: B256, chat: &Chat, provider: u32, answered: Answered, metered: Metered) -> Self {
        let (input, output) = (u64::from(metered.input), u64::from(metered.output));
        Self {
            id,
            model: chat.model.clone(),
            choices: vec![InferenceChoice {
                index: 0,
                message: InferenceReply {
                    role: "assistant".into(),
                    content: answered.content,
                    reasoning_content: answered.reasoning,
                },
                finish_reason: answered.finish_reason.into(),
            }],
            usage: InferenceUsage { prompt_tokens: input, completion_tokens: output, total_tokens: input + output },
            latency_ms: answered.latency_ms,
            provider,
        }
    }

    /// What the receipt says was answered: keccak256 of `id`, `model`, `choices` and `usage` in canonical JSON.
    pub(crate) fn hash(&self) -> ApiResult<B256> {
        let answer = json!({ "id": self.id, "model": self.model, "choices": self.choices, "usage": self.usage });
        Ok(keccak256(canonical_json(&answer).map_err(ApiError::internal)?))
    }

    /// The body of the answer.
    pub(crate) fn body(self, signed: &Signed<'_>) -> Vec<u8> {
        let receipt = signed.receipt;
        let answer = InferenceAnswer {
            id: self.id,
            model: self.model,
            choices: self.choices,
            usage: self.usage,
            cost: InferenceCost {
                amount: receipt.cost,
                usdc: receipt.cost.to_string(),
                transaction: None,
                session_id: receipt.session_id,
            },
            latency_ms: self.latency_ms,
            provider_id: self.provider,
            receipt: receipt.clone(),
            receipt_signature: signed.signature.to_vec().into(),
        };
        // Strings and numbers only: it always has a JSON form.
        serde_json::to_vec(&answer).unwrap_or_default()
    }
}

/// The same answer with the transaction that paid for its session.
pub(crate) fn settled(body: &[u8], transaction: &str) -> Vec<u8> {
    let Ok(Value::Object(mut answer)) = serde_json::from_slice(body) else { return body.to_vec() };
    if let Some(cost) = answer.get_mut("cost") {
        cost["transaction"] = json!(transaction);
    }
    serde_json::to_vec(&answer).unwrap_or_else(|_| body.to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::http::HeaderMap;

    use super::*;

    fn read(body: &Value) -> ApiResult<Chat> {
        let request = PaidRequest {
            target: "/".into(),
            headers: HeaderMap::new(),
            body: body.to_string().into(),
            request_hash: B256::ZERO,
            proven: crate::payment::gate::Proven::default(),
        };
        Chat::read(
            &request,
            &LimitsConfig { max_messages: 3, max_input_bytes: 100, default_max_tokens: 7, ..LimitsConfig::default() },
        )
    }

    fn with(name: &str, value: Value) -> Value {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hello" }] });
        body[name] = value;
        body
    }

    #[test]
    fn what_is_asked_goes_to_the_provider_and_nothing_else() {
        let parts = json!([{ "role": "system", "content": "be brief" }, { "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] }]);
        let mut body = with("messages", parts);
        body["temperature"] = json!(0.25);
        body["providerId"] = json!(3);
        let chat = read(&body).unwrap();
        let sent: Value = serde_json::from_slice(&chat.body(5)).unwrap();
        assert_eq!(
            sent,
            json!({ "model": "m", "max_tokens": 5, "stream": false, "temperature": 0.25, "messages": [
                { "role": "system", "content": "be brief" }, { "role": "user", "content": "a\nb" }] })
        );
        assert_eq!((chat.provider, chat.input_most, chat.input_likely), (Some(3), 64 + 11 + 32, 3));
        assert_eq!(chat.wants(None).output, 7, "the default");
        for name in ["maxTokens", "max_tokens"] {
            assert_eq!(read(&with(name, json!(9))).unwrap().wants(None).output, 9);
        }
    }

    #[test]
    fn bad_requests_are_told_what_to_do() {
        let message = |content: Value| json!([{ "role": "user", "content": content }]);
        for (name, bad) in [
            ("model", json!("")),
            ("model", json!("x".repeat(129))),
            ("model", json!(7)),
            ("messages", json!([])),
            ("messages", json!("hello")),
            ("messages", message(json!("  "))),
            ("messages", message(json!(7))),
            ("messages", message(json!([{ "type": "image_url", "image_url": "https://x" }]))),
            ("messages", json!([{ "role": "tool", "content": "x" }])),
            ("messages", json!(vec![json!({ "role": "user", "content": "x" }); 4])),
            ("maxTokens", json!(0)),
            ("maxTokens", json!(-1)),
            ("maxTokens", json!(1_u64 << 32)),
            ("temperature", json!(2.5)),
            ("temperature", json!("warm")),
            ("providerId", json!("one")),
            ("sessionId", json!(7)),
            ("sessionId", json!("7")),
            ("stream", json!(true)),
            ("tools", json!([])),
        ] {
            let error = read(&with(name, bad.clone())).unwrap_err();
            assert_eq!((error.status.as_u16(), error.code), (400, "invalid_request"), "{name}: {bad}");
            assert!(!error.hint.is_empty() && error.error.len() < 400);
        }
        let large = read(&with("messages", message(json!("x".repeat(101))))).unwrap_err();
        assert_eq!((large.status.as_u16(), large.code), (413, "input_too_large"));
    }

    #[test]
    fn a_replay_says_how_it_was_paid() {
        let body = br#"{"id":"0x","cost":{"amount":"1","transaction":null},"x":1}"#;
        let settled: Value = serde_json::from_slice(&settled(body, "0xabc")).unwrap();
        assert_eq!(settled, json!({ "id": "0x", "cost": { "amount": "1", "transaction": "0xabc" }, "x": 1 }));
    }
}
