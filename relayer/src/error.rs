//! The one place where an error becomes a response: `{error, code, hint}` and, where it helps, `extra`.
//!
//! `error` says what happened, `hint` what to do about it, `code` is for programs. What went wrong inside is logged under an
//! id and never shown: an answer holds no SQL, no key and no upstream body.

use std::fmt::Display;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// An error as the client sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable name for programs, `snake_case`.
    pub code: &'static str,
    /// What happened.
    pub error: String,
    /// What to do about it.
    pub hint: String,
    /// Figures that a program needs to react, e.g. `ceilingNeeded`.
    pub extra: Option<Value>,
    /// Seconds for a `Retry-After` header.
    pub retry_after: Option<u32>,
}

/// Result of a handler.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// An error with a status, a code, what happened and what to do.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status, code, error: error.into(), hint: hint.into(), extra: None, retry_after: None }
    }

    /// Adds figures for programs.
    #[must_use]
    pub fn with_extra(mut self, extra: Value) -> Self {
        self.extra = Some(extra);
        self
    }

    /// Adds a `Retry-After` header.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// 400: the request itself is wrong.
    #[must_use]
    pub fn bad_request(code: &'static str, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, error, hint)
    }

    /// 404.
    #[must_use]
    pub fn not_found(code: &'static str, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, error, hint)
    }

    /// 503: nothing is wrong with the request; try again.
    #[must_use]
    pub fn unavailable(code: &'static str, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, error, hint).with_retry_after(2)
    }

    /// 500: our fault. The cause is logged under an id that the client is given; nothing of it is shown.
    #[must_use]
    pub fn internal(cause: impl Display) -> Self {
        let id = uuid::Uuid::new_v4();
        tracing::error!(error_id = %id, cause = %cause, "internal error");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong on our side",
            format!("retry with the same payment (it is never charged twice), or report error id {id}"),
        )
    }
}

impl Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({})", self.code, self.error, self.hint)
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    /// The body alone, for answers that add headers of their own (402).
    #[must_use]
    pub fn body(&self) -> Value {
        let mut body = json!({ "error": self.error, "code": self.code, "hint": self.hint });
        if let (Some(extra), Some(object)) = (&self.extra, body.as_object_mut()) {
            object.insert("extra".into(), extra.clone());
        }
        body
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
