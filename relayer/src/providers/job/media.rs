//! Jobs with pictures, films, sound, documents, or an input of their own.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use url::Url;

use super::Blob;

/// A file that comes with a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// In the request itself.
    Inline(Blob),
    /// At a stranger's address, fetched under guard when the job runs.
    Url(Url),
}

/// Pictures from a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImageGeneration {
    /// Model id of the catalog, or `auto`.
    pub model: String,
    /// What to show.
    pub prompt: String,
    /// How many, 1 to 4.
    pub n: u32,
    /// Width and height in pixels.
    #[serde(default)]
    pub size: Option<(u32, u32)>,
    /// Same seed, same picture, where the model keeps to it.
    #[serde(default)]
    pub seed: Option<i64>,
    /// Whether the client wants the bytes in the answer (`response_format: b64_json`) instead of an address.
    #[serde(default)]
    pub inline: bool,
}

/// A film from a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VideoGeneration {
    /// Model id of the catalog, or `auto`.
    pub model: String,
    /// What to show.
    pub prompt: String,
    /// Length in seconds, where the model can choose.
    #[serde(default)]
    pub seconds: Option<u32>,
    /// `16:9`, `9:16` or `1:1`, where the model can choose.
    #[serde(default)]
    pub aspect_ratio: Option<String>,
    /// Same seed, same film, where the model keeps to it.
    #[serde(default)]
    pub seed: Option<i64>,
}

/// A voice reads a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TextToSpeech {
    /// Model id of the catalog, or `auto`.
    pub model: String,
    /// What to read.
    pub input: String,
    /// Name of a voice; the model's own when left out.
    #[serde(default)]
    pub voice: Option<String>,
    /// `mp3`, `wav`, `opus`, `flac`; the model's own when left out.
    #[serde(default)]
    pub format: Option<String>,
    /// 0.25 to 4, 1 is normal; passed through.
    #[serde(default)]
    pub speed: Option<Number>,
}

/// A recording becomes text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpeechToText {
    /// Model id of the catalog, or `auto`.
    pub model: String,
    /// The recording.
    pub audio: Source,
    /// ISO 639-1, as `en`; found out when left out.
    #[serde(default)]
    pub language: Option<String>,
    /// Words that help, as names.
    #[serde(default)]
    pub prompt: Option<String>,
}

/// A document becomes text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DocumentParsing {
    /// Model id of the catalog, or `auto`.
    pub model: String,
    /// PDF, HTML or plain text.
    pub document: Source,
}

/// Any model of a GPU cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Gpu {
    /// A shortcut of the catalog, or `owner/model` or `owner/model:version` as the cloud names it.
    pub model: String,
    /// The model's own input.
    pub input: Map<String, Value>,
}
