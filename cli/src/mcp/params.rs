//! What the tools take. The fields are those of the HTTP API (docs/api.md), and the relayer checks them.

use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One message of a conversation.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Message {
    /// `system`, `user` or `assistant`.
    role: String,
    /// What was said.
    content: String,
}

/// A chat or completion: `prompt`, or `messages`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    /// What to ask.
    prompt: Option<String>,
    /// Or the conversation, oldest first.
    messages: Option<Vec<Message>>,
    /// Id of a model, or `auto`.
    model: Option<String>,
    /// Bound of the answer, in tokens. A lower one costs less.
    max_tokens: Option<u32>,
    /// 0 to 2.
    temperature: Option<f64>,
    /// Same seed, same answer, where the model keeps to it.
    seed: Option<i64>,
    /// Sequences that end the answer.
    stop: Option<Vec<String>>,
}

/// Pictures from a text.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Image {
    /// What to show.
    prompt: String,
    /// Id of a model, or `auto`.
    model: Option<String>,
    /// How many, 1 to 4.
    n: Option<u32>,
    /// Width and height in pixels, as `1024x1024`.
    size: Option<String>,
    /// Same seed, same picture, where the model keeps to it.
    seed: Option<i64>,
}

/// A film from a text. It takes minutes: ask `status` for it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Video {
    /// What to show.
    prompt: String,
    /// Id of a model, or `auto`.
    model: Option<String>,
    /// Length in seconds, where the model can choose.
    seconds: Option<u32>,
    /// `16:9`, `9:16` or `1:1`, where the model can choose.
    aspect_ratio: Option<String>,
}

/// A voice reads a text.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Speech {
    /// What to read.
    input: String,
    /// Id of a model, or `auto`.
    model: Option<String>,
    /// Name of a voice of the model.
    voice: Option<String>,
    /// `mp3`, `wav`, `opus` or `flac`.
    response_format: Option<String>,
}

/// A recording becomes text: `audio_url`, or `audio`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Transcription {
    /// Where the recording is (https).
    audio_url: Option<String>,
    /// Or the recording itself, in base64.
    audio: Option<String>,
    /// Its MIME type, as `audio/mpeg`, when it comes as base64.
    content_type: Option<String>,
    /// ISO 639-1, as `en`; found out when left out.
    language: Option<String>,
    /// Id of a model, or `auto`.
    model: Option<String>,
}

/// Vectors of texts.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Embeddings {
    /// The texts, one vector each.
    input: Vec<String>,
    /// Id of a model, or `auto`.
    model: Option<String>,
    /// Length of each vector, where the model can choose.
    dimensions: Option<u32>,
}

/// A document (PDF, HTML, plain text) becomes text: `document_url`, or `document`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    /// Where the document is (https).
    document_url: Option<String>,
    /// Or the document itself, in base64.
    document: Option<String>,
    /// Its MIME type, as `application/pdf`, when it comes as base64.
    content_type: Option<String>,
    /// Id of a model, or `auto`.
    model: Option<String>,
}

/// Jobs of any kind, in one payment.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    /// 1 to 50 jobs: each with its `type` (`text-inference`, `embeddings`, `image-generation`, …) and the fields of that kind.
    jobs: Vec<Map<String, Value>>,
}

/// A job as it would be run: its `type` and the fields of that kind.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Estimate {
    /// `text-inference`, `embeddings`, `image-generation`, `video-generation`, `text-to-speech`, `speech-to-text` or `document-parsing`.
    #[serde(rename = "type")]
    kind: String,
    /// The fields of that kind, as its tool takes them.
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// Which models.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Models {
    /// Only those of this kind, as `text-inference`.
    pub(super) kind: Option<String>,
}

/// Which job.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Status {
    /// The `jobId` that was answered.
    pub(super) job_id: String,
}

/// How much, and whether to pay.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Deposit {
    /// How much, in USDC, as `50`.
    pub(super) amount: String,
    /// Most that the operator may ever charge, in USDC; left out, the credit itself is the limit.
    pub(super) ceiling: Option<String>,
    /// Pay it now from the wallet of this server, within the limit it was started with. Otherwise the answer says where to send USDC.
    pub(super) pay: Option<bool>,
    /// Whose account it becomes; default: the wallet of this server. Only for instructions.
    pub(super) owner: Option<String>,
}

/// Which part of the history.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    /// How many entries, newest first.
    pub(super) limit: Option<u32>,
    /// Those before this one: the `nextBefore` of the last answer.
    pub(super) before: Option<String>,
}

/// Closing the account.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refund {
    /// Must be true: the account is closed for good, and what is left goes back to its owner.
    pub(super) confirm: bool,
}

/// Which receipt.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Verify {
    /// A receipt, or an answer that holds one.
    pub(super) receipt: Map<String, Value>,
}

/// Parameters as fields of a body: what was left out stays out.
pub(super) fn fields<T: Serialize>(params: &T) -> Map<String, Value> {
    match serde_json::to_value(params) {
        Ok(Value::Object(fields)) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        // Every parameter is a structure of plain fields.
        _ => Map::new(),
    }
}
