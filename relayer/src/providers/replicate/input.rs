//! Our fields in a model's words: names differ from model to model, and the route says how.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use super::Replicate;
use crate::catalog::Route;
use crate::providers::multipart::Form;
use crate::providers::{Blob, JobInput, ProviderError, Source};

/// Files up to this size travel in the request; larger ones are uploaded first.
const INLINE_BYTES: usize = 256 * 1024;

/// Aspect ratios that image models know.
const RATIOS: [(u32, u32); 11] =
    [(1, 1), (16, 9), (21, 9), (3, 2), (2, 3), (4, 5), (5, 4), (3, 4), (4, 3), (9, 16), (9, 21)];

impl Replicate {
    /// The input of a prediction.
    pub(super) async fn input(&self, route: &Route, job: &JobInput) -> Result<Map<String, Value>, ProviderError> {
        let mut fields = Fields { route, input: route.input.clone() };
        match job {
            JobInput::Gpu(job) => {
                // The route's own input stands: it is what the operator priced.
                for (name, value) in &job.input {
                    fields.input.entry(name.clone()).or_insert_with(|| value.clone());
                }
            }
            JobInput::TextInference(job) => {
                fields.set("prompt", Some(transcript(job)));
                fields.set("max_tokens", Some(job.max_tokens));
                fields.set("temperature", job.temperature.clone());
                fields.set("top_p", job.top_p.clone());
                fields.set("seed", job.seed);
            }
            JobInput::ImageGeneration(job) => {
                fields.set("prompt", Some(job.prompt.as_str()));
                fields.set("n", (job.n > 1).then_some(job.n));
                fields.set("width", job.size.map(|(width, _)| width));
                fields.set("height", job.size.map(|(_, height)| height));
                fields.set("aspect_ratio", job.size.map(nearest_ratio));
                fields.set("seed", job.seed);
            }
            JobInput::VideoGeneration(job) => {
                fields.set("prompt", Some(job.prompt.as_str()));
                fields.set("seconds", job.seconds);
                fields.set("aspect_ratio", job.aspect_ratio.as_deref());
                fields.set("seed", job.seed);
            }
            JobInput::TextToSpeech(job) => {
                fields.set("input", Some(job.input.as_str()));
                fields.set("voice", job.voice.as_deref());
                fields.set("format", job.format.as_deref());
                fields.set("speed", job.speed.clone());
            }
            JobInput::SpeechToText(job) => {
                let audio = match &job.audio {
                    Source::Inline(blob) => self.file(blob).await?,
                    // Replicate fetches it itself: it is not ours to be tricked into fetching.
                    Source::Url(url) => url.to_string(),
                };
                fields.set("audio", Some(audio));
                fields.set("language", job.language.as_deref());
                fields.set("prompt", job.prompt.as_deref());
            }
            JobInput::Embeddings(_) | JobInput::DocumentParsing(_) => {
                return Err(self.upstream.unavailable(&format!("it does no {}", job.kind())));
            }
        }
        Ok(fields.input)
    }

    /// A file as an input takes it: a data URL, or the address it was uploaded to.
    async fn file(&self, blob: &Blob) -> Result<String, ProviderError> {
        if blob.bytes.len() <= INLINE_BYTES {
            return Ok(format!("data:{};base64,{}", blob.content_type, STANDARD.encode(&blob.bytes)));
        }
        let (content_type, body) = Form::new().file("content", blob).finish();
        let request = self.upstream.post("files")?.header(CONTENT_TYPE, content_type).body(body);
        let answer = self.upstream.json(request).await?;
        let address = answer.get("urls").and_then(|urls| urls.get("get")).and_then(Value::as_str);
        address.map(str::to_owned).ok_or_else(|| self.upstream.bad("its upload has no address"))
    }
}

struct Fields<'a> {
    route: &'a Route,
    input: Map<String, Value>,
}

impl Fields<'_> {
    /// Writes a field under the model's name for it; one that the model does not take is left out.
    fn set(&mut self, name: &str, value: Option<impl Into<Value>>) {
        let name = self.route.rename.get(name).map_or(name, String::as_str);
        if let (Some(value), false) = (value, name.is_empty()) {
            self.input.insert(name.to_owned(), value.into());
        }
    }
}

/// A conversation as one text, for models that take a prompt.
fn transcript(job: &crate::providers::TextInference) -> String {
    match job.messages.as_slice() {
        [only] => only.content.clone(),
        messages => {
            let lines = messages.iter().map(|message| {
                let who = match message.role {
                    crate::providers::Role::Assistant => "Assistant",
                    crate::providers::Role::User => "User",
                    _ => "System",
                };
                format!("{who}: {}", message.content)
            });
            lines.chain(["Assistant:".to_owned()]).collect::<Vec<_>>().join("\n\n")
        }
    }
}

/// The known ratio that is nearest to a size, as `16:9`.
fn nearest_ratio((width, height): (u32, u32)) -> String {
    let (width, height) = (u64::from(width.max(1)), u64::from(height.max(1)));
    let distance = |(a, b): (u32, u32)| {
        let (a, b) = (u64::from(a), u64::from(b));
        // |width/height − a/b| in millionths of a/b, in integers.
        (width * b).abs_diff(height * a) * 1_000_000 / (height * a)
    };
    let (a, b) = RATIOS.into_iter().min_by_key(|ratio| distance(*ratio)).unwrap_or((1, 1));
    format!("{a}:{b}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_become_the_nearest_ratio() {
        for (size, ratio) in [
            ((1024, 1024), "1:1"),
            ((1920, 1080), "16:9"),
            ((768, 1344), "9:16"),
            ((1000, 1010), "1:1"),
            ((64, 2048), "9:21"),
        ] {
            assert_eq!(nearest_ratio(size), ratio, "{size:?}");
        }
    }
}
