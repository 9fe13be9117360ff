//! What is asked of a provider and what comes back.

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use utoipa::ToSchema;

/// Kinds of job. The name is the one in `type` of `execute` and in the endpoint's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JobKind {
    /// Chat or completion.
    TextInference,
    /// Vectors of texts.
    Embeddings,
}

impl JobKind {
    /// Every kind that is served.
    pub const ALL: &'static [Self] = &[Self::TextInference, Self::Embeddings];

    /// Name in JSON, paths, metrics and the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TextInference => "text-inference",
            Self::Embeddings => "embeddings",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}

impl std::fmt::Display for JobKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

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
    pub temperature: Option<Number>,
    /// Passed through to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
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

/// One job, parsed and checked. Made by [`super::parse_job`].
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

/// Tokens that a job used. Never more than the request allows: see [`super::Providers::run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written; 0 for embeddings.
    pub completion_tokens: u64,
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
    /// Tokens used.
    pub usage: Usage,
}
