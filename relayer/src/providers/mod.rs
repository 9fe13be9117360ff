//! Who does the work: one trait, adapters behind it, and a router that picks by model and health.

mod breaker;
mod error;
mod job;
pub mod local;
mod openai;
mod router;

use async_trait::async_trait;

pub use breaker::BreakerState;
pub use compute_futures_protocol::{JobKind, Usage};
pub use error::ProviderError;
pub use job::{Embeddings, JobInput, JobOutput, Message, Role, TextInference};
pub use openai::OpenAi;
pub use router::{ProviderHealth, Providers};

/// Something that runs jobs. Implementations are cheap to share, hold no per-request state, and bound time and size of
/// every answer.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Name in the configuration, metrics and answers.
    fn name(&self) -> &str;

    /// Runs `job` on `upstream_model` (the provider's own name of the model; `job.model()` is the client's).
    ///
    /// # Errors
    /// [`ProviderError`]; nothing was delivered and nothing may be charged (I-8).
    async fn run(&self, upstream_model: &str, job: &JobInput) -> Result<Answer, ProviderError>;
}

/// What an adapter hands back, before the router has clamped it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Fields of the answer that depend on the kind: `choices`, or `data`.
    pub body: serde_json::Map<String, serde_json::Value>,
    /// What the provider says it used; `None` when it did not say.
    pub usage: Option<Usage>,
}
