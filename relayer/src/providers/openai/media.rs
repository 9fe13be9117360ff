//! Pictures, speech and transcription.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::OpenAi;
use crate::providers::multipart::Form;
use crate::providers::upstream::{Body, typed};
use crate::providers::{Answer, Artifact, Blob, ImageGeneration, ProviderError, SpeechToText, TextToSpeech, Usage};

impl OpenAi {
    pub(super) async fn draw(&self, model: &str, job: &ImageGeneration) -> Result<Answer, ProviderError> {
        let mut body = json!({ "model": model, "prompt": job.prompt, "n": job.n, "response_format": "b64_json" });
        if let (Some((width, height)), Some(object)) = (job.size, body.as_object_mut()) {
            object.insert("size".into(), format!("{width}x{height}").into());
        }
        if let (Some(seed), Some(object)) = (job.seed, body.as_object_mut()) {
            object.insert("seed".into(), seed.into());
        }
        // Pictures come inside the JSON, as base64.
        let limit = self.upstream.file_limit.saturating_mul(job.n as usize).saturating_mul(4) / 3 + 4096;
        let answer = self.upstream.json_within(self.upstream.post("images/generations")?.json(&body), limit).await?;
        let items = answer.get("data").and_then(Value::as_array).ok_or_else(|| self.upstream.bad("it has no data"))?;
        if items.is_empty() || items.len() > job.n as usize {
            return Err(self.upstream.bad("it has another number of images than was asked for"));
        }
        let mut blobs = Vec::with_capacity(items.len());
        for item in items {
            blobs.push(self.image(item).await?);
        }
        Ok(drawn(job, blobs))
    }

    /// A picture, inline or by its address.
    async fn image(&self, item: &Value) -> Result<Blob, ProviderError> {
        let blob = match (item.get("b64_json").and_then(Value::as_str), item.get("url").and_then(Value::as_str)) {
            (Some(text), _) => {
                let bytes = STANDARD.decode(text).map_err(|_| self.upstream.bad("an image is not base64"))?;
                typed(Body { content_type: String::new(), bytes: bytes.into() })
            }
            (None, Some(url)) => {
                let url = url.parse().map_err(|_| self.upstream.bad("an image's address is none"))?;
                self.upstream.fetch_output(&url).await?
            }
            (None, None) => return Err(self.upstream.bad("an image is missing")),
        };
        if blob.content_type.starts_with("image/") { Ok(blob) } else { Err(self.upstream.bad("an image is none")) }
    }

    pub(super) async fn speak(&self, model: &str, job: &TextToSpeech) -> Result<Answer, ProviderError> {
        let format = job.format.as_deref().unwrap_or("mp3");
        let mut body = json!({
            "model": model,
            "input": job.input,
            "voice": job.voice.as_deref().unwrap_or("alloy"),
            "response_format": format,
        });
        if let (Some(speed), Some(object)) = (&job.speed, body.as_object_mut()) {
            object.insert("speed".into(), Value::from(speed.clone()));
        }
        let answer =
            self.upstream.whole(self.upstream.post("audio/speech")?.json(&body), self.upstream.file_limit).await?;
        if answer.bytes.is_empty()
            || !(answer.content_type.starts_with("audio/") || answer.content_type == "application/octet-stream")
        {
            return Err(self.upstream.bad("it is not audio"));
        }
        let mut blob = typed(answer);
        if !blob.content_type.starts_with("audio/") {
            blob.content_type = match format {
                "mp3" => "audio/mpeg".to_owned(),
                "opus" => "audio/ogg".to_owned(),
                other => format!("audio/{other}"),
            };
        }
        Ok(spoken(job, blob))
    }

    pub(super) async fn transcribe(&self, model: &str, job: &SpeechToText) -> Result<Answer, ProviderError> {
        let audio = self.upstream.source(&job.audio).await?;
        let mut form = Form::new().text("model", model).text("response_format", "verbose_json");
        if let Some(language) = &job.language {
            form = form.text("language", language);
        }
        if let Some(prompt) = &job.prompt {
            form = form.text("prompt", prompt);
        }
        let (content_type, body) = form.file("file", &audio).finish();
        let request = self.upstream.post("audio/transcriptions")?.header(CONTENT_TYPE, content_type).body(body);
        let answer = self.upstream.json(request).await?;
        let text = answer.get("text").and_then(Value::as_str).ok_or_else(|| self.upstream.bad("it has no text"))?;
        let seconds = answer.get("duration").and_then(whole_seconds).or_else(|| {
            let usage = answer.get("usage")?;
            usage.get("seconds").and_then(whole_seconds)
        });
        let language = answer.get("language").and_then(Value::as_str);
        Ok(transcript(text, language, seconds))
    }
}

/// The answer of a model that draws: pictures at addresses, or in the answer where the client wants them there.
pub(in crate::providers) fn drawn(job: &ImageGeneration, blobs: Vec<Blob>) -> Answer {
    let field = if job.inline { "b64_json" } else { "url" };
    let data: Vec<Value> = blobs.iter().map(|blob| json!({ field: null, "contentType": blob.content_type })).collect();
    let usage = Usage { images: blobs.len() as u64, ..Usage::default() };
    let artifacts = blobs.into_iter().enumerate();
    Answer {
        body: Map::from_iter([("data".to_owned(), Value::Array(data))]),
        usage: Some(usage),
        artifacts: artifacts.map(|(number, blob)| Artifact { at: format!("/data/{number}/{field}"), blob }).collect(),
    }
}

/// The answer of a voice.
pub(in crate::providers) fn spoken(job: &TextToSpeech, blob: Blob) -> Answer {
    let audio = json!({ "url": null, "contentType": blob.content_type, "format": blob.extension() });
    let usage = Usage { characters: job.input.chars().count() as u64, ..Usage::default() };
    Answer {
        body: Map::from_iter([("audio".to_owned(), audio)]),
        usage: Some(usage),
        artifacts: vec![Artifact { at: "/audio/url".to_owned(), blob }],
    }
}

/// The answer of a transcription.
pub(in crate::providers) fn transcript(text: &str, language: Option<&str>, seconds: Option<u64>) -> Answer {
    let mut body = Map::from_iter([("text".to_owned(), Value::from(text))]);
    if let Some(language) = language {
        body.insert("language".to_owned(), language.into());
    }
    if let Some(seconds) = seconds {
        body.insert("durationSeconds".to_owned(), seconds.into());
    }
    let usage = Usage { seconds: seconds.unwrap_or(0), ..Usage::default() };
    Answer { body, usage: Some(usage), artifacts: Vec::new() }
}

/// A duration in JSON as whole seconds; a begun one counts. Read from its digits: seconds are money.
pub(in crate::providers) fn whole_seconds(value: &Value) -> Option<u64> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text.as_str(), ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    whole.parse::<u64>().ok()?.checked_add(u64::from(fraction.bytes().any(|digit| digit != b'0')))
}
