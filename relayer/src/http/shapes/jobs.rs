//! Bodies of jobs: images, films, speech, documents, GPU models, batches, and what is said of jobs that take long.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Images from a text.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ImageRequest {
    /// `auto` (default) or an id of /api/v1/compute/models.
    #[schema(example = "auto")]
    pub model: Option<String>,
    #[schema(example = "a serene mountain lake at sunset")]
    pub prompt: String,
    /// How many.
    #[schema(minimum = 1, maximum = 4)]
    pub n: Option<u32>,
    /// Width and height in pixels.
    #[schema(example = "1024x1024")]
    pub size: Option<String>,
    pub seed: Option<i64>,
    /// `url` (default) or `b64_json`.
    pub response_format: Option<String>,
}

/// Images, each at an address that is served for some days.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImageAnswer {
    pub provider: String,
    pub model: String,
    /// `url` or `b64_json` each.
    pub data: Vec<Value>,
    /// `images` made.
    pub usage: Value,
    #[schema(example = "0.03")]
    pub price_usdc: String,
    #[serde(rename = "priceMicroUsdc")]
    pub price_micro_usdc: String,
}

/// Images as OpenAI's clients read them.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAiImageAnswer {
    /// Unix seconds.
    pub created: u64,
    /// `url` or `b64_json` each.
    pub data: Vec<Value>,
    pub provider: String,
    pub model: String,
}

/// A film from a text.
#[derive(Debug, Deserialize, ToSchema)]
pub struct VideoRequest {
    /// `auto` (default) or an id of /api/v1/compute/models.
    #[schema(example = "auto")]
    pub model: Option<String>,
    #[schema(example = "a paper boat on a stream")]
    pub prompt: String,
    /// Length, where the model can choose.
    pub seconds: Option<u32>,
    /// `16:9`, `9:16` or `1:1`, where the model can choose.
    pub aspect_ratio: Option<String>,
    pub seed: Option<i64>,
    /// Public https address that is told when the job ended.
    #[serde(rename = "webhookUrl")]
    pub webhook_url: Option<String>,
}

/// A film that is done.
#[derive(Debug, Serialize, ToSchema)]
pub struct VideoAnswer {
    #[serde(rename = "jobId")]
    pub job_id: String,
    /// `completed`.
    pub status: String,
    pub provider: String,
    pub model: String,
    /// Addresses of the files.
    pub output: Value,
    pub usage: Value,
    #[schema(example = "0.5")]
    pub price_usdc: String,
    #[serde(rename = "priceMicroUsdc")]
    pub price_micro_usdc: String,
}

/// A text to be spoken.
#[derive(Debug, Deserialize, ToSchema)]
pub struct SpeechRequest {
    /// `auto` (default) or an id of /api/v1/compute/models.
    #[schema(example = "auto")]
    pub model: Option<String>,
    #[schema(example = "Hello.")]
    pub input: String,
    pub voice: Option<String>,
    /// `mp3`, `wav`, `opus` or `flac`.
    pub format: Option<String>,
    #[schema(minimum = 0.25, maximum = 4)]
    pub speed: Option<f64>,
}

/// The same as OpenAI's clients ask for it.
#[derive(Debug, Deserialize, ToSchema)]
pub struct OpenAiSpeechRequest {
    #[schema(example = "auto")]
    pub model: Option<String>,
    #[schema(example = "Hello.")]
    pub input: String,
    pub voice: Option<String>,
    /// `mp3`, `wav`, `opus` or `flac`.
    pub response_format: Option<String>,
    #[schema(minimum = 0.25, maximum = 4)]
    pub speed: Option<f64>,
}

/// Speech, at an address that is served for some days.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpeechAnswer {
    pub provider: String,
    pub model: String,
    /// `url`, `contentType` and more.
    pub audio: Value,
    pub usage: Value,
    #[schema(example = "0.03")]
    pub price_usdc: String,
    #[serde(rename = "priceMicroUsdc")]
    pub price_micro_usdc: String,
}

/// A recording: in the body, or at an address.
#[derive(Debug, Deserialize, ToSchema)]
pub struct TranscriptRequest {
    /// `auto` (default) or an id of /api/v1/compute/models.
    #[schema(example = "auto")]
    pub model: Option<String>,
    /// Base64, or a data URL.
    pub audio: Option<String>,
    /// Instead: a public https address.
    pub audio_url: Option<String>,
    /// ISO 639-1, as `en`; found out when left out.
    pub language: Option<String>,
    /// Words that help, as names.
    pub prompt: Option<String>,
}

/// A recording as OpenAI's clients send it.
#[derive(Debug, Deserialize, ToSchema)]
pub struct TranscriptionForm {
    #[schema(value_type = String, format = Binary)]
    pub file: Vec<u8>,
    #[schema(example = "auto")]
    pub model: Option<String>,
    pub language: Option<String>,
    pub prompt: Option<String>,
    /// `json` (default), `verbose_json` or `text`.
    pub response_format: Option<String>,
}

