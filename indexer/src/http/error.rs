//! The one place where an error becomes a response: `{error, code, hint}`.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::IndexerError;

/// An error as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    body: ErrorBody,
    /// Seconds for a `Retry-After` header.
    retry_after: Option<u32>,
}

/// What happened, its stable name, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// What happened.
    #[schema(example = "no account 4294967299")]
    error: String,
    /// Stable name for programs.
    #[schema(example = "unknown_account")]
    code: &'static str,
    /// What to do about it.
    #[schema(example = "check the id; accounts opened in the last seconds may still be on their way")]
    hint: String,
}

/// Result of a handler.
pub(super) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// Its stable name.
    pub(super) fn code(&self) -> &'static str {
        self.body.code
    }

    /// What happened, in words.
    pub(super) fn into_reason(self) -> String {
        self.body.error
    }

    fn new(status: StatusCode, code: &'static str, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status, body: ErrorBody { error: error.into(), code, hint: hint.into() }, retry_after: None }
    }

    /// 400: the request itself is wrong.
    pub(super) fn bad_request(code: &'static str, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, error, hint)
    }

    /// 404.
    pub(super) fn not_found(code: &'static str, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, error, hint)
    }

    /// 405.
    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this path answers GET only",
            "send a GET request",
        )
    }

    /// 429: the client's allowance is used up.
    pub(super) fn too_many_requests(retry_after: u32) -> Self {
        let error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "your address sends too many requests",
            "slow down; for one account follow /api/v1/accounts/{id}/events, for much of the history run an indexer of your own",
        );
        Self { retry_after: Some(retry_after), ..error }
    }

    /// 503: nothing is wrong with the request; try again.
    pub(super) fn unavailable(code: &'static str, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { retry_after: Some(2), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, error, hint) }
    }
}

/// What goes wrong inside is logged and never shown: no SQL, no URL of ours.
impl From<IndexerError> for ApiError {
    fn from(error: IndexerError) -> Self {
        tracing::error!(%error, "request failed");
        match error {
            IndexerError::Database(_) => {
                Self::unavailable("database_unavailable", "the database did not answer", "try again in a few seconds")
            }
            _ => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "something went wrong on our side",
                "try again; if it stays, tell whoever runs this indexer",
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
