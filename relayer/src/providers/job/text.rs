//! Jobs whose input is text: conversations and embeddings.

use serde::{Deserialize, Serialize};
use serde_json::Number;
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
    /// Passed through to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub frequency_penalty: Option<Number>,
    /// Passed through to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub presence_penalty: Option<Number>,
    /// Sequences that end the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Whether the client wants the answer piece by piece.
    #[serde(default)]
    pub stream: bool,
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
