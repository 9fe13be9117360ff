//! Errors as OpenAI's clients read them.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};

use crate::error::ApiError;

/// Largest error that is read again to be rewritten; ours are far smaller.
const MOST: usize = 256 * 1024;

/// `{error: {message, type, code, param}}`.
pub(in crate::http) fn error_body(error: &ApiError) -> Value {
    json!({ "error": object(error.status, &error.error, error.code, &error.hint) })
}

fn object(status: StatusCode, message: &str, code: &str, hint: &str) -> Value {
    let kind = match status.as_u16() {
        402 => "payment_required",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    json!({ "message": format!("{message}: {hint}"), "type": kind, "code": code, "param": null })
}

/// Around every endpoint: whatever goes wrong below `/v1/`, wherever, is said in this form.
pub(in crate::http) async fn errors(request: Request, next: Next) -> Response {
    let ours = request.uri().path().starts_with("/v1/");
    let response = next.run(request).await;
    if ours { in_openai_form(response).await } else { response }
}

/// Rewrites an error of ours; everything else passes. Fields beside `error`, `code` and `hint` (the offer of a 402) stay.
async fn in_openai_form(response: Response) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, MOST).await.unwrap_or_default();
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(&bytes) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    let (message, code, hint) =
        (text(fields.remove("error")), text(fields.remove("code")), text(fields.remove("hint")));
    fields.insert("error".to_owned(), object(status, &message, &code, &hint));
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(Value::Object(fields).to_string()))
}
