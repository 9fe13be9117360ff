//! Who does the work: one trait, adapters behind it, and a router that picks by model and health.

mod breaker;
mod error;
mod job;
pub mod local;
mod multipart;
mod openai;
mod replicate;
mod router;
mod stream;
mod upstream;

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use breaker::BreakerState;
pub use compute_futures_protocol::{JobKind, Usage};
pub use error::ProviderError;
pub use job::{
    Artifact, Blob, DocumentParsing, Embeddings, Gpu, ImageGeneration, JobInput, JobOutput, Message, Role, Source,
    SpeechToText, TextInference, TextToSpeech, VideoGeneration,
};
pub use openai::OpenAi;
pub use replicate::Replicate;
pub use router::{Progress, ProviderHealth, Providers, Ticket};
pub use stream::{Delta, JobStream};

use crate::catalog::Route;

/// Something that runs jobs. Implementations are cheap to share, hold no per-request state, and bound time and size of
/// every answer.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Name in the configuration, metrics and answers.
    fn name(&self) -> &str;

    /// Runs `job` on `route.model` (the provider's own name of the model; `job.model()` is the client's), or starts it.
    ///
    /// # Errors
    /// [`ProviderError`]; nothing was delivered and nothing may be charged (I-8).
    async fn run(&self, route: &Route, job: &JobInput) -> Result<Outcome, ProviderError>;

    /// Asks how a job is that [`Provider::run`] left pending.
    ///
    /// # Errors
    /// [`ProviderError`]; [`ProviderError::is_final`] says whether asking again is of any use.
    async fn poll(&self, upstream_id: &str, job: &JobInput) -> Result<Outcome, ProviderError> {
        let _ = (upstream_id, job);
        Err(ProviderError::Failed { provider: self.name().to_owned(), reason: "it keeps no jobs".to_owned() })
    }

    /// Stops a pending job. One that has ended already is no error.
    ///
    /// # Errors
    /// [`ProviderError`] when the provider could not be told.
    async fn cancel(&self, upstream_id: &str) -> Result<(), ProviderError> {
        let _ = upstream_id;
        Ok(())
    }

    /// Runs a chat job and hands out its text as it comes. The stream ends after [`Chunk::End`], or cut, with an error or
    /// without one. By default the whole answer is one piece.
    ///
    /// # Errors
    /// [`ProviderError`]; nothing was delivered.
    async fn stream(&self, route: &Route, job: &JobInput) -> Result<Chunks, ProviderError> {
        stream::whole(self.run(route, job).await?, self.name())
    }

    /// Which of its jobs a webhook is about: checks the provider's signature over the raw body and returns the id that
    /// [`Pending::upstream_id`] had. What the job came to is asked with [`Provider::poll`], never read from a webhook.
    ///
    /// # Errors
    /// Says what is wrong with it.
    fn webhook(&self, headers: &reqwest::header::HeaderMap, body: &[u8]) -> Result<String, WebhookFault> {
        let _ = (headers, body);
        Err(WebhookFault::NotExpected)
    }
}

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookFault {
    /// This provider sends none, or no secret is configured.
    #[error("no webhooks are expected from this provider")]
    NotExpected,
    /// A header is missing or not what it should be.
    #[error("the webhook's headers are incomplete")]
    Headers,
    /// More than five minutes old or ahead.
    #[error("the webhook's time is too far from now")]
    Time,
    /// Signed with another secret, or over another body.
    #[error("the webhook's signature does not fit")]
    Signature,
    /// Signed, and not about a job.
    #[error("the webhook does not say which job it is about")]
    Body,
}

/// What became of a request to a provider.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The answer.
    Done(Answer),
    /// It is being worked on.
    Pending(Pending),
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self::Done(answer)
    }
}

/// A job that a provider works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The provider's own id of the job.
    pub upstream_id: String,
    /// How long to wait before asking.
    pub poll_after: Duration,
}

/// What an adapter hands back, before the router has clamped it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Fields of the answer that depend on the kind: `choices`, `data`, `output`, `audio` or `text`.
    pub body: serde_json::Map<String, serde_json::Value>,
    /// What the provider says it used; `None` when it did not say.
    pub usage: Option<Usage>,
    /// Files that belong to the answer; see [`Artifact::at`].
    pub artifacts: Vec<Artifact>,
}

/// A piece of an answer that comes in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// More text.
    Delta {
        /// Of the answer.
        content: String,
        /// Of the reasoning, where the model shows it.
        reasoning: String,
    },
    /// The end of the answer.
    End {
        /// `stop`, `length` or `content_filter`.
        finish_reason: &'static str,
        /// What the provider says it used; `None` when it did not say.
        usage: Option<Usage>,
    },
}

/// The pieces of an answer, in order.
pub type Chunks = BoxStream<'static, Result<Chunk, ProviderError>>;
