//! Bytes with their type.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes and what they are. In JSON the bytes are base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Blob {
    /// MIME type without parameters, lower case, as `audio/mpeg`.
    pub content_type: String,
    /// The content.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub bytes: Bytes,
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blob({}, {} bytes)", self.content_type, self.bytes.len())
    }
}

impl Blob {
    /// The end of a file's name for such bytes, as `mp3`.
    #[must_use]
    pub fn extension(&self) -> &'static str {
        match self.content_type.as_str() {
            "audio/mpeg" | "audio/mp3" => "mp3",
            "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
            "audio/flac" | "audio/x-flac" => "flac",
            "audio/ogg" | "audio/opus" => "ogg",
            "audio/mp4" | "audio/m4a" | "audio/x-m4a" => "m4a",
            "audio/webm" | "video/webm" => "webm",
            "video/mp4" => "mp4",
            "image/png" => "png",
            "image/jpeg" => "jpg",
            "image/webp" => "webp",
            "image/gif" => "gif",
            "application/pdf" => "pdf",
            "text/html" => "html",
            "text/plain" => "txt",
            "application/json" => "json",
            _ => "bin",
        }
    }
}

fn to_base64<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
}
