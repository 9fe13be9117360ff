//! Forms of an answer: our own, and those that OpenAI's clients read.

use serde_json::{Map, Value, json};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As `compute/…` answers.
    Compute,
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/embeddings`.
    Embeddings,
    /// `/v1/images/generations`.
    Images,
    /// `/v1/audio/speech`: the file's bytes are sent; this is the answer that the receipt covers.
    Speech,
    /// `/v1/audio/transcriptions`.
    Transcription,
}

impl Form {
    /// Adds what OpenAI's clients expect. Our own fields (provider, price) stay: clients skip what they do not know.
    #[must_use]
    pub fn write(self, mut body: Map<String, Value>) -> Map<String, Value> {
        match self {
            Self::Compute | Self::Speech | Self::Transcription => {}
            Self::Chat => {
                body.insert("id".to_owned(), Value::from(format!("chatcmpl-{}", uuid::Uuid::new_v4().simple())));
                body.insert("object".to_owned(), json!("chat.completion"));
                body.insert("created".to_owned(), json!(crate::payment::credit::unix_now()));
            }
            Self::Embeddings => {
                body.insert("object".to_owned(), json!("list"));
                if let Some(Value::Array(data)) = body.get_mut("data") {
                    for vector in data.iter_mut().filter_map(Value::as_object_mut) {
                        vector.insert("object".to_owned(), json!("embedding"));
                    }
                }
            }
            Self::Images => {
                body.insert("created".to_owned(), json!(crate::payment::credit::unix_now()));
                // OpenAI counts tokens here, or nothing.
                if let Some(usage) = body.remove("usage") {
                    body.insert("units".to_owned(), usage);
                }
            }
        }
        body
    }
}
