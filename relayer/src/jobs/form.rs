//! Forms of an answer: our own, and those that OpenAI's clients read.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::providers::{Artifact, Blob, JobOutput};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As `compute/…` answers.
    Compute,
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/embeddings`.
    Embeddings {
        /// Vectors as base64 of little-endian `f32`, not as lists of numbers.
        base64: bool,
    },
    /// `/v1/images/generations`.
    Images,
    /// `/v1/audio/speech`: the file's bytes are sent; this is the answer that the receipt covers.
    Speech,
    /// `/v1/audio/transcriptions`.
    Transcription,
    /// The same as plain text: the text is a file like any other, and this is the answer that the receipt covers.
    PlainTranscription,
}

impl Form {
    /// Makes a file of what is sent in place of the JSON answer: files are kept by their hash, so that the same payment gets the
    /// same bytes again, however long they are.
    pub fn set_apart(self, output: &mut JobOutput) {
        if self != Self::PlainTranscription {
            return;
        }
        if let Some(Value::String(text)) = output.body.insert("text".to_owned(), Value::Null) {
            let blob = Blob { content_type: "text/plain; charset=utf-8".to_owned(), bytes: text.into_bytes().into() };
            output.artifacts.push(Artifact { at: "/text".to_owned(), blob });
        }
    }

    /// Adds what OpenAI's clients expect. Our own fields (provider, price) stay: clients skip what they do not know.
    #[must_use]
    pub fn write(self, mut body: Map<String, Value>) -> Map<String, Value> {
        match self {
            Self::Compute | Self::Speech | Self::Transcription | Self::PlainTranscription => {}
            Self::Chat => {
                body.insert("id".to_owned(), Value::from(format!("chatcmpl-{}", uuid::Uuid::new_v4().simple())));
                body.insert("object".to_owned(), json!("chat.completion"));
                body.insert("created".to_owned(), json!(crate::payment::credit::unix_now()));
            }
            Self::Embeddings { base64 } => {
                body.insert("object".to_owned(), json!("list"));
                if let Some(Value::Array(data)) = body.get_mut("data") {
                    for vector in data.iter_mut().filter_map(Value::as_object_mut) {
                        vector.insert("object".to_owned(), json!("embedding"));
                        if let (true, Some(embedding)) = (base64, vector.get_mut("embedding")) {
                            pack(embedding);
                        }
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

/// A list of numbers becomes base64 of little-endian `f32`, as OpenAI packs vectors. Anything else stays.
#[allow(clippy::cast_possible_truncation)] // the format has no more digits
fn pack(embedding: &mut Value) {
    let Some(numbers) =
        embedding.as_array().and_then(|list| list.iter().map(Value::as_f64).collect::<Option<Vec<_>>>())
    else {
        return;
    };
    let bytes: Vec<u8> = numbers.into_iter().flat_map(|number| (number as f32).to_le_bytes()).collect();
    *embedding = Value::from(STANDARD.encode(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_packed_as_little_endian_floats() {
        let mut vector = json!([0.5, -0.25, 0.1]);
        pack(&mut vector);
        assert_eq!(vector, "AAAAPwAAgL7NzMw9");
        for other in [json!("AAAA"), json!([1, "x"]), Value::Null] {
            let mut same = other.clone();
            pack(&mut same);
            assert_eq!(same, other);
        }
    }
}
