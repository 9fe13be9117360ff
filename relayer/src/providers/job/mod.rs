//! What is asked of a provider and what comes back.

mod blob;
mod media;
mod output;
mod text;

use compute_futures_protocol::JobKind;
use serde::{Deserialize, Serialize};

pub use blob::Blob;
pub use media::{DocumentParsing, Gpu, ImageGeneration, Source, SpeechToText, TextToSpeech, VideoGeneration};
pub use output::{Artifact, JobOutput};
pub use text::{Embeddings, Message, Role, TextInference};

/// One job, parsed and checked. Made by [`crate::catalog::Catalog::parse`]; its JSON form is for our own storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JobInput {
    /// Chat or completion.
    TextInference(TextInference),
    /// Vectors of texts.
    Embeddings(Embeddings),
    /// Pictures from a text.
    ImageGeneration(ImageGeneration),
    /// A film from a text.
    VideoGeneration(VideoGeneration),
    /// A voice reads a text.
    TextToSpeech(TextToSpeech),
    /// A recording becomes text.
    SpeechToText(SpeechToText),
    /// A document becomes text.
    DocumentParsing(DocumentParsing),
    /// Any model of a GPU cloud.
    Gpu(Gpu),
}

impl JobInput {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> JobKind {
        match self {
            Self::TextInference(_) => JobKind::TextInference,
            Self::Embeddings(_) => JobKind::Embeddings,
            Self::ImageGeneration(_) => JobKind::ImageGeneration,
            Self::VideoGeneration(_) => JobKind::VideoGeneration,
            Self::TextToSpeech(_) => JobKind::TextToSpeech,
            Self::SpeechToText(_) => JobKind::SpeechToText,
            Self::DocumentParsing(_) => JobKind::DocumentParsing,
            Self::Gpu(_) => JobKind::Gpu,
        }
    }

    /// The model asked for: an id of the catalog, for `gpu` also any name of the form `owner/model`, or `auto`.
    #[must_use]
    pub fn model(&self) -> &str {
        match self {
            Self::TextInference(job) => &job.model,
            Self::Embeddings(job) => &job.model,
            Self::ImageGeneration(job) => &job.model,
            Self::VideoGeneration(job) => &job.model,
            Self::TextToSpeech(job) => &job.model,
            Self::SpeechToText(job) => &job.model,
            Self::DocumentParsing(job) => &job.model,
            Self::Gpu(job) => &job.model,
        }
    }

    /// Whether the client wants the answer piece by piece.
    #[must_use]
    pub const fn wants_stream(&self) -> bool {
        matches!(self, Self::TextInference(TextInference { stream: true, .. }))
    }
}
