//! Errors as clients of OpenAI's API read them: `{"error": {message, type, param, code}}`.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::client::ClientError;
use crate::local::Stranger;

/// What went wrong, and what to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ProxyError {
    status: StatusCode,
    code: String,
    message: String,
    retry_after: Option<HeaderValue>,
}

impl ProxyError {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into(), retry_after: None }
    }

    /// The relayer's own words (`{error, code, hint}`). `None` when it speaks OpenAI's language already.
    pub(super) fn relayed(status: StatusCode, headers: &HeaderMap, body: &Value) -> Option<Self> {
        if body["error"].is_object() {
            return None;
        }
        let text = |key: &str| body[key].as_str();
        let message = match (text("error"), text("hint")) {
            (Some(error), Some(hint)) => format!("{error}; {hint}"),
            (Some(error), None) => error.to_owned(),
            _ => format!("the relayer answered HTTP {status}"),
        };
        let code = text("code").unwrap_or("unknown").to_owned();
        Some(Self { status, code, message, retry_after: headers.get(header::RETRY_AFTER).cloned() })
    }

    /// OpenAI's classes of errors; its clients retry 408, 409, 429 and 5xx by themselves.
    fn class(&self) -> &'static str {
        match self.status {
            StatusCode::PAYMENT_REQUIRED => "insufficient_quota",
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "api_error",
        }
    }
}

impl From<ClientError> for ProxyError {
    fn from(error: ClientError) -> Self {
        let status = match &error {
            ClientError::Refused { status, .. } => StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY),
            // Not retried by any client: another attempt would meet the same limit.
            ClientError::SessionLimit { .. } | ClientError::TooExpensive(_) | ClientError::CeilingTooLow { .. } => {
                StatusCode::PAYMENT_REQUIRED
            }
            ClientError::Untrusted(_) | ClientError::Signing(_) => StatusCode::FORBIDDEN,
            ClientError::Unreachable { .. } | ClientError::BadAnswer { .. } | ClientError::BadReceipt(_) => {
                StatusCode::BAD_GATEWAY
            }
        };
        Self::new(status, error.code(), format!("{error}; {}", error.hint()))
    }
}

impl From<Stranger> for ProxyError {
    fn from(stranger: Stranger) -> Self {
        match stranger {
            Stranger::Elsewhere => {
                let message = "this proxy serves programs on this machine only, by the name 127.0.0.1 or localhost, and no web pages";
                Self::new(StatusCode::FORBIDDEN, "not_local", message)
            }
            Stranger::NoKey => {
                let message = "the key is not this proxy's; set OPENAI_API_KEY to the one that it printed at its start";
                Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
            }
        }
    }
}

impl IntoResponse for ProxyError {
    fn into_response(self) -> Response {
        let body = json!({
            "error": { "message": self.message, "type": self.class(), "param": null, "code": self.code },
        });
        let mut response = (self.status, Json(body)).into_response();
        if let Some(retry_after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, retry_after);
        }
        response
    }
}
