//! Pictures, films, sound, documents, and models with an input of their own.

use serde_json::Value;

use super::fields::{Fields, invalid};
use super::source::source;
use super::{AUTO, Catalog, example};
use crate::error::{ApiError, ApiResult};
use crate::providers::{DocumentParsing, Gpu, ImageGeneration, JobKind, SpeechToText, TextToSpeech, VideoGeneration};

/// Bytes of a gpu job's input as JSON.
const MAX_GPU_INPUT: usize = 256 * 1024;
/// How deep a gpu job's input may be nested.
const MAX_DEPTH: u32 = 16;

impl Catalog {
    pub(super) fn image(&self, model: String, fields: Fields<'_>) -> ApiResult<ImageGeneration> {
        let kind = JobKind::ImageGeneration;
        let fields = fields.only(&["prompt", "n", "size", "width", "height", "seed", "response_format"])?;
        let size = match fields.get("size") {
            None => {
                let side = |name| fields.whole(&[name], 64, 2048);
                match (side("width")?, side("height")?) {
                    (None, None) => None,
                    (width, height) => Some((width.unwrap_or(1024), height.unwrap_or(1024))),
                }
            }
            Some(Value::String(size)) if size == AUTO => None,
            Some(size) => Some(size.as_str().and_then(read_size).ok_or_else(|| {
                invalid("`size` is not width x height in pixels, each from 64 to 2048", "write \"1024x1024\"")
            })?),
        };
        let n = fields.whole(&["n"], 1, 4)?.unwrap_or(1);
        let able: Vec<bool> = self
            .named(kind, &model)
            .filter(|entry| entry.is_configured())
            .map(super::super::Model::makes_several)
            .collect();
        if n > 1 && !able.is_empty() && !able.contains(&true) {
            return Err(invalid("this model makes one image at a time", "leave `n` out, and ask again for more"));
        }
        Ok(ImageGeneration {
            prompt: fields.text(&["prompt"], self.limits.max_prompt_characters, example(kind))?,
            n,
            size,
            seed: fields.seed()?,
            inline: fields.one_of("response_format", &["url", "b64_json"])? == Some("b64_json"),
            model,
        })
    }

    pub(super) fn video(&self, model: String, fields: Fields<'_>) -> ApiResult<VideoGeneration> {
        let kind = JobKind::VideoGeneration;
        let fields = fields.only(&["prompt", "seconds", "duration", "aspect_ratio", "seed"])?;
        let most = self
            .named(kind, &model)
            .map(|entry| u32::try_from(entry.rate.max_seconds).unwrap_or(u32::MAX))
            .max()
            .unwrap_or(0);
        Ok(VideoGeneration {
            prompt: fields.text(&["prompt"], self.limits.max_prompt_characters, example(kind))?,
            seconds: fields.whole(&["seconds", "duration"], 1, if most == 0 { 10 } else { most })?,
            aspect_ratio: fields.one_of("aspect_ratio", &["16:9", "9:16", "1:1"])?.map(str::to_owned),
            seed: fields.seed()?,
            model,
        })
    }

    pub(super) fn speech(&self, model: String, fields: Fields<'_>) -> ApiResult<TextToSpeech> {
        let kind = JobKind::TextToSpeech;
        let fields = fields.only(&["input", "text", "voice", "response_format", "format", "speed"])?;
        let formats = ["mp3", "wav", "opus", "flac"];
        let format = match fields.one_of("response_format", &formats)? {
            Some(format) => Some(format),
            None => fields.one_of("format", &formats)?,
        };
        Ok(TextToSpeech {
            model,
            input: fields.text(&["input", "text"], self.limits.max_prompt_characters, example(kind))?,
            voice: fields.word("voice", 64)?,
            format: format.map(str::to_owned),
            speed: fields.number("speed", 0.25, 4.0)?,
        })
    }

    pub(super) fn transcription(&self, model: String, fields: Fields<'_>) -> ApiResult<SpeechToText> {
        let kind = JobKind::SpeechToText;
        let fields = fields.only(&[
            "audio",
            "audio_url",
            "audioUrl",
            "content_type",
            "contentType",
            "language",
            "prompt",
            "response_format",
            "temperature",
        ])?;
        fields.one_of("response_format", &["json", "text", "verbose_json"])?;
        fields.number("temperature", 0.0, 1.0)?;
        let (urls, most) = (["audio_url", "audioUrl"], self.limits.max_file_bytes);
        let audio = source(fields, "audio", &urls, &["audio/", "video/mp4", "video/webm"], most, example(kind))?;
        let prompt = match fields.get("prompt") {
            None => None,
            Some(_) => Some(fields.text(&["prompt"], 1024, "leave it out, or send a few words")?),
        };
        Ok(SpeechToText { model, audio, language: fields.word("language", 16)?, prompt })
    }

