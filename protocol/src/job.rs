//! What can be asked for, and in which units it is counted.

use serde::{Deserialize, Serialize};

use crate::RateCardError;

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JobKind {
    /// Chat and completion.
    TextInference,
    /// Vectors of texts.
    Embeddings,
    /// Pictures from a text.
    ImageGeneration,
    /// Films from a text.
    VideoGeneration,
    /// A voice reads a text.
    TextToSpeech,
    /// A recording becomes text.
    SpeechToText,
    /// A document becomes text.
    DocumentParsing,
    /// Any model of a GPU cloud, with its own input.
    Gpu,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::TextInference,
        Self::Embeddings,
        Self::ImageGeneration,
        Self::VideoGeneration,
        Self::TextToSpeech,
        Self::SpeechToText,
        Self::DocumentParsing,
        Self::Gpu,
    ];

    /// Name in URLs and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TextInference => "text-inference",
            Self::Embeddings => "embeddings",
            Self::ImageGeneration => "image-generation",
            Self::VideoGeneration => "video-generation",
            Self::TextToSpeech => "text-to-speech",
            Self::SpeechToText => "speech-to-text",
            Self::DocumentParsing => "document-parsing",
            Self::Gpu => "gpu",
        }
    }

    /// The names of all kinds, for messages.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Whether such a job usually outlives its request: the client gets a job id and asks again.
    #[must_use]
    pub const fn is_long(self) -> bool {
        matches!(self, Self::VideoGeneration | Self::Gpu)
    }
}

impl std::fmt::Display for JobKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for JobKind {
    type Err = RateCardError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| RateCardError::UnknownKind(name.chars().take(64).collect()))
    }
}

/// What a job used, in whole units. Units that a job does not have are zero and left out of the JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Images made.
    #[serde(skip_serializing_if = "is_zero")]
    pub images: u64,
    /// Seconds of audio or video, or of machine time for `gpu`; a begun second counts whole.
    #[serde(skip_serializing_if = "is_zero")]
    pub seconds: u64,
    /// Characters spoken, or read out of a document.
    #[serde(skip_serializing_if = "is_zero")]
    pub characters: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Usage {
    /// Tokens alone.
    #[must_use]
    pub const fn tokens(input_tokens: u64, output_tokens: u64) -> Self {
        Self { input_tokens, output_tokens, images: 0, seconds: 0, characters: 0 }
    }

    /// The lower figure of each unit.
    #[must_use]
    pub fn min_each(self, bound: &Self) -> Self {
        Self {
            input_tokens: self.input_tokens.min(bound.input_tokens),
            output_tokens: self.output_tokens.min(bound.output_tokens),
            images: self.images.min(bound.images),
            seconds: self.seconds.min(bound.seconds),
            characters: self.characters.min(bound.characters),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn kinds_are_known_by_their_names() {
        for kind in JobKind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
            assert_eq!(kind.name().parse::<JobKind>().unwrap(), kind);
        }
        let error = "telepathy".parse::<JobKind>().unwrap_err().to_string();
        assert!(error.contains("document-parsing, gpu"), "{error}");
    }

    #[test]
    fn usage_keeps_its_old_form_where_only_tokens_count() {
        let text = r#"{"inputTokens":1,"outputTokens":2}"#;
        assert_eq!(serde_json::to_string(&Usage::tokens(1, 2)).unwrap(), text);
        assert_eq!(serde_json::from_str::<Usage>(text).unwrap(), Usage::tokens(1, 2));
        let film = Usage { seconds: 6, ..Usage::default() };
        assert_eq!(serde_json::from_str::<Usage>(&serde_json::to_string(&film).unwrap()).unwrap(), film);
    }
}