/// The text of a recording.
#[derive(Debug, Serialize, ToSchema)]
pub struct TranscriptAnswer {
    pub provider: String,
    pub model: String,
    pub text: String,
    pub usage: Value,
    #[schema(example = "0.02")]
    pub price_usdc: String,
    #[serde(rename = "priceMicroUsdc")]
    pub price_micro_usdc: String,
}

/// A document: in the body, or at an address.
#[derive(Debug, Deserialize, ToSchema)]
pub struct DocumentRequest {
    /// `auto` (default) or an id of /api/v1/compute/models.
    #[schema(example = "auto")]
    pub model: Option<String>,
    /// Base64, or a data URL: PDF, HTML or plain text.
    pub document: Option<String>,
    /// Instead: a public https address.
    pub document_url: Option<String>,
}

/// The text of a document.
#[derive(Debug, Serialize, ToSchema)]
pub struct DocumentAnswer {
    pub provider: String,
    pub model: String,
    pub text: String,
    pub usage: Value,
    #[schema(example = "0.002")]
    pub price_usdc: String,
    #[serde(rename = "priceMicroUsdc")]
    pub price_micro_usdc: String,
}

/// A model of a GPU cloud with its own input.
#[derive(Debug, Deserialize, ToSchema)]
pub struct GpuRequest {
    /// A shortcut of /api/v1/gpu/models; where the operator offers every model, also `owner/model` or `owner/model:version`.
    #[schema(example = "flux-pro")]
    pub model: String,
    #[schema(value_type = Object)]
    pub input: Map<String, Value>,
    /// Public https address that is told when the job ended.
    #[serde(rename = "webhookUrl")]
    pub webhook_url: Option<String>,
}

/// A prediction that is done.
#[derive(Debug, Serialize, ToSchema)]
pub struct GpuAnswer {
    pub id: String,
    /// `completed`.
    pub status: String,
    pub provider: String,
    pub model: String,
    /// Whatever the model makes; files as addresses.
    pub output: Value,
    #[schema(example = "0.06")]
    pub price_usdc: String,
    #[serde(rename = "priceMicroUsdc")]
    pub price_micro_usdc: String,
}

/// Any job by the name of a service.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RunRequest {
    /// A kind of job, or the id of a model.
    #[schema(example = "text-inference")]
    pub service: String,
    /// The fields of that kind's own endpoint.
    #[schema(value_type = Object)]
    pub input: Map<String, Value>,
}

/// Jobs of any kind.
#[derive(Debug, Deserialize, ToSchema)]
pub struct BatchRequest {
    /// Each is the body of its own endpoint, with its `type`.
    #[schema(min_items = 1, max_items = 50)]
    pub jobs: Vec<BatchJob>,
    /// Public https address that is told when the batch ended.
    #[serde(rename = "webhookUrl")]
    pub webhook_url: Option<String>,
}

/// One job of a batch.
#[derive(Debug, Deserialize, ToSchema)]
pub struct BatchJob {
    /// A kind of job.
    #[serde(rename = "type")]
    #[schema(example = "embeddings")]
    pub kind: String,
    #[schema(example = "auto")]
    pub model: Option<String>,
    /// For `text-inference`.
    pub messages: Option<Vec<super::ChatMessage>>,
    /// For `embeddings` and `text-to-speech` texts, for `gpu` the model's own input.
    pub input: Option<Value>,
    /// For images and films.
    pub prompt: Option<String>,
}

/// A batch that is done.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchAnswer {
    #[serde(rename = "jobId")]
    pub job_id: String,
    /// `completed`.
    pub status: String,
    pub succeeded: u32,
    pub failed: u32,
    /// Each with `index`, `type`, `status`, and its answer or its `error`.
    pub jobs: Vec<Value>,
    pub price_usdc: String,
    #[serde(rename = "priceMicroUsdc")]
    pub price_micro_usdc: String,
}

/// A job that goes on after its request.
#[derive(Debug, Serialize, ToSchema)]
pub struct PendingAnswer {
    #[serde(rename = "jobId")]
    pub job_id: String,
    /// The same.
    pub id: String,
    /// The same, by the name that predictions have elsewhere.
    pub prediction_id: String,
    /// Where to ask.
    pub poll_url: String,
    /// `pending` or `processing`.
    pub status: String,
    #[serde(rename = "type")]
    pub kind: String,
}

/// How a job is doing.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatusAnswer {
    #[serde(rename = "jobId")]
    pub job_id: String,
    /// `pending`, `processing`, `completed` or `failed`.
    pub status: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// The job's answer, once it is completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
    /// The signed receipt of a charge to credit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub receipt: Option<Value>,
    /// Why it failed: `error`, `code`, `hint`. Nothing was charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub error: Option<Value>,
}
