//! What can go wrong at a provider. Whatever it is, the hold is released and nothing is charged (I-8).

use axum::http::StatusCode;

use crate::error::ApiError;

/// Failure of a job at its providers. Messages are ours, never the upstream's body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// Not reachable, overloaded, or its breaker is open.
    #[error("provider {provider} is not available: {reason}")]
    Unavailable {
        /// Name of the provider.
        provider: String,
        /// What was seen.
        reason: String,
    },
    /// No whole answer in time.
    #[error("provider {provider} did not answer within {seconds} s")]
    Timeout {
        /// Name of the provider.
        provider: String,
        /// The limit that passed.
        seconds: u64,
    },
    /// An answer that is not what was asked for: garbage, too large, a redirect, empty.
    #[error("provider {provider} sent an unusable answer: {reason}")]
    BadAnswer {
        /// Name of the provider.
        provider: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The provider refuses this very request (its 4xx); another attempt would end the same.
    #[error("provider {provider} refuses the request with status {status}")]
    Refused {
        /// Name of the provider.
        provider: String,
        /// Its HTTP status.
        status: u16,
    },
    /// The job ran there and came to nothing.
    #[error("the job failed at provider {provider}: {reason}")]
    Failed {
        /// Name of the provider.
        provider: String,
        /// What is known.
        reason: String,
    },
    /// A file that the job names by its address could not be had.
    #[error("the file at the address that the job names cannot be used: {reason}")]
    File {
        /// What was seen.
        reason: String,
    },
}

impl ProviderError {
    /// Label for metrics.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Timeout { .. } => "timeout",
            Self::BadAnswer { .. } => "bad_answer",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
            Self::File { .. } => "file",
        }
    }

    /// Whether another provider may do better.
    #[must_use]
    pub const fn worth_another_provider(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::File { .. })
    }

    /// Whether this is about the request and says nothing against the provider.
    #[must_use]
    pub const fn is_about_the_request(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::File { .. })
    }

    /// Whether a pending job is over with this: asking again would find the same.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::Unavailable { .. } | Self::Timeout { .. })
    }
}

impl From<ProviderError> for ApiError {
    fn from(error: ProviderError) -> Self {
        let message = error.to_string();
        match error {
            ProviderError::Unavailable { .. } => Self::unavailable(
                "provider_unavailable",
                message,
                "nothing was charged; retry, or choose another model",
            ),
            ProviderError::Timeout { .. } => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "provider_timeout",
                message,
                "nothing was charged; retry, or ask for fewer tokens",
            ),
            ProviderError::BadAnswer { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "provider_bad_answer",
                message,
                "nothing was charged; retry, or choose another model",
            ),
            ProviderError::Refused { .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "provider_refused",
                message,
                "nothing was charged; the model does not take this request: change the messages, the parameters or the model",
            ),
            ProviderError::Failed { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "provider_job_failed",
                message,
                "nothing was charged; check the input against what the model takes, retry, or choose another model",
            ),
            ProviderError::File { .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "file_not_usable",
                message,
                "nothing was charged; name a public https address that answers at once, or send the file in the request",
            ),
        }
    }
}
