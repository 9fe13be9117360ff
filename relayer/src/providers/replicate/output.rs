//! What a prediction made, in our words: texts stay, files are fetched.

use serde_json::{Map, Value, json};
use url::Url;

use super::Replicate;
use crate::providers::openai::{drawn, spoken, transcript, whole_seconds};
use crate::providers::{Answer, Artifact, Blob, JobInput, ProviderError, Usage};

/// Most files of one prediction that are fetched.
const MAX_FILES: usize = 32;
/// How deep an output is searched for files.
const MAX_DEPTH: u32 = 16;
/// Where Replicate keeps files.
const FILE_HOST: &str = "replicate.delivery";

impl Replicate {
    /// The answer of a prediction that succeeded.
    pub(super) async fn answer(
        &self,
        job: &JobInput,
        prediction: &Map<String, Value>,
    ) -> Result<Answer, ProviderError> {
        let output = prediction.get("output").filter(|output| !output.is_null());
        let output = output.ok_or_else(|| self.upstream.bad("it has no output"))?;
        let ran = prediction.get("metrics").and_then(|metrics| metrics.get("predict_time")).and_then(whole_seconds);
        match job {
            JobInput::TextInference(_) => {
                let text = joined(output).filter(|text| !text.is_empty());
                let text = text.ok_or_else(|| self.upstream.bad("its output is no text"))?;
                let message = json!({ "role": "assistant", "content": text });
                let choices = json!([{ "index": 0, "message": message, "finish_reason": "stop" }]);
                Ok(Answer { body: Map::from_iter([("choices".to_owned(), choices)]), ..Answer::default() })
            }
            JobInput::ImageGeneration(image) => {
                let blobs = self.files(output, image.n as usize, "image/").await?;
                Ok(drawn(image, blobs))
            }
            JobInput::VideoGeneration(_) => {
                let blobs = self.files(output, 1, "video/").await?;
                Ok(Answer {
                    body: Map::from_iter([("output".to_owned(), json!([null]))]),
                    usage: None,
                    artifacts: placed(blobs, |number| format!("/output/{number}")),
                })
            }
            JobInput::TextToSpeech(speech) => {
                let blob = self.files(output, 1, "audio/").await?.into_iter().next();
                Ok(spoken(speech, blob.ok_or_else(|| self.upstream.bad("its output is no file"))?))
            }
            JobInput::SpeechToText(_) => {
                let field = |names: &[&str]| names.iter().find_map(|name| output.get(name).and_then(Value::as_str));
                let text = output.as_str().or_else(|| field(&["transcription", "text"]));
                let text = text.ok_or_else(|| self.upstream.bad("its output is no text"))?;
                let end =
                    output.get("segments").and_then(Value::as_array).and_then(|segments| segments.last()?.get("end"));
                Ok(transcript(text.trim(), field(&["detected_language", "language"]), end.and_then(whole_seconds)))
            }
            JobInput::Gpu(_) => self.any(output, ran.unwrap_or(0)).await,
            JobInput::Embeddings(_) | JobInput::DocumentParsing(_) => Err(self.upstream.bad("it was not asked for")),
        }
    }

    /// The files of an output that is an address or a list of them.
    async fn files(&self, output: &Value, most: usize, kind: &str) -> Result<Vec<Blob>, ProviderError> {
        let addresses: Vec<&Value> = match output {
            Value::Array(items) => items.iter().collect(),
            one => vec![one],
        };
        if addresses.is_empty() || addresses.len() > most {
            return Err(self.upstream.bad("it has another number of files than was asked for"));
        }
        let mut blobs = Vec::with_capacity(addresses.len());
        for address in addresses {
            let url = address.as_str().and_then(|text| self.file_address(text));
            let url = url.ok_or_else(|| self.upstream.bad("its output is not the address of a file of its own"))?;
            let blob = self.upstream.fetch_output(&url).await?;
            if !blob.content_type.starts_with(kind) {
                return Err(self.upstream.bad("its file is of another kind than was asked for"));
            }
            blobs.push(blob);
        }
        Ok(blobs)
    }

    /// The address of a file that Replicate itself keeps; nothing else that a model writes is ever fetched. Its API is none of these:
    /// a model's output must not choose what is read there (T-17).
    fn file_address(&self, text: &str) -> Option<Url> {
        let url: Url = text.parse().ok()?;
        let host = url.host_str()?;
        let theirs = host == FILE_HOST || host.strip_suffix(FILE_HOST).is_some_and(|front| front.ends_with('.'));
        (theirs && url.scheme() == "https" || self.upstream.is_own_for_tests(&url)).then_some(url)
    }

    /// Whatever a model puts out, with its files.
    async fn any(&self, output: &Value, seconds: u64) -> Result<Answer, ProviderError> {
        let mut found = Vec::new();
        let mut output = output.clone();
        self.find(&mut output, "/output", MAX_DEPTH, &mut found);
        if found.len() > MAX_FILES {
            return Err(self.upstream.bad("it has too many files"));
        }
        let mut artifacts = Vec::with_capacity(found.len());
        let mut total = 0_usize;
        for (at, url) in found {
            let blob = self.upstream.fetch_output(&url).await?;
            total = total.saturating_add(blob.bytes.len());
            if total > self.upstream.file_limit {
                return Err(self.upstream.bad("its files are too large together"));
            }
            artifacts.push(Artifact { at, blob });
        }
        let body = Map::from_iter([("output".to_owned(), output)]);
        Ok(Answer { body, usage: Some(Usage { seconds, ..Usage::default() }), artifacts })
    }

    /// Replaces addresses of files by `null` and notes where they were.
    fn find(&self, value: &mut Value, at: &str, depth: u32, found: &mut Vec<(String, Url)>) {
        match value {
            Value::String(text) => {
                if let Some(url) = self.file_address(text) {
                    found.push((at.to_owned(), url));
                    *value = Value::Null;
                }
            }
            Value::Array(items) if depth > 0 => {
                for (number, item) in items.iter_mut().enumerate() {
                    self.find(item, &format!("{at}/{number}"), depth - 1, found);
                }
            }
            Value::Object(items) if depth > 0 => {
                for (name, item) in items.iter_mut() {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    self.find(item, &format!("{at}/{name}"), depth - 1, found);
                }
            }
            _ => {}
        }
    }
}

fn placed(blobs: Vec<Blob>, at: impl Fn(usize) -> String) -> Vec<Artifact> {
    blobs.into_iter().enumerate().map(|(number, blob)| Artifact { at: at(number), blob }).collect()
}

/// Language models put out a list of pieces, or a text.
fn joined(output: &Value) -> Option<String> {
    match output {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            items.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(|pieces| pieces.concat())
        }
        _ => None,
    }
}
