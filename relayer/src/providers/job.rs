//! What is asked of a provider and what comes back.

use compute_futures_protocol::{JobKind, Usage};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use utoipa::ToSchema;

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions of the application.
    System,
    /// Instructions of the application, newer name.
    Developer,
    /// The person or agent that asks.
    User,
    /// An earlier answer.
    Assistant,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub content: String,
}

/// A chat job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct TextInference {
    /// Model id of the catalog, or `auto`.
    pub model: String,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// Upper bound of tokens in the answer; the catalog fills it in when the client left it out.
    pub max_tokens: u32,
    /// Passed through to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub temperature: Option<Number>,
    /// Passed through to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub top_p: Option<Number>,
    /// Passed through to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// Sequences that end the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
}

/// An embeddings job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct Embeddings {
    /// Model id of the catalog, or `auto`.
    pub model: String,
    /// The texts, one vector each.
    pub input: Vec<String>,
    /// Length of each vector, where the model can choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u32>,
}

/// One job, parsed and checked. Made by [`crate::catalog::Catalog::parse`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JobInput {
    /// Chat or completion.
    TextInference(TextInference),
    /// Vectors of texts.
    Embeddings(Embeddings),
}

impl JobInput {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> JobKind {
        match self {
            Self::TextInference(_) => JobKind::TextInference,
            Self::Embeddings(_) => JobKind::Embeddings,
        }
    }

    /// The model asked for: an id of the catalog, or `auto`.
    #[must_use]
    pub fn model(&self) -> &str {
        match self {
            Self::TextInference(job) => &job.model,
            Self::Embeddings(job) => &job.model,
        }
    }
}

/// What a provider answered, checked and clamped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobOutput {
    /// Name of the provider that did the work.
    pub provider: String,
    /// Id of the catalog model that did the work (never `auto`).
    pub model: String,
    /// The fields of the answer that depend on the kind: `choices`, or `data`. Merge them into the answer's `compute` object.
    pub body: serde_json::Map<String, Value>,
    /// Tokens used; never more than the request allows.
    pub usage: Usage,
}