    pub(super) fn document(&self, model: String, fields: Fields<'_>) -> ApiResult<DocumentParsing> {
        let kind = JobKind::DocumentParsing;
        let known = ["document", "document_url", "documentUrl", "url", "content_type", "contentType", "text"];
        let fields = fields.only(&known)?;
        if let Some(Value::String(text)) = fields.get("text") {
            let only_text = known.iter().filter(|name| **name != "text").all(|name| fields.get(name).is_none());
            if !only_text || text.len() > self.limits.max_file_bytes || text.trim().is_empty() {
                return Err(invalid("`text` is empty, too large, or comes with another document", example(kind)));
            }
            let content_type = super::source::sniff(text.as_bytes()).unwrap_or("text/plain").to_owned();
            let blob = crate::providers::Blob { content_type, bytes: text.clone().into() };
            return Ok(DocumentParsing { model, document: crate::providers::Source::Inline(blob) });
        }
        let urls = ["document_url", "documentUrl", "url"];
        let accepted = ["application/pdf", "text/html", "text/plain", "text/markdown", "application/xhtml+xml"];
        let document = source(fields, "document", &urls, &accepted, self.limits.max_file_bytes, example(kind))?;
        Ok(DocumentParsing { model, document })
    }

    pub(super) fn gpu(&self, model: String, fields: Fields<'_>) -> ApiResult<Gpu> {
        let kind = JobKind::Gpu;
        let fields = fields.only(&["input"])?;
        if model == AUTO {
            return Err(invalid("`model` is missing", example(kind)));
        }
        let entries = || self.models().iter().filter(|entry| entry.rate.kind == kind);
        // The entry that stands for every model of its provider is none itself: nothing there has that name.
        let stands_for_all = model == "any" || entries().any(|entry| entry.open && entry.rate.id == model);
        let shortcut = !stands_for_all && entries().any(|entry| !model.contains('/') && entry.answers_to(&model));
        let own = !stands_for_all && self.model(kind, &model).is_some();
        if !shortcut && !own && (stands_for_all || !is_model_name(&model)) {
            let known: Vec<&str> = entries()
                .filter(|entry| !entry.open)
                .map(|entry| entry.aliases.first().map_or(entry.rate.id.as_str(), String::as_str))
                .collect();
            let model: String = model.chars().take(64).collect();
            return Err(ApiError::bad_request(
                "unknown_model",
                format!("no {kind} model is called {model:?}"),
                format!("name it as owner/model or owner/model:version, or by a shortcut: {}", known.join(", ")),
            ));
        }
        let Some(Value::Object(input)) = fields.get("input") else {
            return Err(invalid("`input` is not a JSON object", example(kind)));
        };
        let shape = || input.values().all(|value| depth_within(value, MAX_DEPTH));
        if !shape() || serde_json::to_string(input).map_or(usize::MAX, |text| text.len()) > MAX_GPU_INPUT {
            return Err(ApiError::new(
                axum::http::StatusCode::PAYLOAD_TOO_LARGE,
                "input_too_large",
                format!("`input` is larger than {MAX_GPU_INPUT} bytes or nested deeper than {MAX_DEPTH}"),
                "send less; large files by their address",
            ));
        }
        Ok(Gpu { model, input: input.clone() })
    }
}

/// `1024x768`.
fn read_size(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    let side = |text: &str| {
        let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|side| digits && (64..=2048).contains(side))
    };
    Some((side(width)?, side(height)?))
}

/// `owner/model` or `owner/model:version`, of nothing that could lead elsewhere in a path.
fn is_model_name(text: &str) -> bool {
    let (name, version) = text.split_once(':').map_or((text, None), |(name, version)| (name, Some(version)));
    let word = |text: &str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && !text.starts_with('.')
    };
    name.split_once('/').is_some_and(|(owner, model)| word(owner) && word(model))
        && version.is_none_or(|version| version.len() == 64 && version.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn depth_within(value: &Value, depth: u32) -> bool {
    match (value, depth) {
        (Value::Array(_) | Value::Object(_), 0) => false,
        (Value::Array(items), _) => items.iter().all(|item| depth_within(item, depth - 1)),
        (Value::Object(items), _) => items.values().all(|item| depth_within(item, depth - 1)),
        _ => true,
    }
}
